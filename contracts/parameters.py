"""What the members set: in genesis, and by vote ever after."""

from functools import lru_cache
from typing import Annotated, Final

import msgspec

from contracts.state import Overlay, Reader
from ledger.block import MAX_BLOCK_BYTES, MAX_BLOCK_TRANSACTIONS
from ledger.encoding import Struct, decode, encode

_HOUR_MS: Final = 3_600_000
_DAY_S: Final = 86_400
# What no vote may set, because the vote that sets it right again would come too late or never.
MAX_COST_PER_MS: Final = 1_000  # of base_timeout_ms: 12 ms of a full block; a round takes up to 64
MAX_NOTICE_MS: Final = 30 * _DAY_S * 1_000  # a third of what a vote may last
MIN_RETENTION_BLOCKS: Final = 1_000  # who was away for less catches up from any peer
MIN_SNAPSHOT_BLOCKS: Final = 100  # or nodes would do little else
MAX_LEAST_FREE_MB: Final = 1 << 14  # where most disks hold less, no vote would be taken any more
_PARAMETERS: Final = b"g"  # key in the state -> Parameters

Seconds = Annotated[int, msgspec.Meta(ge=0, le=3_650 * _DAY_S)]


class Parameters(Struct):
    """The parameters of a chain; each has its unit in its name."""

    min_interval_ms: Annotated[int, msgspec.Meta(ge=0, le=_HOUR_MS)] = 20  # between two blocks
    base_timeout_ms: Annotated[int, msgspec.Meta(ge=100, le=_HOUR_MS)] = 1_000  # of round 0
    clock_precision_ms: Annotated[int, msgspec.Meta(ge=1, le=_HOUR_MS)] = 500
    message_delay_ms: Annotated[int, msgspec.Meta(ge=1, le=_HOUR_MS)] = 2_000
    max_block_bytes: Annotated[int, msgspec.Meta(ge=1 << 16, le=MAX_BLOCK_BYTES)] = 2 << 20
    max_block_transactions: Annotated[int, msgspec.Meta(ge=1, le=MAX_BLOCK_TRANSACTIONS)] = 2_048
    max_block_calls: Annotated[int, msgspec.Meta(ge=256, le=1 << 16)] = 8_192
    # Units of contracts.calls.costs, some 12 µs each: a full block executes in about a second.
    max_block_cost: Annotated[int, msgspec.Meta(ge=1 << 14, le=1 << 20)] = 1 << 16
    max_expired_removals: Annotated[int, msgspec.Meta(ge=1, le=1 << 16)] = 4_096  # ids per block
    dispute_window_s: Seconds = 30 * _DAY_S  # from a decision or a settlement
    # By when one should have acted; nothing happens then, but that everybody can see it.
    decision_due_s: Seconds = 7 * _DAY_S  # on a claim, or a request for a prior agreement
    answer_due_s: Seconds = 30 * _DAY_S  # to a question, a dispute, a request to pay back
    settlement_due_s: Seconds = 7 * _DAY_S  # of what was accepted, or is to be paid back
    authorisation_validity_s: Seconds = 90 * _DAY_S  # a prior agreement's, at most
    confirmation_due_s: Seconds = 15 * _DAY_S  # of a settlement that is announced
    # From the block of the vote that decides to the first that the change is in force in.
    notice_blocks: Annotated[int, msgspec.Meta(ge=2, le=1 << 20)] = 10
    # A node makes a snapshot at every height that is a multiple, a hundred at least; 0: at none.
    snapshot_blocks: Annotated[int, msgspec.Meta(ge=0, le=1 << 24)] = 10_000
    # How far back a node keeps what was in blocks, a thousand at least; 0: all of it, for ever.
    retention_blocks: Annotated[int, msgspec.Meta(ge=0, le=1 << 32)] = 0
    # Free on the disk of a node's data, or it takes no more work; its operator may want more.
    least_free_mb: Annotated[int, msgspec.Meta(ge=0, le=MAX_LEAST_FREE_MB)] = 256

    def __post_init__(self) -> None:
        if self.base_timeout_ms <= self.min_interval_ms:
            raise ValueError("rounds would be over before a block may be made")
        if self.max_block_cost > MAX_COST_PER_MS * self.base_timeout_ms:
            raise ValueError("rounds would be over before a full block is executed")
        if self.notice_blocks * self.min_interval_ms > MAX_NOTICE_MS:
            raise ValueError("a change would wait for more than 30 days after its vote")
        if 0 < self.snapshot_blocks < MIN_SNAPSHOT_BLOCKS:
            raise ValueError(
                "nodes would always make snapshots: snapshot_blocks: 0, or 100 at least"
            )
        if 0 < self.retention_blocks < MIN_RETENTION_BLOCKS:
            raise ValueError(
                "who was away could not catch up: retention_blocks: 0, or 1,000 at least"
            )


DEFAULTS: Final = Parameters()


def load(state: Reader) -> Parameters:
    """Return the parameters of the next block."""
    found = state.get(_PARAMETERS)
    assert found is not None  # genesis wrote them
    return _parse(found)


def save(state: Overlay, new: Parameters) -> None:
    """Let the next block have other parameters."""
    state.put(_PARAMETERS, encode(new))


@lru_cache(maxsize=16)  # read by every block
def _parse(data: bytes) -> Parameters:
    return decode(data, Parameters)
