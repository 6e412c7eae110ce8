"""Random members make random calls; a model written apart says what must become of each.

After every step no mark is used by two live claims, and nothing accepted is settled twice. In the
end the header's roots are those of the whole state and of everybody's entries, computed anew.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from contracts import batch, settlement
from contracts import claim as claims
from contracts.calls import (
    Call,
    ClaimAccept,
    ClaimCancel,
    ClaimReject,
    Direction,
    Ground,
    MarkLock,
    Part,
    PrescriptionCommit,
    Reason,
    SettlementAdd,
    SettlementAnnounce,
    SettlementCancel,
    SettlementConfirm,
    SettlementDispute,
    SettlementInsist,
    SettlementOpen,
    SettlementRemove,
    SettlementWithdraw,
)
from contracts.commitment import Opening, lock_of, sum_openings, verify_opening
from contracts.errors import Refusal
from ledger.digest import StateDigest
from ledger.entry import Entry
from ledger.hashing import Hash
from ledger.heads import Head, Heads, first
from ledger.transaction import created_id
from ledger.validators import MemberId
from tests.contracts.world import World, bytes32, mark, opening

SHOPS = ("shop", "rival")
PAYERS = ("insurer", "mutual", "operator")
PEOPLE = (*SHOPS, *PAYERS, "auditor")
WHO_MAY = "who may"  # stands for him whose call it is
SENDERS = (*[WHO_MAY] * 8, *PEOPLE)
ITEMS = tuple((name, part) for name in ("a", "b") for part in Part)  # what marks stand for

ACCEPTED = ("accepted", "accepted_in_part")

Item = tuple[str, Part]
Made = bytes | MultipleResults[bytes]


@dataclass
class Modelled:
    """A claim as the model sees it."""

    shop: str
    payer: str
    items: tuple[Item, ...]
    due: Opening
    state: str = "submitted"
    accepted: str = ""  # the state in which it was accepted
    settlement: bytes | None = None

    @property
    def is_live(self) -> bool:
        return self.state != "cancelled"


@dataclass
class Batch:
    """A settlement as the model sees it."""

    payer: str
    shop: str
    ids: list[bytes] = field(default_factory=list)
    state: str = "open"


Step: TypeAlias = type[
    SettlementConfirm | SettlementDispute | SettlementWithdraw | SettlementInsist | SettlementCancel
]
# (state, call) -> (whose call it is, state after); what changes the list stands apart.
STEPS: dict[tuple[str, Step], tuple[str, str]] = {
    ("announced", SettlementConfirm): ("shop", "confirmed"),
    ("disputed", SettlementConfirm): ("shop", "confirmed"),
    ("upheld", SettlementConfirm): ("shop", "confirmed"),
    ("announced", SettlementDispute): ("shop", "disputed"),
    ("disputed", SettlementWithdraw): ("shop", "announced"),
    ("upheld", SettlementWithdraw): ("shop", "announced"),
    ("disputed", SettlementInsist): ("payer", "upheld"),
    ("open", SettlementCancel): ("payer", "cancelled"),
    ("disputed", SettlementCancel): ("payer", "cancelled"),
    ("upheld", SettlementCancel): ("payer", "cancelled"),
}


@dataclass
class Model:
    """What should be."""

    prescriptions: set[tuple[str, str]] = field(default_factory=set)
    locks: dict[tuple[str, Item], int] = field(default_factory=dict)
    claims: dict[bytes, Modelled] = field(default_factory=dict)
    settlements: dict[bytes, Batch] = field(default_factory=dict)

    def live(self, item: Item) -> list[bytes]:
        return [id_ for id_, each in self.claims.items() if each.is_live and item in each.items]


class Machine(RuleBasedStateMachine):
    """One chain and the model of it."""

    claimed: Bundle[bytes] = Bundle("claimed")
    begun: Bundle[bytes] = Bundle("begun")

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.model = Model()
        self.entries: list[tuple[Entry, tuple[MemberId, ...]]] = []
        self.serial = 0

    def make(self, sender: str, call: Call) -> tuple[int, Hash]:
        """Put a call into a block; return the code of its outcome and the id it would create."""
        transaction = self.world.transaction(sender, call)
        executed = self.world.block(transaction)
        self.entries += zip(executed.entries, executed.concerned, strict=True)
        return executed.outcomes[0].code, created_id(transaction.id, 0)

    @rule(sender=st.sampled_from(PEOPLE), name=st.sampled_from("ab"))
    def commit(self, sender: str, name: str) -> None:
        code, _ = self.make(sender, PrescriptionCommit(bytes32(name)))
        if sender not in SHOPS:
            assert code == Refusal.SENDER_NOT_ELIGIBLE
        elif (sender, name) in self.model.prescriptions:
            assert code == Refusal.PRESCRIPTION_ALREADY_COMMITTED
        else:
            assert code == 0
            self.model.prescriptions.add((sender, name))

    @rule(shop=st.sampled_from(SHOPS), item=st.sampled_from(ITEMS))
    def lock(self, shop: str, item: Item) -> None:
        lock = lock_of(self.world.chain_id, self.world.ids[shop], mark(*item).mark)
        code, _ = self.make(shop, MarkLock(lock))
        if (shop, item) in self.model.locks:
            assert code == Refusal.MARK_ALREADY_LOCKED
        else:
            assert code == 0
            self.model.locks[shop, item] = self.world.chain.header.height

    @initialize(bare=st.sampled_from([False, False, True]))
    def begin(self, *, bare: bool) -> None:
        for shop in () if bare else SHOPS:
            self.equip(shop)

    @rule(shop=st.sampled_from(SHOPS))
    def equip(self, shop: str) -> None:
        """Commit and lock all that can be, so that what follows gets further."""
        for name in "ab":
            if (shop, name) not in self.model.prescriptions:
                self.commit(shop, name)
        for item in ITEMS:
            if (shop, item) not in self.model.locks:
                self.lock(shop, item)

    @rule(
        target=claimed,
        shop=st.sampled_from(SHOPS),
        payer=st.sampled_from((*PAYERS, *PAYERS, "auditor")),
        name=st.sampled_from("ab"),
        parts=st.sampled_from([(Part.LENSES,), (Part.FRAME,), (Part.LENSES, Part.FRAME)]),
        amount=st.integers(0, 50_000),
    )
    def submit(
        self, shop: str, payer: str, name: str, parts: tuple[Part, ...], amount: int
    ) -> Made:
        self.serial += 1
        due = opening(amount, f"claim {self.serial}")
        items = tuple((name, part) for part in parts)
        call = msgspec.structs.replace(
            self.world.submission(name),
            payer=self.world.ids[payer],
            amount=due.commitment(),
            marks=tuple(mark(*item) for item in items),
        )
        code, id_ = self.make(shop, call)
        model = self.model
        if payer == "auditor":
            assert code == Refusal.PAYER_NOT_ELIGIBLE
        elif (shop, name) not in model.prescriptions:
            assert code == Refusal.PRESCRIPTION_NOT_COMMITTED
        elif any((shop, item) not in model.locks for item in items):
            assert code == Refusal.MARK_NOT_LOCKED
        elif any(model.live(item) for item in items):
            assert code == Refusal.MARK_ALREADY_USED
        else:
            assert code == 0
            for item in items:
                del model.locks[shop, item]
            model.claims[id_] = Modelled(shop, payer, items, due)
            return id_
        # Some of the ids that were not made are tried too: there must be no such claims.
        return id_ if self.serial % 8 == 0 else multiple()

    def party(self, sender: str, id_: bytes, *, payer: bool) -> str:
        """Return `sender`, or whose call on this claim it is."""
        found = self.model.claims.get(id_)
        if sender != WHO_MAY:
            return sender
        if found is None:
            return SHOPS[0]
        return found.payer if payer else found.shop

    def judge(self, sender: str, id_: bytes, states: tuple[str, ...], *, payer: bool) -> int:
        """Return the code that a call on a claim must have."""
        found = self.model.claims.get(id_)
        if found is None:
            return Refusal.CLAIM_UNKNOWN
        if sender != (found.payer if payer else found.shop):
            return Refusal.CLAIM_NOT_YOURS
        return 0 if found.state in states else Refusal.CLAIM_IN_WRONG_STATE

    @rule(sender=st.sampled_from(SENDERS), id_=claimed, less=st.none() | st.integers(0, 40_000))
    def accept(self, sender: str, id_: bytes, less: int | None) -> None:
        self.serial += 1
        due = None if less is None else opening(less, f"part {self.serial}")
        call = ClaimAccept(id_, None if due is None else due.commitment())
        sender = self.party(sender, id_, payer=True)
        expected = self.judge(sender, id_, ("submitted",), payer=True)
        assert self.make(sender, call)[0] == expected
        if expected == 0:
            found = self.model.claims[id_]
            found.state = found.accepted = ACCEPTED[due is not None]
            found.due = due or found.due

    @rule(
        target=claimed,
        shop=st.sampled_from(SHOPS),
        payer=st.sampled_from(PAYERS),
        item=st.sampled_from(ITEMS),
        less=st.none() | st.integers(0, 40_000),
    )
    def claim_and_accept(self, shop: str, payer: str, item: Item, less: int | None) -> Made:
        """Go a good way at once, so that settlements are not rare."""
        self.equip(shop)
        id_ = self.submit(shop, payer, item[0], (item[1],), 10_000)
        if isinstance(id_, bytes):
            self.accept(WHO_MAY, id_, less)
        return id_

    @rule(sender=st.sampled_from(SENDERS), id_=claimed, reason=st.sampled_from(Reason))
    def reject(self, sender: str, id_: bytes, reason: Reason) -> None:
        sender = self.party(sender, id_, payer=True)
        expected = self.judge(sender, id_, ("submitted",), payer=True)
        assert self.make(sender, ClaimReject(id_, reason, automatic=False))[0] == expected
        if expected == 0:
            self.model.claims[id_].state = "rejected"

    @rule(sender=st.sampled_from(SENDERS), id_=claimed)
    def cancel(self, sender: str, id_: bytes) -> None:
        states = ("submitted", *ACCEPTED)
        sender = self.party(sender, id_, payer=False)
        expected = self.judge(sender, id_, states, payer=False)
        assert self.make(sender, ClaimCancel(id_))[0] == expected
        if expected == 0:
            self.model.claims[id_].state = "cancelled"

    @rule(target=begun, payer=st.sampled_from(PAYERS), shop=st.sampled_from(SHOPS))
    def open(self, payer: str, shop: str) -> Made:
        call = SettlementOpen(self.world.ids[shop], Direction.PAYMENT)
        code, id_ = self.make(payer, call)
        assert code == 0
        self.model.settlements[id_] = Batch(payer, shop)
        return id_

    @rule(
        sender=st.sampled_from(SENDERS),
        id_=begun,
        ids=st.lists(claimed, min_size=1, max_size=4),
    )
    def add(self, sender: str, id_: bytes, ids: list[bytes]) -> None:
        found = self.model.settlements[id_]
        sender = found.payer if sender == WHO_MAY else sender
        code, _ = self.make(sender, SettlementAdd(id_, tuple(ids)))
        assert code == self.judge_list(sender, found, ids, self.why_not_in)
        if code == 0:
            found.ids += ids
            for each in ids:
                self.model.claims[each].state = "batched"
                self.model.claims[each].settlement = id_

    @rule(
        sender=st.sampled_from(SENDERS),
        id_=begun,
        ids=st.lists(claimed, min_size=1, max_size=2),
        data=st.data(),
    )
    def remove(self, sender: str, id_: bytes, ids: list[bytes], data: st.DataObject) -> None:
        found = self.model.settlements[id_]
        sender = found.payer if sender == WHO_MAY else sender
        if found.ids:
            ids = data.draw(
                st.lists(st.sampled_from(found.ids), min_size=1, max_size=2) | st.just(ids)
            )
        code, _ = self.make(sender, SettlementRemove(id_, tuple(ids)))
        assert code == self.judge_list(sender, found, ids, self.why_not_out)
        if code == 0:
            for each in ids:
                found.ids.remove(each)
                self.model.claims[each].state = self.model.claims[each].accepted
                self.model.claims[each].settlement = None

    def judge_list(
        self, sender: str, found: Batch, ids: list[bytes], why: Callable[[Batch, bytes], int]
    ) -> int:
        """Return the code that a call with a list of claims must have."""
        if sender != found.payer:
            return Refusal.SETTLEMENT_NOT_YOURS
        if found.state != "open":
            return Refusal.SETTLEMENT_IN_WRONG_STATE
        for index, each in enumerate(ids):
            if each in ids[:index]:
                return Refusal.CLAIM_LISTED_TWICE
            if code := why(found, each):
                return code
        return 0

    def why_not_in(self, found: Batch, id_: bytes) -> int:
        claim = self.model.claims.get(id_)
        if claim is None:
            return Refusal.CLAIM_UNKNOWN
        if (claim.payer, claim.shop) != (found.payer, found.shop):
            return Refusal.CLAIM_OF_OTHERS
        return 0 if claim.state in ACCEPTED else Refusal.CLAIM_NOT_SETTLEABLE

    def why_not_out(self, found: Batch, id_: bytes) -> int:
        return 0 if id_ in found.ids else Refusal.CLAIM_NOT_IN_SETTLEMENT

    @rule(sender=st.sampled_from(SENDERS), id_=begun, right=st.sampled_from([True, True, False]))
    def announce(self, sender: str, id_: bytes, *, right: bool) -> None:
        found = self.model.settlements[id_]
        sender = found.payer if sender == WHO_MAY else sender
        total = sum_openings([self.model.claims[each].due for each in found.ids])
        stated = total.commitment() if right else opening(1, "another").commitment()
        code, _ = self.make(sender, SettlementAnnounce(id_, stated, None))
        if sender != found.payer:
            assert code == Refusal.SETTLEMENT_NOT_YOURS
        elif found.state != "open":
            assert code == Refusal.SETTLEMENT_IN_WRONG_STATE
        elif not found.ids:
            assert code == Refusal.SETTLEMENT_EMPTY
        elif not right:
            assert code == Refusal.SUM_DIFFERS
        else:
            assert code == 0
            found.state = "announced"

    @precondition(lambda self: any(c.state in ACCEPTED for c in self.model.claims.values()))
    @rule(target=begun, data=st.data())
    def settle_what_can_be(self, data: st.DataObject) -> Made:
        accepted = [id_ for id_, c in self.model.claims.items() if c.state in ACCEPTED]
        one = self.model.claims[data.draw(st.sampled_from(accepted))]
        ids = [
            id_
            for id_ in accepted
            if (self.model.claims[id_].payer, self.model.claims[id_].shop) == (one.payer, one.shop)
        ]
        id_ = self.open(one.payer, one.shop)
        assert isinstance(id_, bytes)
        self.add(WHO_MAY, id_, ids)
        if data.draw(st.booleans()):
            self.announce(WHO_MAY, id_, right=True)
        return id_

    @rule(
        sender=st.sampled_from(SENDERS),
        id_=begun,
        kind=st.sampled_from(list(dict.fromkeys(kind for _, kind in STEPS))),
    )
    def step(self, sender: str, id_: bytes, kind: Step) -> None:
        found = self.model.settlements[id_]
        whose = "payer" if kind in {SettlementCancel, SettlementInsist} else "shop"
        owner = getattr(found, whose)
        sender = owner if sender == WHO_MAY else sender
        call: Call = (
            SettlementDispute(id_, Ground.OTHER) if kind is SettlementDispute else kind(id_)  # type: ignore[call-arg]
        )
        code, _ = self.make(sender, call)
        who, after = STEPS.get((found.state, kind), (None, found.state))
        if sender != owner:
            assert code == Refusal.SETTLEMENT_NOT_YOURS
        elif (found.state, kind) == ("announced", SettlementCancel):
            assert code == Refusal.TOO_EARLY
        elif who is None:
            assert code == Refusal.SETTLEMENT_IN_WRONG_STATE
        else:
            assert (code, who) == (0, whose)
            found.state = after
            if after == "cancelled":
                for each in found.ids:
                    self.model.claims[each].state = self.model.claims[each].accepted
            if after == "confirmed":
                for each in found.ids:
                    self.model.claims[each].state = "settled"

    @invariant()
    def a_mark_has_at_most_one_live_claim(self) -> None:
        for item in ITEMS:
            live = self.model.live(item)
            holder = self.world.holder(mark(*item).mark)
            assert [holder] * (holder is not None) == live

    @invariant()
    def claims_are_as_modelled(self) -> None:
        for id_, expected in self.model.claims.items():
            found = claims.load(self.world.state, id_)
            assert found is not None
            assert (
                claims.state_of(self.world.state, found, self.world.chain.header.time).name.lower()
                == expected.state
            )
            assert found.settlement == expected.settlement
            assert found.due == expected.due.commitment()

    @invariant()
    def what_was_accepted_is_settled_once(self) -> None:
        live = [b for b in self.model.settlements.values() if b.state != "cancelled"]
        batched = [id_ for each in live for id_ in each.ids]
        assert len(batched) == len(set(batched))
        for id_, expected in self.model.settlements.items():
            found = settlement.load(self.world.state, id_)
            assert found is not None
            assert found.state.name.lower() == expected.state
            assert batch.claims_of(self.world.state, id_) == sorted(expected.ids)
            total = sum_openings([self.model.claims[each].due for each in expected.ids])
            verify_opening(found.sum, total)

    def teardown(self) -> None:
        """Check the last header against the whole state and all entries."""
        header = self.world.chain.header
        state = StateDigest().updated((), self.world.state.pairs.items())
        assert header.state_digest == state.hash
        heads: dict[MemberId, Head] = {}
        for entry, concerned in self.entries:
            for member in concerned:
                before = heads.get(member)
                leaf = entry.leaf()
                heads[member] = first(leaf) if before is None else before.extend(leaf)
        assert header.heads_root == Heads(heads).root
        assert header.log_size == len(self.entries)


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=20 if settings.default is None else max(20, settings.default.max_examples // 4),
    stateful_step_count=40,
    deadline=None,
)
