"""Post between nodes over real TLS links: it comes, once, by nobody who is not entitled to it."""

from pathlib import Path

from node.post.store import State
from tests.chainmaker import member_of
from tests.node.cluster import ALONE, LABELS, OBSERVER, run, running, within
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
            assert await there.collected(sent.id, member_of(OBSERVER))
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
