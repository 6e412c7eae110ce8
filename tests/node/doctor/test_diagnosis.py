"""The doctor's findings from facts alone: each cause is named, with whose it is and what to do."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from consensus.messages import Held, Status
from contracts.versions import Scheduled
from ledger.hashing import NO_HASH
from ledger.validators import quorum
from node.config import LEAST_FREE_BYTES
from node.doctor.diagnosis import CHECKS, diagnose
from node.doctor.findings import (
    Diagnosis,
    Finding,
    Gravity,
    NoDiagnosis,
    Verdict,
    from_json,
    to_json,
)
from node.doctor.situation import Facts, Pair, Seen, Situation
from node.health import Health, bitmap_of, is_set
from node.upgrade import Outlook

LABELS = ("federation", "operator", "insurer-a", "insurer-b", "e", "f", "g")
HEIGHT = 42  # that is open
NOW_MS = 1_800_000_000_000
LAST_S = NOW_MS // 1000 - 3600  # an hour ago
PLENTY = LEAST_FREE_BYTES * 9
EVERYONE = range(4)


def bits(indices: Sequence[int], n: int = 4) -> bytes:
    return bitmap_of([index in indices for index in range(n)])


def status(
    height: int = HEIGHT,
    round_: int = 0,
    wish: int = 0,
    held: tuple[Held, ...] = (),
    wishes: Sequence[int] = (0,) * 4,
) -> Status:
    return Status(height, round_, max(wish, round_), NO_HASH, held, tuple(wishes))


def held_of(
    round_: int, prepares: Sequence[int], commits: Sequence[int] = (), *, proposal: bool = True
) -> tuple[Held, ...]:
    return (Held(round_, proposal, bits(prepares), bits(commits), bits([])),)


def health(index: int | None, **changed: Any) -> Health:  # noqa: ANN401
    fields: dict[str, Any] = {
        "version": b"1.0",
        "clock_ms": NOW_MS,
        "up_ms": 60_000,
        "free_bytes": PLENTY,
        "least_bytes": LEAST_FREE_BYTES,
        "is_validator": True,
        "signs_as": index,
        "silence": b"",
        "block_time": LAST_S,
        "waiting": 0,
        "linked": bits(EVERYONE),
        "status": status(),
    }
    return Health(**(fields | changed))


def network(n: int = 4) -> Facts:
    """A network in which nothing is wrong and nothing to do."""
    nodes = tuple(
        Seen(
            label,
            index,
            address=f"{label}:7600",
            is_linked=index > 0,
            said=health(index, linked=bits(range(n), n), status=status(wishes=(0,) * n)),
            heard_ms=NOW_MS,
            round_trip_ms=0 if index == 0 else 4,
        )
        for index, label in enumerate(LABELS[:n])
    )
    return Facts(
        nodes,
        validators=n,
        quorum=quorum(n),
        leader=lambda round_: (HEIGHT + round_) % n,
        base_timeout_ms=1000,
        precision_ms=500,
        node_key_of=LABELS[0],
    )


def change(facts: Facts, at: int, **fields: Any) -> Facts:  # noqa: ANN401
    """Change what is known of a node: its link, or what it says."""
    node = facts.nodes[at]
    own = {name: fields.pop(name) for name in list(fields) if name in Seen.__slots__}
    if fields:
        assert node.said is not None
        own["said"] = Health(
            **{
                name: fields.get(name, getattr(node.said, name))
                for name in Health.__struct_fields__
            }
        )
    nodes = (*facts.nodes[:at], replace(node, **own), *facts.nodes[at + 1 :])
    return replace(facts, nodes=nodes)


def change_all(facts: Facts, **fields: Any) -> Facts:  # noqa: ANN401
    for index in range(len(facts.nodes)):
        if facts.nodes[index].said is not None:
            facts = change(facts, index, **fields)
    return facts


def unlink(facts: Facts, *indices: int, trouble: str = "") -> Facts:
    for index in indices:
        facts = change(facts, index, is_linked=False, said=None, trouble=trouble)
    return facts


def only(found: Diagnosis) -> Finding:
    """Return the one finding."""
    assert len(found.findings) == 1, found.findings
    return found.findings[0]


def named(found: Diagnosis, cause: str) -> Finding:
    chosen = [finding for finding in found.findings if finding.cause == cause]
    assert len(chosen) == 1, found.findings
    return chosen[0]


def causes(found: Diagnosis) -> list[str]:
    return [finding.cause for finding in found.findings]


# --- all is well ----------------------------------------------------------------------------------


def test_where_nothing_waits_that_is_why_there_is_no_block() -> None:
    found = diagnose(network())
    assert found.verdict is Verdict.IDLE
    assert found.findings == ()
    assert found.summary == (
        "Nothing waits at any node: that is why there is no block since block 41, 1 h ago."
    )
    assert (found.height, found.round, found.leader) == (41, 0, "insurer-a")


def test_before_the_first_block_there_is_none_to_speak_of() -> None:
    found = diagnose(change_all(network(), status=status(height=1)))
    assert "since the chain began, 1 h ago" in found.summary


@pytest.mark.parametrize("index", EVERYONE)
def test_a_transaction_that_waits_anywhere_is_about_to_be_decided(index: int) -> None:
    found = diagnose(change(network(), index, waiting=1))
    assert found.verdict is Verdict.MOVING
    assert found.findings == ()
    assert found.summary.startswith("Block 42 is being decided.")


def test_a_change_of_rounds_is_worth_a_note_only() -> None:
    held = held_of(0, [0], [])
    slow = change_all(network(), waiting=1, status=status(wish=1, held=held, wishes=(1, 0, 0, 0)))
    found = diagnose(slow)
    assert found.verdict is Verdict.MOVING
    assert only(found).gravity is Gravity.NOTE
    assert (
        "is in round 0, led by insurer-a, and lacks a quorum that gives it up" in only(found).what
    )


def test_a_network_of_one_needs_nobody() -> None:
    assert diagnose(network(1)).findings == ()


def test_each_node_has_its_row() -> None:
    facts = unlink(change(network(), 1, said=None), 2)
    rows = diagnose(facts).rows
    assert [(row.label, row.link) for row in rows] == [
        ("federation", "here"),
        ("operator", "silent"),
        ("insurer-a", "none"),
        ("insurer-b", "linked"),
    ]
    assert [row.is_here for row in rows] == [True, False, False, False]
    assert (rows[3].height, rows[3].round, rows[3].version) == (42, 0, "1.0")
    assert (rows[3].clock_ms, rows[3].free_bytes, rows[3].fenced) == (0, PLENTY, False)
    assert rows[2].height is None


def test_rows_show_who_voted_in_the_round_and_who_wants_another() -> None:
    held = (
        Held(3, proposal=True, prepares=bits([0, 1, 3]), commits=bits([1]), round_changes=bits([])),
    )
    facts = change_all(network(), status=status(round_=3, held=held))
    facts = change(facts, 1, status=status(round_=3, wish=4, held=held))
    rows = diagnose(facts).rows
    assert [row.prepared for row in rows] == [True, True, False, True]
    assert [row.committed for row in rows] == [False, True, False, False]
    assert [row.wants for row in rows] == [None, 4, None, None]
    late = change(facts, 3, status=status(height=40))
    assert diagnose(late).rows[3].prepared is None  # its votes are of another height


# --- links ----------------------------------------------------------------------------------------


def test_one_that_is_down_is_named_while_blocks_still_come() -> None:
    found = diagnose(unlink(network(), 2, trouble="10.0.0.3:7600: Connection refused"))
    finding = only(found)
    assert found.verdict is Verdict.IDLE
    assert (finding.cause, finding.gravity, finding.whose) == (
        "refused",
        Gravity.WARNS,
        ("insurer-a",),
    )
    assert finding.what == (
        "insurer-a is not linked at insurer-a:7600: its machine is up, but nothing listens there."
    )
    assert finding.evidence == ("the last try: 10.0.0.3:7600: Connection refused",)
    assert finding.remedy.startswith("Start the node of insurer-a;")


def test_two_of_four_that_are_down_stop_the_chain_and_both_are_named() -> None:
    found = diagnose(unlink(network(), 1, 2, trouble="x:1: Connection refused"))
    assert found.verdict is Verdict.STOPPED
    assert found.summary == (
        "No block can be made: 2 of 4 validators are reached, 3 are needed. "
        "None came since block 41, 1 h ago."
    )
    assert [(each.cause, each.whose, each.gravity) for each in found.findings] == [
        ("refused", ("operator",), Gravity.STOPS),
        ("refused", ("insurer-a",), Gravity.STOPS),
    ]


@pytest.mark.parametrize(
    ("trouble", "cause"),
    [
        ("h:1: Connection refused", "refused"),
        ("h:1 says nothing", "timeout"),
        ("h:1: No route to host", "timeout"),
        ("h:1: Network is unreachable", "timeout"),
        ("h:1: Name or service not known", "name"),
        ("h:1: Temporary failure in name resolution", "name"),
        ("h:1 shows a node key that is not a registered one", "certificate"),
        ("h:1 does not greet: it seems not to accept our node key", "own-key-refused"),
        ("h:1 does not speak TLS as we do: WRONG_VERSION", "tls"),
        ("is of the chain aa, not bb", "other-chain"),
        ("refused us: is of the chain aa, not bb", "other-chain"),
        ("speaks version 1 of the protocol, not 2", "protocol"),
        ("refused us: another instance of this node key is linked from h:1", "twin"),
        ("penalised for 60 s: bad block", "penalty"),
        ("its address is not known here: it has to dial", "no-address"),
        ("h:1 closed the connection", "unlinked"),
        ("not yet", "unlinked"),
        ("", "unlinked"),
    ],
)
def test_the_words_of_the_last_try_tell_the_cause(trouble: str, cause: str) -> None:
    finding = only(diagnose(unlink(network(), 3, trouble=trouble)))
    assert finding.cause == cause
    assert "{" not in finding.what + finding.remedy
    assert finding.evidence == ((f"the last try: {trouble}",) if trouble else ())


def test_a_peer_whose_address_nobody_wrote_is_told_so() -> None:
    finding = only(diagnose(change(unlink(network(), 3), 3, address="")))
    assert finding.cause == "no-address"
    assert "[peers]" in finding.remedy


def test_what_a_stranger_wrote_does_nothing_to_a_terminal() -> None:
    finding = only(diagnose(unlink(network(), 3, trouble="\x1b[31m\nred" + "x" * 999)))
    (line,) = finding.evidence
    assert line.isprintable()
    assert len(line) < 250


def test_what_is_long_is_shown_with_its_beginning_and_with_its_end() -> None:
    said = f"/data/{'deep/' * 99}state: No space left on device"
    (line,) = only(diagnose(unlink(network(), 3, trouble=said))).evidence
    assert "/data/deep/" in line
    assert line.endswith("No space left on device")


def test_a_node_without_any_link_looks_at_itself_first() -> None:
    found = diagnose(unlink(network(), 1, 2, 3, trouble="x:1 says nothing"))
    assert causes(found) == ["alone", "timeout", "timeout", "timeout"]
    assert found.findings[0].whose == ("federation",)


def test_a_node_whose_twin_has_the_links_is_not_sent_to_look_at_its_network() -> None:
    trouble = "refused us: another instance of this node key is linked from h:1"
    assert "alone" not in causes(diagnose(unlink(network(), 1, 2, 3, trouble=trouble)))


def test_who_is_linked_and_says_nothing_hangs() -> None:
    found = diagnose(change(network(), 2, said=None))
    assert only(found).cause == "silent"
    assert only(found).whose == ("insurer-a",)


def test_who_does_not_answer_does_not_count_for_a_quorum() -> None:
    found = diagnose(change(change(network(), 2, said=None), 1, said=None))
    assert found.verdict is Verdict.STOPPED
    assert "2 of 4 validators may vote, 3 are needed" in found.summary


def test_an_observer_that_is_down_concerns_nobody() -> None:
    facts = network()
    watcher = Seen("watcher", None, is_linked=False)
    assert diagnose(replace(facts, nodes=(*facts.nodes, watcher))).findings == ()


def to_come(known: tuple[int, ...], *, from_height: int | None = None, at: int = 40) -> Outlook:
    ready = (2, 0, 2, 1)
    return Outlook(HEIGHT, 1, Scheduled(2, at, from_height), known, ready, quorum(4))


def test_rules_to_come_that_this_node_does_not_know_are_a_warning() -> None:
    finding = only(diagnose(replace(network(), outlook=to_come((1,), from_height=44))))
    assert (finding.cause, finding.gravity, finding.whose) == (
        "upgrade",
        Gravity.WARNS,
        (LABELS[0],),
    )
    assert "in force from block 44 on, and this software knows 1" in finding.evidence[0]
    assert "depoli upgrade ready" in finding.remedy


@pytest.mark.parametrize(("at", "gravity"), [(100, Gravity.NOTE), (40, Gravity.WARNS)])
def test_whoever_holds_up_rules_to_come_is_named(at: int, gravity: Gravity) -> None:
    slow = (LABELS[1], LABELS[3])
    facts = replace(network(), outlook=to_come((1, 2), at=at), unready=slow)
    finding = only(diagnose(facts))
    assert (finding.cause, finding.gravity, finding.whose) == ("upgrade-waits", gravity, slow)
    assert finding.evidence[0] == "2 of 4 validators are ready, 3 needed"


def test_rules_that_are_known_and_awaited_by_nobody_are_no_finding() -> None:
    none = replace(to_come((1, 2)), scheduled=None)
    for seen in (none, to_come((1, 2)), to_come((1, 2), from_height=44)):
        assert not diagnose(replace(network(), outlook=seen)).findings


def test_a_cut_between_two_others_is_seen_from_a_third() -> None:
    facts = change(network(), 1, linked=bits([0, 1, 3]))
    assert diagnose(facts).findings == ()  # one side only: it is coming or going
    facts = change(facts, 2, linked=bits([0, 2, 3]))
    finding = only(diagnose(facts))
    assert (finding.cause, finding.whose) == ("partition", ("operator", "insurer-a"))
    assert finding.evidence == ("no link between operator and insurer-a",)
    assert diagnose(change(facts, 2, up_ms=1000)).findings == ()  # it has just started


# --- keys -----------------------------------------------------------------------------------------


def test_a_node_key_that_nobody_registered_is_said_so() -> None:
    facts = replace(change(unlink(network(), 1, 2, 3), 0, index=None, signs_as=0), node_key_of=None)
    found = diagnose(facts)
    assert named(found, "node-key").gravity is Gravity.STOPS
    assert "no-validator" not in causes(found)


def test_a_node_that_is_linked_shows_a_key_that_its_own_chain_does_not_know_yet() -> None:
    facts = replace(change(network(), 0, index=None, signs_as=None), node_key_of=None)
    assert "node-key" not in causes(diagnose(facts))


def test_a_validator_that_signs_with_another_key_is_named_with_whose_it_is() -> None:
    finding = only(diagnose(change(network(), 2, signs_as=None)))
    assert (finding.cause, finding.whose) == ("consensus-key", ("insurer-a",))
    assert finding.evidence == ("the key is nobody's",)
    finding = only(diagnose(change(network(), 2, signs_as=3)))
    assert finding.evidence == ("the key is that of insurer-b",)


def test_a_validator_that_runs_as_an_observer_is_named() -> None:
    finding = only(diagnose(change(network(), 0, signs_as=None, is_validator=False)))
    assert (finding.cause, finding.whose) == ("observer", ("federation",))


def test_a_node_that_would_vote_but_is_no_validator_is_told_so() -> None:
    facts = network()
    watcher = Seen("watcher", None, said=health(None), heard_ms=NOW_MS)
    facts = replace(
        facts,
        nodes=(watcher, *(replace(each, is_linked=True) for each in facts.nodes)),
        node_key_of="watcher",
    )
    assert only(diagnose(facts)).cause == "no-validator"
    (soon,) = diagnose(replace(facts, votes_from=HEIGHT + 1)).findings
    assert (soon.cause, soon.gravity) == ("joining", Gravity.NOTE)
    assert f"block {HEIGHT + 1}" in soon.what
    assert diagnose(change(facts, 0, is_validator=False)).findings == ()


def test_a_node_that_follows_and_reaches_few_does_not_say_that_the_chain_stands() -> None:
    facts = network()
    watcher = Seen("watcher", None, said=health(None, is_validator=False), heard_ms=NOW_MS)
    others = (replace(each, is_linked=True) for each in facts.nodes)
    facts = replace(facts, nodes=(watcher, *others), node_key_of="watcher")
    found = diagnose(unlink(facts, 3, 4, trouble="its address is not known here"))
    assert found.summary == (
        "This node reaches 2 of 4 validators, too few to know whether blocks are made: 3 make one."
        " None came since block 41, 1 h ago."
    )


@pytest.mark.parametrize(("label", "whose"), [(None, "federation"), ("operator", "operator")])
def test_twins_are_named_with_where_they_are(label: str | None, whose: str) -> None:
    pair = Pair(label, ("10.0.0.1:5", "10.0.0.2:6"), "insurer-b" if label is None else None)
    finding = only(diagnose(replace(network(), twins=(pair,))))
    assert (finding.cause, finding.whose) == ("twin", (whose,))
    assert finding.evidence[0] == "one calls from 10.0.0.1:5"
    assert finding.evidence[2:] == (("insurer-b says so",) if label is None else ())


# --- fences, disks, versions, heights -------------------------------------------------------------


def test_a_validator_that_may_not_sign_is_named_with_the_reason() -> None:
    finding = only(diagnose(change(network(), 1, silence=b"its journal was\x1b lost")))
    assert (finding.cause, finding.whose) == ("fenced", ("operator",))
    assert finding.evidence == ("its journal was\ufffd lost", "the network decides height 42")


def test_two_that_are_fenced_stop_a_network_of_four() -> None:
    found = diagnose(change(change(network(), 1, silence=b"lost"), 2, silence=b"lost"))
    assert found.verdict is Verdict.STOPPED
    assert [each.gravity for each in found.findings] == [Gravity.STOPS] * 2


def test_a_disk_with_little_room_is_named_and_one_without_any_is_grave() -> None:
    finding = only(diagnose(change(network(), 3, free_bytes=LEAST_FREE_BYTES - 1)))
    assert (finding.cause, finding.whose, finding.gravity) == (
        "disk",
        ("insurer-b",),
        Gravity.WARNS,
    )
    stopped = change(unlink(network(), 1, 2), 3, free_bytes=0)
    assert named(diagnose(stopped), "disk").gravity is Gravity.STOPS


def test_a_damaged_block_of_our_own_is_named_with_what_mends_it() -> None:
    damage = "blocks-000000000001.seg: damaged at byte 9 (block 3): no whole record is there"
    finding = only(diagnose(replace(network(), damage=f"{damage}; stop the node")))
    assert (finding.cause, finding.whose, finding.gravity) == (
        "damage",
        ("federation",),
        Gravity.WARNS,
    )
    assert finding.evidence == (damage,)
    assert "depoli db heal" in finding.remedy


def test_who_runs_another_version_than_most_is_named() -> None:
    finding = only(diagnose(change(network(), 1, version=b"0.9\x1b")))
    assert (finding.cause, finding.whose) == ("version", ("operator",))
    assert finding.what == "operator runs version 0.9�, most run 1.0."
    two = diagnose(change(change(network(), 1, version=b"2"), 2, version=b"2"))
    assert only(two).what == "operator and insurer-a run version 2, most run 1.0."


def test_one_that_is_behind_is_named_and_this_node_says_so_of_itself() -> None:
    finding = only(diagnose(change(network(), 1, status=status(height=30))))
    assert (finding.cause, finding.whose) == ("behind", ("operator",))
    assert finding.what == "operator is 12 blocks behind."
    found = diagnose(change(network(), 0, status=status(height=30)))
    assert found.verdict is Verdict.MOVING
    assert found.summary == "This node is 12 blocks behind the others, and fetches them."


def test_where_no_peer_keeps_the_next_block_nobody_is_told_to_wait() -> None:
    late = change(network(), 0, status=status(height=30))
    found = diagnose(replace(late, kept_from=35))
    assert found.summary.endswith("behind the others, and no peer keeps the next one.")
    finding = named(found, "behind")
    assert finding.evidence[-1] == "no peer keeps block 30: they keep blocks from 35 on"
    assert 'sync.mode = "snapshot"' in finding.remedy
    other = replace(change(network(), 1, status=status(height=30)), kept_from=35)
    for case in (late, other):
        assert named(diagnose(case), "behind").remedy.startswith("Wait: ")


def test_one_liar_does_not_make_this_node_late() -> None:
    assert diagnose(change(network(), 1, status=status(height=10**9))).findings == ()


@pytest.mark.parametrize(("count", "words"), [(1, "1 offence,"), (3, "3 offences,")])
def test_who_contradicted_itself_is_named(count: int, words: str) -> None:
    finding = only(diagnose(replace(network(), offences=((3, count),))))
    assert (finding.cause, finding.whose, finding.gravity) == (
        "contradiction",
        ("insurer-b",),
        Gravity.NOTE,
    )
    assert finding.evidence[0].startswith(words)
    stopped = replace(unlink(network(), 1, 2), offences=((3, count),))
    assert named(diagnose(stopped), "contradiction").gravity is Gravity.WARNS


def test_who_missed_its_turns_is_worth_a_note() -> None:
    found = diagnose(replace(network(), passed_over=((2, 77),)))
    finding = only(found)
    assert (finding.cause, finding.whose, finding.gravity) == (
        "passed-over",
        ("insurer-a",),
        Gravity.NOTE,
    )
    assert "from height 77 on" in finding.evidence[0]


# --- clocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("off_ms", "way"), [(9000, "9.0 s ahead of"), (-9000, "9.0 s behind")])
@pytest.mark.parametrize("index", EVERYONE)
def test_a_clock_that_is_off_is_named_with_by_how_much(index: int, off_ms: int, way: str) -> None:
    facts = network()
    if index == 0:  # seen from here, all others are off
        for other in (1, 2, 3):
            facts = change(facts, other, clock_ms=NOW_MS - off_ms)
    else:
        facts = change(facts, index, clock_ms=NOW_MS + off_ms)
    found = diagnose(facts)
    finding = only(found)
    assert (finding.cause, finding.whose) == ("clock", (LABELS[index],))
    assert f"The clock of {LABELS[index]} is {way} that of " in finding.what
    assert "the protocol allows 500 ms" in finding.evidence[0]
    assert [row.clock_ms for row in found.rows][index] == off_ms


def test_a_clock_counts_as_off_only_beyond_doubt() -> None:
    far = change(network(), 1, clock_ms=NOW_MS + 900, round_trip_ms=1000)
    assert diagnose(far).findings == ()
    near = change(network(), 1, clock_ms=NOW_MS + 900, round_trip_ms=100)
    assert causes(diagnose(near)) == ["clock"]


def test_of_two_clocks_nobody_can_say_which_is_wrong() -> None:
    facts = change(unlink(network(), 2, 3), 1, clock_ms=NOW_MS + 9000)
    finding = named(diagnose(facts), "clock")
    assert set(finding.whose) == {"federation", "operator"}
    assert "either of them" in finding.evidence[1]


def test_the_age_of_the_last_block_is_told_by_the_clock_of_most() -> None:
    facts = network()
    for other in (1, 2, 3):
        facts = change(facts, other, clock_ms=NOW_MS - 1_800_000)  # ours is half an hour ahead
    assert "30 min ago" in diagnose(facts).summary


# --- votes ----------------------------------------------------------------------------------------


def stuck(
    *, round_: int, wishes: Sequence[int], proposal: bool, prepares: Sequence[int] = (),
    commits: Sequence[int] = (),
) -> Facts:  # fmt: skip
    held = held_of(round_, prepares, commits, proposal=proposal)
    return change_all(
        network(),
        waiting=5,
        status=status(round_=round_, wish=max(wishes), held=held, wishes=wishes),
    )


def test_round_after_round_that_fails_is_a_stop_and_the_missing_votes_are_named() -> None:
    found = diagnose(stuck(round_=7, wishes=(7,) * 4, proposal=True, prepares=(0, 1)))
    finding = only(found)
    assert found.verdict is Verdict.STOPPED
    assert found.summary == ("There is no block since block 41, 1 h ago: round after round fails.")
    assert finding.what == "Height 42 is in round 7, led by operator, and lacks prepares."
    assert finding.whose == ("insurer-a", "insurer-b")
    assert finding.evidence == (
        "proposal: here",
        "prepares: 2, 3 needed; not from insurer-a and insurer-b",
        "commits: none, 3 needed",
        "wishes for a round above 7: none, 3 needed",
    )
    assert finding.gravity is Gravity.STOPS


@pytest.mark.parametrize(
    ("facts", "step", "whose"),
    [
        (stuck(round_=7, wishes=(7,) * 4, proposal=False), "its proposal", ("operator",)),
        (
            stuck(round_=7, wishes=(7,) * 4, proposal=True, prepares=(0, 1, 2), commits=(0,)),
            "commits",
            ("operator", "insurer-a", "insurer-b"),
        ),
        (
            stuck(round_=7, wishes=(8, 8, 0, 0), proposal=True, prepares=(0, 1)),
            "a quorum that gives it up",
            ("insurer-a", "insurer-b"),
        ),
    ],
)
def test_the_first_thing_that_is_missing_is_named(
    facts: Facts, step: str, whose: tuple[str, ...]
) -> None:
    finding = named(diagnose(facts), "votes")
    assert finding.what.endswith(f"and lacks {step}.")
    assert finding.whose == whose


def test_votes_that_only_another_node_holds_are_known() -> None:
    facts = stuck(round_=7, wishes=(7,) * 4, proposal=False)
    held = (
        Held(7, proposal=True, prepares=bits([1, 2, 3]), commits=bits([]), round_changes=bits([])),
    )
    facts = change(facts, 2, status=status(round_=7, held=held))
    assert named(diagnose(facts), "votes").what.endswith("lacks commits.")


def test_one_liar_does_not_move_the_round() -> None:
    facts = stuck(round_=7, wishes=(7,) * 4, proposal=False)
    facts = change(facts, 2, status=status(round_=10**6, wishes=(10**6,) * 400))
    assert diagnose(facts).round == 7


def test_a_version_whose_vote_is_missing_is_a_reason() -> None:
    facts = stuck(round_=7, wishes=(7,) * 4, proposal=True, prepares=(0, 1))
    assert named(diagnose(change(facts, 3, version=b"2")), "version").gravity is Gravity.STOPS
    assert named(diagnose(change(facts, 0, version=b"2")), "version").gravity is Gravity.WARNS


def test_a_validator_of_whom_nothing_is_known_has_a_number() -> None:
    facts = stuck(round_=7, wishes=(7,) * 4, proposal=True, prepares=(0, 1))
    facts = replace(facts, nodes=facts.nodes[:3])
    assert "insurer-a and validator 3" in named(diagnose(facts), "votes").evidence[1]


def test_a_height_that_is_young_is_given_time() -> None:
    facts = stuck(round_=7, wishes=(7,) * 4, proposal=False)
    facts = change_all(facts, block_time=NOW_MS // 1000 - 5)
    assert diagnose(facts).verdict is Verdict.MOVING


def test_without_a_quorum_and_without_work_no_vote_is_missing() -> None:
    assert "votes" not in causes(diagnose(unlink(network(), 1, 2)))
    waiting = change_all(unlink(network(), 1, 2), waiting=1)
    assert "votes" in causes(diagnose(waiting))


# --- all together ---------------------------------------------------------------------------------


def test_the_gravest_comes_first() -> None:
    facts = stuck(round_=7, wishes=(7,) * 4, proposal=True, prepares=(0, 1))
    facts = change(change(facts, 0, version=b"2"), 3, silence=b"lost")
    found = [finding.gravity for finding in diagnose(facts).findings]
    assert found == [Gravity.STOPS, Gravity.STOPS, Gravity.WARNS]


def everything() -> Facts:
    facts = stuck(round_=7, wishes=(9, 8, 7, 7, 7, 7, 7), proposal=True, prepares=(0, 1))
    facts = change(facts, 0, free_bytes=0, clock_ms=NOW_MS + 99_000)
    return unlink(
        change(facts, 1, version=b"2", silence=b"lost", signs_as=2),
        3,
        trouble="x: Connection refused",
    )


def test_every_finding_says_what_and_what_to_do_in_sentences() -> None:
    found = diagnose(everything())
    assert len(found.findings) > 5
    for finding in found.findings:
        assert re.fullmatch(r"[A-Za-z].*\.", finding.what)
        assert re.fullmatch(r"[A-Z].*\.", finding.remedy)
        assert finding.whose


def test_a_diagnosis_passes_through_json() -> None:
    found = diagnose(everything())
    assert from_json(json.loads(json.dumps(to_json(found)))) == found


@pytest.mark.parametrize("value", [None, {}, {"verdict": "odd"}, []])
def test_what_is_no_diagnosis_is_refused(value: object) -> None:
    with pytest.raises(NoDiagnosis):
        from_json(value)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_each_check_finds_nothing_where_nothing_is_wrong(check: Callable[..., Any]) -> None:
    for n in (1, 4, 7):
        assert list(check(Situation(network(n)))) == []


def test_bits_of_a_bitmap_beyond_its_end_are_not_set() -> None:
    assert [is_set(b"\x05", index) for index in range(10)] == [True, False, True] + [False] * 7
