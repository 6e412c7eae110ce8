"""The HTTP API of a real node: each endpoint, each scope, each refusal."""

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from consensus.evidence import encode as encode_evidence
from contracts.calls import (
    AuthorisationCancel,
    AuthorisationRequest,
    Call,
    ClaimAccept,
    ClaimCancel,
    ClaimReject,
    ClaimSubmit,
    DelegationGrant,
    Direction,
    ErasureOutcome,
    ErasureRequest,
    ErasureStatement,
    Leg,
    Mark,
    MarkLock,
    Part,
    PrescriptionCommit,
    PrescriptionRevoke,
    Reason,
    SettlementAdd,
    SettlementAnnounce,
    SettlementConfirm,
    SettlementOpen,
)
from contracts.calls.registry import Scope as Delegated
from contracts.commitment import lock_of, mark_of
from contracts.dispatch import CODES
from contracts.parameters import Parameters
from ledger.block import CommittedBlock
from ledger.encoding import decode, encode
from ledger.keys import Role, Signer
from ledger.receipt import parse_json
from ledger.transaction import Transaction, created_id
from node import testnet
from node.api import Api
from node.asking import MAX_BODY_BYTES
from node.audit.conviction import verify_json
from node.audit.records import split_frames
from node.doctor.findings import Verdict, from_json
from node.listener import serve_http
from node.mempool import Limits, Mempool
from node.results import MAX_BATCH
from node.tokens import Scope
from tests.chainmaker import amount_of, key_of, member_of, some_bytes
from tests.node.cluster import (
    ALONE,
    OBSERVER,
    Cluster,
    Node,
    api_of,
    book_of,
    prescription,
    run,
    running,
    transaction_of,
    until,
)
from tests.node.evil import double_vote

FEDERATION = ALONE[0]  # runs the node
PAYER = OBSERVER  # an insurer
TOKENS = book_of(
    shop_a=("shop-a", (Scope.READ, Scope.SUBMIT)),
    shop_b=("shop-b", (Scope.READ, Scope.SUBMIT)),
    payer=(PAYER, (Scope.READ, Scope.SUBMIT)),
    reader=("shop-a", (Scope.READ,)),
    sender=("shop-a", (Scope.SUBMIT,)),
    anyone=(None, (Scope.SUBMIT,)),
    auditor=(None, (Scope.AUDIT,)),
    operator=(None, (Scope.ADMIN,)),
)
ID = "0" * 64
SHOP = member_of("shop-a").hex()


@dataclass
class Answer:
    status: int
    type: str
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401
        return json.loads(self.body)


class Door:
    """The API of one node, as clients reach it."""

    def __init__(self, node: Node, api: Api, url: str, session: aiohttp.ClientSession) -> None:
        self.node, self.api, self.url, self.session = node, api, url, session
        self.genesis = node.cluster.genesis

    async def ask(
        self,
        method: str,
        path: str,
        token: str | None,
        **options: Any,  # noqa: ANN401
    ) -> Answer:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        headers |= options.pop("headers", {})
        async with self.session.request(
            method, self.url + path, headers=headers, **options
        ) as answer:
            found = Answer(answer.status, answer.content_type, await answer.read())
        if found.status >= 400:
            assert found.type == "application/problem+json"
            assert found.json["status"] == found.status
            assert found.json["type"].startswith("urn:depoli:problem:")
            assert found.json["title"]
        return found

    async def get(self, path: str, token: str | None = "auditor") -> Answer:  # noqa: S107
        return await self.ask("GET", path, token)

    async def post(self, raws: object, token: str = "anyone", wait: int = 30) -> Answer:  # noqa: S107
        return await self.ask(
            "POST",
            f"/v1/transactions?wait={wait}",
            token,
            data=io.BytesIO(raws if isinstance(raws, bytes) else encode(raws)),
            headers={"Content-Type": "application/msgpack"},
        )

    async def query(self, ids: object, token: str) -> Answer:
        headers = {"Content-Type": "application/msgpack"}
        return await self.ask("POST", "/v1/claims/query", token, data=encode(ids), headers=headers)

    async def send(self, *made: Transaction) -> list[dict[str, Any]]:
        answer = await self.post(tuple(each.raw for each in made))
        assert answer.status == 200, answer
        results: list[dict[str, Any]] = answer.json["transactions"]
        assert [each["id"] for each in results] == [each.id.hex() for each in made]
        return results

    async def claim(self, name: str, key: Signer | None = None) -> tuple[Transaction, str]:
        """Bring a claim of shop-a to the federation into the chain, signed by `key` or its own."""
        commitment = some_bytes("prescription", name)
        mark = mark_of(some_bytes("secret", name), Leg.COMPLEMENTARY, Part.LENSES, 0)
        lock = lock_of(self.genesis.chain_id, member_of("shop-a"), mark)
        before = (PrescriptionCommit(commitment), MarkLock(lock))
        submit = ClaimSubmit(
            member_of(PAYER),
            Leg.COMPLEMENTARY,
            commitment,
            some_bytes("document", name),
            amount_of(name, 12_345),
            (Mark(Part.LENSES, mark),),
            None,
            None,
        )
        await self.send(self.made("shop-a", *before, key=key))
        made = self.made("shop-a", submit, key=key)
        (result,) = await self.send(made)
        assert result["outcomes"][0]["name"] == "APPLIED"
        return made, created_id(made.id, 0).hex()

    def made(self, sender: str, *calls: Call, key: Signer | None = None) -> Transaction:
        return transaction_of(self.genesis, sender, *calls, key=key)


@contextlib.asynccontextmanager
async def served(folder: Path, *, runs: bool = True) -> AsyncIterator[Door]:
    """A node of a network of one and its API; one that does not run makes no blocks."""
    async with contextlib.AsyncExitStack() as stack:
        if runs:
            cluster = await stack.enter_async_context(running(folder, ALONE))
            node = cluster[FEDERATION]
        else:
            node = Cluster(folder, ALONE)[FEDERATION]
            node.assemble()
            stack.callback(node._closing.close)
        address = testnet._free_ports(1)[0]
        api = api_of(node, TOKENS)
        serving = asyncio.create_task(serve_http(api.application(), address, key="api.listen"))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        door = Door(node, api, f"http://{address}", session)
        while True:
            with contextlib.suppress(aiohttp.ClientConnectorError):
                await door.get("/v1/status")
                break
            assert not serving.done()
            await asyncio.sleep(0.005)
        try:
            yield door
        finally:
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving


def test_a_malformed_request_is_not_quoted_in_a_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    async def ask() -> None:
        async with served(tmp_path) as door:
            host, _, port = door.url.removeprefix("http://").partition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /v1/status HTTP/1.1\r\nAuthorization: Bearer depoli_it\0\r\n\r\n")
            assert b" 400 " in await reader.readline()
            writer.close()

    run(ask())
    assert "depoli_it" not in caplog.text + str(capfd.readouterr())
    assert "Traceback" not in caplog.text


# --- transactions ---------------------------------------------------------------------------------


def test_a_transaction_is_committed_while_its_client_waits(tmp_path: Path) -> None:
    async def submit() -> None:
        async with served(tmp_path) as door:
            made = prescription(door.genesis, 1)
            (result,) = await door.send(made)
            assert result["status"] == "committed"
            assert result["height"] == 1
            assert result["outcomes"] == [
                {"code": 0, "name": "APPLIED", "text": "", "evidence": []}
            ]
            found = (await door.get(f"/v1/transactions/{made.id.hex()}", "shop_a")).json
            assert found == result

    run(submit())


def test_submitting_again_tells_the_same_and_changes_nothing(tmp_path: Path) -> None:
    async def submit() -> None:
        async with served(tmp_path) as door:
            made = prescription(door.genesis, 1)
            first = await door.send(made)
            assert await door.send(made, made) == first * 2
            (fresh, again) = await door.send(prescription(door.genesis, 2), made)
            assert fresh["height"] == 2
            assert [again] == first

    run(submit())


def test_who_does_not_wait_hears_that_it_is_pending_and_may_ask_later(tmp_path: Path) -> None:
    async def submit() -> None:
        async with served(tmp_path) as door:
            made = prescription(door.genesis, 1)
            answer = await door.post((made.raw,), wait=0)
            assert answer.status == 202
            assert answer.json == {"transactions": [{"id": made.id.hex(), "status": "pending"}]}
            found = await door.get(f"/v1/transactions/{made.id.hex()}?wait=30", "sender")
            assert found.json["status"] == "committed"

    run(submit())


def test_a_pending_transaction_is_shown_to_its_sender_only(tmp_path: Path) -> None:
    async def look() -> None:
        async with served(tmp_path, runs=False) as door:
            made = prescription(door.genesis, 1)
            assert (await door.post((made.raw,), "shop_a", wait=0)).status == 202
            path = f"/v1/transactions/{made.id.hex()}"
            for token, status in (("shop_a", 200), ("auditor", 200), ("shop_b", 404)):
                assert (await door.get(path, token)).status == status
            assert not door.node.running.admission._waiting  # nobody waits

    run(look())


def test_good_and_bad_ones_are_answered_each(tmp_path: Path) -> None:
    async def submit() -> None:
        async with served(tmp_path) as door:
            late = transaction_of(
                door.genesis, "shop-a", PrescriptionCommit(bytes(32)), valid_until=1
            )
            good = prescription(door.genesis, 1)
            answer = await door.post((b"garbage", good.raw, late.raw))
            assert answer.status == 200
            garbage, committed, expired = answer.json["transactions"]
            assert "id" not in garbage
            assert garbage["problem"]["type"] == "urn:depoli:problem:malformed"
            assert committed["status"] == "committed"
            assert expired["id"] == late.id.hex()
            assert expired["problem"]["type"] == "urn:depoli:problem:expired"
            assert expired["problem"]["status"] == 422

    run(submit())


def test_where_none_is_admitted_the_answer_is_a_problem(tmp_path: Path) -> None:
    async def submit() -> None:
        async with served(tmp_path) as door:
            answer = await door.post((b"garbage", b"more"))
            assert answer.status == 422
            assert len(answer.json["transactions"]) == 2

    run(submit())


def test_a_full_mempool_asks_to_come_again(tmp_path: Path) -> None:
    async def submit() -> None:
        async with served(tmp_path, runs=False) as door:
            door.node.running.admission._mempool = Mempool(Limits(transactions=0))
            answer = await door.post((prescription(door.genesis, 1).raw,))
            assert answer.status == 429
            assert "full" in answer.json["detail"]

    run(submit())


def test_a_refused_call_is_an_entry_and_its_evidence_is_told(tmp_path: Path) -> None:
    async def refuse() -> None:
        async with served(tmp_path) as door:
            made = door.made("shop-a", SettlementConfirm(bytes(32)))
            (result,) = await door.send(made)
            assert result["status"] == "committed"
            assert result["outcomes"][0]["code"] > 0
            assert result["outcomes"][0]["text"]
            receipt = await door.get(f"/v1/receipts/{made.id.hex()}/0", "shop_a")
            assert receipt.status == 200

    run(refuse())


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"garbage", 400),
        (encode(()), 400),
        (encode((1, 2)), 400),
        (encode((b"x",) * (MAX_BATCH + 1)), 400),
        (encode((bytes(1 << 20),)), 400),
        (bytes(MAX_BODY_BYTES + 1), 413),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(tmp_path: Path, body: bytes, status: int) -> None:
    async def submit() -> None:
        async with served(tmp_path, runs=False) as door:
            assert (await door.post(body)).status == status

    run(submit())


def test_the_body_must_say_what_it_is(tmp_path: Path) -> None:
    async def submit() -> None:
        async with served(tmp_path, runs=False) as door:
            body = encode((prescription(door.genesis, 1).raw,))
            answer = await door.ask("POST", "/v1/transactions", "anyone", data=body)
            assert answer.status == 415
            assert "application/msgpack" in answer.json["title"]

    run(submit())


def test_what_comes_while_a_node_stops_before_rules_that_it_lacks_is_to_be_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def submit() -> None:
        async with served(tmp_path) as door:
            with monkeypatch.context() as patch:
                patch.delitem(CODES, 1)  # as it is in the moment before it ends
                answer = await door.post((prescription(door.genesis, 1).raw,))
            assert answer.status == 503
            assert "version 1 of the rules is in force" in answer.json["detail"]
            answer = await door.post((prescription(door.genesis, 1).raw,))
            assert answer.status == 200

    run(submit())


def test_a_node_that_is_not_ready_takes_nothing(tmp_path: Path) -> None:
    async def submit() -> None:
        async with served(tmp_path, runs=False) as door:
            door.node.running.replica.not_ready = lambda: ["3 blocks behind"]  # type: ignore[method-assign]
            answer = await door.post((prescription(door.genesis, 1).raw,))
            assert answer.status == 503
            assert answer.json["detail"] == "3 blocks behind"
            assert not (await door.get("/v1/status")).json["ready"]

    run(submit())


def test_a_token_of_a_member_sends_for_no_other(tmp_path: Path) -> None:
    async def submit() -> None:
        async with served(tmp_path, runs=False) as door:
            made = prescription(door.genesis, 1, "shop-b")
            assert (await door.post((made.raw,), "shop_a", wait=0)).status == 403
            assert len(door.node.running.mempool) == 0
            assert (await door.post((made.raw,), "shop_b", wait=0)).status == 202

    run(submit())


# --- who may ask what -----------------------------------------------------------------------------

PATHS = (
    f"/v1/transactions/{ID}",
    "/v1/claims",
    f"/v1/claims/{ID}",
    "/v1/settlements",
    f"/v1/settlements/{ID}",
    f"/v1/settlements/{ID}/claims",
    f"/v1/claims/{ID}/explanation",
    f"/v1/settlements/{ID}/explanation",
    "/v1/authorisations",
    f"/v1/authorisations/{ID}",
    f"/v1/authorisations/{ID}/explanation",
    f"/v1/prescriptions/{ID}",
    f"/v1/prescriptions/{ID}/explanation",
    "/v1/erasures",
    f"/v1/erasures/{ID}",
    f"/v1/erasures/{ID}/explanation",
    "/v1/blocks/1",
    "/v1/blocks/latest",
    f"/v1/receipts/{ID}/0",
    "/v1/consistency?from=1",
    "/v1/history",
    "/v1/status",
    "/v1/validators",
    "/v1/members",
    f"/v1/members/{SHOP}",
    "/v1/genesis",
    "/v1/chain",
    "/v1/diagnosis",
    "/v1/proposals",
    "/v1/evidence",
    f"/v1/evidence/{ID}",
)
WHOLE = {"/v1/chain", "/v1/proposals", "/v1/evidence", f"/v1/evidence/{ID}"}  # to auditors alone
OPEN = {  # to every token
    "/v1/consistency?from=1",
    "/v1/status",
    "/v1/validators",
    "/v1/members",
    f"/v1/members/{SHOP}",
    "/v1/genesis",
}


def test_without_a_token_nothing_is_told(tmp_path: Path) -> None:
    async def ask() -> None:
        async with served(tmp_path) as door:
            await door.send(prescription(door.genesis, 1))
            for path in (*PATHS, "/v1/nowhere", "/"):
                for token in (None, "", "wrong", "reade"):
                    answer = await door.get(path, token)
                    assert answer.status == 401, path
                    assert set(answer.json) == {"type", "title", "status"}
            basic = await door.ask(
                "GET", "/v1/status", None, headers={"Authorization": "Basic reader"}
            )
            assert basic.status == 401

    run(ask())


def test_a_token_opens_what_its_scopes_say(tmp_path: Path) -> None:
    async def ask() -> None:
        async with served(tmp_path) as door:
            await door.send(prescription(door.genesis, 1))
            for path in PATHS:
                for token, allowed in (
                    ("operator", OPEN | {"/v1/diagnosis"}),
                    ("sender", OPEN | {f"/v1/transactions/{ID}"}),
                    ("reader", set(PATHS) - (WHOLE | {"/v1/diagnosis"})),
                ):
                    answer = await door.get(path, token)
                    assert (answer.status != 403) == (path in allowed), (path, token)
            for token in ("reader", "operator", "auditor"):
                made = prescription(door.genesis, 2)
                assert (await door.post((made.raw,), token)).status == 403

    run(ask())


def test_a_member_reads_only_what_concerns_it(tmp_path: Path) -> None:
    async def read() -> None:
        async with served(tmp_path) as door:
            made, id_ = await door.claim("one")
            paths = (
                f"/v1/claims/{id_}",
                f"/v1/receipts/{made.id.hex()}/0",
            )
            for path in paths:
                for token, status in (
                    ("shop_a", 200),
                    ("payer", 200),
                    ("auditor", 200),
                    ("shop_b", 404),
                ):
                    assert (await door.get(path, token)).status == status, (path, token)
            there = (await door.get(paths[0], "shop_b")).json
            nowhere = (await door.get(f"/v1/claims/{ID}", "shop_b")).json
            assert there["title"].replace(id_, ID) == nowhere["title"]  # as if it were not there
            path = f"/v1/transactions/{made.id.hex()}"
            assert (await door.get(path, "shop_b")).status == 404
            for token, count in (("shop_a", 1), ("payer", 1), ("shop_b", 0)):
                listed = (await door.get("/v1/claims", token)).json["claims"]
                assert len(listed) == count
            other = f"/v1/claims?member={member_of('shop-a').hex()}"
            assert (await door.get(other, "shop_b")).status == 403
            assert len((await door.get(other, "auditor")).json["claims"]) == 1
            assert (await door.get("/v1/claims", "auditor")).status == 403  # whose?
            one = (await door.get(paths[0], "payer")).json
            ids = (bytes.fromhex(id_), bytes(32), bytes.fromhex(id_))
            for token, shown in (("payer", [one]), ("auditor", [one]), ("shop_b", [])):
                answer = await door.query(ids, token)
                assert (answer.status, answer.json["claims"]) == (200, shown)
            for wrong in ((), (b"short",), (bytes(32),) * 501, "text"):
                assert (await door.query(wrong, "payer")).status == 400
            assert (await door.query(ids, "operator")).status == 403

    run(read())


# --- explanations ---------------------------------------------------------------------------------


def test_what_happened_to_a_claim_and_what_may_is_told_to_those_with_a_part_in_it(
    tmp_path: Path,
) -> None:
    async def explain() -> None:
        async with served(tmp_path) as door:
            made, id_ = await door.claim("one")
            path, claim = f"/v1/claims/{id_}/explanation", bytes.fromhex(id_)
            reject = ClaimReject(claim, Reason.RIGHTS_CLOSED, automatic=True)
            await door.send(door.made("shop-a", ClaimAccept(claim, None)))  # refused: not its part
            await door.send(door.made("shop-b", ClaimCancel(claim)))  # refused: nothing to it
            told = (await door.get(path, "payer")).json
            assert (told["kind"], told["id"], told["state"]) == ("claim", id_, "submitted")
            assert told["parties"] == {"submitter": SHOP, "payer": member_of(PAYER).hex()}
            of_payer = {step["call"] for step in told["steps"] if step["who"] == "payer"}
            assert of_payer == {"ClaimAccept", "ClaimReject"}
            await door.send(door.made(PAYER, reject))
            told = (await door.get(path, "shop_a")).json
            assert [(each["call"], each["outcome"]["name"]) for each in told["history"]] == [
                ("ClaimSubmit", "APPLIED"),
                ("ClaimAccept", "CLAIM_NOT_YOURS"),
                ("ClaimReject", "APPLIED"),
            ]
            assert told["history"][0]["transaction"] == made.id.hex()
            assert told["history"][2]["says"] == {"reason": "rights_closed", "automatic": True}
            seen = (await door.get(path, "payer")).json["history"]
            assert [each["call"] for each in seen] == ["ClaimSubmit", "ClaimReject"]
            assert len((await door.get(path, "auditor")).json["history"]) == 4
            # A stranger is told nothing of the claim, and of its own call why it was refused.
            stranger = (await door.get(path, "shop_b")).json
            assert (stranger["state"], stranger["parties"]) == (None, {})
            assert stranger["steps"] == []
            (only,) = stranger["history"]
            assert (only["call"], only["outcome"]["name"]) == ("ClaimCancel", "CLAIM_NOT_YOURS")
            assert (await door.get(path, "reader")).json == told

    run(explain())


def test_who_was_told_a_commitment_learns_whether_its_prescription_is_in_force(
    tmp_path: Path,
) -> None:
    async def read() -> None:
        async with served(tmp_path) as door:
            commitment = some_bytes("prescription", "one")
            await door.send(door.made("shop-a", PrescriptionCommit(commitment)))
            path, shop = f"/v1/prescriptions/{commitment.hex()}", member_of("shop-a").hex()
            for token in ("payer", "shop_b", "auditor"):
                shown = (await door.get(f"{path}?member={shop}", token)).json
                assert shown == {"id": commitment.hex(), "member": shop, "state": "committed"}
            assert (await door.get(path, "shop_a")).json["state"] == "committed"
            for other in (path, f"{path}?member={'00' * 16}", f"/v1/prescriptions/{ID}"):
                assert (await door.get(other, "payer")).status == 404
            await door.send(door.made("shop-a", PrescriptionRevoke(commitment)))
            assert (await door.get(f"{path}?member={shop}", "payer")).json["state"] == "revoked"

    run(read())


def test_authorisations_are_listed_page_by_page_and_told_to_their_two_parties(
    tmp_path: Path,
) -> None:
    async def ask() -> None:
        async with served(tmp_path) as door:
            made = []
            for name in ("one", "two"):
                commitment = some_bytes("prescription", name)
                mark = mark_of(some_bytes("secret", name), Leg.BASE, Part.LENSES, 0)
                lock = lock_of(door.genesis.chain_id, member_of("shop-a"), mark)
                await door.send(door.made("shop-a", PrescriptionCommit(commitment), MarkLock(lock)))
                request = AuthorisationRequest(
                    member_of(PAYER),
                    Leg.BASE,
                    commitment,
                    some_bytes("document", name),
                    amount_of(name, 5_000),
                    (Mark(Part.LENSES, mark),),
                )
                sent = door.made("shop-a", request)
                await door.send(sent)
                made.append(created_id(sent.id, 0).hex())
            path = f"/v1/authorisations/{made[0]}"
            for token, status in (("shop_a", 200), ("payer", 200), ("auditor", 200)):
                assert (await door.get(path, token)).status == status
            shown = (await door.get(path, "payer")).json
            assert (shown["state"], shown["leg"]) == ("requested", "base")
            for more in ("", "/explanation"):
                assert (await door.get(path + more, "shop_b")).status == 404
            first = (await door.get("/v1/authorisations?limit=1", "payer")).json
            assert [each["id"] for each in first["authorisations"]] == made[:1]
            rest = f"/v1/authorisations?limit=2&cursor={first['cursor']}"
            second = (await door.get(rest, "payer")).json
            assert [each["id"] for each in second["authorisations"]] == made[1:]
            assert second["cursor"] is None
            await door.send(door.made("shop-a", AuthorisationCancel(bytes.fromhex(made[0]))))
            for state, ids in (("cancelled", made[:1]), ("requested", made[1:]), ("granted", [])):
                listed = (await door.get(f"/v1/authorisations?state={state}", "shop_a")).json
                assert [each["id"] for each in listed["authorisations"]] == ids
            assert (await door.get("/v1/authorisations", "shop_b")).json["authorisations"] == []
            told = (await door.get(f"{path}/explanation", "shop_a")).json
            assert [each["call"] for each in told["history"]] == [
                "AuthorisationRequest",
                "AuthorisationCancel",
            ]
            assert told["state"] == "cancelled"

    run(ask())


def test_a_prescription_is_explained_to_who_holds_it(tmp_path: Path) -> None:
    async def ask() -> None:
        async with served(tmp_path) as door:
            commitment = some_bytes("prescription", "held")
            await door.send(door.made("shop-a", PrescriptionCommit(commitment)))
            path = f"/v1/prescriptions/{commitment.hex()}/explanation"
            told = (await door.get(path, "shop_a")).json
            assert (told["state"], told["parties"]) == ("committed", {"holder": SHOP})
            assert {step["call"] for step in told["steps"]} == {
                "PrescriptionSupersede",
                "PrescriptionRevoke",
            }
            assert (await door.get(path, "shop_b")).status == 404

    run(ask())


def test_an_erasure_is_shown_to_who_asked_and_who_was_asked(tmp_path: Path) -> None:
    async def ask() -> None:
        async with served(tmp_path) as door:
            request = ErasureRequest(member_of(PAYER), some_bytes("to be erased"))
            asked = door.made("shop-a", request)
            await door.send(asked)
            id_ = created_id(asked.id, 0).hex()
            path = f"/v1/erasures/{id_}"
            shown = (await door.get(path, "shop_a")).json
            assert (shown["id"], shown["state"], shown["outcome"]) == (id_, "requested", None)
            assert (shown["requester"], shown["recipient"]) == (SHOP, member_of(PAYER).hex())
            for token, status in (("payer", 200), ("auditor", 200), ("shop_b", 404)):
                for more in ("", "/explanation"):
                    assert (await door.get(path + more, token)).status == status
            statement = ErasureStatement(bytes.fromhex(id_), ErasureOutcome.HELD_BY_LAW)
            await door.send(door.made(PAYER, statement))
            for token in ("shop_a", "payer"):
                (listed,) = (await door.get("/v1/erasures?state=held", token)).json["erasures"]
                assert (listed["id"], listed["outcome"]) == (id_, "HELD_BY_LAW")
            assert (await door.get("/v1/erasures", "shop_b")).json["erasures"] == []
            told = (await door.get(f"{path}/explanation", "shop_a")).json
            assert [each["says"] for each in told["history"]] == [{}, {"outcome": "held_by_law"}]
            (step,) = told["steps"]
            assert (step["call"], step["who"]) == ("ErasureStatement", "recipient")

    run(ask())


def test_a_claim_tells_what_was_done_to_its_settlement(tmp_path: Path) -> None:
    async def ask() -> None:
        async with served(tmp_path) as door:
            ids = [(await door.claim(name))[1] for name in ("one", "two")]
            for id_ in ids:
                await door.send(door.made(PAYER, ClaimAccept(bytes.fromhex(id_), None)))
            claims = tuple(map(bytes.fromhex, ids))
            opened = door.made(PAYER, SettlementOpen(member_of("shop-a"), Direction.PAYMENT))
            await door.send(opened)
            batch = created_id(opened.id, 0)
            await door.send(door.made(PAYER, SettlementAdd(batch, claims)))
            total = bytes.fromhex((await door.get(f"/v1/settlements/{batch.hex()}")).json["sum"])
            await door.send(door.made(PAYER, SettlementAnnounce(batch, total, None)))
            await door.send(door.made("shop-a", SettlementConfirm(batch)))
            for id_ in ids:
                told = (await door.get(f"/v1/claims/{id_}/explanation", "shop_a")).json
                assert told["state"] == "settled"
                assert [each["call"] for each in told["history"]] == [
                    "ClaimSubmit",
                    "ClaimAccept",
                    "SettlementAdd",
                    "SettlementAnnounce",
                    "SettlementConfirm",
                ]

    run(ask())


def test_what_never_came_to_be_has_the_refusal_as_its_only_history(tmp_path: Path) -> None:
    async def explain() -> None:
        async with served(tmp_path) as door:
            submit = ClaimSubmit(
                member_of(PAYER),
                Leg.BASE,
                bytes(32),
                bytes(32),
                amount_of("none", 1),
                (Mark(Part.LENSES, bytes(32)),),
                None,
                None,
            )
            made = door.made("shop-a", submit)
            await door.send(made)
            path = f"/v1/claims/{created_id(made.id, 0).hex()}/explanation"
            told = (await door.get(path, "shop_a")).json
            assert (told["state"], told["steps"]) == (None, [])
            (only,) = told["history"]
            assert only["outcome"]["name"] == "PRESCRIPTION_NOT_COMMITTED"
            assert (await door.get(path, "payer")).status == 404

    run(explain())


# --- what is told ---------------------------------------------------------------------------------


def test_a_claim_is_shown_from_submission_to_settlement(tmp_path: Path) -> None:
    async def live() -> None:
        async with served(tmp_path) as door:
            made, id_ = await door.claim("one")
            shown = (await door.get(f"/v1/claims/{id_}", "shop_a")).json
            assert shown["id"] == id_
            assert shown["submitter"] == member_of("shop-a").hex()
            assert shown["payer"] == member_of(PAYER).hex()
            assert (shown["leg"], shown["state"]) == ("complementary", "submitted")
            assert (shown["reason"], shown["settlement"]) == (None, None)
            assert shown["transaction"] == made.id.hex()
            assert shown["marks"][0]["part"] == "lenses"
            await door.send(door.made(PAYER, ClaimAccept(bytes.fromhex(id_), None)))
            assert (await door.get(f"/v1/claims/{id_}")).json["state"] == "accepted"
            begun = door.made(PAYER, SettlementOpen(member_of("shop-a"), Direction.PAYMENT))
            await door.send(begun)
            settlement = created_id(begun.id, 0)
            batch = settlement.hex()
            await door.send(door.made(PAYER, SettlementAdd(settlement, (bytes.fromhex(id_),))))
            amount = bytes.fromhex((await door.get(f"/v1/claims/{id_}")).json["amount"])
            await door.send(door.made(PAYER, SettlementAnnounce(settlement, amount, None)))
            path = f"/v1/settlements/{batch}"
            shown = (await door.get(path, "shop_a")).json
            assert shown["id"] == batch
            assert (shown["state"], shown["direction"]) == ("announced", "payment")
            assert (shown["count"], shown["sum"]) == (1, amount.hex())
            assert shown["due"] == shown["since"] + Parameters().confirmation_due_s
            inside = (await door.get(f"{path}/claims", "shop_a")).json
            assert [each["id"] for each in inside["claims"]] == [id_]
            assert inside["claims"][0]["state"] == "batched"
            assert (await door.get(f"{path}/claims?cursor=1", "shop_a")).json["claims"] == []
            assert (await door.get(f"{path}/claims", "shop_b")).status == 404
            for token in ("shop_a", "payer"):
                listed = (await door.get("/v1/settlements", token)).json["settlements"]
                assert listed == [shown]
            assert (await door.get("/v1/settlements", "shop_b")).json["settlements"] == []
            assert shown["payer"] == member_of(PAYER).hex()
            assert shown["beneficiary"] == member_of("shop-a").hex()
            assert (await door.get(path, "payer")).json == shown
            assert (await door.get(path, "shop_b")).status == 404
            await door.send(door.made("shop-a", SettlementConfirm(bytes.fromhex(batch))))
            assert (await door.get(path)).json["state"] != shown["state"]
            assert (await door.get(f"/v1/claims/{id_}")).json["state"] == "settled"

    run(live())


def test_a_claim_tells_its_parties_which_key_signed_it(tmp_path: Path) -> None:
    async def ask() -> None:
        async with served(tmp_path) as door:
            own, others = (key_of(shop, Role.TRANSACTION) for shop in ("shop-a", "shop-b"))
            until = door.genesis.genesis.time + 3600
            grant = DelegationGrant(member_of("shop-b"), Delegated.CLAIMS, until)
            await door.send(door.made("shop-a", grant))
            for name, key in (("one", own), ("two", others)):
                _, id_ = await door.claim(name, key)
                for token in ("shop_a", "payer"):
                    shown = (await door.get(f"/v1/claims/{id_}", token)).json
                    assert shown["signed_by"] == key.public.hex()
                    assert shown["submitter"] == member_of("shop-a").hex()
                assert (await door.get(f"/v1/claims/{id_}", "shop_b")).status == 404
            listed = (await door.get("/v1/claims", "shop_a")).json["claims"]
            assert all("signed_by" not in each for each in listed)

    run(ask())


def test_claims_are_listed_page_by_page_and_by_state(tmp_path: Path) -> None:
    async def page() -> None:
        async with served(tmp_path) as door:
            ids = [(await door.claim(f"claim {n}"))[1] for n in range(5)]
            await door.send(door.made(PAYER, ClaimAccept(bytes.fromhex(ids[1]), None)))
            pages: list[list[str]] = []
            cursor: str | None = ""
            while cursor is not None:
                found = (await door.get(f"/v1/claims?limit=2{cursor}", "shop_a")).json
                pages.append([each["id"] for each in found["claims"]])
                cursor = None if found["cursor"] is None else f"&cursor={found['cursor']}"
            assert pages == [ids[:2], ids[2:4], ids[4:]]
            accepted = (await door.get("/v1/claims?state=accepted", "payer")).json["claims"]
            assert [each["id"] for each in accepted] == [ids[1]]

    run(page())


def test_a_receipt_verifies_without_the_node(tmp_path: Path) -> None:
    async def receive() -> None:
        async with served(tmp_path) as door:
            made, _ = await door.claim("one")
            answer = await door.get(f"/v1/receipts/{made.id.hex()}/0", "shop_a")
            receipt = parse_json(answer.body.decode())
            validators = door.node.running.chain.state.validators
            receipt.verify(door.genesis.chain_id, validators)
            assert receipt.entry.transaction == made.id
            assert (await door.get(f"/v1/receipts/{made.id.hex()}/1", "shop_a")).status == 404

    run(receive())


def test_blocks_are_shown_and_their_transactions_to_who_reads_all(tmp_path: Path) -> None:
    async def show() -> None:
        async with served(tmp_path) as door:
            made = prescription(door.genesis, 1)
            await door.send(made)
            latest = (await door.get("/v1/blocks/latest", "shop_b")).json
            assert latest["header"]["height"] == 1
            assert latest["transactions"] == 1
            assert "transaction_ids" not in latest
            shown = (await door.get("/v1/blocks/1")).json
            assert shown["transaction_ids"] == [made.id.hex()]
            assert shown["hash"] == latest["hash"]
            for height in ("0", "2"):
                assert (await door.get(f"/v1/blocks/{height}")).status == 404
            for height in ("x", "-1", "9" * 40):
                assert (await door.get(f"/v1/blocks/{height}")).status == 400

    run(show())


def test_evidence_is_listed_in_words_and_given_as_a_file(tmp_path: Path) -> None:
    async def show() -> None:
        async with served(tmp_path) as door:
            genesis, node = door.genesis, door.node.running
            assert (await door.get("/v1/evidence")).json == {"evidence": [], "cursor": None}
            pieces = [double_vote(genesis, FEDERATION, height) for height in (1, 2)]
            for number, data in enumerate(pieces, 1):
                await node.evidence.heard(data, node.reader)
                await until(lambda n=number: node.chain.height == n, "no block")  # type: ignore[misc]
            first = (await door.get("/v1/evidence?limit=1")).json
            second = (await door.get(f"/v1/evidence?cursor={first['cursor']}")).json
            assert second["cursor"] is None
            deeds = [*first["evidence"], *second["evidence"]]
            words = "federation signed two different commits at height {}, round 0"
            assert [deed["says"] for deed in deeds] == [words.format(h) for h in (1, 2)]
            for deed, data in zip(deeds, pieces, strict=True):
                text = (await door.get(f"/v1/evidence/{deed['id']}")).body.decode()
                found = verify_json(text, genesis.genesis)
                assert encode_evidence(found.evidence) == data
                assert found.recorded is not None
                assert found.recorded.height == deed["recorded"]["height"]
            assert (await door.get(f"/v1/evidence/{ID}")).status == 404
            assert (await door.get("/v1/evidence?cursor=x")).status == 400

    run(show())


def test_what_waits_is_listed_behind_what_is_recorded(tmp_path: Path) -> None:
    async def show() -> None:
        async with served(tmp_path, runs=False) as door:  # it makes no blocks
            node = door.node.running
            await node.evidence.heard(double_vote(door.genesis, FEDERATION, 1), node.reader)
            (deed,) = (await door.get("/v1/evidence")).json["evidence"]
            assert (deed["recorded"], deed["organisation"]) == (None, FEDERATION)
            assert (await door.get(f"/v1/evidence/{deed['id']}")).status == 404

    run(show())


def test_the_chain_is_streamed_as_it_is_kept(tmp_path: Path) -> None:
    async def stream() -> None:
        async with served(tmp_path) as door:
            for number in range(4):
                await door.send(prescription(door.genesis, number))
            answer = await door.get("/v1/chain")
            assert answer.type == "application/octet-stream"
            records, rest = split_frames(answer.body)
            assert rest == b""
            assert records == list(door.node.running.chain.records(1))
            heights = [decode(each, CommittedBlock).block.header.height for each in records]
            assert heights == [1, 2, 3, 4]
            later, _ = split_frames((await door.get("/v1/chain?from=3")).body)
            assert later == records[2:]
            assert (await door.get("/v1/chain?from=9")).body == b""

    run(stream())


def test_the_network_describes_itself(tmp_path: Path) -> None:
    async def describe() -> None:
        async with served(tmp_path) as door:
            await door.send(prescription(door.genesis, 1))
            status = (await door.get("/v1/status", "operator")).json
            header = door.node.running.chain.header
            assert status["chain_id"] == door.genesis.chain_id.hex()
            assert (status["height"], status["hash"]) == (1, header.hash.hex())
            assert (status["round"], status["mempool"], status["log_size"]) == (0, 0, 1)
            assert (status["peers"], status["fenced"], status["ready"]) == ([], False, True)
            (why,) = status["trouble"].values()  # of the observer, which is not there
            assert "has to dial" in why
            assert (status["twins"], status["sync"]) == ([], None)
            validators = (await door.get("/v1/validators", "operator")).json
            assert (validators["height"], validators["quorum"]) == (2, 1)
            assert (validators["leader"], validators["passed_over"]) == (0, [])
            (voter,) = validators["validators"]
            (era,) = validators["eras"]
            assert era == {"number": 0, "from_height": 0, "members": [voter["member"]]}
            members = (await door.get("/v1/members", "operator")).json["members"]
            assert len(members) == len(door.genesis.genesis.members)
            assert (await door.get("/v1/genesis", "operator")).json == {}  # as the file has it

    run(describe())


def test_the_node_says_why_there_is_no_block(tmp_path: Path) -> None:
    async def ask() -> None:
        async with served(tmp_path) as door:
            await door.send(prescription(door.genesis, 1))
            found = from_json((await door.get("/v1/diagnosis", "operator")).json)
            assert (found.verdict, found.findings, found.height) == (Verdict.IDLE, (), 1)
            assert [(row.label, row.link) for row in found.rows] == [(FEDERATION, "here")]

    run(ask())


@pytest.mark.parametrize(
    "path",
    [
        "/v1/claims/xyz",
        "/v1/claims/" + "0" * 62,
        "/v1/claims/" + "A" * 64,
        f"/v1/receipts/{ID}/x",
        f"/v1/receipts/{ID}/-1",
        "/v1/consistency?from=0&to=1",
        "/v1/consistency?from=x",
        "/v1/history?member=00",
        f"/v1/history?member={SHOP}&to=0",
        f"/v1/transactions/{ID}?wait=61",
        f"/v1/transactions/{ID}?wait=x",
        f"/v1/claims?member={SHOP}&limit=0",
        f"/v1/claims?member={SHOP}&limit=501",
        f"/v1/claims?member={SHOP}&cursor=-5",
        "/v1/claims?member=00",
        "/v1/claims?member=zz",
        "/v1/chain?from=0",
        "/v1/chain?from=%C2%B2",  # a digit to str.isdigit, but no number
    ],
)
def test_a_question_that_makes_no_sense_is_refused(tmp_path: Path, path: str) -> None:
    async def ask() -> None:
        async with served(tmp_path, runs=False) as door:
            made = prescription(door.genesis, 1)
            await door.post((made.raw,), wait=0)
            path_ = path.replace(ID, made.id.hex())
            assert (await door.get(path_, "auditor")).status == 400

    run(ask())


def test_what_is_not_there_and_what_may_not_be_done_is_a_problem_too(tmp_path: Path) -> None:
    async def ask() -> None:
        async with served(tmp_path, runs=False) as door:
            assert (await door.get("/v1/nowhere")).status == 404
            assert (await door.ask("DELETE", "/v1/status", "auditor")).status == 405

    run(ask())


def test_a_fault_of_the_node_shows_nothing_of_its_insides(tmp_path: Path) -> None:
    async def fail() -> None:
        async with served(tmp_path, runs=False) as door:

            def stumble() -> list[str]:
                raise KeyError("a secret")

            door.node.running.replica.not_ready = stumble  # type: ignore[method-assign]
            answer = await door.get("/v1/status")
            assert answer.status == 500
            assert b"secret" not in answer.body
            assert door.node.said("request failed")

    run(fail())


def test_who_hangs_up_before_the_answer_is_no_error_of_the_node(tmp_path: Path) -> None:
    async def fail() -> None:
        async with served(tmp_path, runs=False) as door:

            def gone() -> list[str]:
                raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")

            door.node.running.replica.not_ready = gone  # type: ignore[method-assign]
            await door.get("/v1/status")
            assert not door.node.said("request failed")

    run(fail())


def test_a_client_that_goes_away_while_it_waits_leaves_nothing(tmp_path: Path) -> None:
    async def leave() -> None:
        async with served(tmp_path, runs=False) as door:
            made = prescription(door.genesis, 1)
            waiting = asyncio.create_task(door.post((made.raw,), wait=60))
            admission = door.node.running.admission
            await until(lambda: bool(admission._waiting), "nobody waits")
            waiting.cancel()
            admission.release()
            await until(lambda: not admission._waiting, "somebody waits still")

    run(leave())
