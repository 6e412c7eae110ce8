"""Post between nodes over real TLS links: it comes, once, by nobody who is not entitled to it."""

import asyncio
from pathlib import Path

import pytest

from ledger.encoding import encode
from ledger.keys import Role
from node.post.errors import NotASender
from node.post.messages import Parcels
from node.post.store import State
from tests.chainmaker import key_of, member_of
from tests.node.cluster import ALONE, LABELS, OBSERVER, run, running, until, within
from tests.node.light.test_light import Light
from tests.node.post.letters import SHOP, box, letter, mail, office, until_state

VALIDATOR = ALONE[0]


def test_post_comes_to_the_recipients_own_node_and_the_answer_to_where_the_sender_wants_it(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        async with running(tmp_path, ALONE) as cluster:
            cluster.observer.start()
            await cluster.until_linked()
            here, there = (
                cluster[VALIDATOR].running.post.office,
                cluster.observer.running.post.office,
            )
            sent = letter(cluster.genesis, SHOP, OBSERVER, "claim")
            assert (await here.post(sent)).state is State.WAITING
            (came,) = await within(mail(there, OBSERVER, wait_s=60))
            assert (came.id, came.raw) == (sent.id, sent.raw)
            await until_state(here, sent.id, State.HANDED_ON)
            assert await there.collected([sent.id], member_of(OBSERVER)) == []
            assert await mail(there, OBSERVER) == []

            answer = letter(cluster.genesis, OBSERVER, SHOP, "acknowledgement")
            await there.post(answer)
            await here.place(box(cluster.genesis, SHOP, VALIDATOR))
            (back,) = await within(mail(here, SHOP, wait_s=60))
            assert back.id == answer.id
            await until_state(there, answer.id, State.HANDED_ON)

            # Sent again it is not delivered again.
            assert (await here.post(sent)).state is State.WAITING
            await until_state(here, sent.id, State.HANDED_ON)
            assert await mail(there, OBSERVER) == []

    run(test())


def test_between_validators_post_goes_to_the_one_that_is_linked_to_where_it_is_brought(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        async with running(tmp_path, LABELS[:2]) as cluster:
            first, second = (office(cluster[label]) for label in LABELS[:2])
            sent = letter(cluster.genesis, SHOP, OBSERVER, "far")
            await first.post(sent)
            cluster.cut.append({LABELS[0], OBSERVER})
            cluster.observer.start()
            there = office(cluster.observer)
            (came,) = await within(mail(there, OBSERVER, wait_s=60))
            assert came.id == sent.id
            await until_state(first, sent.id, State.HANDED_ON)
            await until_state(second, sent.id, State.HANDED_ON)
            back = letter(cluster.genesis, OBSERVER, SHOP, "back")
            await first.place(box(cluster.genesis, SHOP, LABELS[0]))
            await there.post(back)
            (came,) = await within(mail(first, SHOP, wait_s=60))
            assert came.id == back.id

    run(test())


def test_what_waits_outlives_a_node_that_stops_and_a_recipient_that_is_away(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        async with running(tmp_path, ALONE) as cluster:
            many = [letter(cluster.genesis, SHOP, OBSERVER, n) for n in range(70)]  # two frames
            here = office(cluster[VALIDATOR])
            await asyncio.gather(*map(here.post, many))
            await cluster[VALIDATOR].stop()
            cluster[VALIDATOR].start()
            cluster.observer.start()
            there, came = office(cluster.observer), set[bytes]()
            while len(came) < len(many):
                for each in await within(mail(there, OBSERVER, wait_s=60)):
                    came.add(each.id)
                    assert await there.collected([each.id], member_of(OBSERVER)) == []
            assert came == {each.id for each in many}
            for sent in many:
                await until_state(office(cluster[VALIDATOR]), sent.id, State.HANDED_ON)

    run(test())


def test_a_node_that_hands_over_what_nobody_signed_is_named_and_its_link_ends(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        async with running(tmp_path, ALONE) as cluster:
            cluster.observer.start()
            await cluster.until_linked()
            validator = cluster[VALIDATOR]
            link = cluster.observer.running.network.link_to(key_of(VALIDATOR, Role.TLS).public)
            assert link is not None
            forged = letter(cluster.genesis, SHOP, VALIDATOR, "forged").raw
            link.send_post(encode(Parcels((forged[:-1] + bytes((forged[-1] ^ 1,)),))))
            await until(lambda: validator.said("peer penalised"), "it is not named")
            (told,) = [each for each in validator.events() if each["event"] == "peer penalised"]
            assert told["peer"] == OBSERVER
            assert "signature of envelope" in told["reason"]
            await until(lambda: not validator.running.network.links, "its link stays up")
            assert office(validator).waiting == 0

    run(test())


def test_a_light_node_gives_to_validators_and_takes_what_is_for_its_member(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        async with running(tmp_path, ALONE) as cluster:
            here = office(cluster[VALIDATOR])
            await here.place(box(cluster.genesis, SHOP, VALIDATOR))
            async with Light(cluster).running() as light:
                there = light.node.post.office
                to_shop = letter(cluster.genesis, OBSERVER, SHOP, "to the shop")
                packed = {"Content-Type": "application/msgpack"}
                status, told, _ = await light.ask(
                    "/v1/post", method="POST", data=to_shop.raw, headers=packed
                )
                assert (status, told["state"]) == (202, "waiting")
                (came,) = await within(mail(here, SHOP, wait_s=60))
                assert came.id == to_shop.id
                await until_state(there, to_shop.id, State.HANDED_ON)
                back = letter(cluster.genesis, SHOP, OBSERVER, "back")
                await here.post(back)
                status, told, _ = await light.ask("/v1/post?wait=60")
                (found,) = told["envelopes"]
                assert found["id"] == back.id.hex()
                await until_state(here, back.id, State.HANDED_ON)
                strange = letter(cluster.genesis, OBSERVER, SHOP, "odd", key_id=bytes(8))
                with pytest.raises(NotASender):
                    await there.post(strange)
                status, told, _ = await light.ask("/v1/post/mailbox")
                assert (status, told["here"], told["mailbox"]) == (200, True, None)

    run(test())
