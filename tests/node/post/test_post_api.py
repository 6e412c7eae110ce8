"""Post in the HTTP API of a real node: who may, what is refused and why, and the client for it."""

import asyncio
import io
from pathlib import Path
from typing import Final

import pytest

from ledger.encoding import encode
from ledger.envelope import MAX_LIFETIME_S
from ledger.keys import Role
from node.client.client import NodeClient
from node.client.errors import NotFound
from node.client.mail import PostView
from node.post import store
from tests.chainmaker import key_of, some_bytes
from tests.node.cluster import ALONE, OBSERVER, run, until
from tests.node.post.letters import SHOP, box, letter, office
from tests.node.test_api import Answer, Door, served

PAYER: Final = OBSERVER
NODE: Final = ALONE[0]
PACKED: Final = {"Content-Type": "application/msgpack"}


async def post(door: Door, raw: bytes, token: str = "shop_a") -> Answer:  # noqa: S107
    return await door.ask("POST", "/v1/post", token, data=io.BytesIO(raw), headers=PACKED)


async def place(door: Door, raw: bytes, token: str = "shop_a") -> Answer:  # noqa: S107
    return await door.ask("PUT", "/v1/post/mailbox", token, data=io.BytesIO(raw), headers=PACKED)


def problem(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json["type"].rpartition(":")[2]


def test_an_envelope_goes_in_comes_out_and_is_forgotten_by_its_recipients_word(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        async with served(tmp_path, runs=False) as door:
            sent = letter(door.genesis, SHOP, PAYER, "one")
            answer = await post(door, sent.raw)
            assert answer.status == 202
            assert answer.json["state"] == "waiting"
            assert (await post(door, sent.raw)).json == answer.json  # nothing changes
            assert (await door.get(f"/v1/post/{sent.id.hex()}", "shop_a")).json == answer.json
            for stranger in ("shop_b", "payer"):
                assert (await door.get(f"/v1/post/{sent.id.hex()}", stranger)).status == 404
            assert (await door.get("/v1/post", "shop_b")).json == {"envelopes": [], "cursor": None}

            async with NodeClient(door.url, "shop_b") as client:
                assert await client.drop_mail([sent.id]) == [sent.id]
            async with NodeClient(door.url, "payer") as client:
                mail = await client.mail()
                (came,) = mail.envelopes
                assert (came.id, came.envelope) == (sent.id.hex(), sent.raw)
                assert came.key is not None
                sent.verify(sent.body.chain_id, bytes.fromhex(came.key))
                assert mail.cursor == came.number
                assert (await client.mail(after=came.number)).envelopes == ()
                strange = some_bytes("no envelope")
                assert await client.drop_mail([strange, sent.id]) == [strange]
                assert await client.drop_mail([sent.id]) == []  # the answer was lost, say
                assert (await client.mail()).envelopes == ()
            for token, id_, status in (
                ("payer", sent.id, 204), ("payer", strange, 404), ("shop_b", sent.id, 404)
            ):  # fmt: skip
                assert (await door.ask("DELETE", f"/v1/post/{id_.hex()}", token)).status == status
            async with NodeClient(door.url, "payer") as client:
                with pytest.raises(NotFound):
                    await client.post_state(sent.id)  # it was not its sender
            async with NodeClient(door.url, "shop_b") as client:
                assert await client.drop_mail([sent.id]) == [sent.id]
            async with NodeClient(door.url, "shop_a") as client:
                assert (await client.post_state(sent.id)).state == "collected"
                (again,) = await client.post([sent.raw])
                assert isinstance(again, PostView)
                assert again.state == "collected"  # a replay is not delivered

    run(test())


def test_of_several_envelopes_each_has_its_own_answer_and_all_are_written_at_once(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        async with served(tmp_path, runs=False) as door, NodeClient(door.url, "shop_a") as client:
            good = [letter(door.genesis, SHOP, PAYER, number) for number in range(3)]
            nobody = letter(door.genesis, SHOP, PAYER, "x", recipient=bytes(16)).raw
            forged = letter(door.genesis, SHOP, PAYER, "y").raw[:-1] + b"\x00"
            strange = letter(door.genesis, "shop-b", PAYER, "z").raw
            store = office(door.node)._shelf.store
            statements: list[str] = []
            store._database.set_trace_callback(statements.append)
            answers = await client.post(
                [good[0].raw, nobody, good[1].raw, forged, b"\x00" * 70_000, good[0].raw, strange,
                 good[2].raw]
            )  # fmt: skip
            assert statements.count("COMMIT") == 1
            known = [each.id if isinstance(each, PostView) else str(each) for each in answers]
            ids = [each.id.hex() for each in good]
            assert [known[index] for index in (0, 2, 5, 7)] == [ids[0], ids[1], ids[0], ids[2]]
            assert "no member in good standing" in known[1]
            assert "signature" in known[3]
            assert "70000 bytes" in known[4]
            assert "sends for another member" in known[6]
            async with NodeClient(door.url, "payer") as payer:
                mail = (await payer.mail()).envelopes
                assert [each.id for each in mail] == ids
                statements.clear()
                assert await payer.drop_mail([each.id for each in good]) == []
                assert statements.count("COMMIT") == 1
                assert (await payer.mail()).envelopes == ()
            store._database.set_trace_callback(None)

    run(test())


def test_what_is_handed_in_together_is_bounded(tmp_path: Path) -> None:
    async def test() -> None:
        async with served(tmp_path, runs=False) as door:
            sent = letter(door.genesis, SHOP, PAYER, "one")
            for path, token, body in (
                ("batch", "shop_a", encode((sent.raw,) * 101)),
                ("batch", "shop_a", encode(())),
                ("batch", "shop_a", sent.raw[:-1]),
                ("drop", "payer", encode((sent.id,) * 501)),
                ("drop", "payer", encode((b"short",))),
            ):
                answer = await door.ask(
                    "POST", f"/v1/post/{path}", token, data=io.BytesIO(body), headers=PACKED
                )
                assert problem(answer) == (400, "malformed")
            for path, token in (("batch", "reader"), ("drop", "sender"), ("drop", "auditor")):
                answer = await door.ask(
                    "POST", f"/v1/post/{path}", token, data=io.BytesIO(encode((sent.id,))),
                    headers=PACKED,
                )  # fmt: skip
                assert problem(answer) == (403, "forbidden")

    run(test())


def test_who_waits_for_post_gets_it_when_it_comes(tmp_path: Path) -> None:
    async def test() -> None:
        async with served(tmp_path, runs=False) as door, NodeClient(door.url, "payer") as client:
            bells = office(door.node)._shelf._bells
            waiting = asyncio.create_task(client.mail(wait=60))
            await until(lambda: bool(bells), "nobody waits")
            sent = letter(door.genesis, SHOP, PAYER, "late")
            await post(door, sent.raw)
            (came,) = (await waiting).envelopes
            assert came.id == sent.id.hex()
            bells.clear()
            waiting = asyncio.create_task(client.mail(after=came.number, wait=60))
            await until(lambda: bool(bells), "nobody waits")
            office(door.node).stop_waiting()  # as the node does when it ends
            assert (await waiting).envelopes == ()

    run(test())


def test_what_is_refused_says_why(tmp_path: Path) -> None:
    async def test() -> None:
        async with served(tmp_path, runs=False) as door:
            made: dict[str, bytes] = {}
            changes: dict[str, dict[str, object]] = {
                "mismatch": {"chain_id": bytes(32)},
                "not-in-time": {"expires": 1},
                "no-such-recipient": {"recipient": b"\x07" * 16},
                "not-a-sender": {"key_id": bytes(8)},
            }
            for name, changed in changes.items():
                made[name] = letter(door.genesis, SHOP, PAYER, name, **changed).raw
            good = letter(door.genesis, SHOP, PAYER, "good")
            made["malformed"] = good.raw[:-1]
            made["bad-signature"] = good.raw[:-1] + bytes((good.raw[-1] ^ 1,))
            for name, raw in made.items():
                assert problem(await post(door, raw)) == (422, name)
            far = letter(
                door.genesis, SHOP, PAYER, "far", expires=good.body.expires + MAX_LIFETIME_S
            )
            assert problem(await post(door, far.raw)) == (422, "not-in-time")
            assert problem(await post(door, good.raw, "shop_b")) == (403, "forbidden")
            assert problem(await post(door, good.raw, "reader")) == (403, "forbidden")
            assert problem(await door.get("/v1/post", "sender")) == (403, "forbidden")
            assert problem(await door.get("/v1/post", "auditor")) == (403, "forbidden")
            assert (await door.get(f"/v1/post/{good.id.hex()}", "auditor")).status == 403
            assert problem(await door.get("/v1/post/xyz", "shop_a")) == (400, "malformed")
            bare = await door.ask("POST", "/v1/post", "shop_a", data=io.BytesIO(good.raw))
            assert problem(bare) == (415, "media-type")
            huge = await post(door, bytes(70_000))
            assert problem(huge) == (422, "malformed")
            assert (await post(door, good.raw, "anyone")).status == 202  # of any member

    run(test())


def test_a_member_says_where_its_post_is_brought(tmp_path: Path) -> None:
    async def test() -> None:
        async with served(tmp_path, runs=False) as door:
            async with NodeClient(door.url, "shop_a") as client:
                before = await client.mailbox()
                assert (before.here, before.mailbox) == (False, None)
                assert before.node == key_of(NODE, Role.TLS).public.hex()
                first = box(door.genesis, SHOP, NODE, issued=1_700_000_000)
                await client.place_mailbox(first.raw)
                await client.place_mailbox(first.raw)  # the answer was lost, say
                after = await client.mailbox()
                assert (after.here, after.mailbox) == (True, before.node)
                await client.place_mailbox(box(door.genesis, SHOP, NODE).raw)
            for name, raw in {
                "not-the-newest": first.raw,
                "other-node": box(door.genesis, SHOP, PAYER).raw,
                "bad-signature": first.raw[:-1] + bytes((first.raw[-1] ^ 1,)),
                "malformed": first.raw[:-1],
            }.items():
                assert problem(await place(door, raw)) == (422, name)
            ahead = box(door.genesis, SHOP, NODE, issued=1 << 40)
            assert problem(await place(door, ahead.raw)) == (422, "not-the-newest")
            assert problem(await place(door, first.raw, "shop_b")) == (403, "forbidden")
            own = await door.get("/v1/post/mailbox", "payer")
            assert own.json == {
                "node": before.node, "here": False, "mailbox": None, "issued": None,
            }  # fmt: skip

    run(test())


def test_too_much_of_one_sender_is_refused_and_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_SENDER_BYTES", 3 * store.ROW_BYTES)

    async def test() -> None:
        async with served(tmp_path, runs=False) as door:
            sent = [letter(door.genesis, SHOP, PAYER, n) for n in range(3)]
            assert [(await post(door, each.raw)).status for each in sent] == [202, 202, 429]
            other = letter(door.genesis, "shop-b", PAYER, "other")
            assert (await post(door, other.raw, "shop_b")).status == 202
            assert (await door.ask("DELETE", f"/v1/post/{sent[0].id.hex()}", "payer")).status == 204
            assert (await post(door, sent[2].raw)).status == 202
            metrics = door.node.running.metrics.text().decode()
            assert "depoli_post_waiting 3.0" in metrics

    run(test())
