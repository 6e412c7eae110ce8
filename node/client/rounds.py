"""The rounds of our post: what is due goes out, what came is taken, again and again."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from node.client.errors import ClientError, Undecided, Unreachable, VaultLocked
from node.client.post import Collected, Post
from node.client.transactions import Say

WAIT_S: Final = 30  # for what may come; so often what is due is looked at
AGAIN_S: Final = 5  # until what our node could not judge is looked at again
PASS_S: Final = 60  # at most, where more and more comes
AWAY_S: Final = 60  # at most, until a node that is not there is tried again
PATIENT_ROUNDS: Final = 3
MAX_GOES: Final = 50  # of what lies there: one round ends, whatever comes meanwhile
_PASSES: Final = (Unreachable, VaultLocked, Undecided)

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
    for again in reversed(range(PATIENT_ROUNDS)):
        collected, left = Collected(), 0
        for _ in range(MAX_GOES):
            collected = await post.collect(after=collected.after)
            left += collected.left
            tell(collected)
            await commit()
            if not collected.is_more:
                break
        if not left or not again:
            return
        await asyncio.sleep(AGAIN_S)


async def keep_on(post: Post, tell: Tell, say: Say, commit: Commit = commit_to_nothing) -> None:
    """Do so until the process ends, whatever is not there meanwhile.

    Raises what the node does in the first round, where that is not only away.
    """
    after, left, away_s, is_placed, has_gone_on = 0, 0, 1, False, False
    begun = time.monotonic()
    while True:
        try:
            if not is_placed:
                await post.place()
                is_placed = True
            await post.resend()
            collected = await post.collect(after=after, wait=WAIT_S)
            tell(collected)
            await commit()
        except ClientError as error:
            if not has_gone_on and not isinstance(error, _PASSES):
                raise
            say(f"{error}; tried again in {away_s} s")
            await asyncio.sleep(away_s)
            after, away_s, is_placed = 0, min(AWAY_S, 2 * away_s), False
            continue
        away_s, has_gone_on = 1, True
        after, left = collected.after, left + collected.left
        if left and (not collected.is_more or time.monotonic() > begun + PASS_S):
            await asyncio.sleep(AGAIN_S)
            after, left, begun = 0, 0, time.monotonic()
