"""The rounds of our post: what is due goes out, what came is taken, again and again."""

import asyncio
from collections.abc import Callable
from typing import Final

from node.client.errors import Unreachable, VaultLocked
from node.client.post import Collected, Post
from node.client.transactions import Say

WAIT_S: Final = 30  # for what may come; so often what is due is looked at
AGAIN_S: Final = 5  # until what our node could not judge is looked at again
AWAY_S: Final = 60  # at most, until a node that is not there is tried again
PATIENT_ROUNDS: Final = 3

Tell = Callable[[Collected], None]


async def once(post: Post, tell: Tell) -> None:
    """Send what is due and take what came, and that again which our node could not judge yet.

    Raises what the node does.
    """
    await post.place()
    await post.resend()
    for left in reversed(range(PATIENT_ROUNDS)):
        collected = await post.collect()
        tell(collected)
        if not collected.left or not left:
            return
        await asyncio.sleep(AGAIN_S)


async def keep_on(post: Post, tell: Tell, say: Say) -> None:
    """Do so until the process ends, whatever is not there meanwhile."""
    after, away_s, is_placed = 0, 1, False
    while True:
        try:
            if not is_placed:
                await post.place()
                is_placed = True
            await post.resend()
            collected = await post.collect(after=after, wait=WAIT_S)
        except (Unreachable, VaultLocked) as error:
            say(f"{error}; tried again in {away_s} s")
            await asyncio.sleep(away_s)
            after, away_s, is_placed = 0, min(AWAY_S, 2 * away_s), False
            continue
        away_s = 1
        tell(collected)
        after = collected.after
        if collected.left:
            await asyncio.sleep(AGAIN_S)
            after = 0
