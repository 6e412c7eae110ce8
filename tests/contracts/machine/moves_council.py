"""What members might propose, vote, take back; and which rules their nodes know."""

from typing import ClassVar

import msgspec

from contracts.calls import (
    AdmitMember,
    NewKey,
    Propose,
    ReadySignal,
    ReinstateMember,
    RekeyMember,
    RemoveMember,
    ReplaceTable,
    ScheduleVersion,
    SetParameters,
    Subject,
    SuspendMember,
    Vote,
    Withdraw,
)
from contracts.governance import State
from contracts.reference import TableKind
from contracts.registry import Family, Status
from ledger.keys import Role
from tests.contracts.machine.members import DAY
from tests.contracts.machine.moves_members import MembersMoves
from tests.contracts.machine.stage import Draw, Intent


class CouncilMoves(MembersMoves):
    """Makes calls about what is voted."""

    subjects: ClassVar[tuple[str, ...]] = (
        "admission",
        "suspension",
        "reinstatement",
        "reinstatement",
        "removal",
        "new_key",
        "other_table",
        "other_parameters",
        "other_version",
    )

    def admission(self, draw: Draw) -> Subject:
        signer = self.new_signer(draw, Role.TRANSACTION)
        taken = draw.one_of(list(self.model.members.values())).keys[0].public
        public = draw.value(signer.public, taken)
        sealings: tuple[bytes | None, ...] = (None, self.new_signer(draw, Role.TLS).public)
        if draw.once_in(6):
            sealings = (public[:32], taken[:32])
        sealing = draw.one_of(sealings)
        family = draw.one_of(list(Family))
        country = draw.value(b"FR", b"CH", b"IS")
        algorithm = self.signers[public].algorithm
        return AdmitMember(family, country, NewKey(algorithm, public), sealing, None)

    def _member(self, draw: Draw, *stands: Status) -> bytes:
        every = list(self.model.members.values())
        member = draw.target([each for each in every if each.status in stands], every).id
        return draw.value(member, bytes(16))

    def suspension(self, draw: Draw) -> Subject:
        return SuspendMember(self._member(draw, Status.ADMITTED))

    def reinstatement(self, draw: Draw) -> Subject:
        return ReinstateMember(self._member(draw, Status.SUSPENDED))

    def removal(self, draw: Draw) -> Subject:
        every = list(self.model.members.values())
        voters = self.model.voters(self.model.height + 1)
        gone = [e for e in every if e.id not in voters and e.status is not Status.REMOVED]
        # Not all of them, or nobody is left to make claims.
        return RemoveMember(draw.target(gone if len(gone) > 5 else (), every).id)

    def new_key(self, draw: Draw) -> Subject:
        member = self._member(draw, Status.ADMITTED, Status.SUSPENDED)
        signer = self.new_signer(draw, Role.TRANSACTION)
        taken = draw.one_of(list(self.model.members.values())).keys[0].public
        public = draw.value(signer.public, taken)
        return RekeyMember(member, NewKey(self.signers[public].algorithm, public))

    def other_table(self, draw: Draw) -> Subject:
        kind = draw.one_of(list(TableKind))
        return ReplaceTable(kind, draw.value(self.fresh(), self.model.tables.get(kind, bytes(32))))

    def other_parameters(self, draw: Draw) -> Subject:
        before = self.model.parameters
        wanted = msgspec.structs.replace(
            before,
            dispute_window_s=draw.one_of((0, DAY, 7 * DAY, 30 * DAY)),
            notice_blocks=draw.number(2, 4),
        )
        return SetParameters(draw.value(wanted, before))

    def other_version(self, draw: Draw) -> Subject:
        return ScheduleVersion(draw.value(2, 1))

    def propose(self, draw: Draw) -> Intent:
        subject: Subject = getattr(self, draw.one_of(self.subjects))(draw)
        height, time = self.model.height, self.model.time
        deadline = time + draw.value(draw.number(2, 60) * DAY, -1, 91 * DAY)
        soon = height + self.model.parameters.notice_blocks
        effect = draw.value(soon + draw.number(4, 40), soon - 1, height + (1 << 25))
        sender = self.someone(draw, *self.model.voters(height + 1))
        return Intent(sender, Propose(subject, deadline, effect))

    def _to_decide(self) -> list[bytes]:
        return [
            id_
            for id_, each in self.model.proposals.items()
            if each.state is State.OPEN
            and each.deadline > self.model.time
            and each.effect > self.model.height + self.model.parameters.notice_blocks
        ]

    def ballots(self, draw: Draw) -> list[Intent]:
        """Return a vote on one proposal of each who may vote and has not, most of them for it."""
        open_ = self._to_decide()
        if not open_:
            return []
        id_ = draw.one_of(open_)
        voters = self.model.voters(self.model.height + 1)
        left = [e for e in voters if e not in self.model.proposals[id_].votes]
        may = [each for each in left if self.model.admitted(each)]
        return [Intent(each, Vote(id_, not draw.once_in(8))) for each in may]

    def vote(self, draw: Draw) -> Intent:
        open_ = self._to_decide()
        id_ = draw.target(open_, (*self.model.proposals, self.fresh()))
        found = self.model.proposals.get(id_)
        voters = self.model.voters(self.model.height + 1)
        left = [each for each in voters if found is None or each not in found.votes]
        return Intent(self.someone(draw, *left), Vote(id_, not draw.once_in(5)))

    def withdraw(self, draw: Draw) -> Intent:
        every = self.model.proposals
        open_ = [id_ for id_, each in every.items() if each.state is State.OPEN]
        # Few, or nothing would ever be decided.
        id_ = draw.target(open_ if len(open_) > 3 else (), (*every, self.fresh()))
        sender = [every[id_].by] if id_ in every else list(self.model.members)
        return Intent(self.someone(draw, *sender), Withdraw(id_))

    def ready_signal(self, draw: Draw) -> Intent:
        voters = [each.member for each in self.model.coming]
        return Intent(self.someone(draw, *voters), ReadySignal(draw.value(2, 1, 3)))
