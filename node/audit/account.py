"""The account that an auditor gives of a verified chain: what was checked, and what it holds.

Everything in it follows from the export and the genesis: whoever has both makes the same again. It
holds nothing but lists, strings and whole numbers, so that it can be signed.
"""

import heapq
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from contracts import ballot, dispatch, eras, governance, parameters, reference, registry, versions
from contracts.calls import AdmitMember, Subject
from contracts.explanation import Explanation, explain
from contracts.genesis import Genesis, SignedGenesis
from contracts.life import Life
from contracts.reference import TableKind
from contracts.state import Reader
from ledger.hashing import HASH_BYTES
from ledger.plain import plain
from ledger.validators import EVERYONE, MEMBER_ID_BYTES
from node.audit.chronicle import Chronicle
from node.audit.pairs import pairs
from node.audit.replay import Replay, Show, replayed
from node.audit.report import MAX_LISTED
from node.audit.words import organisation_of

_IN_DISPUTE: Final = ("DISPUTED", "UPHELD", "RECOVERY_ASKED", "UNDER_REVIEW")
_OF_MEMBERS: Final = ("member", "leaving")  # fields of subjects that name members

CHECKED: Final = (
    "the genesis is signed by every validator in it, and is the one that the auditor holds",
    "every record of the export has its checksum, and is the one encoding of what it says",
    "every block follows the one before: height, parent, time, chain, version of the rules",
    "every block is certified by a quorum of its validators, and each signature was verified",
    "every block carries a certificate of its parent, and was built by whose turn it was",
    "every change of validators follows from a vote, and from keys that proved themselves",
    "every transaction is signed by a key of its sender that was good then, in time, and once",
    "every call was executed again, and its outcome is the one that stands in the block",
    "the roots of the log and of the heads, and the digest of the state, are as executed",
    "all evidence against validators convicts whom it names",
)
NOT_CHECKED: Final = (
    "whether what a shop or an insurer says is true: the chain shows who said it, and when",
    "whether this is the only chain: another export (depoli audit fork) or a witness shows that",
    "whether it reaches to the last block of today: others know their last header",
    "what commitments hide: that takes their openings, which are not on the chain",
    "whether an organisation's certificate is genuine: depoli member verify-certificate",
    "whether bytes hide what may not stand there: depoli audit privacy says how far one can see",
)


def account(
    path: Path,
    genesis: SignedGenesis,
    *,
    workers: int | None = None,
    show: Show = lambda _: None,
) -> dict[str, Any]:
    """Return the account of an export, all of which is verified.

    Raises `FalseFact` at the first thing in it that is false, `UnknownRules`, OSError.
    """
    chronicle = Chronicle(genesis.genesis)
    with replayed(path, genesis, watch=chronicle.add, workers=workers, show=show) as replay:
        state = replay.state
        things = _Things(replay)
        value: dict[str, Any] = {
            "export": {
                "bytes": replay.report.export_bytes,
                "sha256": replay.report.export_digest.hex(),
            },
            "chain": _chain(replay, genesis),
            "checked": list(CHECKED),
            "not_checked": list(NOT_CHECKED),
            "counts": {
                "blocks": replay.header.height,
                "transactions": replay.report.transactions,
                "entries": replay.report.entries,
                "signatures": replay.report.signatures,
            },
            "rules": [
                {"version": version, "from_height": height}
                for version, height in replay.report.versions.items()
            ],
            "scheduled": plain(versions.agenda(state).scheduled),
            "parameters": plain(parameters.load(state)),
            "tables": _tables(state),
            "validators": _validators(state, genesis.genesis),
            "members": _members(state, genesis.genesis),
            "member_events": {"count": chronicle.event_count, "first": chronicle.events},
            "proposals": _proposals(state, replay, chronicle),
            "activity": _activity(replay, chronicle),
            "things": things.counts,
            "exceptions": _exceptions(replay, chronicle, things),
            "evidence": chronicle.deeds,
        }
    made: dict[str, Any] = json.loads(json.dumps(value))  # as it is read back, to be compared
    return made


def _exceptions(replay: Replay, chronicle: Chronicle, things: "_Things") -> dict[str, Any]:
    """Return what looks odd: each is counted, and some of it told one by one."""
    refusals = replay.report.refusals
    return {
        "refused": {
            "count": refusals.total(),
            "reasons": dict(sorted(refusals.items())),
            "first": chronicle.refused,
        },
        "overdue": things.overdue.to_json(),
        "disputed": things.disputed.to_json(),
        "late_blocks": {
            "count": chronicle.late.count,
            "largest": [
                {"height": height, "round": round_} for round_, height in chronicle.late.largest()
            ],
        },
        "gaps": {
            "count": chronicle.gaps.count,
            "longest": [
                {"height": height, "seconds": seconds}
                for seconds, height in chronicle.gaps.largest()
            ],
        },
    }


def _chain(replay: Replay, genesis: SignedGenesis) -> dict[str, Any]:
    header = replay.header
    return {
        "network": genesis.genesis.label,
        "genesis_time": genesis.genesis.time,
        "first_time": replay.report.first_time,
        "last_block": header.hash.hex(),
        "header": plain(header),
    }


def _tables(state: Reader) -> list[dict[str, Any]]:
    return [
        {"table": kind.subject, "from_height": height, "sha256": table.hex()}
        for kind in TableKind
        for height, table in reference.versions(state, kind)
    ]


def _validators(state: Reader, genesis: Genesis) -> list[dict[str, Any]]:
    """Return every set of validators that there was, and from which height on it votes."""
    every = [eras.era(state, number) for number in range(eras.latest(state).number + 1)]
    return [
        {
            "from_height": max(era.from_height, 1),
            "quorum": era.validators.quorum,
            "validators": [
                {
                    "member": one.member.hex(),
                    "organisation": organisation_of(genesis, one.member),
                    "consensus_key": one.consensus_key.hex(),
                    "checkpoint_key": one.checkpoint_key.hex(),
                }
                for one in era.validators.members
            ],
        }
        for era in every
    ]


def _members(state: Reader, genesis: Genesis) -> list[dict[str, Any]]:
    return [
        {
            "member": id_.hex(),
            "organisation": organisation_of(genesis, id_),
            "family": member.family.name.lower(),
            "country": member.country.decode("ascii", "replace"),
            "status": member.status.name.lower(),
            "standings": [
                {"from_height": each.height, "status": each.status.name.lower()}
                for each in registry.standings(state, id_)
            ],
            "keys": [
                {
                    "id": key_id.hex(),
                    "role": key.role.name.lower(),
                    "algorithm": key.algorithm.name.lower(),
                    "from_height": key.from_height,
                    "until_height": key.until_height,
                }
                for key_id, key in sorted(
                    registry.keys_of(state, id_), key=lambda pair: (pair[1].from_height, pair[0])
                )
            ],
        }
        for id_, member in registry.members(state)
    ]


def _proposals(state: Reader, replay: Replay, chronicle: Chronicle) -> list[dict[str, Any]]:
    header, genesis = replay.header, replay.genesis.genesis
    notice = parameters.load(state).notice_blocks
    told = []
    for number in range(governance.docket(state).made):
        id_ = governance.numbered(state, number)
        proposal = None if id_ is None else governance.load(state, id_)
        assert id_ is not None
        assert proposal is not None  # numbers are given one by one, and nothing is removed
        standing = governance.standing(proposal, header.height + 1, header.time, notice)
        told.append(
            {
                "number": number,
                "id": id_.hex(),
                "kind": proposal.subject.VERB,
                "subject": plain(proposal.subject),
                "about": _about(proposal.subject, genesis),
                "changes": chronicle.changed.get(id_, {}),
                "proposer": proposal.proposer.hex(),
                "organisation": organisation_of(genesis, proposal.proposer),
                "height": proposal.height,
                "time": proposal.time,
                "deadline": proposal.deadline,
                "effect": proposal.effect,
                "state": standing.name.lower(),
                "decided": proposal.decided,
                "votes": [
                    {
                        "member": voter.hex(),
                        "organisation": organisation_of(genesis, voter),
                        "agrees": vote.agrees,
                        "height": vote.height,
                    }
                    for voter, vote in ballot.ballots(state, id_).items()
                ],
            }
        )
    return told


def _about(subject: Subject, genesis: Genesis) -> list[str]:
    """Return what people call the members that a proposal is about."""
    if isinstance(subject, AdmitMember):
        country = subject.country.decode("ascii", "replace")
        id_ = registry.member_id(subject.key.public).hex()
        return [subject.family.name.lower(), country, id_]
    named = (getattr(subject, field, None) for field in _OF_MEMBERS)
    return [organisation_of(genesis, member) for member in named if member is not None]


def _activity(replay: Replay, chronicle: Chronicle) -> list[dict[str, Any]]:
    told = []
    for member, activity in sorted(replay.report.members.items()):
        calls = chronicle.calls.get(member, Counter())
        told.append(
            {
                "member": member.hex(),
                "organisation": "everyone"
                if member == EVERYONE
                else organisation_of(replay.genesis.genesis, member),
                "transactions": activity.transactions,
                "entries": activity.applied + activity.refused,
                "applied": activity.applied,
                "refused": activity.refused,
                "concerned": activity.concerned,
                "blocks": activity.proposed,
                "calls": {
                    name: {"applied": calls[name, True], "refused": calls[name, False]}
                    for name in sorted({name for name, _ in calls})
                },
                "refusals": dict(sorted(chronicle.refusals.get(member, Counter()).items())),
            }
        )
    return told


class _Listed:
    """Things counted by a word; the earliest of them are told one by one."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._heap: list[tuple[int, int, dict[str, Any]]] = []

    def add(self, word: str, moment: int, told: dict[str, Any]) -> None:
        """Take in one more."""
        self._counts[word] += 1
        push = heapq.heappush if len(self._heap) < MAX_LISTED else heapq.heappushpop
        push(self._heap, (-moment, self._counts.total(), told))

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        first = sorted(self._heap, key=lambda each: (-each[0], each[1]))
        return {
            "count": self._counts.total(),
            "by": dict(sorted(self._counts.items())),
            "first": [told for *_, told in first],
        }


class _Things:
    """How many things of each kind stand where, which are overdue, and which are disputed."""

    def __init__(self, replay: Replay) -> None:
        self._genesis = replay.genesis.genesis
        self.counts: dict[str, dict[str, int]] = {}
        self.overdue, self.disputed = _Listed(), _Listed()
        state, held = replay.state, parameters.load(replay.state)
        for life in dispatch.LIVES:
            states: Counter[str] = Counter()
            for id_ in _ids(life, state):
                found = explain(life, state, id_, time=replay.header.time, parameters=held)
                assert found is not None  # its key was read just now
                states[found.state.name.lower()] += 1
                self._judge(found)
            self.counts[life.name] = dict(sorted(states.items()))

    def _judge(self, found: Explanation) -> None:
        told = {"kind": found.name, "id": found.id.hex(), "state": found.state.name.lower()}
        late = [step for step in found.overdue if step.member is not None and step.due is not None]
        if late:  # one of what he may do is what he should have done
            first = min(late, key=lambda step: step.due or 0)
            who = organisation_of(self._genesis, first.member or b"")
            calls = sorted({step.call.__name__ for step in late if step.member == first.member})
            more = {"organisation": who, "due": first.due, "calls": calls}
            self.overdue.add(f"{who}, {found.name}", first.due or 0, told | more)
        if any(word in found.state.name for word in _IN_DISPUTE):
            since = getattr(found.thing, "since", 0)
            parties = [organisation_of(self._genesis, member) for _, member in found.parties]
            more = {"organisations": parties, "since": since}
            self.disputed.add(f"{found.name}, {found.state.name.lower()}", since, told | more)


def _ids(life: Life[Any], state: Reader) -> Iterator[bytes]:
    """Yield the ids of all things of a life; keys of another length are of something else."""
    length = HASH_BYTES + (MEMBER_ID_BYTES if life.by_member else 0)
    for key, _ in pairs(state, life.prefix):
        if len(key) == len(life.prefix) + length:
            yield key[len(life.prefix) :]
