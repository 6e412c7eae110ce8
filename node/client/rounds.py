"""The rounds of our post: what is due goes out, what came is taken, again and again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from node.client.errors import Undecided, Unreachable, VaultLocked
from node.client.post import Collected, Post
from node.client.transactions import Say

WAIT_S: Final = 30  # for what may come; so often what is due is looked at
AGAIN_S: Final = 5  # until what our node could not judge is looked at again
AWAY_S: Final = 60  # at most, until a node that is not there is tried again
PATIENT_ROUNDS: Final = 3

Tell = Callable[[Collected], None]
Commit = Callable[[], Awaitable[int]]  # to what was taken, on the chain


async def commit_to_nothing() -> int:
    """Leave the chain alone, as who does not want otherwise."""
    return 0


async def once(post: Post, tell: Tell, commit: Commit = commit_to_nothing) -> None:
    """Send what is due and take what came, and that again which our node could not judge yet.

    Raises what the node does.
    """
    await post.place()
    await post.resend()
    for left in reversed(range(PATIENT_ROUNDS)):
        collected = await post.collect()
        tell(collected)
        await commit()
        if not collected.left or not left:
            return
        await asyncio.sleep(AGAIN_S)


async def keep_on(post: Post, tell: Tell, say: Say, commit: Commit = commit_to_nothing) -> None:
    """Do so until the process ends, whatever is not there meanwhile."""
    after, away_s, is_placed = 0, 1, False
    while True:
        try:
            if not is_placed:
                await post.place()
                is_placed = True
            await post.resend()
            collected = await post.collect(after=after, wait=WAIT_S)
            tell(collected)
            await commit()
        except (Unreachable, VaultLocked, Undecided) as error:
            say(f"{error}; tried again in {away_s} s")
            await asyncio.sleep(away_s)
            after, away_s, is_placed = 0, min(AWAY_S, 2 * away_s), False
            continue
        away_s = 1
        after = collected.after
        if collected.left:
            await asyncio.sleep(AGAIN_S)
            after = 0
