"""An entry: a leaf of the log."""

from hashlib import sha256

import msgspec
import pytest

from ledger.encoding import decode, encode
from ledger.entry import APPLIED, Entry, Outcome
from ledger.errors import Malformed

ENTRY = Entry(
    height=3,
    index=2,
    time=1_800_000_000,
    sender=b"\x01" * 16,
    transaction=b"\x02" * 32,
    position=1,
    call=b"call",
    outcome=Outcome(7, (300,)),
)


def test_the_leaf_is_the_hash_of_all_of_it() -> None:
    encoded = bytes.fromhex(
        "98" "03" "02" "ce6b49d200"
        "c410" + "01" * 16 + "c420" + "02" * 32 + "01" "c404" "63616c6c" "92" "07" "91" "cd012c"
    )  # fmt: skip
    assert encode(ENTRY) == encoded
    assert ENTRY.leaf() == sha256(b"\x00" + encoded).digest()


def test_two_entries_that_differ_anywhere_are_two_leaves() -> None:
    changes = {
        "height": 4,
        "index": 3,
        "time": 1,
        "sender": bytes(16),
        "transaction": bytes(32),
        "position": 2,
        "call": b"cal",
        "outcome": Outcome(APPLIED),
    }
    assert set(changes) == set(Entry.__struct_fields__)
    others = {msgspec.structs.replace(ENTRY, **{name: new}).leaf() for name, new in changes.items()}
    assert len(others | {ENTRY.leaf()}) == len(changes) + 1


@pytest.mark.parametrize(
    "change",
    [
        {"height": 0},
        {"index": 1 << 32},
        {"time": -1},
        {"sender": bytes(15)},
        {"transaction": bytes(33)},
        {"position": 256},
        {"call": b""},
        {"outcome": Outcome(1 << 16)},
        {"outcome": Outcome(1, (1, 2, 3, 4, 5))},
        {"outcome": Outcome(1, (-1,))},
    ],
    ids=str,
)
def test_fields_have_their_bounds(change: dict[str, object]) -> None:
    with pytest.raises(Malformed, match=r"^malformed entry: "):
        decode(encode(msgspec.structs.replace(ENTRY, **change)), Entry)
