"""The ceremony that lets validators sign again where too few are left to pass their fences.

Validators whose journals were lost wait until the chain is past what they may have signed. Where a
quorum is not left without them it never is, and only their operators can say that they go on. Every
operator, also of an intact validator, hands all others a signed *testimony* of what is on its disk,
made while the node stands still. From all of them the wiped ones take the highest lock that anybody
has, sign nothing below a round that nobody had come to, and so contradict nothing that anybody
holds. docs/operator.md leads through it; docs/decisions/041 says why it is safe, and when not.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec

from consensus import promises
from consensus.errors import ConsensusError
from consensus.justify import Context, require
from consensus.messages import MAX_MESSAGE_BYTES, PreparedCertificate, Round, signatures
from contracts.execute import DirectSignatures
from ledger.encoding import U63_MAX, Struct, decode, encode
from ledger.errors import LedgerError
from ledger.keys import SigningKey, verify
from ledger.lock import DirectoryLock
from ledger.validators import Bytes32, ValidatorSet
from node import ceremony, files
from node.chain import Chain
from node.config import Config
from node.errors import Rejected, VerificationFailed
from node.initialise import JOURNAL_FOLDER
from node.journal import UNKNOWN_FENCE, Journal
from node.pledges import QUIET_HEIGHTS, SAFE_HEIGHTS, opened_above

DOMAIN: Final = b"depoli/testimony/1\0"
UNKNOWN_ROUND: Final = 100  # where nobody is left who knows how far the rounds had come
_ABOVE: Final = 2  # who lost its journal asked at most for one above the highest known


class Testimony(Struct):
    """What is on the disk of one validator that stands still."""

    chain_id: Bytes32
    validator: Bytes32  # its consensus key
    height: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # of its last block
    block_id: Bytes32
    is_current: bool  # its journal is, and lets it sign the next height
    round: Round  # the highest that it asked for or voted in at the next height
    lock: PreparedCertificate | None


class Signed(Struct):
    """A testimony, signed by the consensus key that it names."""

    testimony: Testimony
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class NotAllTestify(Rejected):
    """The testimonies are not exactly one of each validator."""

    def __init__(self, missing: Sequence[str], strangers: int) -> None:
        faults = [f"missing: {', '.join(missing)}"] if missing else []
        faults += [f"{strangers} too many"] if strangers else []
        super().__init__(
            f"one testimony of each validator is needed, and no other; {'; '.join(faults)}",
            hint="each operator makes one with: depoli node resume testify",
        )


class NothingToResume(Rejected):
    """The ceremony is not needed, or not for this validator."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, hint="start the node, and see: depoli doctor")


class Behind(Rejected):
    """A node is not at the block from which all go on."""

    def __init__(self, whose: str, height: int, wanted: int) -> None:
        super().__init__(
            f"{whose} last block is {height}, and the highest that anybody has is {wanted}",
            hint="start all nodes until it has followed, stop them, and testify again",
        )


class Outdated(Rejected):
    """Our disk is not as our testimony says: what was signed since would be forgotten."""

    def __init__(self) -> None:
        super().__init__(
            "what is on our disk is not what we testified: this validator confirmed already, or "
            "another file is its newest",
            hint="if it confirmed, start it; else stop all nodes, and let all testify again",
        )


class OtherHeight(Rejected):
    """The height that the operators agreed upon is not the one that the testimonies show."""

    def __init__(self, agreed: int, found: int) -> None:
        super().__init__(
            f"you say that all agreed on block {agreed}, but the testimonies show {found}",
            hint="compare height and block id with all other operators by voice first",
        )


class BadTestimony(VerificationFailed):
    """A file is no testimony of this chain, or was changed."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is no testimony for this chain: {reason}", hint="ask for another")


@dataclass(frozen=True)
class Resumption:
    """From where all go on."""

    height: int
    block_id: bytes
    round: int  # the first that a validator whose journal was lost signs in
    lock: PreparedCertificate | None
    resuming: tuple[str, ...]  # labels of the validators whose journals were lost


def testify(config: Config, key: SigningKey, out: Path) -> Testimony:
    """Write what is on our disk to the new file `out`. The node must stand still.

    Raises `StoreLocked` where it runs, `AlreadyThere`, `Behind`, and what its data is refused by.
    """
    with _opened(config) as chain:
        made = _testimony(config, key, chain)
        signature = key.sign(DOMAIN + encode(made))
        files.create(out, encode(Signed(made, signature)))
        return made


def resume(
    config: Config, key: SigningKey, paths: Sequence[Path], agreed_height: int
) -> Resumption:
    """Let our validator sign again above `agreed_height`, as all testimonies show it to be safe.

    Raises `BadTestimony`, `NotAllTestify`, `NothingToResume`, `Behind`, `OtherHeight`, `Outdated`.
    """
    with _opened(config) as chain:
        validators = chain.state.validators
        labels = _labels(config, validators)
        found = [_load(path, chain) for path in paths]
        decided = _resumption(chain, found, validators, labels)
        if chain.height != decided.height or chain.header.hash != decided.block_id:
            raise Behind("our", chain.height, decided.height)
        if agreed_height != decided.height:
            raise OtherHeight(agreed_height, decided.height)
        me = validators.index_of(key.public)
        if me is None:
            raise NothingToResume("this node is no validator of the next height")
        ours = _testimony(config, key, chain)
        if ours.is_current:
            raise NothingToResume("the journal of this validator is current: it need not resume")
        if ours not in found:
            raise Outdated
        made = opened_above(chain, decided.round, me, key.sign, decided.lock)
        identity = chain.header.chain_id + key.public
        folder = config.data / JOURNAL_FOLDER
        journal = Journal.open(folder, identity) or Journal.create(
            folder, identity, fence=UNKNOWN_FENCE
        )
        with contextlib.closing(journal):
            journal.resume(
                decided.height, decided.height + SAFE_HEIGHTS, [promises.encode(p) for p in made]
            )
        return decided


@contextlib.contextmanager
def _opened(config: Config) -> Iterator[Chain]:
    """Open the chain on our disk, which no node uses meanwhile."""
    genesis = ceremony.load_genesis(config.genesis).genesis
    lock = DirectoryLock(config.data)
    try:
        chain = Chain.open(config.data, genesis, DirectSignatures(), engine=config.store_engine)
        try:
            yield chain
        finally:
            chain.close()
    finally:
        lock.release()


def _testimony(config: Config, key: SigningKey, chain: Chain) -> Testimony:
    header = chain.header
    journal = Journal.open(config.data / JOURNAL_FOLDER, header.chain_id + key.public)
    state, is_current = promises.Restored(), False
    if journal is not None:
        with contextlib.closing(journal):
            shown = journal.height - 1  # who signs at a height has the block below it
            if journal.fence not in {0, UNKNOWN_FENCE}:
                shown = max(shown, journal.fence - SAFE_HEIGHTS)
            if shown > header.height:
                raise Behind("our", header.height, shown)
            is_current = not journal.fence or journal.fence + QUIET_HEIGHTS <= header.height
            made = map(promises.decode, journal.promises(header.height + 1))
            state = promises.restore(made, header.height + 1)  # of an old one, as far as it goes
    return Testimony(
        header.chain_id,
        key.public,
        header.height,
        header.hash,
        is_current,
        state.wish,
        state.prepared,
    )


def _load(path: Path, chain: Chain) -> Testimony:
    """Return a testimony that its validator signed, for this chain."""
    content = files.read_public(path, limit=MAX_MESSAGE_BYTES, hint="ask its operator for it")
    try:
        signed = decode(content, Signed)
        made = signed.testimony
        verify(made.validator, DOMAIN + encode(made), signed.signature, what="testimony")
    except LedgerError as error:
        raise BadTestimony(path, str(error)) from None
    if made.chain_id != chain.header.chain_id:
        raise BadTestimony(path, "it is of another chain")
    return made


def _resumption(
    chain: Chain,
    found: Sequence[Testimony],
    validators: ValidatorSet,
    labels: Mapping[bytes, str],
) -> Resumption:
    """Return from where all go on, or raise where the testimonies do not allow it."""
    by_key = {each.validator: each for each in found}
    missing = [label for key, label in labels.items() if key not in by_key]
    if missing or len(found) != len(labels):
        raise NotAllTestify(missing, len(found) + len(missing) - len(labels))
    top = max(found, key=lambda each: each.height)
    for each in found:  # what it is locked on above its own last block, it did not testify
        if each.height != top.height:
            raise Behind(f"{labels[each.validator]}'s", each.height, top.height)
    if any(each.block_id != top.block_id for each in found):
        raise NothingToResume("validators hold two blocks at one height: the chain is forked")
    current = [each for each in found if each.is_current]
    if len(current) >= validators.quorum:
        raise NothingToResume("a quorum of journals is current: the others wait until it is safe")
    locks = [each.lock for each in found if each.lock is not None]
    lock = max(locks, key=lambda each: each.round, default=None)
    reached = max(each.round for each in found)
    if lock is not None and chain.height == top.height:
        _verify_lock(chain, lock, reached + _ABOVE)
    resuming = tuple(labels[each.validator] for each in found if not each.is_current)
    round_ = max(reached + _ABOVE, 0 if current else UNKNOWN_ROUND)
    return Resumption(top.height, top.block_id, round_, lock, resuming)


def _verify_lock(chain: Chain, lock: PreparedCertificate, round_: int) -> None:
    """Raise unless a quorum of the validators of the open height prepared this."""
    claim = opened_above(chain, round_, 0, lambda _: bytes(64), lock)[-1]
    assert isinstance(claim, promises.Said)
    context = Context(chain.header.chain_id, chain.height + 1, chain.state.validators)
    try:
        require(claim.message, context)
        _, *prepares = signatures(claim.message, context.chain_id, context.validators)
        for public, message, signature in prepares:
            verify(public, message, signature, what="prepare")
    except (ConsensusError, LedgerError) as error:
        raise NothingToResume(f"a testimony claims a lock that is none: {error}") from None


def _labels(config: Config, validators: ValidatorSet) -> dict[bytes, str]:
    """Return what people call each validator, by consensus key."""
    members = ceremony.load_genesis(config.genesis).genesis.members
    names = {bytes(each.id): each.label for each in members}
    return {
        each.consensus_key: names.get(each.member, each.member.hex()) for each in validators.members
    }
