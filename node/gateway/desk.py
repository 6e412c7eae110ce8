"""What the gateway works with: a member, its open vault, and the way to its node."""

from collections.abc import Callable
from dataclasses import dataclass

from node.client.client import NodeClient
from node.client.members import Members
from node.client.post import Post
from node.client.queue import Windows
from node.client.transactions import Sender
from node.client.vault import Vault


@dataclass(frozen=True, slots=True)
class Desk:
    """A member at work. One thread uses it: that of the event loop."""

    sender: Sender
    label: str
    members: Members
    vault: Vault
    url: str  # of the node
    connect: Callable[[], NodeClient]  # one for each task: it asks one thing at a time
    post: Callable[[NodeClient], Post]
    windows: Windows
    now: Callable[[], int]  # unix seconds
    today: Callable[[], str]  # YYYY-MM-DD
    # Of a receipt's bytes, once they verify: the page for people (`depoli receipt print`).
    page_of: Callable[[bytes], str]
    verify_receipt: Callable[[bytes], object]  # raises what it is refused by
