"""What is refused because it is too much, or too soon after what it rests on."""

from collections.abc import Callable, Iterator

import msgspec

from contracts.authorisation import State as Agreed
from contracts.batch import State as Batched
from contracts.calls import (
    AuthorisationAnswer,
    AuthorisationAsk,
    KeyAdd,
    MarkLock,
    Propose,
    ReplaceTable,
    SettlementAdd,
    Vote,
)
from contracts.reference import TableKind
from ledger.keys import Algorithm, Role, SigningKey
from tests.contracts.machine.members import DAY
from tests.contracts.machine.moves_agreeing import PARTS_OF
from tests.contracts.machine.moves_erasing import ErasingMoves
from tests.contracts.machine.stage import Draw, Intent, Unfit

Steps = Iterator[list[Intent]]


class Excesses(ErasingMoves):
    """Makes many calls at once; each generator yields the calls of block after block."""

    def excesses(self) -> tuple[Callable[[Draw], Steps], ...]:
        return (self.keys, self.proposals, self.mark_at_once, self.questions, self.claims_twice)

    def keys(self, draw: Draw) -> Steps:
        """More keys than a member may have."""
        member, calls = self.anyone(draw).id, []
        for _ in range(33):
            signer = SigningKey(self.fresh())
            self.signers[signer.public] = signer
            proof = self.possession(member, Role.SEALING, signer)
            call = KeyAdd(Role.SEALING, Algorithm.ED25519, signer.public, 0, None, proof)
            calls.append(Intent(member, call))
        yield calls

    def proposals(self, draw: Draw) -> Steps:
        """More proposals than one may have open, and more than may take effect at one height."""
        model = self.model
        voters = [each for each in model.voters(model.height + 1) if model.admitted(each)]
        effect = model.height + model.parameters.notice_blocks + len(voters) + 3
        before = len(model.proposals)
        kinds = list(TableKind)
        yield [
            Intent(each, Propose(self.another(draw, kinds), model.time + DAY, effect))
            for each in voters
            for _ in range(9)
        ]
        made = list(model.proposals)[before:]
        for each in voters:
            yield [Intent(each, Vote(id_, agrees=True)) for id_ in made]

    def another(self, draw: Draw, kinds: list[TableKind]) -> ReplaceTable:
        return ReplaceTable(draw.one_of(kinds), self.fresh())

    def mark_at_once(self, draw: Draw) -> Steps:
        """A mark that is locked in the block in which it is used."""
        try:
            shop, call = self.what_is_asked(draw)
        except Unfit:
            return
        locks, lock_of = self.model.locks, self.model.lock_of
        never = [
            marks
            for marks in PARTS_OF
            if all(lock_of(shop, each.mark) not in locks for each in marks)
        ]
        if not never:
            return
        marks = draw.one_of(never)
        at_once = msgspec.structs.replace(call, marks=marks, leg=PARTS_OF[marks])
        new = [Intent(shop, MarkLock(lock_of(shop, each.mark))) for each in marks]
        yield [*new, Intent(shop, at_once)]

    def questions(self, draw: Draw) -> Steps:
        """A third question."""
        time = self.model.time + 1
        waits = (Agreed.REQUESTED, Agreed.INFO_REQUESTED)
        every = self.model.agreements.items()
        open_ = [(id_, each) for id_, each in every if each.stands(time) in waits]
        if not open_:
            return
        id_, found = draw.one_of(open_)
        for _ in range(3):
            yield [Intent(found.call.payer, AuthorisationAsk(id_, self.fresh()))]
            yield [Intent(found.shop, AuthorisationAnswer(id_, self.fresh()))]

    def claims_twice(self, draw: Draw) -> Steps:
        """A claim that is listed twice, and one that is in another settlement already."""
        drafts = [
            (id_, each) for id_, each in self.model.batches.items() if each.state is Batched.OPEN
        ]
        payable = self._payable()
        for id_, each in drafts:
            claims = payable.get((each.payer, each.beneficiary, each.direction), [])
            if claims:
                claim = draw.one_of(claims)
                yield [Intent(each.payer, SettlementAdd(id_, (claim, claim)))]
                yield [Intent(each.payer, SettlementAdd(id_, (claim,)))]
                yield [Intent(each.payer, SettlementAdd(id_, (claim,)))]
                return
