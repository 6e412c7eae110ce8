"""The documents that stay off the chain: a prescription, the codes of a claim, a day of a payer.

Each is an SD-JWT with a fixed set of fields, absent ones null, so that what is signed looks the
same whatever it holds. Who issues one and who checks one read the same tables here. Lengths of
optics are in hundredths of a dioptre (prisms: of a prism dioptre), axes in degrees, cylinders
positive, amounts in cents, days written YYYY-MM-DD.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from contracts import sd_jwt
from contracts.calendar import parse_day
from contracts.calls import Leg, Part
from contracts.commitment import mark_of
from contracts.errors import BadDay, BadDocument
from contracts.sd_jwt import SdJwt
from ledger.keys import Signer

SALT_BYTES: Final = 32
_SALT_TEXT: Final = 43  # base64url

Value: TypeAlias = Any  # int, str, None, or a list of what JSON holds
Check: TypeAlias = Callable[[object], bool]


@dataclass(frozen=True)
class DocumentType:
    """A kind of document: its media type and its fields, each with what a value must be."""

    type: str
    fields: Mapping[str, Check]
    required: frozenset[str]  # never null
    is_bound: bool = False  # it names the key of its holder


def _integer(low: int, high: int, step: int = 1) -> Check:
    def check(value: object) -> bool:
        return type(value) is int and low <= value <= high and value % step == 0

    return check


def _text(pattern: str) -> Check:
    compiled = re.compile(pattern, re.ASCII)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def _list(check: Check, longest: int) -> Check:
    return lambda value: (
        isinstance(value, list) and 1 <= len(value) <= longest and all(map(check, value))
    )


def _day(value: object) -> bool:
    try:
        parse_day(value if isinstance(value, str) else "")
    except BadDay:
        return False
    return True


def _prism(value: object) -> bool:
    match value:
        case [amount, ("up" | "down" | "in" | "out")]:
            return _integer(1, 40_00)(amount)
        case _:
            return False


_HEX32: Final = _text("[0-9a-f]{64}")
_CODE: Final = _text("[A-Z0-9]{3}")  # which codes there are is data, not a rule of form
_REFERENCE: Final = _text("[A-Z0-9-]{1,20}")
_CENTS: Final = _integer(0, 10_000_00)

_EYE: Final[Mapping[str, Check]] = {
    "sphere": _integer(-60_00, 60_00, 25),
    "cylinder": _integer(25, 15_00, 25),
    "axis": _integer(1, 180),
    "add": _integer(25, 12_00, 25),
    "prism": _list(_prism, 2),  # [amount, base]
}

PRESCRIPTION: Final = DocumentType(
    "depoli-prescription-1+sd-jwt",
    {
        **{f"{eye}_{name}": check for eye in ("right", "left") for name, check in _EYE.items()},
        "date_written": _day,
        "valid_until": _day,
        "prescriber": _text("[0-9]{9,11}"),  # RPPS or ADELI number
        "ordinal": _integer(0, 1_000),  # which reimbursement under this secret the marks are for
        "mark_secret": _HEX32,  # opened only to another shop, with the prescription itself
        # Each of these is opened alone, to the payer whose claim uses it.
        "mark_base_lenses": _HEX32,
        "mark_base_frame": _HEX32,
        "mark_complementary_lenses": _HEX32,
        "mark_complementary_frame": _HEX32,
    },
    frozenset(
        (
            "date_written",
            "ordinal",
            "mark_secret",
            "mark_base_lenses",
            "mark_base_frame",
            "mark_complementary_lenses",
            "mark_complementary_frame",
        )
    ),
)

CLAIM: Final = DocumentType(
    "depoli-claim-1+sd-jwt",
    {
        "right_lens": _CODE,
        "left_lens": _CODE,
        "frame": _CODE,
        "supplements": _list(_CODE, 8),
        "lenses_cents": _CENTS,
        "frame_cents": _CENTS,
        "invoice_date": _day,
        "leg": _integer(0, 1),
        "prescription": _HEX32,  # commitment of the prescription
        "insured": _REFERENCE,  # the payer's own reference of the insured
        "authorisation": _REFERENCE,  # the number that the payer gave
    },
    frozenset(("invoice_date", "leg", "prescription")),
)

# By the payer of a claim, for whom it was paid: on what day. The claim stays closed: it is for the
# payer that is asked, later, of which one it spoke.
REIMBURSEMENT: Final = DocumentType(
    "depoli-reimbursement-1+sd-jwt",
    {"invoice_date": _day, "claim": _HEX32},
    frozenset(("invoice_date", "claim")),
    is_bound=True,
)


def mark_fields(secret: bytes, ordinal: int) -> dict[str, Value]:
    """Return the fields of a prescription that hold its secret and the marks made of it."""
    marks = {
        mark_field(leg, part): mark_of(secret, leg, part, ordinal).hex()
        for leg in Leg
        for part in Part
    }
    return {"mark_secret": secret.hex(), "ordinal": ordinal, **marks}


def mark_field(leg: Leg, part: Part) -> str:
    """Return the name of the field that holds this mark."""
    return f"mark_{leg.name.lower()}_{part.name.lower()}"


def issue(
    type_: DocumentType,
    values: Mapping[str, Value],
    salts: Sequence[bytes],
    *,
    key_id: bytes,
    key: Signer,
    holder: bytes | None = None,
) -> SdJwt:
    """Return a signed document with all its fields disclosed; those not in `values` are null.

    `salts` are 32 random bytes for each field of the type, drawn for this document alone. Raises
    `BadDocument` for a field that the type does not have or a value that it does not allow.
    """
    assert type_.is_bound is (holder is not None)
    assert len(salts) == len(set(salts)) == len(type_.fields)
    assert all(len(salt) == SALT_BYTES for salt in salts)
    complete = dict.fromkeys(type_.fields) | dict(values)
    _require(type_, complete)
    disclosures = [
        sd_jwt.make_disclosure(salt, name, complete[name])
        for salt, name in zip(salts, type_.fields, strict=True)
    ]
    return sd_jwt.issue(disclosures, type_.type, key_id, key, holder=holder)


def present(document: SdJwt, names: Iterable[str]) -> SdJwt:
    """Return `document` with these fields disclosed; raise `BadDocument` where one is not there."""
    held = {disclosure.name: disclosure for disclosure in document.disclosures}
    wanted = tuple(names)
    for name in wanted:
        if name not in held:
            raise BadDocument(f"the field {name[:64]!r} is not at hand")
    return SdJwt(
        document.jwt,
        document.algorithm,
        document.key_id,
        document.type,
        document.digests,
        tuple(held[name] for name in wanted),
        document.holder,
    )


def parse(text: str, type_: DocumentType) -> tuple[SdJwt, dict[str, Value]]:
    """Return a document of this type and the values of the fields that are disclosed with it.

    Neither its signature nor its commitment is verified. Raises `BadDocument`.
    """
    document = sd_jwt.parse(text)
    if document.type != type_.type:
        raise BadDocument(f"it is of the type {document.type[:64]!r}, not {type_.type}")
    if (document.holder is not None) is not type_.is_bound:
        raise BadDocument("it names the key of a holder where it must not, or does not")
    if len(document.digests) != len(type_.fields):
        raise BadDocument(f"a document of its type has {len(type_.fields)} fields")
    for disclosure in document.disclosures:
        if len(disclosure.salt) != _SALT_TEXT:
            raise BadDocument(f"the salt of {disclosure.name[:64]!r} is not {SALT_BYTES} bytes")
        sd_jwt.decode_base64url(disclosure.salt)
    if len({disclosure.salt for disclosure in document.disclosures}) < len(document.disclosures):
        raise BadDocument("two fields have one salt")
    values = {disclosure.name: disclosure.value for disclosure in document.disclosures}
    _require(type_, values)
    return document, values


def verify(text: str, type_: DocumentType, *, public: bytes, commitment: bytes) -> dict[str, Value]:
    """Return the disclosed fields of the document that `commitment` stands for on the chain.

    `public` is the issuer's key. Raises `BadDocument`.
    """
    document, values = parse(text, type_)
    require(document, public=public, commitment=commitment)
    return values


def require(document: SdJwt, *, public: bytes, commitment: bytes) -> None:
    """Raise `BadDocument` unless `commitment` stands for this document, signed under `public`."""
    if document.commitment != commitment:
        raise BadDocument("it is not the document that was committed on the chain")
    document.verify(public)


def _require(type_: DocumentType, values: Mapping[str, Value]) -> None:
    """Raise `BadDocument` unless these may be fields of such a document."""
    for name, value in values.items():
        check = type_.fields.get(name)
        if check is None:
            raise BadDocument(f"there is no field {name[:64]!r}")
        if value is None and name in type_.required:
            raise BadDocument(f"the field {name} is empty")
        if value is not None and not check(value):
            raise BadDocument(f"the field {name} holds what it must not hold")
    for eye in ("right", "left"):
        cylinder, axis = f"{eye}_cylinder", f"{eye}_axis"
        if (
            cylinder in values
            and axis in values
            and (values[cylinder] is None) is not (values[axis] is None)
        ):
            raise BadDocument(f"{cylinder} and {axis} stand together or not at all")
    if values.keys() >= {"mark_secret", "ordinal"}:
        made = mark_fields(bytes.fromhex(values["mark_secret"]), values["ordinal"])
        for name, value in made.items():
            if values.get(name, value) != value:
                raise BadDocument(f"{name} is not made of the secret")
