"""Members as the API tells them: their standing and keys to all, who acts to those concerned."""

from pathlib import Path

from contracts.calls import DelegationGrant, KeyRevoke, PrescriptionCommit, Scope
from ledger.keys import Role, key_id
from tests.chainmaker import key_of, member_of, some_bytes
from tests.node.cluster import run, transaction_of
from tests.node.test_api import Door, served

SHOP = member_of("shop-a").hex()
VENDOR = key_of("shop-b", Role.TRANSACTION)


async def granted(door: Door) -> None:
    until = door.node.running.chain.header.time + 1_000
    grant = DelegationGrant(member_of("shop-b"), Scope.CLAIMS, until)
    (told,) = await door.send(transaction_of(door.genesis, "shop-a", grant))
    assert told["outcomes"][0]["code"] == 0


def test_members_and_their_keys_are_told_to_every_token(tmp_path: Path) -> None:
    async def ask() -> None:
        async with served(tmp_path) as door:
            own = key_id(Role.TRANSACTION, VENDOR.algorithm, VENDOR.public)
            await door.send(transaction_of(door.genesis, "shop-b", KeyRevoke(own, 0)))
            listed = (await door.get("/v1/members", "sender")).json["members"]
            assert {each["label"] for each in listed} >= {"shop-a", "shop-b"}
            for token in ("sender", "operator", "auditor", "payer"):
                found = (await door.get(f"/v1/members/{SHOP}", token)).json
                assert (found["label"], found["status"]) == ("shop-a", "admitted")
                assert found["history"] == [{"from_height": 0, "status": "admitted"}]
                (key,) = [each for each in found["keys"] if each["role"] == "transaction"]
                assert key["public"] == key_of("shop-a", Role.TRANSACTION).public.hex()
                assert (key["until_height"], key["certificate"]) == (None, None)
            assert (await door.get(f"/v1/members/{bytes(16).hex()}")).status == 404
            for wrong in ("x", SHOP[:-1], SHOP.upper(), SHOP + "00"):
                assert (await door.get(f"/v1/members/{wrong}")).status == 400

    run(ask())


def test_to_whom_a_member_delegates_is_told_to_the_two_and_to_auditors(tmp_path: Path) -> None:
    async def ask() -> None:
        async with served(tmp_path) as door:
            await granted(door)
            for token, sees in (
                ("reader", True), ("shop_b", True), ("auditor", True),
                ("payer", False), ("operator", False),
            ):  # fmt: skip
                found = (await door.get(f"/v1/members/{SHOP}", token)).json["delegations"]
                assert bool(found) == sees, token

    run(ask())


def test_a_delegate_hands_in_what_it_signed_for_its_principal(tmp_path: Path) -> None:
    async def ask() -> None:
        async with served(tmp_path) as door:
            await granted(door)
            call = PrescriptionCommit(some_bytes("one"))
            made = transaction_of(door.genesis, "shop-a", call, key=VENDOR)
            assert (await door.post((made.raw,), "payer")).status == 403
            answer = await door.post((made.raw,), "shop_b")
            assert answer.json["transactions"][0]["outcomes"][0]["code"] == 0
            own = transaction_of(door.genesis, "shop-a", PrescriptionCommit(some_bytes("two")))
            assert (await door.post((own.raw,), "shop_b")).status == 403

    run(ask())
