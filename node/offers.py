"""Which snapshots peers offer, and which of them is worth fetching.

An offer counts when a quorum certified its header, from the genesis on, and its manifest is what
that header binds. What is in the chunks nobody can tell yet, so one that f + 1 validators offer
alike comes first, and then the newest.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from ledger.decided import Decided
from ledger.encoding import U63_MAX, decode
from ledger.errors import LedgerError, Mismatch
from ledger.snapshot import Manifest
from ledger.validators import ValidatorSet, faulty
from node.part import Part
from node.peers import LinkDown, NoAnswer, Peers
from node.sync import Offer

PATIENCE_S: Final = 20.0  # for a manifest over a slow line


@dataclass(frozen=True, slots=True)
class Offered:
    """A snapshot that a peer offers: its header is certified, and the rest is the peer's word."""

    id: bytes  # of the manifest, which is the same of all honest peers
    manifest: Manifest
    documents: tuple[bytes, bytes]  # the encoded manifest and `Decided`, which may differ
    voters: ValidatorSet  # on the header

    @property
    def height(self) -> int:
        """Of the block whose state it is."""
        return self.manifest.header.height


class Offers:
    """What the linked peers offer; `validators` are those of height 1, `own` is our node key."""

    def __init__(
        self,
        peers: Peers,
        *,
        chain_id: bytes,
        validators: ValidatorSet,
        own: bytes,
        news: Callable[[], None],
    ) -> None:
        self._peers, self._chain_id, self._validators = peers, chain_id, validators
        self._others = {each.node_key for each in validators.members} - {own}
        self._news = news
        self._known: dict[bytes, dict[bytes, Offered]] = {}  # by peer, by id of the manifest
        self._answered: set[bytes] = set()  # who said what it offers, or that it offers nothing
        self._makers: defaultdict[bytes, set[bytes]] = defaultdict(set)  # who sent a document
        self._false: set[bytes] = set()  # hashes of documents that were found false
        self._inquiries: dict[bytes, asyncio.Task[None]] = {}
        self.begun: Part | None = None  # what is on its way

    def forget(self, key: bytes) -> None:
        """Let what a peer said count no more: it is asked again when it may be."""
        self._known.pop(key, None)
        self._answered.discard(key)

    def forget_empty(self) -> None:
        """Let those that offer nothing be asked again."""
        self._answered &= self._known.keys()

    def inquire(self) -> None:
        """Ask those peers what they offer of whom that is not known."""
        for task in [task for task in self._inquiries.values() if task.done()]:
            task.result()  # what fails here is no fault of a peer
        self._inquiries = {key: task for key, task in self._inquiries.items() if not task.done()}
        for key in self._peers.links - self._answered - self._inquiries.keys():
            if not self._peers.is_avoided(key):
                task = asyncio.get_running_loop().create_task(self._learn(key))
                self._inquiries[key] = task

    def close(self) -> None:
        """Ask nobody any more."""
        for task in self._inquiries.values():
            task.cancel()

    @property
    def is_complete(self) -> bool:
        """Whether all other validators have said what they offer."""
        return self._others <= self._answered

    @property
    def is_empty(self) -> bool:
        """Whether peers say that they have no snapshot, and are to be believed in that."""
        if not all(task.done() for task in self._inquiries.values()):
            return False
        without = self._answered - self._known.keys()
        voters = sum(each.node_key in without for each in self._validators.members)
        return voters > faulty(len(self._validators)) or bool(without and not self._peers.liars)

    def best(self) -> Offered | None:
        """Return what is worth most of all that is offered now."""
        begun = None if self.begun is None or not self.begun.count else self.begun.id
        found = {id_: each for offers in self._known.values() for id_, each in offers.items()}
        return max(
            filter(lambda each: self.holders(each.id), found.values()),
            key=lambda each: (
                self.is_vouched(each),
                each.id == begun,
                each.height,
                len(self.holders(each.id)),
                each.id,
            ),
            default=None,
        )

    def is_vouched(self, offered: Offered) -> bool:
        """Return whether one honest validator at least offers it: f of them may offer anything."""
        holders = self.holders(offered.id)
        count = sum(each.node_key in holders for each in offered.voters.members)
        return count > faulty(len(offered.voters))

    def holders(self, id_: bytes) -> set[bytes]:
        """Return the linked peers that offer this, and did not offend lately."""
        offering = {key for key, offers in self._known.items() if id_ in offers}
        return {key for key in offering if not self._peers.is_avoided(key)}

    def refute(self, document: bytes, fault: str) -> None:
        """Learn that a manifest or a `Decided` is false: who ever sent it lied."""
        self._false.add(_hash(document))
        for key in self._makers[_hash(document)]:
            self._lies(key, fault)

    async def _learn(self, key: bytes) -> None:
        """Ask a peer for its newest snapshot, and for the one that is on its way."""
        most, found = U63_MAX, dict[bytes, Offered]()
        try:
            while True:
                answer = await self._peers.offer(key, most, PATIENCE_S)
                if not answer.manifest and not answer.decided:
                    break
                offered = await asyncio.to_thread(self._verified, answer)
                for hash_ in map(_hash, offered.documents):
                    self._makers[hash_].add(key)
                    if hash_ in self._false:
                        raise Mismatch("document", "another than one that was false", hash_)
                found[offered.id] = offered
                begun = self.begun
                if begun is None or begun.id in found or offered.height <= begun.height:
                    break
                most = begun.height
        except LinkDown:
            pass  # it is asked again when it is back
        except NoAnswer as error:
            self._peers.avoid(key, f"what it offers: {error}")
        except LedgerError as error:
            self._lies(key, f"its snapshot is false: {error}")
        else:
            if key in self._peers.links:
                self._answered.add(key)
                if found:
                    self._known[key] = found
        self._news()

    def _lies(self, key: bytes, fault: str) -> None:
        self.forget(key)
        self._peers.lies(key, fault)

    def _verified(self, answer: Offer) -> Offered:
        """Return what a peer offers; raise `LedgerError` where no quorum certified its header."""
        manifest, decided = decode(answer.manifest, Manifest), decode(answer.decided, Decided)
        if (height := manifest.header.height) > answer.most:
            raise Mismatch("height of the snapshot", f"up to {answer.most}", height)
        voters = manifest.verify(decided, self._chain_id, self._validators)
        documents = (answer.manifest, answer.decided)
        return Offered(_hash(answer.manifest), manifest, documents, voters)


def _hash(document: bytes) -> bytes:
    return sha256(document).digest()
