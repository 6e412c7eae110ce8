"""How what another member must be told gets there: by post, or as a file to be handed over."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from node.cli.person import Person, write_private
from node.client import deliveries
from node.client.acts import Acts
from node.client.client import NodeClient
from node.client.deliveries import Letter
from node.client.records import Way
from node.client.vault import Vault


@dataclass(frozen=True, slots=True)
class Telling:
    """What the other side is told once something was done, to whom, and how."""

    output: Path | None
    recipient: Callable[[NodeClient, bytes], Awaitable[str]]  # of the thing of this id
    letter: Callable[[Acts, bytes, bytes], Letter]  # of that thing, to that recipient


async def require_way(
    person: Person, vault: Vault, node: NodeClient, member: bytes, output: Path | None
) -> None:
    """Raise `NoSealingKey` where no file is named and the member cannot be written to."""
    if output is None:
        await person.post(vault, node).require_key(member)


async def hand_over(
    person: Person, vault: Vault, node: NodeClient, letter: Letter, output: Path | None
) -> str:
    """Send a letter by post, or write it into the file that is named; return how it goes."""
    label = person.members.label_of(letter.recipient)
    if output is not None:
        content = await person.sealed(letter.plain, letter.recipient)
        write_private(output, content)
        with vault.changes():
            deliveries.written(vault, letter, content, now=int(time.time()))
        return f"hand {output} to {label}"
    (record,) = await person.post(vault, node).send([letter])
    if record.state is Way.ACKNOWLEDGED:
        return f"{label} has it, and signed for it"
    return f"sent to {label} by post; depoli disclosure list shows when it was acknowledged"
