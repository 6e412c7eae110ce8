"""A shop with claims on a chain in memory, and their payer: what they do to each other."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from node.client import disclosure as disclosures
from node.client import inbox, lots
from node.client.decisions import Office, require_applied
from node.client.records import ClaimRecord, PrescriptionRecord, find
from node.client.settling import Settlements
from node.client.statements import Statement
from node.client.vault import Vault
from tests.contracts.world import id_of
from tests.node.client import desk
from tests.node.client.desk import MEMBERS, MemoryNode, request

T = TypeVar("T")
NUMBERS = (3, 4, 5)


def run(doing: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(doing)


@dataclass
class Street:
    node: MemoryNode
    shop_vault: Vault
    payer_vault: Vault
    claims: list[bytes]
    said: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Return a street in which the shop has submitted three claims."""
        node = MemoryNode()
        sender = desk.sender("shop", node)
        shop = desk.open_vault(folder, "shop")
        with shop.changes():
            for number in NUMBERS:
                lots.prepare(shop, sender, request(number), MEMBERS.id_of)
        references = [f"F2025-{number:04}" for number in NUMBERS]
        records = run(lots.submit(shop, node, sender, references, wait_s=5, say=desk.silent))
        payer = desk.open_vault(folder, "payer")
        return cls(node, shop, payer, [record.claim or b"" for record in records])

    def close(self) -> None:
        self.shop_vault.close()
        self.payer_vault.close()

    def vault(self, name: str) -> Vault:
        return self.payer_vault if name == "insurer" else self.shop_vault

    def office(self, name: str) -> Office:
        sender = desk.sender(name, self.node)
        return Office(self.vault(name), self.node, sender, wait_s=5, say=desk.silent)

    def settlements(self, name: str) -> Settlements:
        sender = desk.sender(name, self.node)
        return Settlements(self.vault(name), self.node, sender, wait_s=0, say=self.said.append)

    def take(self, data: bytes, name: str = "insurer") -> Any:  # noqa: ANN401
        reader = inbox.Reader(id_of(name), MEMBERS, None)
        return run(inbox.take(self.vault(name), self.node, reader, data, "file.json"))

    def accept(self, *claims: bytes, cents: int | None = None) -> None:
        """Let the payer verify claims and accept them, and tell the shop how much."""
        for claim in claims:
            self.take(self.file(claim))
        for outcome in run(self.office("insurer").accept(claims, cents)):
            require_applied(outcome)
        if cents is not None:
            self.take(self.office("insurer").acceptance(claims[0]).to_json(), "shop")

    def confirm(self, statement: Statement) -> None:
        require_applied(run(self.settlements("shop").confirm(statement)))

    def file(self, claim: bytes) -> bytes:
        _, record = lots.load(self.shop_vault, claim.hex())
        found = find(self.shop_vault, PrescriptionRecord, record.prescription_reference)
        assert found is not None
        opening = lots.opening_of(record)
        return disclosures.make(record, found[1], opening, now=int(time.time())).to_json()

    def record(self, claim: bytes) -> ClaimRecord:
        return lots.load(self.shop_vault, claim.hex())[1]

    def cents(self, *claims: bytes) -> int:
        return sum(self.record(claim).amount_cents for claim in claims)

    def state(self, claim: bytes) -> str:
        return run(self.node.claim(claim)).state
