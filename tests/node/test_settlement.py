"""A settlement of some hundred claims by the people's client, over HTTP, on a node that runs."""

import asyncio
from pathlib import Path
from typing import Final

from contracts.calls import (
    Call,
    ClaimAccept,
    ClaimSubmit,
    Leg,
    Mark,
    MarkLock,
    Part,
    PrescriptionCommit,
)
from contracts.commitment import Opening, blinding_from, lock_of, mark_of
from ledger.encoding import encode
from ledger.keys import Role
from ledger.transaction import created_id
from node.client.client import PAGE, NodeClient
from node.client.decisions import require_applied
from node.client.records import ReceivedRecord, keep
from node.client.settling import Order, Settlements
from node.client.statements import parse_statement
from node.client.transactions import Sender
from node.client.vault import Vault
from tests.chainmaker import key_of, member_of, some_bytes
from tests.node.test_api import PAYER, Door, served

COUNT: Final = PAGE + 20  # more than one page, and more than two calls
LOT: Final = 125
SHOP: Final = "shop-a"


def opening(number: int) -> Opening:
    return Opening(100 + number, blinding_from(some_bytes(number, 1) + some_bytes(number, 2)))


async def submitted(door: Door) -> dict[bytes, Opening]:
    """Bring accepted claims into the chain; return what opens each."""
    found: dict[bytes, Opening] = {}
    for first in range(0, COUNT, LOT):
        numbers = range(first, min(first + LOT, COUNT))
        before: list[Call] = []
        claims: list[Call] = []
        for number in numbers:
            commitment = some_bytes("prescription", number)
            mark = mark_of(some_bytes("secret", number), Leg.COMPLEMENTARY, Part.LENSES, 0)
            lock = lock_of(door.genesis.chain_id, member_of(SHOP), mark)
            before += [PrescriptionCommit(commitment), MarkLock(lock)]
            claims.append(
                ClaimSubmit(
                    member_of(PAYER),
                    Leg.COMPLEMENTARY,
                    commitment,
                    some_bytes("document", number),
                    opening(number).commitment(),
                    (Mark(Part.LENSES, mark),),
                    None,
                    None,
                )
            )
        await door.send(door.made(SHOP, *before))
        made = door.made(SHOP, *claims)
        await door.send(made)
        ids = [created_id(made.id, position) for position in range(len(numbers))]
        (result,) = await door.send(door.made(PAYER, *(ClaimAccept(id_, None) for id_ in ids)))
        assert {outcome["code"] for outcome in result["outcomes"]} == {0}
        found |= {id_: opening(number) for id_, number in zip(ids, numbers, strict=True)}
    return found


def test_some_hundred_claims_are_settled_over_http(tmp_path: Path) -> None:
    said: list[str] = []

    async def settle() -> None:
        async with served(tmp_path) as door:
            openings = await submitted(door)

            def vault_of(name: str) -> Vault:
                vault = Vault(tmp_path / f"{name}.sqlite", bytes(32))
                with vault.changes():
                    for claim, amount in openings.items():
                        record = ReceivedRecord(
                            claim=claim,
                            submitter=member_of(SHOP),
                            disclosure=b"",
                            opening=encode(amount),
                        )
                        keep(vault, record, claim.hex())
                return vault

            def settlements(vault: Vault, node: NodeClient, name: str) -> Settlements:
                sender = Sender(
                    door.genesis.chain_id, member_of(name), key_of(name, Role.TRANSACTION)
                )
                return Settlements(vault, node, sender, wait_s=30, say=said.append)

            with vault_of("payer") as payer, vault_of("shop") as shop:
                async with NodeClient(door.url, "payer") as node:
                    ours = settlements(payer, node, PAYER)
                    record = await ours.create(Order(member_of(SHOP)))
                    told = ours.statement(record.id)
                assert (record.count, record.cents) == (
                    COUNT,
                    sum(each.amount for each in openings.values()),
                )
                statement = parse_statement(told.to_json(), "statement.json")
                async with NodeClient(door.url, "shop_a") as node:
                    theirs = settlements(shop, node, SHOP)
                    require_applied(await theirs.confirm(statement))
                    states = {each.state async for each in node.claims()}
                    (view,) = [each async for each in node.settlements()]
            assert states == {"settled"}
            assert (view.state, view.count) == ("confirmed", COUNT)

    asyncio.run(settle())
    assert said[-1] == f"{COUNT} of {COUNT} claims are in the settlement"
