"""The state machine: members of all kinds make calls of all kinds, in every order, and worse."""

from collections.abc import Iterable
from typing import ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from contracts import (
    authorisation,
    batch,
    delegation,
    disclosure,
    eras,
    erasure,
    governance,
    marks,
    parameters,
    registry,
    versions,
)
from contracts import claim as claims
from contracts.calls import Call, DelegationGrant, KeyAdd, MarkLock, PrescriptionCommit
from contracts.commitment import verify_opening
from contracts.dispatch import CODES
from contracts.parameters import Parameters
from ledger.keys import Role, Signer, SigningKey
from ledger.transaction import MAX_LIFETIME_S, Transaction, parse
from tests.contracts.machine.book import Held, Member
from tests.contracts.machine.erasing import Erasing
from tests.contracts.machine.excesses import Excesses
from tests.contracts.machine.members import DAY
from tests.contracts.machine.moves_agreeing import ITEMS, PAPERS, POINTS
from tests.contracts.machine.stage import Draw, Intent, Stage
from tests.contracts.world import (
    FAMILIES,
    PEOPLE,
    VALIDATOR_ROLES,
    VALIDATORS,
    World,
    bytes32,
    key_of,
)

SEEDS = st.integers(0, (1 << 24) - 1)
PARAMETERS = Parameters(notice_blocks=2)
OTHERS = ("mutual", "operator", "shop")  # who get a person's key in the beginning
JUMPS = (3_600, 3_600, DAY, DAY, 3 * DAY, 8 * DAY, 31 * DAY, 95 * DAY)
RARE = {
    "key_revoke",
    "withdraw",
    "prescription_revoke",
    "prescription_supersede",
    "claim_cancel",
    "claim_abandon",
    "authorisation_cancel",
    "settlement_cancel",
    "settlement_remove",
    "settlement_open",
}
OFTEN = {
    "propose",
    "vote",
    "claim_submit",
    "claim_accept",
    "claim_dispute",
    "settlement_add",
    "settlement_announce",
    "settlement_confirm",
    "authorisation_grant",
    "authorisation_request",
}
KINDS = (
    "key_add",
    "key_revoke",
    "key_rotate",
    "certificate_bind",
    "delegation_grant",
    "delegation_withdraw",
    "propose",
    "vote",
    "withdraw",
    "ready_signal",
    "validator_join",
    "validator_leave",
    "validator_replace",
    "validator_rotate",
    "prescription_commit",
    "prescription_supersede",
    "prescription_revoke",
    "mark_lock",
    "authorisation_request",
    "authorisation_ask",
    "authorisation_answer",
    "authorisation_grant",
    "authorisation_refuse",
    "authorisation_review",
    "authorisation_cancel",
    "claim_submit",
    "claim_on_agreement",
    "claim_again",
    "claim_supersede",
    "claim_accept",
    "claim_reject",
    "claim_cancel",
    "claim_abandon",
    "claim_dispute",
    "claim_uphold",
    "claim_overturn",
    "claim_withdraw",
    "claim_reverse",
    "claim_recover",
    "claim_concede",
    "claim_close",
    "settlement_open",
    "settlement_add",
    "settlement_remove",
    "settlement_announce",
    "settlement_confirm",
    "settlement_dispute",
    "settlement_insist",
    "settlement_withdraw",
    "settlement_cancel",
    "disclosure_acknowledge",
    "erasure_request",
    "erasure_statement",
)


class Everything(Excesses):
    """All that can be done."""


def beginning() -> Everything:
    """Return a chain of one block, and the model of it."""
    world, signers = World(PARAMETERS), dict[bytes, Signer]()
    model = Erasing(world.chain_id, PARAMETERS, time=world.chain.header.time)
    model.points |= set(POINTS)
    model.openings |= {bytes(point): opening for point, opening in POINTS.items()}
    for name, family in FAMILIES.items():
        member = Member(world.ids[name], family)
        roles = VALIDATOR_ROLES if name in VALIDATORS else (Role.TRANSACTION,)
        keys = [(role, key_of(name, role)) for role in roles]
        keys += [(Role.HUMAN, key_of(each, Role.HUMAN)) for each in PEOPLE.get(name, ())]
        for role, signer in keys:
            signers[signer.public] = signer
            member.keys.append(Held(role, signer.public, 0))
        model.members[member.id] = member
    model.blocks[0] = world.chain.header.hash
    model.eras.append((0, world.chain.validators.members))
    return Everything(world, model, signers)


class Network(RuleBasedStateMachine):
    """One chain and the model of it."""

    kinds: ClassVar[tuple[str, ...]] = tuple(
        kind for kind in KINDS for _ in range(1 + (kind not in RARE) + 2 * (kind in OFTEN))
    )

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setitem(CODES, 2, CODES[1])  # rules to come, which are as those before
        self.stage = beginning()
        self.model = self.stage.model

    # --- what happens ---------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        """Give some members a person's key, and let the operator act for the shop."""
        stage = self.stage
        sent, ids = [], stage.world.ids
        for name in OTHERS:
            signer = SigningKey(bytes32(f"a person of {name}"))
            stage.signers[signer.public] = signer
            head = b"depoli/sign/key/1\x00" + self.model.chain_id + ids[name]
            proof = signer.sign(head + bytes((Role.HUMAN, signer.algorithm)) + signer.public)
            call = KeyAdd(Role.HUMAN, signer.algorithm, signer.public, 0, None, proof)
            sent.append(self.signed(ids[name], call))
        until = self.model.time + 400 * DAY
        sent.append(self.signed(ids["shop"], DelegationGrant(ids["operator"], 15, until)))
        stage.send(*sent)
        for shop in ("shop", "rival"):
            marks = [each.mark for item in ITEMS for each in item]
            locks = [MarkLock(self.model.lock_of(ids[shop], each)) for each in marks]
            papers = [PrescriptionCommit(each) for each in PAPERS]
            stage.send(self.signed(ids[shop], *locks, *papers))

    def signed(self, sender: bytes, *calls: Call) -> Transaction:
        height = self.model.height + 1
        mine = self.model.members[sender].keys
        key = next(e for e in mine if e.role is Role.TRANSACTION and e.is_good(height))
        return self.stage.sign(sender, key, calls, valid_until=self.model.time + 3_600)

    def drawn(self, draw: Draw, after: int, calls: int = 1) -> Transaction:
        """Return a transaction of some calls of one member."""
        first = self.stage.intent(draw, self.kinds)
        others = [self.stage.intent(draw, self.kinds) for _ in range(calls - 1)]
        more = [each.call for each in others if each.sender == first.sender or draw.once_in(4)]
        key = self.stage.key_of(draw, first.sender, by_person=first.by_person)
        until = self.model.time + after + draw.one_of((0, 3_600, MAX_LIFETIME_S))
        return self.stage.sign(first.sender, key, (first.call, *more), valid_until=until)

    @rule(seed=SEEDS, after=st.sampled_from((1, 60)))
    def make_one(self, seed: int, after: int) -> None:
        self.stage.send(self.drawn(Draw(seed), after), after=after)

    @rule(seed=SEEDS)
    def make_one_at_once(self, seed: int) -> None:
        self.stage.send(self.drawn(Draw(seed), 1))

    @rule(seed=SEEDS, count=st.integers(3, 12))
    def make_one_after_the_other(self, seed: int, count: int) -> None:
        draw = Draw(seed)
        for _ in range(count):
            self.stage.send(self.drawn(draw, 1))

    @rule(seed=SEEDS, after=st.sampled_from(JUMPS))
    def make_one_much_later(self, seed: int, after: int) -> None:
        self.stage.send(self.drawn(Draw(seed), after), after=after)

    @rule(seed=SEEDS, count=st.integers(2, 6))
    def make_a_lot(self, seed: int, count: int) -> None:
        self.stage.send(self.drawn(Draw(seed), 1, count))

    @rule(seed=SEEDS, count=st.integers(2, 5))
    def make_several_in_one_block(self, seed: int, count: int) -> None:
        draw = Draw(seed)
        self.stage.send(*(self.drawn(draw, 1) for _ in range(count)))

    @rule(seed=SEEDS)
    def decide(self, seed: int) -> None:
        """Let those who have not voted on a proposal do so, all in one block."""
        ballots = self.stage.ballots(Draw(seed))
        self.stage.send(*(self.signed(each.sender, each.call) for each in ballots))

    @rule(seed=SEEDS)
    def settle(self, seed: int) -> None:
        """Settle what can be settled between two members, as far as it goes."""
        draw = Draw(seed)
        self.follow(draw, self.stage.steps_of_settlement(draw))

    @rule(seed=SEEDS)
    def change_seats(self, seed: int) -> None:
        """Let those who run validators be others, as far as it goes."""
        draw = Draw(seed)
        self.follow(draw, self.stage.steps_of_seating(draw))

    def follow(self, draw: Draw, steps: Iterable[list[Intent]]) -> None:
        """Make block after block of these calls, each by a key of its sender, or stop half-way."""
        for step in steps:
            by_sender: dict[bytes, list[Call]] = {}
            for each in step:
                if self.model.admitted(each.sender):
                    by_sender.setdefault(each.sender, []).append(each.call)
            self.stage.send(*(self.signed(who, *calls) for who, calls in by_sender.items()))
            if draw.once_in(20):
                break

    @rule(seed=SEEDS)
    def ask_for_too_much(self, seed: int) -> None:
        """Do at once what may be done a little at a time."""
        draw = Draw(seed)
        self.follow(draw, draw.one_of(self.stage.excesses())(draw))

    @rule(count=st.sampled_from((1, 2, 5, 20)))
    def let_blocks_pass(self, count: int) -> None:
        for _ in range(count):
            self.stage.send()

    @precondition(lambda self: self.stage.sent)
    @rule(seed=SEEDS, after=st.sampled_from((1, 1, DAY)))
    def send_again(self, seed: int, after: int) -> None:
        sent, time = self.stage.sent[-40:], self.model.time + after
        good = [each for each in sent if each.body.valid_until >= time]
        self.stage.send(Draw(seed).one_of(good or sent), after=after)

    @precondition(lambda self: self.stage.sent)
    @rule(seed=SEEDS)
    def make_the_same_calls_again(self, seed: int) -> None:
        """Sign anew what was made: another transaction, of the same calls."""
        draw = Draw(seed)
        body = draw.one_of(self.stage.sent[-40:]).body
        key = self.stage.key_of(draw, body.sender)
        until = self.model.time + 600
        self.stage.send(self.stage.sign(body.sender, key, body.calls, valid_until=until))

    @rule(seed=SEEDS)
    def forge(self, seed: int) -> None:
        """Send what no block may hold: of two kinds, and the good one, it is in a block once."""
        draw, stage = Draw(seed), self.stage
        good = self.drawn(draw, 1)
        body, time = good.body, self.model.time
        owner = self.model.owner(body.key_id)
        key = owner.key(body.key_id) if owner else None
        assert key is not None
        calls = body.calls
        bad = draw.one_of(
            (
                stage.sign(body.sender, key, calls, valid_until=time + 9, chain_id=bytes(32)),
                stage.sign(body.sender, key, calls, valid_until=time),
                stage.sign(body.sender, key, calls, valid_until=time + 2 + MAX_LIFETIME_S),
                stage.sign(bytes(16), key, calls, valid_until=time + 9),
                stage.sign(
                    body.sender, key, (*calls, b"\x93\xcd\xff\xff\x00"), valid_until=time + 9
                ),
                parse(good.raw[:-64] + bytes(64)),
            )
        )
        stage.send(*draw.one_of(((bad, good), (good, bad), (good, good))))

    # --- what must be ---------------------------------------------------------------------------

    @invariant()
    def nothing_is_as_it_may_never_be(self) -> None:
        Stage.tally.steps += 1
        self.model.check()

    @invariant()
    def members_are_as_modelled(self) -> None:
        state, model = self.stage.world.state, self.model
        for id_, member in model.members.items():
            found = registry.member(state, id_)
            assert found is not None
            assert (found.status, found.family) == (member.status, member.family)

    @invariant()
    def a_mark_is_of_one_thing_alive(self) -> None:
        state, time = self.stage.world.state, self.model.time
        holders = self.model.holders(time)
        for mark in (each.mark for item in ITEMS for each in item):
            alive = holders.get(mark, [])
            assert len(alive) <= 1
            assert marks.holder(state, mark, time) == (alive[0] if alive else None)

    def everything_is_as_modelled(self) -> None:
        state, model = self.stage.world.state, self.model
        for id_, member in model.members.items():
            found = {
                (key_id, key.role, key.public, key.from_height, key.until_height)
                for key_id, key in registry.keys_of(state, id_)
            }
            keys = {(e.id, e.role, e.public, e.first, e.end) for e in member.keys}
            assert found == keys
        for (principal, delegate), each in model.delegations.items():
            between = delegation.between(state, principal, delegate)
            assert between is not None
            assert (between.scope, between.until) == (each.scope, each.until)
            assert between.is_withdrawn == each.is_withdrawn
        for id_, claim in model.claims.items():
            held = claims.load(state, id_)
            assert held is not None
            found_state = claims.state_of(state, held, model.time)
            assert found_state is model.claim_state(claim, model.time)
            assert held.due == claim.due
            assert (held.since, held.owed) == (claim.since, claim.owed)
            assert held.document == claim.document
            assert set(held.disputed) == claim.disputed
        for id_, settled in model.batches.items():
            settlement = batch.load(state, id_)
            assert settlement is not None
            assert (settlement.state, settlement.since) == (settled.state, settled.since)
            assert batch.claims_of(state, id_) == sorted(settled.claims)
            assert settlement.count == len(settled.claims)
            if settled.claims:
                verify_opening(settlement.sum, model.total(settled))
        for id_, agreement in model.agreements.items():
            agreed = authorisation.load(state, id_)
            assert agreed is not None
            assert (agreed.state, agreed.until) == (agreement.state, agreement.until)
        for (who, commitment), height in model.stands.items():
            assert disclosure.stands_since(state, who, commitment) == height
        for id_, asked in model.erasures.items():
            erased = erasure.load(state, id_)
            assert erased is not None
            assert (erased.requester, erased.recipient) == (asked.requester, asked.recipient)
            assert (erased.state, erased.outcome) == (asked.state, asked.outcome)
            assert erased.since == asked.since
        for number, (id_, proposed) in enumerate(model.proposals.items()):
            proposal = governance.load(state, id_)
            assert proposal is not None
            assert proposal.state is proposed.state
            assert governance.numbered(state, number) == id_
        assert parameters.load(state) == model.parameters
        assert versions.agenda(state).in_force == model.version
        assert eras.latest(state).validators.members == model.coming

    def teardown(self) -> None:
        try:
            if self.stage.is_whole:
                self.everything_is_as_modelled()
                self.stage.finish()
        finally:
            self.patch.undo()
