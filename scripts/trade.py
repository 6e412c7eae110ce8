"""The trade of a land in small: shops claim, payers decide and settle; each day a pure function.

A *wave* is 500 claims of ten shops, by the shops of the network in turn. It takes five blocks:
what claims rest on; the claims, of some shops one by one, of others in lots; decisions;
settlements; confirmations. The block at a height does a part of five waves, and is the same
whoever makes it when: so a chain that was interrupted is gone on with.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from hashlib import sha256
from typing import Final, TypeVar

from consensus.evidence import judge
from contracts import calls, commitment
from contracts.execute import ChainState, Executed, execute
from ledger import transaction as transactions
from ledger.block import Body
from ledger.certificate import KIND_COMMIT, CommitCertificate, Seal, vote_signing_bytes
from ledger.entry import APPLIED
from ledger.keys import Role, Signer, SigningKey, key_id
from ledger.transaction import Transaction, created_id
from ledger.validators import MemberId
from node import keystore
from node.cli.home import load_home
from node.testnet import LocalNetwork

T = TypeVar("T")

CLAIMS: Final = 500  # of a wave
SHOPS: Final = 10  # of a wave
EACH: Final = CLAIMS // SHOPS
SINGLY: Final = 4  # shops of a wave that send each claim by itself, the others all in a lot
VALID_S: Final = 5  # so that the ids of transactions are forgotten again as the chain grows
BLOCKS_A_SECOND: Final = 10  # of the chain's time: it must not run ahead of the clock
_AMOUNTS: Final = 32  # commitments: a fresh one takes longer to make than all the rest
_REJECTED, _PARTLY, _UNDECIDED = (7, 23), (11,), (31,)  # of 50 claims


class Sender:
    """A member that signs transactions."""

    def __init__(self, member: MemberId, key: Signer, chain_id: bytes) -> None:
        self.member, self._key, self._chain_id = member, key, chain_id
        self._key_id = key_id(Role.TRANSACTION, key.algorithm, key.public)

    def sign(self, made: Sequence[calls.Call], name: str, until: int) -> Transaction:
        """Return a transaction of these calls; the same for one name."""
        body = transactions.Unsigned(
            transactions.VERSION,
            self._chain_id,
            self.member,
            self._key_id,
            until,
            _bytes(self.member.hex(), name)[:16],
            tuple(calls.encode_call(call) for call in made),
        )
        return transactions.sign(body, self._key)


class Trade:
    """Who takes part, with their keys, and what each block of their chain holds."""

    def __init__(
        self,
        network: LocalNetwork,
        genesis_time: int,
        *,
        singly: int = SINGLY,
        only_claims: bool = False,
    ) -> None:
        """Begin; with `only_claims` nothing is decided."""
        self.chain_id, self._genesis_time = network.chain_id, genesis_time
        self.singly, self._only_claims = singly, only_claims
        senders = {
            each.label: Sender(each.member, load_home(each.home).key(), network.chain_id)
            for each in (*network.validators, *network.shops)
        }
        self.shops = [senders[each.label] for each in network.shops]
        payers = [each for each in network.validators if each.family != "optician"]
        self.payers = [senders[each.label] for each in payers]
        self._voting: dict[bytes, SigningKey] = {
            key.public: key
            for each in network.validators
            for key in [SigningKey(keystore.load_seed(each.keys, Role.CONSENSUS))]
        }
        self.amounts = [
            commitment.commit(100 * n, commitment.blinding_from(_bytes(n, 1) + _bytes(n, 2)))
            for n in range(1, _AMOUNTS + 1)
        ]
        self._waves: dict[int, Wave] = {}

    def time_at(self, height: int) -> int:
        """Return the time of the block at a height."""
        return self._genesis_time + height // BLOCKS_A_SECOND

    def block(self, height: int) -> list[Transaction]:
        """Return what the block at `height` holds: the claims in it are of wave `height` - 1."""
        self._waves = {number: wave for number, wave in self._waves.items() if number > height - 5}
        found = [*self._wave(height).before, *self._wave(height - 1).claims]
        if self._only_claims:
            return found
        return [
            *found,
            *self._wave(height - 2).decisions,
            *self._wave(height - 3).settlements,
            *self._wave(height - 4).confirmations,
        ]

    def execute(self, chain: ChainState, last: CommitCertificate | None) -> Executed:
        """Return what the next block does; all that is called must be applied."""
        height = chain.header.height + 1
        transactions_ = self.block(height)
        leader = chain.turns.leader(len(chain.validators), height, 0)
        executed = execute(
            chain,
            Body(last, (), tuple(each.raw for each in transactions_)),
            time=self.time_at(height),
            proposer=chain.validators.members[leader].member,
            built_round=0,
            signatures=_OURS,
            judge=judge,
            known={each.raw: each for each in transactions_},
        )
        refused = [entry for entry in executed.entries if entry.outcome.code != APPLIED]
        assert not refused, f"block {height} holds what is refused: {refused[0]}"
        return executed

    def certify(self, executed: Executed, chain: ChainState) -> CommitCertificate:
        """Return the certificate of a block by a quorum."""
        height, id_ = executed.header.height, executed.header.hash
        message = vote_signing_bytes(KIND_COMMIT, self.chain_id, height, 0, id_)
        voters = chain.validators
        seals = tuple(
            Seal(index, self._voting[voters.members[index].consensus_key].sign(message))
            for index in range(voters.quorum)
        )
        return CommitCertificate(height, 0, id_, seals)

    def _wave(self, number: int) -> "Wave":
        found = self._waves.get(number)
        if found is None:
            found = self._waves[number] = Wave(self, number)
        return found


class Wave:
    """500 claims; that of a number below 1 is empty."""

    def __init__(self, trade: Trade, number: int) -> None:
        self._trade, self._number = trade, number
        shops = [trade.shops[(SHOPS * number + n) % len(trade.shops)] for n in range(SHOPS)]
        self._shops = shops if number > 0 else []

    @cached_property
    def before(self) -> list[Transaction]:
        """What the claims rest on: prescriptions, and locks of marks."""
        found = []
        for shop in self._shops:
            made: list[calls.Call] = []
            for claim in self._claims_of(shop):
                made.append(calls.PrescriptionCommit(claim.prescription))
                made += (
                    calls.MarkLock(commitment.lock_of(self._trade.chain_id, shop.member, mark.mark))
                    for mark in claim.marks
                )
            found.append(self._sign(shop, made, "before", 0))
        return found

    @cached_property
    def claims(self) -> list[Transaction]:
        """The claims."""
        return [each for lots in self._submitted for each in lots]

    @cached_property
    def decisions(self) -> list[Transaction]:
        """What the payers decide: most is accepted, some in part, some not yet."""
        made: dict[Sender, list[calls.Call]] = {payer: [] for payer in self._trade.payers}
        for _, number, payer, id_ in self._known:
            if number in _REJECTED:
                made[payer].append(
                    calls.ClaimReject(id_, calls.Reason.RIGHTS_CLOSED, automatic=True)
                )
            elif number not in _UNDECIDED:
                amount = self._trade.amounts[0] if number in _PARTLY else None
                made[payer].append(calls.ClaimAccept(id_, amount))
        return [
            self._sign(payer, few, f"decide {lot}", 2)
            for payer, many in made.items()
            for lot, few in enumerate(_lots(many, transactions.MAX_CALLS))
        ]

    @cached_property
    def settlements(self) -> list[Transaction]:
        """One settlement of each payer with each shop."""
        found: list[Transaction] = []
        for payer, opened in self._opened.items():
            made: list[calls.Call] = []
            for position, shop in enumerate(self._shops):
                settlement = created_id(opened.id, position)
                taken = [each for each in self._known if each[0] is shop and each[2] is payer]
                taken = [each for each in taken if each[1] not in (*_REJECTED, *_UNDECIDED)]
                amounts = (self._amount(number, accepted=True) for _, number, _, _ in taken)
                total = commitment.sum_points(amounts)
                paid = _bytes("paid", self._number, position, payer.member.hex())
                made.append(calls.SettlementAdd(settlement, tuple(id_ for *_, id_ in taken)))
                made.append(calls.SettlementAnnounce(settlement, total, paid))
            found += (opened, self._sign(payer, made, "settle", 3))
        return found

    @cached_property
    def confirmations(self) -> list[Transaction]:
        """The shops find the sums right."""
        return [
            self._sign(
                shop,
                [
                    calls.SettlementConfirm(created_id(opened.id, position))
                    for opened in self._opened.values()
                ],
                "confirm",
                4,
            )
            for position, shop in enumerate(self._shops)
        ]

    @cached_property
    def _opened(self) -> dict[Sender, Transaction]:
        if not self._shops:
            return {}
        payment = calls.Direction.PAYMENT
        made = [calls.SettlementOpen(shop.member, payment) for shop in self._shops]
        return {each: self._sign(each, made, "open", 3) for each in self._trade.payers}

    @cached_property
    def _submitted(self) -> list[list[Transaction]]:
        """The transactions of each shop's claims."""
        found = []
        for place, shop in enumerate(self._shops):
            size = 1 if place < self._trade.singly else EACH
            lots = enumerate(_lots([*self._claims_of(shop)], size))
            found.append([self._sign(shop, few, f"claim {lot}", 1) for lot, few in lots])
        return found

    @cached_property
    def _known(self) -> list[tuple[Sender, int, Sender, bytes]]:
        """Return shop, number in the shop, payer and id of each claim."""
        found: list[tuple[Sender, int, Sender, bytes]] = []
        for shop, lots in zip(self._shops, self._submitted, strict=True):
            ids = (created_id(lot.id, n) for lot in lots for n in range(len(lot.body.calls)))
            found += [(shop, n, self._payer(n), id_) for n, id_ in enumerate(ids)]
        return found

    def _claims_of(self, shop: Sender) -> Iterator[calls.ClaimSubmit]:
        for number in range(EACH):
            name = (self._number, shop.member.hex(), number)
            parts = (calls.Part.LENSES, calls.Part.FRAME) if number % 2 else (calls.Part.LENSES,)
            leg = calls.Leg.COMPLEMENTARY
            marks = (
                calls.Mark(part, commitment.mark_of(_bytes("secret", *name), leg, part, 0))
                for part in parts
            )
            yield calls.ClaimSubmit(
                self._payer(number).member,
                leg,
                _bytes("prescription", *name),
                _bytes("document", *name),
                self._amount(number),
                tuple(marks),
                None,
                None,
            )

    def _payer(self, number: int) -> Sender:
        return self._trade.payers[number % len(self._trade.payers)]

    def _amount(self, number: int, *, accepted: bool = False) -> bytes:
        if accepted and number in _PARTLY:
            return self._trade.amounts[0]
        return self._trade.amounts[(self._number + number) % _AMOUNTS]

    def _sign(
        self, sender: Sender, made: Sequence[calls.Call], name: str, blocks: int
    ) -> Transaction:
        """Return calls for the block that is so many after that of `before`."""
        until = self._trade.time_at(self._number + blocks) + VALID_S
        return sender.sign(made, f"{self._number} {name}", until)


class _Ours:
    """What was signed here a moment ago need not be verified."""

    def verify(self, _transaction: Transaction, _public: bytes) -> None:
        """Find it good."""


_OURS: Final = _Ours()


def _lots(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[first : first + size] for first in range(0, len(items), size)]


def _bytes(*name: object) -> bytes:
    """Return 32 bytes, the same for one name."""
    return sha256("/".join(map(str, name)).encode()).digest()
