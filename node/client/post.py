"""Our post: what we send until the recipient has signed for it, and what comes for us.

Nodes may lose an envelope; nothing is lost with it. What is sent stands in the vault before it
leaves, and is sent again until its acknowledgement comes or it expires. What comes is kept with our
signed word on it in one write, told, and only then deleted at the node: whatever breaks in between,
the same envelope comes again, and is answered again with the same word.
"""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from ledger import envelope as envelopes
from ledger import mailbox
from ledger.envelope import Envelope
from ledger.errors import LedgerError
from node.client import acknowledgement, deliveries, inbox, memberkeys, sealing
from node.client.acknowledgement import Acknowledgement, Verdict, verdict_of
from node.client.client import NodeClient
from node.client.deliveries import Letter, NoSealingKey
from node.client.disclosure import claim_in
from node.client.errors import ClientError, NotFound, NotReadable, NotVerified, Refused, Unreachable
from node.client.glance import Glance
from node.client.inbox import Checked, Reader
from node.client.mail import MAX_LETTERS, PostView
from node.client.mail import Letter as Mail
from node.client.reading import parse_object
from node.client.records import (
    AccessRecord,
    DeliveryRecord,
    Way,
    every,
    find,
    keep,
    read,
    update,
)
from node.client.transactions import Say, Sender
from node.client.vault import Vault
from node.client.words_back import Clock, Words

SKEW_S: Final = 300  # by which two clocks may differ
PATIENCE_S: Final = 120  # for what our node does not show yet: it may be a block behind
AT_ONCE: Final = 3  # pages that are taken together, of a mebibyte and an envelope each
MAX_PAGES: Final = 10  # taken in one go: what is due of ours waits for no flood to end
MAX_REFUSALS: Final = 1000  # of one sender that are kept in a day; each is answered
_DAY_S: Final = 86_400


@dataclass(slots=True)
class Collected:
    """What became of what lay at our node."""

    taken: list[AccessRecord] = field(default_factory=list)
    refused: list[AccessRecord] = field(default_factory=list)
    acknowledged: list[DeliveryRecord] = field(default_factory=list)  # of ours, or refused
    left: int = 0  # what our node may not be able to judge yet: it is looked at again
    after: int = 0  # number of the last one
    is_more: bool = False  # more lies there after that one


@dataclass(frozen=True, slots=True)
class _Come:
    """An envelope that is to be acknowledged."""

    envelope: Envelope
    public: bytes  # that signed it
    verdict: Verdict
    fact: str = ""
    checked: Checked | None = None  # where it is taken


@dataclass(frozen=True, slots=True)
class _Heard:
    """A word on something that we sent."""

    envelope: Envelope
    said: Acknowledgement
    plain: bytes


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is known of a page of envelopes before each is judged."""

    node: Glance
    plain: dict[bytes, bytes] = field(default_factory=dict)  # by the envelope's id


class Post:
    """A member's post, by its vault and its node."""

    def __init__(
        self,
        vault: Vault,
        node: NodeClient,
        us: Sender,
        reader: Reader,
        *,
        say: Say,
        clock: Clock = lambda: int(time.time()),
        patience_s: int = PATIENCE_S,
    ) -> None:
        self._vault, self._node, self._us, self._reader = vault, node, us, reader
        self._say, self._clock, self._patience_s = say, clock, patience_s
        self._words = Words(node, us, reader, say, clock)
        self._open: dict[int, int] = {}  # number of a delivery -> when it is due
        self._known = 0  # number of the last delivery that was looked at
        self._refusals: dict[bytes, tuple[int, int]] = {}  # sender -> day, how many
        self._seen: dict[bytes, int] = {}  # id of what could not be judged -> when it came

    # --- what we send ----------------------------------------------------------------------------

    async def send(self, letters: Sequence[Letter]) -> list[DeliveryRecord]:
        """Keep letters, hand them to our node, and return how each stands.

        Sent before, a letter is sent again, or left where it was acknowledged. Where our node is
        not there they wait, and `resend` sends them. Raises `NoSealingKey`, `Refused`.
        """
        keys = {
            recipient: await self.require_key(recipient)
            for recipient in {letter.recipient for letter in letters}
        }
        with self._vault.changes():
            found = [
                deliveries.begin(
                    self._vault, self._us, letter, keys[letter.recipient], now=self._clock()
                )
                for letter in letters
            ]
        try:
            # What was handed on is not sent at once again.
            await self._try([number for number, each in found if each.state is Way.WAITING])
        except Unreachable as error:
            self._say(f"kept, and sent later: {error}")
        return [read(self._vault, DeliveryRecord, number) for number, _ in found]

    async def require_key(self, recipient: bytes) -> bytes:
        """Return the key that what goes to a member is sealed to; raise `NoSealingKey`.

        We need one ourselves: the acknowledgement comes sealed too.
        """
        if self._reader.sealing_seed is None:
            raise NoSealingKey("your client.toml", is_ours=True)
        key = await self._sealing_key(recipient)
        if key is None:
            raise NoSealingKey(self._label(recipient))
        return key

    async def resend(self) -> list[DeliveryRecord]:
        """Send what is due again, and return it; what has expired is sent no more.

        Raises `Unreachable` where our node is not there: the rest stays due.
        """
        for number, record in every(self._vault, DeliveryRecord, after=self._known):
            self._known = number
            if record.state.is_open:
                self._open[number] = record.due
        now = self._clock()
        return await self._try([number for number, due in self._open.items() if due <= now])

    async def _try(self, numbers: Sequence[int]) -> list[DeliveryRecord]:
        """Send deliveries once; return those that were still to be sent."""
        sent: list[DeliveryRecord] = []
        for first in range(0, len(numbers), MAX_LETTERS):
            records = self._still_open(numbers[first : first + MAX_LETTERS])
            if not records:
                continue
            try:
                stand = await self._node.post([each.envelope for each in records.values()])
            except Unreachable:
                raise
            except ClientError as error:  # our node takes none of them: it may at another time
                stand = [error] * len(records)
            sent += self._tried(records, stand)
        return sent

    def _still_open(self, numbers: Sequence[int]) -> dict[int, DeliveryRecord]:
        with self._vault.changes():  # another process may have heard of one
            found = [(number, self._still_to_send(number)) for number in numbers]
        return {number: record for number, record in found if record is not None}

    def _still_to_send(self, number: int) -> DeliveryRecord | None:
        try:
            record = read(self._vault, DeliveryRecord, number)
        except KeyError:  # it was erased
            self._open.pop(number, None)
            return None
        if record.state.is_open and self._clock() > record.expires:
            deliveries.ended(record, Way.EXPIRED)
            update(self._vault, number, record)
            self._say(f"nobody at {self._label(record.recipient)} acknowledged it in time")
        if not record.state.is_open:
            self._open.pop(number, None)
            return None
        if deliveries.must_be_renewed(self._us, record):
            deliveries.renew(self._vault, self._us, number, record)
        return record

    def _tried(
        self, records: dict[int, DeliveryRecord], stand: Sequence[PostView | ClientError]
    ) -> list[DeliveryRecord]:
        with self._vault.changes():
            return [
                self._note(number, sent, stands)
                for (number, sent), stands in zip(records.items(), stand, strict=True)
            ]

    def _note(
        self, number: int, sent: DeliveryRecord, stands: PostView | ClientError
    ) -> DeliveryRecord:
        """Note in the vault what came of one that was sent."""
        said: str | None
        if isinstance(stands, ClientError):
            label = self._label(sent.recipient)
            self._say(f"our node does not take the post to {label}: {stands}")
            state, said = sent.state, str(stands)
        else:
            state = Way.WAITING if stands.state == "waiting" else Way.HANDED_ON
            said = stands.trouble
        try:
            record = read(self._vault, DeliveryRecord, number)
        except KeyError:  # it was erased meanwhile
            self._open.pop(number, None)
            return sent
        if record.state.is_open:  # not acknowledged meanwhile
            deliveries.tried(record, state, said, now=self._clock())
            update(self._vault, number, record)
            self._open[number] = record.due
        return record

    async def place(self) -> None:
        """Have our post brought to our node, unless it is: as whoever moved to another node."""
        view = await self._node.mailbox()
        if not view.here:
            issued = max(self._clock(), 0 if view.issued is None else view.issued + 1)
            made = mailbox.sign(
                mailbox.Unsigned(
                    mailbox.VERSION,
                    self._us.chain_id,
                    self._us.member,
                    self._us.key_id,
                    bytes.fromhex(view.node),
                    issued,
                ),
                self._us.key,
            )
            await self._node.place_mailbox(made.raw)

    # --- what comes ------------------------------------------------------------------------------

    async def collect(self, *, after: int = 0, wait: int = 0) -> Collected:
        """Take what lies at our node after a number, acknowledge it, and delete it there.

        Of very much it takes a part. Waits so many seconds where nothing lies there. Raises what
        the node or the vault does; whatever is raised, doing it again does no harm.
        """
        result = Collected(after=after)
        for first in range(0, MAX_PAGES, AT_ONCE):
            pages = min(AT_ONCE, MAX_PAGES - first)
            found = await self._fetch(result.after, wait=wait, pages=pages)
            if not found:
                return result
            await self._take(found, result)
            wait = 0
        result.is_more = True
        return result

    async def _fetch(self, after: int, *, wait: int, pages: int) -> list[Mail]:
        """Return what is taken together: the vault and the node write once for all of it."""
        found: list[Mail] = []
        for _ in range(pages):
            page = (await self._node.mail(after, wait=wait)).envelopes
            if not page:
                break
            found += page
            after, wait = max(after + 1, *(each.number for each in page)), 0
        return found

    async def _take(self, page: Sequence[Mail], result: Collected) -> None:
        come: list[_Come] = []
        heard: list[_Heard] = []
        done: list[bytes] = []  # ids of what is to be deleted at the node
        parsed: list[tuple[Envelope, bytes | None]] = []
        for each in page:
            result.after = max(each.number, result.after + 1)
            try:
                envelope = envelopes.parse(each.envelope)
            except LedgerError as error:
                self._say(f"our node hands out what is no envelope: {error}")
                continue
            parsed.append((envelope, None if each.key is None else bytes.fromhex(each.key)))
        seen = _Seen(Glance(self._node))
        await self._glance([envelope for envelope, _ in parsed], seen)
        for envelope, told in parsed:
            match await self._judge(envelope, told, seen):
                case None:
                    result.left += 1
                case _Come() as judged:
                    come.append(judged)
                case _Heard() as word:
                    heard.append(word)
                case _:
                    done.append(envelope.id)
        if come or heard:
            words = self._keep(come, heard, done, result)
            await self._words.send(words, seen.node)
        done += (each.envelope.id for each in come)
        if done:
            await self._node.drop_mail(done)  # what expired meanwhile is not there any more
        for id_ in done:
            self._seen.pop(id_, None)

    async def _glance(self, page: Sequence[Envelope], seen: _Seen) -> None:
        """Unseal what can be, and ask our node for the claims that it is about, together."""
        claims = []
        for envelope in page:
            name = "an envelope"
            with contextlib.suppress(NotReadable, NotVerified):  # said when it is judged
                plain = sealing.unseal(
                    envelope.body.content, name, self._reader.sealing_seed, must_be=True
                )
                seen.plain[envelope.id] = plain
                claims.append(claim_in(plain, name))
        await seen.node.expect([each for each in dict.fromkeys(claims) if each is not None])

    async def _judge(
        self, envelope: Envelope, told: bytes | None, seen: _Seen
    ) -> _Come | _Heard | bool | None:
        """Return what is to be acknowledged, or acknowledges.

        None is what is left, True what is dropped and needs no word.

        Our node `told` with which key the sender signs.
        """
        body = envelope.body
        try:
            public = await memberkeys.signing_key(seen.node, body.sender, body.key_id, told)
            self._verify(envelope, public)
        except NotVerified as error:
            # Nobody stands for it, so nobody is told: whose it was to be sends it again.
            return self._drop(envelope, error)
        name = f"what {self._label(body.sender)} sent"
        if find(self._vault, AccessRecord, _content_name(envelope)) is not None:
            return _Come(envelope, public, Verdict.TAKEN)  # or as it was acknowledged before
        if body.recipient != self._reader.member:
            return _Come(envelope, public, Verdict.WRONG_RECIPIENT)
        try:
            plain = seen.plain.get(envelope.id) or sealing.unseal(
                body.content, name, self._reader.sealing_seed, must_be=True
            )
            if parse_object(plain, name).get("format") == acknowledgement.FORMAT:
                return self._heard(envelope, public, plain, name)
            if self._clock() > body.expires + SKEW_S:
                return _Come(envelope, public, Verdict.EXPIRED)
            checked = await inbox.check(
                self._vault, seen.node, self._reader, plain, name, body.sender
            )
        except (NotReadable, NotVerified, NotFound, Refused) as error:
            verdict, fact = verdict_of(error)
            if verdict in {Verdict.NOT_VERIFIED, Verdict.NOT_ON_THE_CHAIN} and self._waits(
                envelope
            ):
                return None
            self._say(f"refused: {name}: {error}")
            return _Come(envelope, public, verdict, fact)
        return _Come(envelope, public, Verdict.TAKEN, checked=checked)

    def _verify(self, envelope: Envelope, public: bytes) -> None:
        try:
            envelope.verify(self._us.chain_id, public)
        except LedgerError as error:
            raise NotVerified("signature", str(error)) from None

    def _drop(self, envelope: Envelope, error: NotVerified) -> bool | None:
        if self._waits(envelope):  # the key may be in a block that our node has not seen
            return None
        self._say(f"dropped what is said to be of {self._label(envelope.body.sender)}: {error}")
        return True

    def _waits(self, envelope: Envelope) -> bool:
        now = self._clock()
        return now < self._seen.setdefault(envelope.id, now) + self._patience_s

    def _heard(
        self, envelope: Envelope, public: bytes, plain: bytes, name: str
    ) -> _Heard | bool | None:
        said = acknowledgement.parse_acknowledgement(plain, name, self._us.chain_id)
        try:
            said.verify_in(envelope, public)
        except NotVerified as error:
            return self._drop(envelope, error)
        return _Heard(envelope, said, plain)

    def _keep(
        self,
        come: Sequence[_Come],
        heard: Sequence[_Heard],
        done: list[bytes],
        result: Collected,
    ) -> list[Acknowledgement]:
        """Keep all that came with our word on it, in one write; return the words."""
        said = []
        with self._vault.changes():
            for one in heard:
                self._acknowledged(one, result)
                done.append(one.envelope.id)
            for each in come:
                found = find(self._vault, AccessRecord, _content_name(each.envelope))
                if found is not None:
                    said.append(self._said_before(*found))
                    continue
                if each.checked is not None:
                    each.checked.keep()
                word, record = self._word(each)
                if self._is_kept(each):
                    keep(self._vault, record, record.id.hex(), _content_name(each.envelope))
                (result.refused if each.verdict else result.taken).append(record)
                said.append(word)
        return said

    def _acknowledged(self, heard: _Heard, result: Collected) -> None:
        try:
            record = deliveries.acknowledged(
                self._vault, self._us, heard.said, heard.plain, now=self._clock()
            )
        except NotVerified as error:  # erased since, say: no block will change that
            self._say(f"dropped a word of {self._label(heard.said.sender)}: {error}")
            return
        if record is not None:
            result.acknowledged.append(record)

    def _is_kept(self, each: _Come) -> bool:
        """Return whether our word is kept: of refusals one sender fills no disk of ours."""
        if each.verdict is Verdict.TAKEN:
            return True
        sender, today = each.envelope.body.sender, self._clock() // _DAY_S
        day, count = self._refusals.get(sender, (today, 0))
        count = count + 1 if day == today else 1
        self._refusals[sender] = today, count
        return count <= MAX_REFUSALS

    def _word(self, each: _Come) -> tuple[Acknowledgement, AccessRecord]:
        body, now = each.envelope.body, self._clock()
        word = acknowledgement.acknowledge(
            self._us, each.envelope.id, body.sender, each.verdict, each.fact, now=now
        )
        checked = each.checked
        record = AccessRecord(
            id=each.envelope.id,
            sender=body.sender,
            key=each.public,
            signature=each.envelope.signature,
            expires=body.expires,
            received=now,
            purpose="" if checked is None else checked.purpose,
            subject=b"" if checked is None else checked.subject,
            verdict=each.verdict.words,
            acknowledgement=word.to_json(),
        )
        return word, record

    def _said_before(self, number: int, record: AccessRecord) -> Acknowledgement:
        """Return our word of before, signed anew where our key is another one now."""
        word = acknowledgement.parse_acknowledgement(
            record.acknowledgement, "our acknowledgement", self._us.chain_id
        )
        if word.key_id != self._us.key_id:
            word = word.signed(self._us)
            record.acknowledgement = word.to_json()
            update(self._vault, number, record)
        return word

    async def _sealing_key(self, member: bytes) -> bytes | None:
        return await memberkeys.sealing_key(self._node, self._reader.members.genesis, member)

    def _label(self, member: bytes) -> str:
        return self._reader.members.label_of(member)


def _content_name(envelope: Envelope) -> str:
    """Return the name of what a member sent, in however many envelopes."""
    return f"{envelope.body.sender.hex()} {sha256(envelope.body.content).hexdigest()}"
