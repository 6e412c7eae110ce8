"""Which version of the rules is in force at which height, and how the next one comes into force.

A vote schedules a version, not before a height. Each member that runs a validator signals which
version its node knows. At the first block from that height on at which a quorum of the validators
have done so, it is announced for two blocks later; from then on nothing holds it up, so that every
node knows it before it must act by it. While too few are ready the rules in force stay.
"""

from functools import lru_cache
from typing import Annotated, Final

import msgspec

from contracts import eras
from contracts.calls.versions import ReadySignal
from contracts.context import Concerned, Context
from contracts.errors import Refusal, Refused
from contracts.life import Rule, Rules
from contracts.state import Overlay, Reader
from ledger.block import FIRST_VERSION, Version
from ledger.encoding import U63_MAX, Struct, decode, encode
from ledger.validators import EVERYONE, ValidatorSet

NOTICE: Final = 2  # blocks from the announcement to the first block under the new rules
_AGENDA: Final = b"h"  # -> Agenda; absent while the first version is in force and none scheduled
_READY: Final = b"h"  # + member -> u16, the highest version that its node knows

Height = Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]


class Scheduled(Struct):
    """A version that is to come into force."""

    version: Version
    not_before: Height  # of the block at which it may be announced
    from_height: Height | None  # at which it comes into force, None: too few are ready


class Agenda(Struct):
    """The version in force, and the one that is to follow."""

    in_force: Version
    scheduled: Scheduled | None

    def at(self, height: int) -> int:
        """Return the version in force at `height`, which is the next one or the one after it."""
        coming = self.scheduled
        if coming is not None and coming.from_height is not None and height >= coming.from_height:
            return coming.version
        return self.in_force


_FIRST: Final = Agenda(FIRST_VERSION, None)


def agenda(state: Reader) -> Agenda:
    """Return the version in force and the one scheduled, as the last block left them."""
    found = state.get(_AGENDA)
    return _FIRST if found is None else _parse(found)


def at(state: Reader, height: int) -> int:
    """Return the version in force at `height`, the next one."""
    return agenda(state).at(height)


def may_schedule(state: Reader, version: int) -> bool:
    """Return whether `version` can follow: it is new, and no other is announced.

    The version in force can be named too: then none is scheduled any more.
    """
    known = agenda(state)
    coming = known.scheduled
    return version >= known.in_force and (coming is None or coming.from_height is None)


def schedule(state: Overlay, version: int, height: int) -> None:
    """Let `version` come into force when a quorum is ready, two blocks above `height` or later.

    It takes the place of one that was scheduled and is not announced; where `may_schedule` says
    no, nothing changes. Naming the version in force takes back what was scheduled.
    """
    if may_schedule(state, version):
        known = agenda(state)
        coming = None if version == known.in_force else Scheduled(version, height, None)
        _save(state, msgspec.structs.replace(known, scheduled=coming))


def step(state: Overlay, height: int, voters: ValidatorSet) -> int:
    """Begin the block at `height`; return the version in force there.

    `voters` are those of the next height: the last ones that are known. Where nothing is scheduled
    one key is read; else, from the height scheduled on, one for each validator.
    """
    known = agenda(state)
    coming = known.scheduled
    if coming is None:
        return known.in_force
    if coming.from_height is None:
        ready = readiness(state, voters)
        enough = sum(each >= coming.version for each in ready) >= voters.quorum
        if height >= coming.not_before and enough:
            announced = msgspec.structs.replace(coming, from_height=height + NOTICE)
            _save(state, msgspec.structs.replace(known, scheduled=announced))
    elif height >= coming.from_height:
        _save(state, Agenda(coming.version, None))
    return known.at(height)


def readiness(state: Reader, voters: ValidatorSet) -> tuple[int, ...]:
    """Return the version that each validator's member signalled last, 0 where it never did."""
    return tuple(_signalled(state, voter.member) for voter in voters.members)


def signal(context: Context, call: ReadySignal) -> Concerned:
    """Note which version the sender's node knows, or raise `Refused`. It concerns everyone.

    A later signal takes the place of an earlier one, also a lower one.
    """
    voters = eras.latest(context.state).validators.members
    if all(voter.member != context.sender for voter in voters):
        raise Refused(Refusal.NO_VALIDATOR)
    context.state.put(_READY + context.sender, call.version.to_bytes(2))
    return (EVERYONE,)


def _signalled(state: Reader, member: bytes) -> int:
    found = state.get(_READY + member)
    return 0 if found is None else int.from_bytes(found)


def _save(state: Overlay, known: Agenda) -> None:
    state.put(_AGENDA, encode(known))


def _concerned(_state: Reader, _call: object, _created: bytes) -> Concerned:
    return (EVERYONE,)


RULES: Final[Rules] = {ReadySignal: Rule(signal, _concerned)}


# Read by every block and transaction, and hardly ever another one.
@lru_cache(maxsize=16)
def _parse(data: bytes) -> Agenda:
    return decode(data, Agenda)
