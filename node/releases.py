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
from node import budget, clock
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
MOST_READ: Final = 1 << 14  # entries of blocks: each that is asked for may be in one of its own
ENTRY_BYTES: Final = 128  # of one, beside its call
MAX_TEXT: Final = 300  # bytes, of a refusal
MAX_UNDER_WAY: Final = 2  # answers of a kind that are read for one light node


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
        self._under_way: dict[asyncio.Task[None], tuple[bytes, type]] = {}  # for whom, what

    def answer(self, link: Link, payload: bytes) -> None:
        """Answer what a light node asks for; raise `Malformed` where it is no request."""
        key = link.peer.node_key
        pull, member = parse_pull(payload), self._owner(key)
        asked = (key, type(pull))
        if member is None or list(self._under_way.values()).count(asked) >= MAX_UNDER_WAY:
            return  # its key has ended, or it has not taken what it asked for before
        task = asyncio.get_running_loop().create_task(self._reply(link, member, pull))
        self._under_way[task] = asked
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
        """Return what a node of `member` is answered, and the seconds that it cost this thread."""
        begun = clock.thread_s()
        try:
            reply = self._found(member, pull)  # where it is not here, another is asked
        except (NotKept, HashNotKept, StoreDamaged):  # of damage the chain tells our operator
            if isinstance(pull, PullProofs):
                reply = Proofs(None, pull.after, ())
            else:
                reply = Told(None, (), ())
        return reply, budget.STATUS_S + clock.thread_s() - begun

    def _found(self, member: bytes, pull: LightPull) -> LightReply:
        match pull:
            case PullHeader(above, changes):
                return NewestHeader(self._newest(member, above, changes))
            case PullHistory():
                return self._history(member, pull)
            case PullProofs():
                return self._proofs(member, pull)
            case PullMember(asked):
                return self._record(asked)

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

    def _history(self, member: bytes, pull: PullHistory) -> Told:
        state = self._chain.state
        header, heads = state.header, state.heads
        room = MOST_BYTES if pull.until else FIRST_BYTES
        if 0 < pull.until < header.height:
            header = self._chain.head(pull.until).header
            heads = self._chain.heads_at(pull.until)
        if header.height == 0:
            return Told(None, (), ())
        seen = self._seen(member, header, heads, pull.changes)
        everyone = self._entries(EVERYONE, heads, pull.everyone, room)
        own = self._entries(member, heads, pull.own, room)
        return Told(seen, own, everyone)

    def _entries(self, member: bytes, heads: Heads, after: int, room: int) -> tuple[Entry, ...]:
        """Return the entries up to the head, as many as there is room for.

        Those up to the last one of an answer that ends early fit the next one, which ends there.
        """
        head = heads.get(member)
        limit = 0 if head is None else head.count - after
        found: list[Entry] = []
        for _, entry in self._chain.each_concerning(
            member, after=after, limit=limit, most_read=MOST_READ
        ):
            found.append(entry)
            room -= len(entry.call) + ENTRY_BYTES
            if room <= 0:
                break
        return tuple(found)

    def _proofs(self, member: bytes, pull: PullProofs) -> Proofs:
        state = self._chain.state
        numbers = self._chain.index.concerning(member, after=pull.after, limit=pull.number)
        size = state.header.log_size
        numbers = [number for number in numbers if number < size]
        # Of the last one below the snapshot that a node began with, it does not know the number.
        if not numbers or (numbers[0] == 0 and self._chain.first_height > 1):
            return Proofs(None, pull.after, ())
        seen = self._seen(member, state.header, state.heads, pull.changes)
        places = tuple(
            Place(number, merkle.inclusion_proof(number, size, self._chain.log_node))
            for number in numbers
        )
        return Proofs(seen, pull.after, places)

    def _record(self, member: bytes) -> MemberRecord:
        state = self._chain.state.state
        pairs: Sequence[tuple[bytes, bytes]] = [
            *registry.pairs_of(state, member),
            *certificates.pairs_of(state, member),
        ]
        return MemberRecord(member, tuple(pairs[:MAX_MEMBER_PAIRS]))
