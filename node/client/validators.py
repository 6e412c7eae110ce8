"""Changes of validators, as files that organisations hand round, until one of them is sent.

A proposal says what is to change; an approval is one member's signature over it. Neither is secret.
What a file says is checked against the chain that we are of, and never believed beyond that.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

import msgspec

from contracts.calls import (
    Approval,
    Approved,
    Change,
    Joining,
    Leaving,
    Possession,
    Replacing,
    Rotating,
    ValidatorJoin,
    ValidatorKeys,
    ValidatorLeave,
    ValidatorReplace,
    ValidatorRotate,
)
from contracts.errors import Refusal
from contracts.membership import approval_bytes, change_id, possession_bytes
from ledger import keys as ed25519
from ledger.encoding import decode, encode
from ledger.entry import APPLIED
from ledger.errors import BadSignature, Malformed
from ledger.keys import Role, SigningKey, algorithm_of, key_id
from ledger.validators import quorum
from node.client.client import Hex16, Hex32, NodeClient, ValidatorsView
from node.client.errors import NotReadable, NotVerified
from node.client.members import Members
from node.client.refusals import refusal
from node.client.transactions import Sender, decide

CHANGE_FORMAT: Final = "depoli/validators-change/1"
APPROVAL_FORMAT: Final = "depoli/validators-approval/1"
MAX_FILE_BYTES: Final = 64 << 10
ROLES: Final = (Role.CONSENSUS, Role.CHECKPOINT, Role.TLS)
ATTEMPTS: Final = 5  # the block that a proof names may be old by the time it is in a block
_SAFE: Final = "depoli validator list shows whether it was made; sending again is safe"
_AGAIN: Final = frozenset((Refusal.BLOCK_NOT_RECENT, Refusal.CHANGE_UNDER_WAY))

T = TypeVar("T")
Keys = Mapping[Role, SigningKey]  # of the roles of a validator


class _Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    consensus: Hex32
    checkpoint: Hex32
    node: Hex32


class _ChangeFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["depoli/validators-change/1"]
    chain_id: Hex32
    change: Hex32  # its id, for people to compare
    kind: Literal["join", "leave", "replace"]
    member: Hex16  # that comes in, or that leaves
    leaving: Hex16 | None  # whose place is taken
    keys: _Keys | None
    term: int
    valid_until: int  # unix seconds


class _ApprovalFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["depoli/validators-approval/1"]
    chain_id: Hex32
    change: Hex32
    member: Hex16
    key_id: str
    signature: str


def change_json(chain_id: bytes, change: Approved) -> bytes:
    """Return a proposal as the file that is handed round."""
    keys = leaving = None
    if not isinstance(change, Leaving):
        keys = _Keys(*(key.hex() for key in msgspec.structs.astuple(change.keys)))
    if isinstance(change, Replacing):
        leaving = change.leaving.hex()
    kind: Literal["join", "leave", "replace"]
    kind = {Joining: "join", Leaving: "leave", Replacing: "replace"}[type(change)]  # type: ignore[assignment]
    file = _ChangeFile(
        CHANGE_FORMAT,
        chain_id.hex(),
        change_id(chain_id, change).hex(),
        kind,
        change.member.hex(),
        leaving,
        keys,
        change.term,
        change.valid_until,
    )
    return msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n"


def parse_change(data: bytes, chain_id: bytes, name: str = "this") -> Approved:
    """Return the proposal in a file of that name; raise `NotReadable`, `NotVerified`."""
    file = _parse(data, _ChangeFile, f"{name} is no proposed change of validators")
    _require_chain(file.chain_id, chain_id)
    member, limits = bytes.fromhex(file.member), (file.term, file.valid_until)
    change: Approved
    try:
        if file.kind == "leave":
            change = Leaving(member, *limits)
        elif file.keys is None:
            raise NotReadable("the proposal names no keys of the validator")
        else:
            keys = ValidatorKeys(*map(bytes.fromhex, msgspec.structs.astuple(file.keys)))
            if file.kind == "join":
                change = Joining(member, keys, *limits)
            else:
                change = Replacing(bytes.fromhex(file.leaving or ""), member, keys, *limits)
        decode(encode(change), type(change))  # refuses what is out of bounds
    except (ValueError, Malformed) as error:
        raise NotReadable(f"the proposal cannot be meant: {error}") from None
    found = change_id(chain_id, change).hex()
    if found != file.change:
        raise NotVerified("change", f"the file says {file.change}, and its fields are {found}")
    return change


def approve(sender: Sender, change: Approved) -> bytes:
    """Return the file by which the sender's member approves a change."""
    signature = sender.key.sign(approval_bytes(sender.chain_id, change))
    file = _ApprovalFile(
        APPROVAL_FORMAT,
        sender.chain_id.hex(),
        change_id(sender.chain_id, change).hex(),
        sender.member.hex(),
        sender.key_id.hex(),
        signature.hex(),
    )
    return msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n"


def parse_approval(
    data: bytes, chain_id: bytes, change: Approved, members: Members, name: str = "this"
) -> Approval:
    """Return the approval of `change` in a file, its signature verified where the key is known.

    Raises `NotReadable`, `NotVerified`.
    """
    file = _parse(data, _ApprovalFile, f"{name} is no approval")
    _require_chain(file.chain_id, chain_id)
    if file.change != change_id(chain_id, change).hex():
        raise NotVerified("approval", f"{_name(members, file.member)} approved another change")
    try:
        made = Approval(*map(bytes.fromhex, (file.member, file.key_id, file.signature)))
        decode(encode(made), Approval)  # refuses what is out of bounds
    except (ValueError, Malformed) as error:
        raise NotReadable(f"the approval cannot be meant: {error}") from None
    for public in _transaction_keys(members, made.member):
        if key_id(Role.TRANSACTION, algorithm_of(public), public) == made.key_id:
            try:
                what = f"the approval of {_name(members, file.member)}"
                ed25519.verify(public, approval_bytes(chain_id, change), made.signature, what=what)
            except BadSignature as error:
                raise NotVerified("approval", str(error)) from None
    return made


def require_quorum(
    approvals: Sequence[Approval], view: ValidatorsView, members: Members
) -> tuple[Approval, ...]:
    """Return the approvals by those who run validators, in the order of a call.

    Raises `NotVerified` where they are too few, naming who has not approved.
    """
    voters = {each.member for each in view.next}
    given = {each.member.hex(): each for each in approvals if each.member.hex() in voters}
    needed = quorum(len(voters))
    if len(given) < needed:
        missing = ", ".join(sorted(_name(members, each) for each in voters - given.keys()))
        raise NotVerified(
            "approvals",
            f"{len(given)} of the {needed} that it takes; not yet of: {missing}",
            hint="ask them to read the proposal and run: depoli validator approve",
        )
    return tuple(given[each] for each in sorted(given))


def prove(chain_id: bytes, change: Change, height: int, block_id: bytes, keys: Keys) -> Possession:
    """Return the proof that we have the keys of a change, and know a recent block."""
    message = possession_bytes(chain_id, change, height, block_id)
    consensus, checkpoint, node = (keys[role].sign(message) for role in ROLES)
    return Possession(height, block_id, consensus, checkpoint, node)


def public_keys(keys: Keys) -> ValidatorKeys:
    """Return the public parts of a validator's keys."""
    return ValidatorKeys(*(keys[role].public for role in ROLES))


class Registrar:
    """Whoever sends a change; it is signed anew while the block that it names grows old."""

    def __init__(self, node: NodeClient, sender: Sender, *, wait_s: int) -> None:
        self._node, self._sender, self._wait_s = node, sender, wait_s

    async def send(
        self, change: Change, approvals: Sequence[Approval] = (), keys: Keys | None = None
    ) -> int:
        """Make a change; return the height of its block. It takes effect two blocks later.

        Raises `NetworkRefused` with the reason, `Undecided` where the wait is over.
        """
        for attempt in range(1, ATTEMPTS + 1):
            call = await self._call(change, tuple(approvals), keys)
            made = self._sender.sign([call], now=int(time.time()))
            decided = await decide(self._node, made, wait_s=self._wait_s, hint=_SAFE)
            outcome = decided.outcome(0)
            if outcome.code == APPLIED:
                return decided.height
            if outcome.code not in _AGAIN or attempt == ATTEMPTS:
                raise refusal(outcome, "the change")
        raise AssertionError("the last attempt returns or raises")

    async def _call(
        self, change: Change, approvals: tuple[Approval, ...], keys: Keys | None
    ) -> ValidatorJoin | ValidatorLeave | ValidatorReplace | ValidatorRotate:
        if isinstance(change, Leaving):
            return ValidatorLeave(change, approvals)
        assert keys is not None  # whoever comes in, or changes keys, has them
        head = await self._node.head()
        block_id = bytes.fromhex(head.hash)
        proof = prove(self._sender.chain_id, change, head.height, block_id, keys)
        match change:
            case Joining():
                return ValidatorJoin(change, approvals, proof)
            case Replacing():
                return ValidatorReplace(change, approvals, proof)
            case Rotating():
                return ValidatorRotate(change, proof)


def describe(change: Change, members: Members) -> str:
    """Return in words what a change does."""
    who = members.label_of(change.member)
    match change:
        case Joining():
            return f"{who} joins the validators"
        case Leaving():
            return f"{who} leaves the validators"
        case Replacing(leaving=leaving) if leaving == change.member:
            return f"{who} gives its validator other keys, as the validators approve"
        case Replacing(leaving=leaving):
            return f"{who} takes the place of {members.label_of(leaving)} among the validators"
        case Rotating():
            return f"{who} gives its validator other keys"


def _transaction_keys(members: Members, id_: bytes) -> list[bytes]:
    founder = members.genesis.member(id_)
    keys = () if founder is None else founder.keys
    return [key.public for key in keys if key.role is Role.TRANSACTION]


def _name(members: Members, id_: str) -> str:
    return members.label_of(bytes.fromhex(id_))


def _parse(data: bytes, type_: type[T], otherwise: str) -> T:
    try:
        return msgspec.json.decode(data, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NotReadable(f"{otherwise}: {error}") from None


def _require_chain(found: str, expected: bytes) -> None:
    if found != expected.hex():
        raise NotVerified("chain_id", f"the file is of chain {found}, ours is {expected.hex()}")


def as_json(change: Change, members: Members, chain_id: bytes) -> dict[str, Any]:
    """Return a change as JSON values, for a command's result."""
    return {
        "change": change_id(chain_id, change).hex(),
        "says": describe(change, members),
        "member": change.member.hex(),
        "label": members.label_of(change.member),
        "term": None if isinstance(change, Rotating) else change.term,
        "valid_until": None if isinstance(change, Rotating) else change.valid_until,
    }
