"""What the HTTP API of a whole node shows of the network: how far it is, which rules follow."""

from collections.abc import Sequence

from ledger.plain import plain
from ledger.validators import Validator
from node.catchup import Progress
from node.joining import JoinProgress
from node.upgrade import Outlook


def upgrade(seen: Outlook, voters: Sequence[Validator]) -> dict[str, object]:
    """Return which rules are to follow; `voters` are the validators of the next height."""
    coming = seen.scheduled
    return {
        "height": seen.height,
        "known": list(seen.known),
        "in_force": seen.in_force,
        "scheduled": None if coming is None else plain(coming),
        "quorum": seen.quorum,
        "validators": [
            {"member": voter.member.hex(), "version": version}
            for voter, version in zip(voters, seen.ready, strict=True)
        ],
    }


def sync(progress: Progress | None) -> dict[str, object] | None:
    """Return how far a node that is behind has come; None where it is not."""
    if progress is None:
        return None
    return {
        "height": progress.height,
        "target": progress.target,
        "blocks_per_s": progress.blocks_per_s,
        "left_s": progress.left_s,
        "peers": list(progress.peers),
        "avoided": progress.avoided,
    }


def join(progress: JoinProgress | None) -> dict[str, object] | None:
    """Return how far a node that joins by a snapshot has come; None where it does not."""
    if progress is None:
        return None
    return {
        "doing": progress.doing,
        "height": progress.height,
        "chunks_here": progress.chunks,
        "chunks": progress.of,
        "bytes": progress.fetched_bytes,
        "left_s": progress.left_s,
        "peers": list(progress.peers),
        "avoided": progress.avoided,
    }
