"""Why there is no block: from what was collected to findings, with nothing asked of the world."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from consensus.core import MAX_DOUBLINGS
from node.catchup import NOBODY_KEEPS_IT
from node.doctor.findings import Diagnosis, Finding, Gravity, Row, Verdict, by_gravity
from node.doctor.phrases import names, printable, sentence_of, size, span
from node.doctor.situation import CLOCKS, STARTING_MS, Facts, Seen, Situation
from node.doctor.troubles import reason_of
from node.health import Health


def diagnose(facts: Facts) -> Diagnosis:
    """Return why there is no block, or that there is nothing wrong."""
    case = Situation(facts)
    return Diagnosis(
        verdict=case.verdict,
        summary=case.summary,
        findings=by_gravity([finding for check in CHECKS for finding in check(case)]),
        rows=tuple(_row(case, node) for node in facts.nodes),
        height=case.height - 1,
        round=case.votes.round,
        leader=case.label(case.leader),
    )


# --- the checks: each yields what it finds --------------------------------------------------------


def check_node_key(case: Situation) -> Iterator[Finding]:
    """Look whether the key that this node shows to its peers is registered.

    A node that is linked shows one that is: its own chain is only not that far yet.
    """
    if case.facts.node_key_of is None and not any(node.is_linked for node in case.facts.nodes):
        yield _finding(
            case,
            "node-key",
            "The node key of this node is registered for nobody: every peer refuses it.",
            [case.here],
            ["compare depoli keys show with depoli genesis show"],
            "put the node.seed back that belongs to the registered key, and restart",
        )


def check_alone(case: Situation) -> Iterator[Finding]:
    """Look whether anybody is linked. A node whose twin has the links is told of that alone."""
    if any(reason_of(each.trouble, each.address).cause == "twin" for each in case.facts.nodes):
        return
    if case.facts.validators > 1 and not any(node.is_linked for node in case.facts.nodes):
        yield _finding(
            case,
            "alone",
            "This node has no link at all: the cause is most likely here.",
            [case.here],
            [],
            "check this machine's network and firewall, p2p.listen and the table [peers] in "
            "config.toml, and that genesis.json is the one of the others",
        )


def check_links(case: Situation) -> Iterator[Finding]:
    """Look whether every validator is linked."""
    for node in case.voters.values():
        if node.is_linked or node is case.here:
            continue
        meant = reason_of(node.trouble, node.address)
        where = f" at {node.address}" if node.address else ""
        yield _finding(
            case,
            meant.cause,
            f"{node.label} is not linked{where}: {meant.what}.",
            [node],
            [f"the last try: {printable(node.trouble)}"] if node.trouble else [],
            meant.remedy.format(label=node.label),
        )


def check_silent(case: Situation) -> Iterator[Finding]:
    """Look whether who is linked answers."""
    for node in case.facts.nodes:
        if node.is_linked and node.said is None:
            yield _finding(
                case,
                "silent",
                f"{node.label} is linked, but does not answer.",
                [node],
                ["its connection stands; the program behind it hangs or is very busy"],
                f"look at the machine of {node.label}: processor, disk, memory; then restart its "
                "node",
            )


def check_twins(case: Situation) -> Iterator[Finding]:
    """Look whether two nodes run with one key."""
    for pair in case.facts.twins:
        label = case.here.label if pair.label is None else pair.label
        who = "of this node" if pair.label is None else f"of {label}"
        evidence = [f"one calls from {printable(place)}" for place in pair.places]
        if pair.told_by is not None:
            evidence.append(f"{pair.told_by} says so")
        yield _finding(
            case,
            "twin",
            f"Two nodes run with the keys {who}.",
            [node for node in case.facts.nodes if node.label == label],
            evidence,
            "stop one of them at once: a container that was forgotten, a restored copy, a "
            "standby. Two that vote with one key are a fault that others can prove",
        )


def check_consensus_keys(case: Situation) -> Iterator[Finding]:
    """Look whether each validator's node votes, with the key that is registered for it."""
    for node in case.voters.values():
        said = node.said
        if said is None or said.signs_as == node.index:
            continue
        if not said.is_validator:
            yield _finding(
                case,
                "observer",
                f"{node.label} is a validator, but its node runs as an observer.",
                [node],
                [],
                'set mode = "validator" in its config.toml, and restart it',
            )
            continue
        owner = "nobody's" if said.signs_as is None else f"that of {case.label(said.signs_as)}"
        yield _finding(
            case,
            "consensus-key",
            f"{node.label} signs with a consensus key that is not registered for it.",
            [node],
            [f"the key is {owner}"],
            "after depoli validator rotate: name the new folder as keys in its config.toml, and "
            "restart it. Else put the consensus.seed back that belongs to the registered key of "
            f"{node.label} (depoli keys show tells which is which), and restart",
        )
    if case.here.index is None and case.health.is_validator and case.facts.node_key_of:
        if case.facts.votes_from is not None:
            yield _finding(
                case,
                "joining",
                f"This node votes from block {case.facts.votes_from} on.",
                [case.here],
                [f"the network decides height {case.top}"],
                "nothing: an idle network makes these blocks with its next transactions",
                gravity=Gravity.NOTE,
            )
            return
        yield _finding(
            case,
            "no-validator",
            "This node is set up to vote, but it is no validator of this chain.",
            [case.here],
            ["its keys are not in the validator set of the open height"],
            'set mode = "observer", or use the keys of a validator',
        )


def check_silences(case: Situation) -> Iterator[Finding]:
    """Look for validators that may not sign yet."""
    for node in case.voters.values():
        if node.said is None or not node.said.silence:
            continue
        yield _finding(
            case,
            "fenced",
            f"{node.label} signs nothing yet, so that it contradicts nothing it may have signed.",
            [node],
            [printable(node.said.silence), f"the network decides height {case.top}"],
            "link it to the others and wait: it votes again by itself; never restore a journal. "
            "Where the chain cannot go on without it, see docs/operator.md",
        )


def check_clocks(case: Situation) -> Iterator[Finding]:
    """Look whether all clocks agree."""
    unsure = len(case.heard) < CLOCKS
    for node in [node for node, _ in case.heard if case.is_off(node)]:
        skew_ms = case.skew_ms(node)
        way = "ahead of" if skew_ms > 0 else "behind"
        others = names(each.label for each, _ in case.heard if each is not node)
        allowed = span(case.facts.precision_ms)
        evidence = [f"measured to {span(case.blur_ms(node))}; the protocol allows {allowed}"]
        if unsure:
            evidence.append("only two clocks are known: either of them may be the wrong one")
        yield _finding(
            case,
            "clock",
            f"The clock of {node.label} is {span(abs(skew_ms))} {way} that of {others}.",
            [node, case.here] if unsure else [node],
            evidence,
            f"keep the clock of the machine of {node.label} by NTP (timedatectl, chronyc "
            "tracking): until it is right, others refuse its proposals, or it refuses theirs",
        )


def check_disks(case: Situation) -> Iterator[Finding]:
    """Look whether every disk has room."""
    for node, said in case.heard:
        if said.free_bytes < said.least_bytes:
            yield _finding(
                case,
                "disk",
                f"The data disk of {node.label} is nearly full: {size(said.free_bytes)} free.",
                [node],
                [f"{size(said.least_bytes)} should be: a node whose disk is full stops"],
                f"free some space on the machine of {node.label}, or give it a larger disk",
                gravity=Gravity.WARNS if said.free_bytes else None,
            )


def check_blocks(case: Situation) -> Iterator[Finding]:
    """Look whether what this node read of its blocks was whole."""
    if case.facts.damage:
        yield _finding(
            case,
            "damage",
            "A block on the disk of this node is damaged.",
            [case.here],
            [case.facts.damage.partition("; ")[0]],
            "stop it, and run: depoli db heal --config FOLDER --from http://PEER:7680 "
            "--token-file TOKEN; until then it gives that block to nobody",
            gravity=Gravity.WARNS,
        )


def check_versions(case: Situation) -> Iterator[Finding]:
    """Look whether all run the same software."""
    found: dict[bytes, list[Seen]] = {}
    for node, said in case.heard:
        found.setdefault(said.version, []).append(node)
    most = max(found, key=lambda version: len(found[version]))
    for version, nodes in found.items():
        if version == most:
            continue
        lacks = any(node.index in case.lacking[1] for node in nodes)
        runs = "runs" if len(nodes) == 1 else "run"
        yield _finding(
            case,
            "version",
            f"{names(node.label for node in nodes)} {runs} version {printable(version)}, most "
            f"run {printable(most)}.",
            nodes,
            [],
            "finish the upgrade: install the same version everywhere, one node at a time",
            gravity=None if lacks else Gravity.WARNS,
        )


def check_upgrade(case: Situation) -> Iterator[Finding]:
    """Look whether rules are to come that this node does not know, or that wait for somebody."""
    seen = case.facts.outlook
    if seen is None or seen.scheduled is None:
        return
    coming, release = seen.scheduled, f"a release that knows version {seen.scheduled.version}"
    if not seen.is_known:
        yield _finding(
            case,
            "upgrade",
            f"This node does not know version {coming.version} of the rules, and stops before it.",
            [case.here],
            [seen.warning],
            f"install {release} on the machine of {case.here.label}, start it, then say so: depoli "
            "upgrade ready",
            gravity=Gravity.WARNS,
        )
    if coming.from_height is None and case.facts.unready:
        late = seen.height > coming.not_before
        n = len(seen.ready)
        yield _finding(
            case,
            "upgrade-waits",
            f"Version {coming.version} of the rules waits for {names(case.facts.unready)}.",
            [node for node in case.facts.nodes if node.label in case.facts.unready],
            [
                f"{n - len(case.facts.unready)} of {n} validators are ready, {seen.quorum} needed",
                f"it comes from block {coming.not_before} on at the earliest",
            ],
            f"install {release} on each of their machines, one after the other; then: depoli "
            "upgrade ready",
            gravity=Gravity.WARNS if late else Gravity.NOTE,
        )


def check_cuts(case: Situation) -> Iterator[Finding]:
    """Look whether those that are linked to this node are linked to each other."""
    asked = [
        node
        for node, said in case.heard
        if node.index is not None and node is not case.here and said.up_ms > STARTING_MS
    ]
    cut = [
        (one, other)
        for position, one in enumerate(asked)
        for other in asked[position + 1 :]
        if not one.is_linked_to(other) and not other.is_linked_to(one)
    ]
    if cut:
        nodes = list(dict.fromkeys(node for pair in cut for node in pair))
        yield _finding(
            case,
            "partition",
            f"{names(node.label for node in nodes)} do not all reach each other.",
            nodes,
            [f"no link between {one.label} and {other.label}" for one, other in cut],
            "run depoli doctor on one side of each cut: it says why. Votes travel through the "
            "others meanwhile",
        )


def check_heights(case: Situation) -> Iterator[Finding]:
    """Look whether all are at one height."""
    for node, said in case.heard:
        behind = case.top - said.status.height
        if behind > 1:
            told = [f"it decides height {said.status.height}, the network {case.top}"]
            remedy = "wait: it fetches them from its peers, and votes when it has them"
            if node is case.here and (kept_from := case.facts.kept_from):
                told.append(
                    f"no peer keeps block {case.height}: they keep blocks from {kept_from} on"
                )
                remedy = NOBODY_KEEPS_IT
            yield _finding(
                case,
                "behind",
                f"{node.label} is {behind} blocks behind.",
                [node],
                told,
                remedy,
                gravity=Gravity.WARNS,
            )


def check_offences(case: Situation) -> Iterator[Finding]:
    """Look for validators that are proved to have contradicted themselves."""
    for index, count in case.facts.offences:
        label = case.label(index)
        yield _finding(
            case,
            "contradiction",
            f"{label} is proved to have contradicted itself.",
            [case.voters[index]] if index in case.voters else [],
            [f"{count} {'offence' if count == 1 else 'offences'}, in blocks or waiting for one"],
            "see depoli evidence list; its operator looks for a second node with its key, and for "
            "a journal that was restored. A validator that lies is replaced: depoli validator",
            gravity=Gravity.WARNS if case.verdict is Verdict.STOPPED else Gravity.NOTE,
        )


def check_turns(case: Situation) -> Iterator[Finding]:
    """Look for validators that do not propose, because they missed their last turns."""
    for index, height in case.facts.passed_over:
        label = case.label(index)
        yield _finding(
            case,
            "passed-over",
            f"{label} does not propose now: it missed its last turns.",
            [case.voters[index]] if index in case.voters else [],
            [f"it has its next turn from height {height} on; the network decides {case.top}"],
            f"nothing, where {label} is back: its first block ends that",
            gravity=Gravity.NOTE,
        )


def check_votes(case: Situation) -> Iterator[Finding]:
    """Look which votes the round that is under way lacks."""
    stopped = case.verdict is Verdict.STOPPED
    if not case.wish and not (stopped and case.is_waiting):
        return
    votes, leader = case.votes, case.label(case.leader)
    step, lacking = case.lacking
    labels = [case.label(index) for index in sorted(lacking)]
    yield _finding(
        case,
        "votes",
        f"Height {case.height} is in round {votes.round}, led by {leader}, and lacks {step}.",
        [case.voters[index] for index in sorted(lacking) if index in case.voters],
        [
            f"proposal: {'here' if votes.proposal else f'missing, from {leader}'}",
            _count(case, "prepares", votes.prepares),
            _count(case, "commits", votes.commits),
            _count(case, f"wishes for a round above {votes.round}", votes.changes),
        ],
        f"mend what is said here of {names(labels)}; where nothing is, see the log of that node. "
        f"Rounds take longer and longer, up to {1 << MAX_DOUBLINGS} times the first",
        gravity=None if stopped else Gravity.NOTE,
    )


CHECKS: Final[tuple[Callable[[Situation], Iterator[Finding]], ...]] = (
    check_node_key,
    check_alone,
    check_links,
    check_silent,
    check_twins,
    check_consensus_keys,
    check_silences,
    check_clocks,
    check_disks,
    check_blocks,
    check_versions,
    check_upgrade,
    check_cuts,
    check_heights,
    check_offences,
    check_turns,
    check_votes,
)


# --- small things ---------------------------------------------------------------------------------


def _finding(
    case: Situation,
    cause: str,
    what: str,
    whose: Sequence[Seen],
    evidence: Sequence[str],
    remedy: str,
    *,
    gravity: Gravity | None = None,
) -> Finding:
    """Return a finding; where no block comes it counts as a reason, unless told otherwise."""
    if gravity is None:
        gravity = Gravity.STOPS if case.verdict is Verdict.STOPPED else Gravity.WARNS
    labels = tuple(node.label for node in whose)
    return Finding(gravity, cause, what, labels, tuple(evidence), sentence_of(remedy))


def _count(case: Situation, name: str, had: frozenset[int]) -> str:
    """Return how many votes there are, how many there should be, and whose are missing."""
    missing = [case.label(i) for i in range(case.facts.validators) if i not in had]
    text = f"{name}: {len(had) or 'none'}, {case.facts.quorum} needed"
    return f"{text}; not from {names(missing)}" if had and missing else text


def _row(case: Situation, node: Seen) -> Row:
    is_here = node is case.here
    link = "here" if is_here else "linked" if node.is_linked else "none"
    if node.said is None:
        return Row(node.label, is_here, "silent" if node.is_linked else link)
    return _row_of(case, node, node.said, link)


def _row_of(case: Situation, node: Seen, said: Health, link: str) -> Row:
    status, votes = said.status, case.votes
    is_level = node.index is not None and status.height == case.height
    return Row(
        label=node.label,
        is_here=node is case.here,
        link=link,
        height=status.height,
        round=status.round,
        prepared=node.index in votes.prepares if is_level else None,
        committed=node.index in votes.commits if is_level else None,
        wants=status.wish if status.wish > status.round else None,
        clock_ms=case.skew_ms(node),
        version=printable(said.version),
        free_bytes=said.free_bytes,
        fenced=bool(said.silence),
        waiting=said.waiting,
    )
