"""Asks every linked peer how it is, and collects what the doctor needs to know."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from contracts import registry
from ledger.encoding import encode
from ledger.keys import Role
from node import clock
from node.chain import Chain
from node.config import Address
from node.doctor.situation import Facts, Pair, Seen
from node.evidence import EvidencePool
from node.health import (
    MAX_SILENCE_BYTES,
    Health,
    PullHealth,
    bitmap_of,
    free_bytes,
    software_version,
)
from node.link import Link, Peer
from node.mempool import Mempool
from node.p2p import Network
from node.pledges import Pledges
from node.replica import Replica
from node.upgrade import outlook

ANSWER_S: Final = 2.0  # then a peer that is linked is called silent


@dataclass(frozen=True, slots=True)
class Answer:
    """What a peer said, and when."""

    health: Health
    heard_ms: int  # our wall clock half way between the question and the answer
    round_trip_ms: int


class _Question:
    """A question under way: when it was put, by both clocks."""

    def __init__(self) -> None:
        self._wall_ms, self._began = clock.now_ms(), clock.monotonic()
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def answered(self, health: Health) -> None:
        """Take the answer; another one changes nothing."""
        if not self.answer.done():
            took_ms = round((clock.monotonic() - self._began) * 1000)
            self.answer.set_result(Answer(health, self._wall_ms + took_ms // 2, took_ms))


class Checkup:
    """This node's own health, and that of its peers."""

    def __init__(
        self,
        data: Path,
        least_bytes: Callable[[], int],
        node_key: bytes,
        chain: Chain,
        mempool: Mempool,
        pledges: Pledges,
        evidence: EvidencePool,
        replica: Replica,
        network: Network,
    ) -> None:
        self._data, self._least_bytes, self._node_key = data, least_bytes, node_key
        self._chain, self._mempool = chain, mempool
        self._pledges, self._evidence = pledges, evidence
        self._replica, self._network = replica, network
        self._version, self._began = software_version(), clock.monotonic()
        self._questions: dict[bytes, _Question] = {}  # by node key
        self._asking: asyncio.Task[dict[bytes, Answer]] | None = None

    def health(self) -> Health:
        """Return how this node is now."""
        validators = self._chain.state.validators
        return Health(
            version=self._version,
            clock_ms=clock.now_ms(),
            up_ms=round((clock.monotonic() - self._began) * 1000),
            free_bytes=free_bytes(self._data),
            least_bytes=self._least_bytes(),
            is_validator=self._pledges.is_validator,
            signs_as=self._pledges.index,
            silence=self._pledges.silence.encode()[:MAX_SILENCE_BYTES],
            block_time=self._chain.header.time,
            waiting=len(self._mempool),
            linked=bitmap_of([v.node_key in self._network.links for v in validators.members]),
            status=self._replica.status(),
        )

    def take(self, link: Link, health: Health) -> None:
        """Take a peer's answer; one that nobody asked for changes nothing."""
        question = self._questions.get(link.peer.node_key)
        if question is not None:
            question.answered(health)

    async def facts(self) -> Facts:
        """Return what this node and its peers say. Who asks meanwhile gets the same answers."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._asked)
        return self._facts(await asyncio.shield(self._asking))

    def _asked(self, _: object) -> None:
        self._asking = None

    async def _ask(self) -> dict[bytes, Answer]:
        """Ask all that are linked at once; return who answers in time, by node key."""
        try:
            for key, link in self._network.links.items():
                self._questions[key] = _Question()
                link.send_pull(encode(PullHealth()))
            if waiting := [question.answer for question in self._questions.values()]:
                await asyncio.wait(waiting, timeout=ANSWER_S)
            return {
                key: question.answer.result()
                for key, question in self._questions.items()
                if question.answer.done()
            }
        finally:
            self._questions.clear()

    def _facts(self, answers: Mapping[bytes, Answer]) -> Facts:
        state, health = self._chain.state, self.health()
        validators = state.validators
        rules = outlook(state)
        own = Answer(health, health.clock_ms, 0)
        offences = self._evidence.offences()
        passed_over = state.turns.passed_over(len(validators), health.status.height)
        owner = self._owner()
        here = Peer(owner or "this node", self._node_key, None)
        peers = self._network.peers
        voters = [peers.get(each.node_key, here) for each in validators.members]
        linked = [link.peer for link in self._network.links.values()]
        seen = [
            self._seen(peer, own if peer is here else answers.get(peer.node_key))
            for peer in dict.fromkeys((here, *voters, *linked))
        ]
        return Facts(
            nodes=tuple(seen),
            validators=len(validators),
            quorum=validators.quorum,
            leader=lambda round_: state.turns.leader(len(validators), health.status.height, round_),
            base_timeout_ms=state.parameters.base_timeout_ms,
            precision_ms=state.parameters.clock_precision_ms,
            node_key_of=owner,
            votes_from=(
                health.status.height + 1
                if any(each.node_key == self._node_key for each in state.next_validators.members)
                else None
            ),
            twins=tuple(
                Pair(each.label or None, each.places, each.reported_by or None)
                for each in self._network.twins
            ),
            offences=tuple(
                (index, offences[each.member])
                for index, each in enumerate(validators.members)
                if offences[each.member]
            ),
            passed_over=tuple(
                (each.validator, each.until)
                for each in state.turns.absences
                if each.validator in passed_over
            ),
            outlook=rules,
            unready=tuple(
                peers.get(voter.node_key, here).label
                for voter, version in zip(state.next_validators.members, rules.ready, strict=True)
                if rules.scheduled is not None and version < rules.scheduled.version
            ),
            kept_from=self._replica.exchange.catchup.kept_from,
            damage=self._chain.damage,
        )

    def _seen(self, peer: Peer, answer: Answer | None) -> Seen:
        key, members = peer.node_key, self._chain.state.validators.members
        return Seen(
            label=peer.label,
            index=next((i for i, each in enumerate(members) if each.node_key == key), None),
            address="" if peer.address is None else str(Address(*peer.address)),
            is_linked=key in self._network.links,
            trouble=self._network.trouble.get(key, ""),
            said=None if answer is None else answer.health,
            heard_ms=0 if answer is None else answer.heard_ms,
            round_trip_ms=0 if answer is None else answer.round_trip_ms,
        )

    def _owner(self) -> str | None:
        """Return the name of the member whose registered node key we have, None: nobody's."""
        labels: dict[bytes, str] = {each.id: each.label for each in self._chain.genesis.members}
        height = self._chain.height + 1
        for member, key in registry.keys(self._chain.state.state, Role.TLS, height):
            if key.public == self._node_key:
                return labels.get(member, member.hex())
        return None
