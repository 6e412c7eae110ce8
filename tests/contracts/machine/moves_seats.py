"""What members might do about who runs a validator, and with which keys."""

from collections.abc import Iterator
from typing import ClassVar

from contracts.calls import (
    Joining,
    JoinValidators,
    LeaveValidators,
    Leaving,
    Possession,
    Propose,
    ReplaceValidator,
    Replacing,
    Rotating,
    Subject,
    ValidatorJoin,
    ValidatorKeys,
    ValidatorLeave,
    ValidatorReplace,
    ValidatorRotate,
    Vote,
)
from contracts.governance import State
from contracts.registry import Status
from ledger.encoding import Struct, encode
from ledger.hashing import Domain, hash_of
from ledger.keys import Role, SigningKey
from tests.contracts.machine.members import DAY
from tests.contracts.machine.moves_council import CouncilMoves
from tests.contracts.machine.moves_members import LOW_ORDER
from tests.contracts.machine.seats import Seats, keys_of, listed
from tests.contracts.machine.stage import Draw, Intent, Unfit


class SeatsMoves(CouncilMoves):
    """Makes calls about validators."""

    model: Seats
    subjects: ClassVar[tuple[str, ...]] = (
        *CouncilMoves.subjects,
        "seat",
        "seat",
        "no_seat",
        "other_seat",
        "other_seat",
    )

    # --- what is proposed -----------------------------------------------------------------------

    def _seated(self) -> list[bytes]:
        return [each.member for each in self.model.coming]

    def _outside(self) -> list[bytes]:
        every = self.model.members.values()
        seated = self._seated()
        return [e.id for e in every if e.id not in seated and e.status is Status.ADMITTED]

    def seat(self, draw: Draw) -> Subject:
        return JoinValidators(draw.target(self._outside(), list(self.model.members)))

    def no_seat(self, draw: Draw) -> Subject:
        seated = self._seated() if len(self._seated()) > 4 else []
        return LeaveValidators(draw.target(seated, list(self.model.members)))

    def other_seat(self, draw: Draw) -> Subject:
        every = list(self.model.members)
        leaving = draw.target(self._seated(), every)
        return ReplaceValidator(leaving, draw.target([*self._outside(), leaving], every))

    def steps_of_seating(self, draw: Draw) -> Iterator[list[Intent]]:
        """Yield by block what it takes to change who runs validators, from the proposal on."""
        model = self.model
        try:
            subject: Subject = getattr(self, draw.one_of(("seat", "no_seat", "other_seat")))(draw)
        except Unfit:
            return
        voters = [each for each in model.voters(model.height + 1) if model.admitted(each)]
        effect = model.height + model.parameters.notice_blocks + draw.number(2, 4)
        before = len(model.proposals)
        yield [Intent(draw.one_of(voters), Propose(subject, model.time + 9 * DAY, effect))]
        for id_ in list(model.proposals)[before:]:  # one, unless it was refused
            yield [Intent(each, Vote(id_, agrees=not draw.once_in(9))) for each in voters]
            while model.height < effect - 1:
                yield []
            yield [self.seating(draw, id_, subject)]

    # --- what is done ---------------------------------------------------------------------------

    def _voted(self, draw: Draw, kind: type[Struct]) -> tuple[bytes, Subject]:
        """Return a proposal of this kind which passed, if it is to make sense."""
        model = self.model
        every = [i for i, each in model.proposals.items() if isinstance(each.subject, kind)]
        good = [
            id_
            for id_ in every
            if model.proposals[id_].state is State.PASSED
            and model.proposals[id_].effect <= model.height + 1
            and model.proposals[id_].deadline > model.time
        ]
        id_ = draw.target(good, every)
        return draw.value(id_, self.fresh(), *model.proposals), model.proposals[id_].subject

    def _keys(self, draw: Draw, member: bytes) -> ValidatorKeys:
        made = [SigningKey(self.fresh()) for _ in range(3)]
        self.signers |= {each.public: each for each in made}
        consensus, checkpoint, node = (each.public for each in made)
        mine = self.model.members[member].keys if member in self.model.members else []
        nodes = [each.public for each in mine if each.role is Role.TLS and each.end is None]
        if nodes and draw.once_in(2):
            return ValidatorKeys(consensus, checkpoint, draw.one_of(nodes))
        return ValidatorKeys(draw.value(consensus, LOW_ORDER), checkpoint, node)

    def _proof(self, draw: Draw, change: Struct, keys: ValidatorKeys) -> Possession:
        height = max(0, self.model.height - draw.value(draw.number(0, 20), 40))
        block_id = self.model.blocks[height]
        head = b"depoli/sign/possession/1\x00"
        head += hash_of(Domain.CHANGE, self.model.chain_id, encode(change))
        message = head + height.to_bytes(8) + block_id
        signed = (
            self.signers[public].sign(message) if public in self.signers else bytes(64)
            for public in listed(keys)
        )
        consensus, checkpoint, node = signed
        return Possession(height, block_id, consensus, checkpoint, draw.value(node, bytes(64)))

    def seating(self, draw: Draw, proposal: bytes, subject: Subject) -> Intent:
        """Return the call that makes a change which was voted."""
        match subject:
            case LeaveValidators(member):
                sender = self.someone(draw, *self._seated())
                return Intent(sender, ValidatorLeave(Leaving(member, proposal)))
            case JoinValidators(member):
                keys = self._keys(draw, member)
                joining = Joining(member, keys, proposal)
                call = ValidatorJoin(joining, self._proof(draw, joining, keys))
                return Intent(self.someone(draw, member), call)
            case ReplaceValidator(leaving, member):
                keys = self._keys(draw, member)
                change = Replacing(leaving, member, keys, proposal)
                replacing = ValidatorReplace(change, self._proof(draw, change, keys))
                return Intent(self.someone(draw, member), replacing)
            case _:
                raise Unfit

    def validator_join(self, draw: Draw) -> Intent:
        return self.seating(draw, *self._voted(draw, JoinValidators))

    def validator_leave(self, draw: Draw) -> Intent:
        return self.seating(draw, *self._voted(draw, LeaveValidators))

    def validator_replace(self, draw: Draw) -> Intent:
        return self.seating(draw, *self._voted(draw, ReplaceValidator))

    def validator_rotate(self, draw: Draw) -> Intent:
        seats = {each.member: each for each in self.model.coming}
        member = draw.target(list(seats), list(self.model.members))
        keys = self._keys(draw, member)
        if member in seats and draw.once_in(2):
            before = keys_of(seats[member])
            stay = [draw.once_in(2) for _ in before]
            mixed = [
                old if stays else new
                for old, new, stays in zip(before, listed(keys), stay, strict=True)
            ]
            if len(set(mixed)) < len(mixed):
                raise Unfit
            keys = ValidatorKeys(*mixed)
        change = Rotating(member, keys)
        sender = self.someone(draw, member)
        return Intent(sender, ValidatorRotate(change, self._proof(draw, change, keys)))
