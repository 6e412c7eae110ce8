"""An auditor's report as a file: an account, who made it, and his signature, or none.

Signed is the SHA-256 of the report as JSON with sorted keys and no spaces, in ASCII, behind the
name of this format: anybody can recompute it with any JSON library, for all numbers are whole.
"""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Final

from ledger import keys
from ledger.errors import LedgerError, Malformed
from ledger.keys import Signer, algorithm_of
from ledger.plain import load_json

FORMAT: Final = "depoli/audit-report/1"
MAX_BYTES: Final = 256 << 20  # of a network with as many members as there may be, with room
_DOMAIN: Final = b"depoli/sign/audit-report/1\x00"
_FIELDS: Final = ("format", "made", "report", "signature")
MAX_NAME: Final = 200  # characters


@dataclass(frozen=True, slots=True)
class Made:
    """Who made a report as he names himself, when in unix seconds, and with which software."""

    auditor: str
    time: int
    software: str

    def __post_init__(self) -> None:
        """Raise `Malformed` where a name is more than a line that does nothing to a terminal."""
        for name in (self.auditor, self.software):
            if not name.isprintable() or len(name) > MAX_NAME:
                raise Malformed("name", f"one line of at most {MAX_NAME} printable characters")


@dataclass(frozen=True, slots=True)
class Statement:
    """A report, and the key that signed it; None where nobody did."""

    report: dict[str, Any]
    made: Made
    signer: bytes | None

    @property
    def digest(self) -> str:
        """What its signature covers, in hexadecimal: short enough to be read aloud."""
        return _digest(self.report, self.made).hex()


def write(report: dict[str, Any], made: Made, signer: Signer | None) -> str:
    """Return the file of a report, signed where there is a key."""
    signature = None
    if signer is not None:
        signature = {
            "algorithm": signer.algorithm.name.lower(),
            "public": signer.public.hex(),
            "signature": signer.sign(_DOMAIN + _digest(report, made)).hex(),
        }
    value = {"format": FORMAT, "made": asdict(made), "report": report, "signature": signature}
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def read(text: str) -> Statement:
    """Return a report whose signature, if it has one, verifies.

    Raises `Malformed`, and `BadSignature` or `BadKey` where it was not signed so.
    """
    value = load_json(text, kind="report", max_length=MAX_BYTES)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise Malformed("report", f"not an object with format {FORMAT}")
    if tuple(sorted(value)) != _FIELDS:
        raise Malformed("report", f"it has not just the fields {', '.join(_FIELDS)}")
    report, made, signature = value["report"], _made(value["made"]), value["signature"]
    if not isinstance(report, dict):
        raise Malformed("report", "report is no object")
    if signature is None:
        return Statement(report, made, None)
    try:
        public, signed = (bytes.fromhex(signature[name]) for name in ("public", "signature"))
        algorithm = algorithm_of(public)
    except (LedgerError, AttributeError, KeyError, TypeError, ValueError):
        raise Malformed("report", "its signature is no key and signature in hexadecimal") from None
    if signature != {
        "algorithm": algorithm.name.lower(),
        "public": public.hex(),
        "signature": signed.hex(),
    }:
        raise Malformed("report", "its signature says something else besides")
    keys.parse_public_key(algorithm, public)
    keys.verify(public, _DOMAIN + _digest(report, made), signed, what="the report")
    return Statement(report, made, public)


def _made(value: object) -> Made:
    types = {"auditor": str, "time": int, "software": str}
    if not isinstance(value, dict) or {name: type(held) for name, held in value.items()} != types:
        raise Malformed("report", "made is no object of just auditor, time and software")
    return Made(**value)


def _digest(report: dict[str, Any], made: Made) -> bytes:
    both = {"made": asdict(made), "report": report}
    try:
        text = json.dumps(both, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    except RecursionError:
        raise Malformed("report", "it is nested too deep") from None
    return sha256(text.encode("ascii")).digest()
