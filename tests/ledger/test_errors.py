"""What a refusal says."""

import pytest

from ledger.errors import (
    BadKey,
    BadProof,
    BadSignature,
    LedgerError,
    Malformed,
    Mismatch,
    NoQuorum,
    NotKept,
    OtherVoters,
    StoreDamaged,
    StoreLocked,
)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Malformed("header", "too short"), "malformed header: too short"),
        (BadSignature("entry 3"), "signature of entry 3 does not verify"),
        (BadKey("of low order"), "unusable public key: of low order"),
        (Mismatch("root", b"\x01", b"\xff"), "root: expected 01, found ff"),
        (Mismatch("height", 1, 2), "height: expected 1, found 2"),
        (BadProof("too long"), "proof fails: too long"),
        (NoQuorum(2, 3), "2 signatures where a quorum needs 3"),
        (
            OtherVoters(7, b"\x01", b"\x02"),
            "block 7 names validators 02…, but 01… vote as far as their changes are known",
        ),
        (StoreDamaged("a/b", 7, "rot"), "a/b: damaged at byte 7: rot"),
        (StoreDamaged("a/b", 7, "rot", height=3), "a/b: damaged at byte 7 (block 3): rot"),
        (StoreLocked("a/b"), "a/b is in use by another process; stop it first"),
        (NotKept(9, 2, 5), "block 9 is not kept here: only blocks 2 to 5 are"),
        (NotKept(9, 2, 1), "block 9 is not kept here: no block is"),
    ],
)
def test_an_error_says_the_fact_with_its_evidence(error: LedgerError, text: str) -> None:
    assert str(error) == text
