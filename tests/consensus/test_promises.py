"""Promises: their encoding, their fold, and a crash at every point."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.core import Core
from consensus.errors import BadPromises, ConsensusError, MalformedMessage
from consensus.interface import Built, Event, Expired, Judged, Ready, Received, Tick, Work
from consensus.messages import MAX_MESSAGE_BYTES, Commit, Prepare, Signed, signing_bytes
from consensus.promises import (
    Kept,
    Locked,
    Promise,
    Resumed,
    Said,
    decode,
    encode,
    height_of,
    is_forever,
    restore,
)
from tests.consensus.committee import CHAIN_ID, HEIGHT, Committee

C = Committee()
BLOCK = C.outline()
ID = BLOCK.header.hash
LOCK = C.prepared(ID)
AGAIN = C.proposal(1, BLOCK, C.why(C.change(1, 1), C.change(2, 1, LOCK), C.change(3, 1)))
SAMPLES: tuple[Promise, ...] = (
    Said(C.proposal()),
    Said(C.prepare(1, ID)),
    Said(C.commit(1, ID)),
    Said(C.change(1, 1, LOCK)),
    Locked(LOCK),
    Kept(AGAIN),
)
EVERY: tuple[Promise, ...] = (*SAMPLES, Resumed(HEIGHT, 3))


@pytest.mark.parametrize("promise", EVERY, ids=range(len(EVERY)))
def test_a_promise_survives_its_encoding(promise: Promise) -> None:
    assert decode(encode(promise)) == promise
    assert height_of(promise) == HEIGHT


@given(st.binary(max_size=200))
def test_any_bytes_are_a_promise_or_refused(data: bytes) -> None:
    try:
        promise = decode(data)
    except ConsensusError:
        return
    assert encode(promise) == data


def test_too_many_bytes_are_no_promise() -> None:
    with pytest.raises(MalformedMessage):
        decode(bytes(MAX_MESSAGE_BYTES + 1))


def test_what_convicts_a_fork_is_kept_for_ever() -> None:
    assert [is_forever(promise) for promise in SAMPLES] == [False] * 5 + [True]
    assert is_forever(Said(AGAIN))


def test_nothing_promised_is_the_start() -> None:
    state = restore((), HEIGHT)
    assert (state.round, state.wish, state.accepted, state.prepared) == (0, 0, None, None)


def test_promises_fold_into_round_wish_lock_and_accepted_block() -> None:
    state = restore(SAMPLES, HEIGHT)
    assert (state.round, state.wish) == (0, 1)
    assert state.accepted == ID
    assert state.prepared == LOCK
    assert state.proposals == {0: C.proposal(), 1: AGAIN}


def test_the_round_is_the_highest_voted_in_and_the_wish_is_never_below_it() -> None:
    state = restore((*SAMPLES, Said(C.prepare(1, ID, 3))), HEIGHT)
    assert (state.round, state.wish, state.accepted) == (3, 3, ID)
    assert restore((*SAMPLES, Said(C.commit(1, ID, 3))), HEIGHT).accepted is None


def test_the_highest_lock_counts() -> None:
    higher = C.prepared(ID, 2)
    assert restore((Locked(higher), Locked(LOCK)), HEIGHT).prepared == higher


def test_who_resumed_signs_nothing_below_its_round() -> None:
    assert restore([Resumed(HEIGHT, 3)], HEIGHT).wish == 3
    assert restore([Resumed(HEIGHT, 3), Said(C.change(1, 5))], HEIGHT).wish == 5
    assert restore([Resumed(HEIGHT - 1, 3)], HEIGHT).wish == 0


def test_promises_of_other_heights_bind_nothing() -> None:
    assert restore(SAMPLES, HEIGHT + 1) == restore((), HEIGHT)


def test_a_journal_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(BadPromises, match="two Prepares of round 0"):
        restore((Said(C.prepare(1, ID)), Said(C.prepare(1, bytes(32)))), HEIGHT)


# --- a crash at every point -----------------------------------------------------------------------

ME = 0


def script() -> Iterator[Event]:
    """Yield a height with two round changes, a lock, and turns as leader."""
    yield from (Work(pending=True), Ready())
    yield Received(C.proposal())
    yield Judged(ID, ok=True, outline=BLOCK)
    yield from (Received(C.prepare(i, ID)) for i in (1, 2))
    yield Expired(HEIGHT, 0)
    yield from (Received(C.change(i, 1)) for i in (1, 2, 3))
    yield Received(AGAIN)
    yield Expired(HEIGHT, 1)
    yield from (Received(C.change(i, 3)) for i in (1, 2, 3))
    yield Judged(ID, ok=True, outline=BLOCK)
    yield Built(C.outline(3))
    yield Expired(HEIGHT, 3)
    yield Tick()
    yield Tick()


def run(core: Core, events: Iterator[Event]) -> Iterator[tuple[Promise | Signed, Core]]:
    """Yield promises as they become durable and messages as they are sent, in that order."""
    for event in events:
        output = core.handle(event)
        for promise in output.promises:
            yield promise, core
        for outgoing in output.messages:
            assert not isinstance(outgoing.message, tuple)
            yield outgoing.message, core  # type: ignore[misc]


def contents(messages: list[Signed]) -> dict[tuple[type, int], set[bytes]]:
    found: dict[tuple[type, int], set[bytes]] = {}
    for message in messages:
        if message.signer == ME:
            slot = (type(message), message.round)
            found.setdefault(slot, set()).add(signing_bytes(message, CHAIN_ID))
    return found


def test_the_script_reaches_every_kind_of_promise() -> None:
    made = [step for step, _ in run(C.core(ME), script()) if isinstance(step, Promise)]
    kinds = {type(p.message).__name__ if isinstance(p, Said) else type(p).__name__ for p in made}
    assert kinds == {"Proposal", "Prepare", "Commit", "RoundChange", "Locked", "Kept"}


def test_nothing_is_sent_before_its_promise() -> None:
    promised: list[Signed] = []
    for step, _ in run(C.core(ME), script()):
        if isinstance(step, Said):
            promised.append(step.message)
        elif not isinstance(step, Locked | Kept):
            assert step in promised
            if isinstance(step, Commit):
                assert any(isinstance(p, Prepare) and p.round == step.round for p in promised)


STEPS = len(list(run(C.core(ME), script())))


@pytest.mark.parametrize("crash", range(STEPS + 1))
def test_a_crash_at_any_point_never_signs_two_contents(crash: int) -> None:
    journal: list[bytes] = []
    sent: list[Signed] = []
    for step, _ in list(run(C.core(ME), script()))[:crash]:
        if isinstance(step, Promise):
            journal.append(encode(step))
        else:
            sent.append(step)
    restored = tuple(decode(data) for data in journal)
    again = C.core(ME, restored)
    state = restore(restored, HEIGHT)
    assert (again.round, again.wish) == (state.round, state.wish)
    # The world went on differently meanwhile: another leader's block, and then the same again.
    other = C.outline(0, b"other")
    events: list[Event] = [
        Judged(ID, ok=True, outline=BLOCK),
        Tick(),
        Received(C.proposal(0, other)),
        Judged(other.header.hash, ok=True),
        Expired(HEIGHT, 0),
    ]
    for step, core in run(again, iter([*events, *script()])):
        if isinstance(step, Promise):
            continue
        sent.append(step)
        assert core.wish >= core.round
    assert all(len(different) == 1 for different in contents(sent).values())
    wishes = [m.round for m in sent if type(m).__name__ == "RoundChange" and m.signer == ME]
    assert all(round_ >= 1 for round_ in wishes)
