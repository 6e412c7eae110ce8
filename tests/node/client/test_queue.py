"""Claims that wait: for the network, for their window; what may be read from when they leave."""

import asyncio
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.calls import ClaimSubmit, parse_call
from ledger.transaction import parse
from node.client import holdings, lots, queue
from node.client.agreements import authorisation_of
from node.client.client import NodeClient
from node.client.errors import Refused, Unreachable, VaultLocked
from node.client.holdings import Things
from node.client.queue import Flushed, Windows
from node.client.records import (
    AuthorisationRecord,
    ClaimRecord,
    PrescriptionRecord,
    Progress,
    QueuedRecord,
    TransactionRecord,
    every,
    find,
    update,
)
from node.client.request import ClaimRequest, parse_authorisation
from node.client.standing import Standing, State, standings
from node.client.vault import Vault
from tests.node.client import desk
from tests.node.client.desk import MEMBERS, MemoryNode, as_request, example, request
from tests.node.client.test_acts import Quarter
from tests.node.client.test_client import answering, serving

NOON = 1_790_000_000 // 3600 * 3600
HOUR = 3600


@dataclass
class Shop:
    """A shop with a queue, a clock of its own, and a node that may be away."""

    vault: Vault
    node: MemoryNode = field(default_factory=MemoryNode)
    now: int = NOON + 60
    windows: Windows = field(default_factory=Windows)

    def put(self, *requests: ClaimRequest) -> None:
        sender = desk.sender("shop", self.node)
        with self.vault.changes():
            for each in requests:
                lots.prepare(self.vault, sender, each, MEMBERS.id_of)
                queue.put(self.vault, each.reference, self.windows, self.now)

    def flush(self, *, at_once: bool = False, node: NodeClient | None = None) -> Flushed:
        return asyncio.run(self.flushing(at_once=at_once, node=node))

    async def flushing(self, *, at_once: bool = False, node: NodeClient | None = None) -> Flushed:
        return await queue.flush(
            self.vault,
            node or self.node,
            desk.sender("shop", self.node),
            clock=lambda: self.now,
            at_once=at_once,
            wait_s=0,
            say=desk.silent,
        )

    def queued(self, reference: str = "F2025-0003") -> QueuedRecord:
        found = find(self.vault, QueuedRecord, reference)
        assert found is not None
        return found[1]

    def standing(self, reference: str = "F2025-0003") -> Standing:
        (found,) = (s for s in standings(self.vault, self.now) if s.reference == reference)
        return found

    def claims_sent(self) -> list[bytes]:
        """Return the commitments to the documents of the claims on the chain, in their order."""
        calls = [
            parse_call(call)
            for id_ in self.node.sent
            for call in parse(self.node.raws[id_]).body.calls
        ]
        return [call.document for call in calls if isinstance(call, ClaimSubmit)]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with desk.open_vault(tmp_path, "shop") as vault:
        yield Shop(vault)


# --- windows --------------------------------------------------------------------------------------


def test_a_claim_goes_from_its_window_into_the_next_and_onto_the_chain(shop: Shop) -> None:
    shop.put(request())
    assert shop.standing().state is State.QUEUED
    due = shop.queued().due
    assert NOON + HOUR <= due < NOON + 2 * HOUR
    shop.now = NOON + HOUR - 1
    assert shop.flush() == Flushed(())
    shop.now = due - 1
    assert shop.standing().state is State.WAITING or due == NOON + HOUR
    assert shop.flush() == Flushed(())
    assert not shop.node.sent
    shop.now = due
    assert shop.standing().state is State.DUE
    assert shop.flush() == Flushed(("F2025-0003",))
    assert shop.standing().state is State.COMMITTED
    assert shop.standing().at is None


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.integers(0, HOUR - 1), min_size=1, max_size=3),
    st.lists(st.integers(0, HOUR - 1), min_size=1, max_size=3),
    st.integers(0, 2**32),
)
def test_when_a_window_leaves_tells_nothing_of_when_its_claims_were_made(
    tmp_path_factory: pytest.TempPathFactory, ours: list[int], theirs: list[int], seed: int
) -> None:
    """By the same chance, whatever was queued when in a window leaves at the same second."""
    moments = []
    for seconds in (ours, theirs):
        with (
            pytest.MonkeyPatch.context() as patch,
            desk.open_vault(tmp_path_factory.mktemp("shop"), "shop") as vault,
        ):
            patch.setattr(queue, "_chance", random.Random(seed))
            shop = Shop(vault)
            for number, second in enumerate(seconds, 3):
                shop.now = NOON + second
                shop.put(request(number))
            shop.now = NOON + HOUR - 1
            moments.append({each.at for each in standings(vault, shop.now)})
    assert moments[0] == moments[1]
    (moment,) = moments[0]
    assert moment is not None
    assert NOON + HOUR <= moment < NOON + 2 * HOUR


def test_all_of_a_window_leave_at_one_moment_and_in_one_lot(shop: Shop) -> None:
    for second, number in ((0, 3), (1800, 4), (3599, 5)):
        shop.now = NOON + second
        shop.put(request(number))
    shop.now = NOON + HOUR  # the next window
    shop.put(request(6))
    numbers = (3, 4, 5)
    dues = {shop.queued(f"F2025-{number:04}").due for number in numbers}
    assert len(dues) == 1
    assert shop.queued("F2025-0006").window == NOON + 2 * HOUR
    (shop.now,) = dues
    assert sorted(shop.flush().references) == [f"F2025-{number:04}" for number in numbers]
    kinds = [len(parse(shop.node.raws[id_]).body.calls) for id_ in shop.node.sent]
    assert len(kinds) == 2  # one transaction of locks, one of claims
    assert kinds[1] == 3


def test_a_moment_of_the_window_is_as_likely_as_any_other() -> None:
    windows = Windows(60)
    drawn = {windows.draw(NOON) - NOON for _ in range(3000)}
    assert drawn == set(range(60))  # one is missing once in 10^20


def test_the_order_on_the_chain_does_not_follow_that_of_queueing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same chance, any order of queueing gives one order; and another by another chance."""
    orders: dict[int, set[tuple[str, ...]]] = {}
    numbers = (3, 4, 5, 6, 7)
    for index, (seed, asked) in enumerate(
        [(1, numbers), (1, numbers[::-1]), (2, numbers), (2, numbers[::-1])]
    ):
        with desk.open_vault(tmp_path, f"shop-{index}") as vault:
            shop = Shop(vault)
            for number in asked:
                shop.put(request(number))
            monkeypatch.setattr(queue, "_chance", random.Random(seed))
            shop.flush(at_once=True)
            claims = {claim.commitment: claim.reference for _, claim in every(vault, ClaimRecord)}
            sent = tuple(claims[document] for document in shop.claims_sent())
            assert len(sent) == len(numbers)
            orders.setdefault(seed, set()).add(sent)
    assert [len(found) for found in orders.values()] == [1, 1]
    assert orders[1] != orders[2]


def test_now_sends_what_waits_in_an_open_window(shop: Shop) -> None:
    shop.put(request())
    assert shop.flush(at_once=True).references == ("F2025-0003",)
    assert shop.standing().state is State.COMMITTED


def test_what_was_queued_by_a_wrong_clock_does_not_wait_for_years(shop: Shop) -> None:
    shop.now += 10 * 365 * 86_400
    shop.put(request())
    shop.now = NOON
    assert shop.standing().state is State.DUE
    assert shop.flush().references == ("F2025-0003",)
    # The same for a failure that a wrong clock noted.
    shop.put(request(4))
    number, record = find(shop.vault, QueuedRecord, "F2025-0004") or (0, None)
    assert record is not None
    record.retry_at = NOON + 365 * 86_400
    with shop.vault.changes():
        update(shop.vault, number, record)
    assert shop.flush().references == ("F2025-0004",)


# --- twice, and later -----------------------------------------------------------------------------


def test_what_is_queued_again_waits_once_and_what_is_decided_waits_no_more(shop: Shop) -> None:
    for _ in range(2):
        shop.put(request())
    due = shop.queued().due
    shop.now += HOUR
    shop.put(request())
    assert shop.queued().due == due
    shop.flush(at_once=True)
    shop.put(request())
    assert shop.flush(at_once=True) == Flushed(())
    assert len(list(every(shop.vault, QueuedRecord))) == 1
    assert len(shop.claims_sent()) == 1


def test_what_was_decided_is_shown_for_some_days_and_the_claim_is_kept(shop: Shop) -> None:
    shop.put(request())
    shop.flush(at_once=True)
    shop.now += queue.KEPT_S
    shop.flush()
    assert shop.standing().state is State.COMMITTED
    shop.now += 1
    shop.flush()
    assert not standings(shop.vault, shop.now)
    assert lots.find_claim(shop.vault, "F2025-0003") is not None


def test_what_was_forgotten_or_erased_is_not_sent(shop: Shop) -> None:
    shop.put(request(3), request(4), request(5))
    with shop.vault.changes():
        queue.forget(shop.vault, "F2025-0003")
        shop.vault.erase(lots.load(shop.vault, "F2025-0004")[0])
    assert [each.reference for each in standings(shop.vault, shop.now)] == ["F2025-0005"]
    shop.flush(at_once=True)
    assert len(shop.claims_sent()) == 1
    assert shop.flush(at_once=True) == Flushed(())


def test_a_mistake_is_taken_back_before_it_leaves_and_mended_under_its_reference(
    shop: Shop,
) -> None:
    wrong, right = request(insured="WRONG-1"), request(insured="RIGHT-1")
    shop.put(wrong)
    with pytest.raises(Refused):
        shop.put(right)
    with shop.vault.changes():
        queue.remove(shop.vault, "F2025-0003")
    assert not list(every(shop.vault, PrescriptionRecord))
    assert not list(every(shop.vault, QueuedRecord))
    shop.put(right)
    shop.flush(at_once=True)
    assert shop.standing().state is State.COMMITTED
    with pytest.raises(Refused, match="on its way, or decided"), shop.vault.changes():
        queue.remove(shop.vault, "F2025-0003")


def test_what_is_taken_back_leaves_what_others_rest_on(shop: Shop) -> None:
    base = example(3, leg="base", reference="BASE") | {"prescription_reference": "F2025-0003"}
    shop.put(request(), as_request(base))
    with shop.vault.changes():
        queue.remove(shop.vault, "F2025-0003")
    shop.flush(at_once=True)
    assert shop.standing("BASE").state is State.COMMITTED
    shop.put(request())  # its marks are free again
    shop.node.lose_requests = 1
    shop.flush(at_once=True)  # signed, and perhaps sent
    with pytest.raises(Refused, match="on its way"), shop.vault.changes():
        queue.remove(shop.vault, "F2025-0003")


def test_a_claim_that_is_taken_back_leaves_its_agreement_to_another(shop: Shop) -> None:
    claimed = agree(shop, for_s=HOUR * 24)
    shop.put(claimed)
    with shop.vault.changes():
        queue.remove(shop.vault, "F-1")
    shop.put(claimed)
    shop.flush(at_once=True)
    assert shop.standing("F-1").state is State.COMMITTED


# --- without a network, and with a bad one --------------------------------------------------------


def test_without_a_network_it_waits_longer_each_time_and_comes_back_by_itself(shop: Shop) -> None:
    shop.put(request())
    shop.now = shop.queued().due
    waits = []
    for _ in range(8):
        shop.node.lose_requests = 1
        flushed = shop.flush()
        assert isinstance(flushed.error, Unreachable)
        standing = shop.standing()
        assert standing.state is State.RETRY
        assert standing.trouble == "the request is lost"
        assert standing.at is not None
        waits.append(standing.at - shop.now)
        shop.now = standing.at - 1
        assert shop.flush() == Flushed(())  # not before
        shop.now = standing.at
    assert waits[0] <= queue.FIRST_RETRY_S < waits[2] < waits[5]
    assert max(waits) <= queue.MAX_RETRY_S
    assert shop.flush().error is None
    assert shop.standing().state is State.COMMITTED
    assert shop.standing().trouble == ""


def test_what_failed_together_is_tried_again_together(shop: Shop) -> None:
    shop.put(*map(request, (3, 4, 5, 6, 7)))
    for _ in range(4):
        shop.node.lose_requests = 1
        shop.flush(at_once=True)
        moments = {shop.queued(f"F2025-{number:04}").retry_at for number in (3, 4, 5, 6, 7)}
        assert len(moments) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 429, 401])
def test_a_node_that_answers_with_an_error_is_tried_again(shop: Shop, status: int) -> None:
    shop.put(request())

    async def ask() -> Flushed:
        async with serving(answering(status, {"title": "t", "detail": "d"})) as client:
            return await shop.flushing(at_once=True, node=client)

    error = asyncio.run(ask()).error
    assert error is not None
    standing = shop.standing()
    assert standing.state is State.RETRY
    assert standing.trouble == str(error)
    assert standing.to_do == error.hint
    shop.flush(at_once=True)
    assert shop.standing().state is State.COMMITTED
    assert len(shop.claims_sent()) == 1


def test_a_node_that_answers_rubbish_is_tried_again(shop: Shop) -> None:
    shop.put(request())

    async def rubbish(_request: web.Request) -> web.Response:
        return web.json_response({"transactions": [{"status": "committed"}]})

    async def ask() -> Flushed:
        async with serving(rubbish) as client:
            return await shop.flushing(at_once=True, node=client)

    error = asyncio.run(ask()).error
    assert error is not None
    assert "not in which" in str(error)
    assert shop.standing().state is State.RETRY


def test_a_node_that_goes_midway_leaves_each_claim_where_it_is(shop: Shop) -> None:
    shop.put(request(3), request(4))

    class Away(MemoryNode):
        """A node that is away after the first answer."""

        async def submit(self, raws: object, *, wait: int = 0) -> object:  # type: ignore[override]
            answers = await MemoryNode.submit(self, raws, wait=wait)  # type: ignore[arg-type]
            self.lose_requests = 1
            return answers

    away = Away()
    away.world = shop.node.world
    away.decided, away.raws, away.sent = shop.node.decided, shop.node.raws, shop.node.sent
    assert isinstance(shop.flush(at_once=True, node=away).error, Unreachable)
    progress = {claim.progress for _, claim in every(shop.vault, ClaimRecord)}
    assert progress == {Progress.SUBMITTED}  # signed, and not known to be sent
    shop.flush(at_once=True)
    assert shop.standing().state is State.COMMITTED
    assert len(shop.claims_sent()) == 2


def test_what_lies_undecided_is_asked_for_again(shop: Shop) -> None:
    shop.put(request())
    shop.node.is_stuck = True
    assert shop.flush(at_once=True).error is not None
    assert shop.standing().state is State.RETRY
    shop.node.is_stuck = False
    shop.now = shop.standing().at or 0
    shop.flush()
    assert shop.standing().state is State.COMMITTED


def test_a_signature_whose_hour_is_over_is_made_anew(shop: Shop) -> None:
    shop.put(request())
    shop.node.let_lapse = 1
    assert shop.flush(at_once=True).error is None
    assert shop.standing().state is State.COMMITTED


def test_a_node_with_a_wrong_clock_makes_no_claim_twice_and_loses_none(shop: Shop) -> None:
    """It says that claims came too late, and they are in blocks all the same."""
    shop.put(request(3), request(4))
    shop.node.is_wrong = True
    locked = MemoryNode.submit

    async def submit(self: MemoryNode, raws: list[bytes], *, wait: int = 0) -> object:
        self.let_lapse = 1 if len(self.sent) == 1 else 0  # of the claims only, once
        return await locked(self, raws, wait=wait)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryNode, "submit", submit)
        assert shop.flush(at_once=True).error is None
    records = [claim for _, claim in every(shop.vault, ClaimRecord)]
    assert {each.progress for each in records} == {Progress.COMMITTED}
    # What was signed in vain is erased with the claim.
    things = Things()
    for each in records:
        things.add_prescription(lots.prescription_of(shop.vault, each))
        things.add_claim(each)
    gone = [record for _, record in holdings.of(shop.vault, things)]
    kept = list(every(shop.vault, TransactionRecord))
    assert sum(isinstance(record, TransactionRecord) for record in gone) == len(kept) == 3
    for each in records:
        assert each.claim is not None
        found = asyncio.run(shop.node.claim(each.claim))
        assert found.document == each.commitment.hex()
        assert find(shop.vault, ClaimRecord, each.claim.hex()) is not None
        assert found.height == each.height


def test_a_clock_that_is_wrong_for_every_signature_is_said(shop: Shop) -> None:
    shop.put(request())
    shop.node.let_lapse = 100
    error = shop.flush(at_once=True).error
    assert error is not None
    assert "set this machine's clock right" in error.hint
    shop.node.let_lapse = 0
    shop.flush(at_once=True)
    assert shop.standing().state is State.COMMITTED
    assert len(shop.claims_sent()) == 1


def test_one_that_the_chain_refuses_says_why_and_does_not_stop_the_others(shop: Shop) -> None:
    shop.put(request(3, payer="auditor"), request(4))
    assert shop.flush(at_once=True).error is None
    refused = shop.standing("F2025-0003")
    assert refused.state is State.REFUSED
    assert "PAYER_NOT_ELIGIBLE" in refused.trouble
    assert shop.standing("F2025-0004").state is State.COMMITTED


# --- too late -------------------------------------------------------------------------------------


def ask(shop: Shop) -> tuple[Quarter, ClaimRecord]:
    """Let the shop ask for a prior agreement, and show the payer what it is about."""
    asked = example(3)
    asked["format"] = "depoli/authorisation/1"
    asked["authorisation"] = asked.pop("claim")
    asked["authorisation"]["quote_date"] = asked["authorisation"].pop("invoice_date")
    asked["authorisation"].pop("authorisation", None)
    asked["authorisation"]["reference"] = "Q-1"
    asked["prescription_reference"] = "ORD-1"
    parsed = parse_authorisation(json.dumps(asked).encode(), "q.json", today=desk.TODAY)
    quarter = Quarter(shop.node, {"shop": shop.vault, "insurer": shop.vault})
    record = quarter.bring(parsed, AuthorisationRecord)
    quarter.disclose(record)
    return quarter, record


def grant(shop: Shop, quarter: Quarter, record: ClaimRecord, *, for_s: int) -> None:
    """Let the payer grant it."""
    assert record.claim is not None
    until = shop.node.world.chain.header.time + for_s
    assert asyncio.run(quarter.acts("insurer").grant(record.claim, None, until)).code == 0


def consuming() -> ClaimRequest:
    """Return the claim that consumes it."""
    claimed = example(3, reference="F-1")
    return as_request(
        claimed | {"prescription_reference": "ORD-1", "authorisation_reference": "Q-1"}
    )


def agree(shop: Shop, *, for_s: int) -> ClaimRequest:
    """Let the payer grant what the shop asks for; return the claim that consumes it."""
    quarter, record = ask(shop)
    grant(shop, quarter, record, for_s=for_s)
    return consuming()


def test_a_claim_waits_until_its_agreement_is_granted(shop: Shop) -> None:
    quarter, record = ask(shop)
    shop.put(consuming(), request(4))
    shop.flush(at_once=True)
    waiting = shop.standing("F-1")
    assert waiting.state is State.RETRY
    assert waiting.trouble == "its prior agreement is not granted"
    assert shop.standing("F2025-0004").state is State.COMMITTED  # it holds up nobody
    grant(shop, quarter, record, for_s=HOUR)
    shop.now = waiting.at or 0
    shop.flush()
    assert shop.standing("F-1").state is State.COMMITTED


def test_a_claim_whose_agreement_ended_is_not_sent_and_says_so(shop: Shop) -> None:
    shop.put(agree(shop, for_s=60))
    shop.node.world.block(after=120)
    sent = len(shop.node.sent)
    shop.flush(at_once=True)
    standing = shop.standing("F-1")
    assert standing.state is State.TOO_LATE
    assert "it was not sent: its prior agreement ended on" in standing.trouble
    assert len(shop.node.sent) == sent
    # What it would have used may be claimed anew, without the agreement.
    other = example(3, reference="F-2") | {"prescription_reference": "ORD-1"}
    shop.put(as_request(other))
    shop.flush(at_once=True)
    assert shop.standing("F-2").state is State.COMMITTED


def test_a_claim_leaves_before_its_agreement_ends_rather_than_in_its_window(shop: Shop) -> None:
    claimed = agree(shop, for_s=2 * HOUR)
    # The node was asked once before, and the vault knows the end.
    record = lots.load(shop.vault, "Q-1", AuthorisationRecord)[1]
    assert record.claim is not None
    queue.note_end(shop.vault, asyncio.run(authorisation_of(shop.node, record.claim)))
    until = lots.load(shop.vault, "Q-1", AuthorisationRecord)[1].until
    assert until is not None
    shop.now = until - queue.SPARE_S - 10
    shop.put(claimed)
    assert shop.standing("F-1").at == until - queue.SPARE_S
    shop.now = until + 1
    before = shop.standing("F-1")
    assert before.state is State.TOO_LATE
    assert "by this machine's clock" in before.trouble
    # Our own clock may be wrong: the chain is asked, and says that there is time.
    shop.flush()
    assert shop.standing("F-1").state is State.COMMITTED


def test_a_prescription_that_did_not_serve_any_more_is_doubted_while_it_waits(shop: Shop) -> None:
    late = example(3)
    late["prescription"]["dateWritten"] = "2015-01-10"
    shop.put(as_request(late))
    (doubt,) = (d for d in shop.standing().doubts if "serve" in d)
    assert "at no age did the prescription serve after" in doubt


# --- two at once, and for ever --------------------------------------------------------------------


def test_two_flushes_at_once_send_each_claim_once(tmp_path: Path) -> None:
    with desk.open_vault(tmp_path, "shop") as one, desk.open_vault(tmp_path, "shop") as two:
        ours, theirs = Shop(one), Shop(two)
        theirs.node = ours.node

        async def submit(self: MemoryNode, raws: list[bytes], *, wait: int = 0) -> object:
            await asyncio.sleep(0)  # the other goes on here
            answers = await plain(self, raws, wait=wait)
            await asyncio.sleep(0)
            return answers

        async def both() -> None:
            await asyncio.gather(ours.flushing(at_once=True), theirs.flushing(at_once=True))

        plain = MemoryNode.submit
        ours.put(request(3), request(4), request(5))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MemoryNode, "submit", submit)
            asyncio.run(both())
        assert {each.state for each in standings(one, ours.now)} == {State.COMMITTED}
        assert len(set(ours.claims_sent())) == 3
        transactions = [record.id for _, record in every(one, TransactionRecord)]
        assert len(transactions) == 2


class Ended(Exception):
    """The watch is over."""


def test_a_watch_sends_what_comes_due_and_looks_at_what_others_queue(shop: Shop) -> None:
    shop.windows = Windows(60)
    shop.put(request(3))
    rests: list[float] = []
    told: list[Flushed] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)
        shop.now += round(seconds)
        assert len(rests) < 100
        if len(told) == 1:
            shop.put(request(4))  # another command, meanwhile
        if len(told) == 2:
            raise Ended

    def known(vault: Vault, now: int) -> list[tuple[int, QueuedRecord]]:
        if len(rests) == 1:
            raise VaultLocked("another command is writing")
        return plain(vault, now)

    def reads(*args: Any) -> Any:  # noqa: ANN401
        reading.append(len(rests))
        if (
            len(rests) == 2 and reading.count(2) == 2
        ):  # once it has sent what is due, it asks what comes next
            raise VaultLocked("another command is writing")
        return every(*args)

    reading: list[int] = []
    plain = queue._known
    watching = queue.watch(
        shop.vault,
        lambda: shop.node,
        desk.sender("shop", shop.node),
        clock=lambda: shop.now,
        rest=rest,
        wait_s=0,
        say=desk.silent,
        tell=told.append,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue, "_known", known)
        patch.setattr(queue, "every", reads)
        with pytest.raises(Ended):
            asyncio.run(watching)
    assert max(rests) <= queue.LOOK_S
    assert min(rests) >= 1.0
    assert sorted(reference for each in told for reference in each.references) == [
        "F2025-0003",
        "F2025-0004",
    ]
    assert len(shop.claims_sent()) == 2
