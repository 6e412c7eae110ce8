"""What is released to a light node: headers, and the entries that concern its member or everyone.

Whose node it is says the key that its link is authenticated with, never what it asks for.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from typing import Final

from contracts import certificates, registry
from contracts.errors import AlreadySeen, Inadmissible
from ledger import merkle
from ledger.block import Header
from ledger.encoding import encode
from ledger.entry import Entry
from ledger.errors import HashNotKept, NotKept, StoreDamaged
from ledger.heads import Heads
from ledger.validators import EVERYONE
from node import budget
from node.budget import Budgets
from node.chain import Chain
from node.light.messages import (
    MAX_CHANGES,
    MAX_MEMBER_PAIRS,
    LightPull,
    LightReply,
    MemberRecord,
    NewestHeader,
    Place,
    Proofs,
    PullHeader,
    PullHistory,
    PullMember,
    PullProofs,
    Refusal,
    Refusals,
    Seen,
    Told,
    parse_pull,
)
from node.link import Link
from node.results import Refused, Result

FIRST_BYTES: Final = 256 << 10  # of entries in an answer: who is told that there are more asks
MOST_BYTES: Final = 6 << 20  # up to a height that the asker named: the entries of a block and more
AT_ONCE: Final = 64  # entries looked up together
ENTRY_BYTES: Final = 128  # of one, beside its call
MAX_TEXT: Final = 300  # bytes, of a refusal
MAX_UNDER_WAY: Final = 2  # answers that are read for one light node
HEAD_S: Final = 20e-6  # to find the head of one member at an older height
ENTRY_S: Final = 50e-6


class Releases:
    """The giving side of links to light nodes."""

    def __init__(
        self,
        chain: Chain,
        *,
        owner: Callable[[bytes], bytes | None],
        budgets: Budgets,
        reader: Executor,
    ) -> None:
        self._chain, self._owner = chain, owner
        self._budgets, self._reader = budgets, reader
        self._under_way: dict[asyncio.Task[None], bytes] = {}  # for whom

    def answer(self, link: Link, payload: bytes) -> None:
        """Answer what a light node asks for; raise `Malformed` where it is no request."""
        key = link.peer.node_key
        pull, member = parse_pull(payload), self._owner(key)
        if member is None or sum(each == key for each in self._under_way.values()) >= MAX_UNDER_WAY:
            return  # its key has ended, or it has not taken what it asked for before
        task = asyncio.get_running_loop().create_task(self._reply(link, member, pull))
        self._under_way[task] = key
        task.add_done_callback(self._under_way.pop)

    def tell_refused(self, link: Link, results: Iterable[Result]) -> None:
        """Tell a light node which of its transactions the rules keep out, and why."""
        told = tuple(
            Refusal(each.id, str(each.error).encode()[:MAX_TEXT])
            for each in results
            if isinstance(each, Refused)
            and each.id is not None
            and isinstance(each.error, Inadmissible)
            and not isinstance(each.error, AlreadySeen)  # it is told with the entries
        )
        if told:
            link.send_reply(encode(Refusals(told)))

    async def _reply(self, link: Link, member: bytes, pull: LightPull) -> None:
        loop = asyncio.get_running_loop()
        reply, cost = await loop.run_in_executor(self._reader, self.reply, member, pull)
        payload = encode(reply)
        self._budgets.of(link.peer.node_key).spend(cost + len(payload) * budget.BYTE_S)
        link.send_reply(payload)

    def reply(self, member: bytes, pull: LightPull) -> tuple[LightReply, float]:
        """Return what a node of `member` is answered, and the seconds that it costs."""
        try:
            match pull:
                case PullHeader(above, changes):
                    return NewestHeader(self._newest(member, above, changes)), budget.STATUS_S
                case PullHistory():
                    return self._history(member, pull)
                case PullProofs():
                    return self._proofs(member, pull)
                case PullMember(asked):
                    return self._record(asked), budget.STATUS_S
        except (
            NotKept,
            HashNotKept,
            StoreDamaged,
        ):  # it asks another; of damage the chain tells our operator
            match pull:
                case PullProofs(after=after):
                    return Proofs(None, after, ()), budget.RECORD_S
                case _:
                    return Told(None, (), ()), budget.RECORD_S

    def _newest(self, member: bytes, above: int, changes: int) -> Seen | None:
        state = self._chain.state
        if state.header.height <= above:
            return None
        return self._seen(member, state.header, state.heads, changes)

    def _seen(self, member: bytes, header: Header, heads: Heads, changes: int) -> Seen:
        certificate = self._chain.certificate
        if certificate is None or certificate.height != header.height:
            certificate = self._chain.head(header.height).certificate
        after = self._chain.changes(header.height)[changes : changes + MAX_CHANGES]
        return Seen(header, certificate, heads.prove(member), heads.prove(EVERYONE), after)

    def _history(self, member: bytes, pull: PullHistory) -> tuple[Told, float]:
        state = self._chain.state
        header, heads, cost = state.header, state.heads, 0.0
        room = MOST_BYTES if pull.until else FIRST_BYTES
        if 0 < pull.until < header.height:
            header = self._chain.head(pull.until).header
            heads = self._chain.heads_at(pull.until)
            cost = HEAD_S * sum(1 for _ in heads.items())
        if header.height == 0:
            return Told(None, (), ()), cost
        seen = self._seen(member, header, heads, pull.changes)
        everyone = self._entries(EVERYONE, heads, pull.everyone, room)
        own = self._entries(member, heads, pull.own, room)
        return Told(seen, own, everyone), cost + ENTRY_S * (1 + len(own) + len(everyone))

    def _entries(self, member: bytes, heads: Heads, after: int, room: int) -> tuple[Entry, ...]:
        """Return the entries up to the head, as many as there is room for."""
        head = heads.get(member)
        found: list[Entry] = []
        while head is not None and after + len(found) < head.count and room > 0:
            here = after + len(found)
            limit = min(AT_ONCE, head.count - here)
            more = self._chain.entries_concerning(member, after=here, limit=limit)
            found += (entry for _, entry in more)
            room -= sum(len(entry.call) + ENTRY_BYTES for _, entry in more)
            assert more, "the index lacks entries up to a head"
        return tuple(found)

    def _proofs(self, member: bytes, pull: PullProofs) -> tuple[Proofs, float]:
        state = self._chain.state
        numbers = self._chain.index.concerning(member, after=pull.after, limit=pull.number)
        size = state.header.log_size
        numbers = [number for number in numbers if number < size]
        # Of the last one below the snapshot that a node began with, it does not know the number.
        if not numbers or (numbers[0] == 0 and self._chain.first_height > 1):
            return Proofs(None, pull.after, ()), budget.RECORD_S
        seen = self._seen(member, state.header, state.heads, pull.changes)
        places = tuple(
            Place(number, merkle.inclusion_proof(number, size, self._chain.log_node))
            for number in numbers
        )
        return Proofs(seen, pull.after, places), ENTRY_S * len(places) * 2

    def _record(self, member: bytes) -> MemberRecord:
        state = self._chain.state.state
        pairs: Sequence[tuple[bytes, bytes]] = [
            *registry.pairs_of(state, member),
            *certificates.pairs_of(state, member),
        ]
        return MemberRecord(member, tuple(pairs[:MAX_MEMBER_PAIRS]))
