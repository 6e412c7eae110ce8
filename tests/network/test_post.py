"""Post between real processes, each killed at each step of handing over: it comes, and once."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import pytest

from ledger import envelope
from ledger.envelope import Envelope
from ledger.keys import Role, key_id
from node import testnet
from node.client.client import NodeClient
from node.client.errors import Unreachable
from node.client.mail import PostView
from node.config import load_config
from node.initialise import give_token
from node.process import Process, read_token, wait_ready
from node.testnet import Organisation
from node.tokens import Scope
from scripts import night
from tests.network.altered.sitecustomize import DIES
from tests.network.faultnet import changed_python, key_of

DEADLINE_S: Final = 60.0
LOOK_S: Final = 0.05

T = TypeVar("T")


@dataclass
class End:
    """A member, and the node that it uses."""

    who: Organisation
    process: Process
    token: Path

    async def asks(self, doing: Callable[[NodeClient], Awaitable[T]]) -> T:
        """Return what the node answers, once it does: it may be dead."""
        url = f"http://{load_config(self.process.home).api_listen}"
        end = time.monotonic() + DEADLINE_S
        while True:
            if self.process.pid() is None:
                self.process.start()
            async with NodeClient(url, read_token(self.token)) as client:
                try:
                    return await doing(client)
                except Unreachable:
                    assert time.monotonic() < end, self.process.tail()
            await asyncio.sleep(LOOK_S)  # it starts

    def starts_to_die(self, step: str) -> None:
        """Run the node such that it is killed at a step."""
        self.process.kill()
        with changed_python(**{DIES: step}):
            self.process.start()


def letter(chain_id: bytes, sender: End, recipient: End) -> Envelope:
    key = key_of(sender.who)
    body = envelope.Unsigned(
        envelope.VERSION,
        chain_id,
        sender.who.member,
        key_id(Role.TRANSACTION, key.algorithm, key.public),
        recipient.who.member,
        secrets.token_bytes(16),
        int(time.time()) + 3600,
        secrets.token_bytes(500),
    )
    return envelope.sign(body, key)


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[End, End]]:
    """The federation with its validator, and a shop with a light node."""
    folder = tmp_path_factory.mktemp("post")
    network = testnet.create(folder / "network", validators=1, shops=1)
    network.start()
    try:
        federation, shop = network.validators[0], network.shops[0]
        night.register_node_key(shop)
        light = night.light_node(network, shop, folder / "light")
        config = load_config(light.home)
        token = folder / "light.token"
        give_token(
            config.tokens, token, member=shop.member,
            scopes=frozenset({Scope.READ, Scope.SUBMIT}), label="people of the shop",
        )  # fmt: skip
        light.start()
        try:
            wait_ready([light])
            yield (
                End(federation, network.process(federation.label), federation.home / "token"),
                End(shop, light, token),
            )
        finally:
            light.kill()
    finally:
        for each in network.processes:
            each.kill()


@pytest.mark.parametrize(
    ("way", "dies", "step"),
    [
        ("to the shop", "sender", "add:after"),  # it kept it, and nobody was told
        ("to the shop", "taker", "add:before"),
        ("to the shop", "taker", "add:after"),  # it is there, and the sender's node was not told
        ("to the shop", "sender", "finish:before"),  # it was told that it is there
        ("to the shop", "taker", "collect:after"),  # its recipient said that it has it
        ("from the shop", "taker", "add:after"),
        ("from the shop", "sender", "finish:before"),
    ],
)
def test_whoever_dies_when_a_letter_comes_and_is_gone_once_it_was_collected(
    ends: tuple[End, End], way: str, dies: str, step: str
) -> None:
    sender, taker = ends if way == "to the shop" else reversed(ends)

    async def test() -> None:
        dying = sender if dies == "sender" else taker
        sent = letter(chain_id, sender, taker)
        dying.starts_to_die(step)
        pid = dying.process.pid()
        (posted,) = await sender.asks(lambda node: node.post([sent.raw]))
        assert isinstance(posted, PostView)
        assert posted.id == sent.id.hex()
        end, came = time.monotonic() + DEADLINE_S, False
        while not came:
            assert time.monotonic() < end, (sender.process.tail(), taker.process.tail())
            for each in (await taker.asks(lambda node: node.mail(wait=1))).envelopes:
                assert each.envelope == sent.raw  # of no case before
                await taker.asks(lambda node: node.drop_mail([sent.id]))
                came = True
        while (await sender.asks(lambda node: node.post_state(sent.id))).state == "waiting":
            assert time.monotonic() < end, "it is handed over and not known to be"
            await asyncio.sleep(LOOK_S)
        assert dying.process.pid() not in {pid, None}, "it did not die"
        # Sent again, as by a vault that heard nothing: it is handed on, and delivered to nobody.
        await sender.asks(lambda node: node.post([sent.raw]))
        while (await sender.asks(lambda node: node.post_state(sent.id))).state == "waiting":
            assert time.monotonic() < end, "it is not handed on again"
            await asyncio.sleep(LOOK_S)
        assert (await taker.asks(lambda node: node.mail())).envelopes == ()

    chain_id = testnet.load(ends[0].process.home.parent.parent).chain_id
    asyncio.run(test())
