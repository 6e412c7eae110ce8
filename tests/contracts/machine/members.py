"""The model of members' keys, of who acts for whom, and of which transactions may be in a block."""

from dataclasses import dataclass, field

from contracts.calls import (
    Call,
    CertificateBind,
    DelegationGrant,
    DelegationWithdraw,
    KeyAdd,
    KeyRevoke,
    KeyRotate,
    Scope,
)
from contracts.errors import (
    AlreadySeen,
    BeyondDelegation,
    Expired,
    Inadmissible,
    KeyNotForTransactions,
    KeyNotInForce,
    MalformedCall,
    NotDelegated,
    Refusal,
    SenderNotAdmitted,
    TooCostly,
    TooFarAhead,
    UnknownKey,
    UnknownSender,
    WrongChain,
    WrongSignature,
)
from contracts.registry import Status
from ledger import keys
from ledger.errors import BadKey, BadSignature
from ledger.keys import Algorithm, Role
from ledger.transaction import MAX_LIFETIME_S, Transaction
from tests.contracts.machine.book import Book, Held, Member, Now, Verdict, Why

DAY = 86_400
SCOPES = {
    Scope.CLAIMS: (
        "PrescriptionCommit PrescriptionSupersede PrescriptionRevoke MarkLock ClaimSubmit"
        " ClaimSupersede ClaimAccept ClaimReject ClaimCancel ClaimAbandon ClaimReverse"
        " ClaimRecover ClaimConcede ClaimClose"
        " DisclosureAcknowledge ErasureRequest ErasureStatement"
    ),
    Scope.AUTHORISATIONS: (
        "AuthorisationRequest AuthorisationAsk AuthorisationAnswer AuthorisationGrant"
        " AuthorisationRefuse AuthorisationReview AuthorisationCancel"
    ),
    Scope.SETTLEMENTS: "SettlementConfirm",
    Scope.DISPUTES: (
        "ClaimDispute ClaimUphold ClaimOverturn ClaimWithdraw SettlementDispute SettlementWithdraw"
    ),
}
SCOPE_OF = {name: scope for scope, names in SCOPES.items() for name in names.split()}


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        keys.verify(public, message, signature, what="it")
    except BadSignature:
        return False
    return True


def is_usable(role: Role, algorithm: Algorithm, public: bytes) -> bool:
    if algorithm is Algorithm.P256 and role not in (Role.TRANSACTION, Role.HUMAN):
        return False
    try:
        keys.parse_public_key(algorithm, public)
    except BadKey:
        return False
    return True


@dataclass
class Delegated:
    scope: int
    until: int
    is_withdrawn: bool = False

    def is_good(self, time: int) -> bool:
        return not self.is_withdrawn and time <= self.until


@dataclass
class Members(Book):
    """Keys, delegations, certificates."""

    delegations: dict[tuple[bytes, bytes], Delegated] = field(default_factory=dict)
    bindings: dict[tuple[bytes, bytes], bytes] = field(default_factory=dict)

    # --- transactions ---------------------------------------------------------------------------

    def may_not_be_included(
        self, sent: Transaction, calls: tuple[Call, ...] | None
    ) -> set[type[Inadmissible]]:
        """Return every reason why the block under way may not hold a transaction."""
        body, why = sent.body, set[type[Inadmissible]]()
        if body.chain_id != self.chain_id:
            why.add(WrongChain)
        if body.valid_until < self.time:
            why.add(Expired)
        if body.valid_until > self.time + MAX_LIFETIME_S:
            why.add(TooFarAhead)
        if sent.id in self.seen:
            why.add(AlreadySeen)
        if calls is None:
            why.add(MalformedCall)
        elif sum(each.cost for each in calls) > self.parameters.max_block_cost:
            why.add(TooCostly)
        sender = self.members.get(body.sender)
        if sender is None:
            return why | {UnknownSender}
        if sender.status is not Status.ADMITTED:
            why.add(SenderNotAdmitted)
        owner = self.owner(body.key_id)
        if owner is None:
            return why | {UnknownKey}
        why |= self._key_may_not(owner, body.key_id)
        if owner is not sender:
            why |= self._may_not_act(owner, sender, body.key_id, calls or ())
        held = owner.key(body.key_id)
        assert held is not None
        if not is_signed(held.public, sent.signed_message, sent.signature):
            why.add(WrongSignature)
        return why

    def _key_may_not(self, owner: Member, key: bytes) -> set[type[Inadmissible]]:
        held = owner.key(key)
        assert held is not None
        why = set[type[Inadmissible]]()
        if not held.signs:
            why.add(KeyNotForTransactions)
        if not held.is_good(self.height):
            why.add(KeyNotInForce)
        return why

    def _may_not_act(
        self, delegate: Member, principal: Member, key: bytes, calls: tuple[Call, ...]
    ) -> set[type[Inadmissible]]:
        found = self.delegations.get((principal.id, delegate.id))
        if found is None or not found.is_good(self.time):
            return {NotDelegated}
        why = set[type[Inadmissible]]()
        if delegate.status is not Status.ADMITTED:
            why.add(SenderNotAdmitted)
        held = delegate.key(key)
        assert held is not None
        if held.role is not Role.TRANSACTION:
            why.add(KeyNotForTransactions)
        scopes = [SCOPE_OF.get(type(each).__name__, 0) for each in calls]
        if not all(found.scope & scope for scope in scopes):
            why.add(BeyondDelegation)
        return why

    # --- keys -----------------------------------------------------------------------------------

    def key_add(self, now: Now, call: KeyAdd) -> Verdict:
        member, first = self.members[now.sender], max(call.from_height, now.height + 1)
        why = self._why_no_new_key(now, call)
        if call.until_height is not None and call.until_height <= first:
            why[Refusal.KEY_NEVER_IN_FORCE] = (first,)
        if sum(not each.has_ended(now.height) for each in member.keys) >= 32:
            why[Refusal.TOO_MANY_KEYS] = (32,)
        new = Held(call.role, call.public, first, call.until_height)
        return Verdict(why, lambda: member.keys.append(new))

    def key_revoke(self, now: Now, call: KeyRevoke) -> Verdict:
        member, last = self.members[now.sender], max(call.height, now.height + 1)
        held = member.key(call.key_id)
        why = self._why_not_ended(held, last, now.height)
        others = (
            each
            for each in member.keys
            if each is not held
            and each.role is Role.TRANSACTION
            and each.end is None
            and each.first <= last
        )
        if held is not None and held.role is Role.TRANSACTION and not any(others):
            why[Refusal.LAST_KEY] = ()
        return Verdict(why, lambda: held.stop(last) if held else None)

    def key_rotate(self, now: Now, call: KeyRotate) -> Verdict:
        member, last = self.members[now.sender], max(call.height, now.height + 1)
        held = member.key(call.key_id)
        why = self._why_no_new_key(now, call) | self._why_not_ended(held, last, now.height)
        if held is not None and held.role is not call.role:
            why[Refusal.KEY_OF_ANOTHER_ROLE] = (held.role,)
        if sum(not each.has_ended(now.height) for each in member.keys) >= 64:
            why[Refusal.TOO_MANY_KEYS] = (64,)

        def then() -> None:
            assert held is not None
            held.stop(last)
            member.keys.append(Held(call.role, call.public, last))

        return Verdict(why, then)

    def _why_no_new_key(self, now: Now, call: KeyAdd | KeyRotate) -> Why:
        why: Why = {}
        if not is_usable(call.role, call.algorithm, call.public):
            return {Refusal.NEW_KEY_UNUSABLE: ()}
        if self.is_used(call.public):
            why[Refusal.NEW_KEY_TAKEN] = ()
        head = b"depoli/sign/key/1\x00" + self.chain_id + now.sender
        message = head + bytes((call.role, call.algorithm)) + call.public
        if not is_signed(call.public, message, call.possession):
            why[Refusal.NEW_KEY_NOT_PROVED] = ()
        return why

    def _why_not_ended(self, held: Held | None, last: int, height: int) -> Why:
        if held is None:
            return {Refusal.KEY_UNKNOWN: ()}
        why: Why = {}
        if held.end is not None and held.end <= last:
            why[Refusal.KEY_ENDED] = (held.end,)
        nodes = {each.node_key for each in (*self.validators(height), *self.coming)}
        if held.role in (Role.CONSENSUS, Role.CHECKPOINT) or held.public in nodes:
            why[Refusal.KEY_OF_VALIDATOR] = ()
        return why

    def certificate_bind(self, now: Now, call: CertificateBind) -> Verdict:
        held = self.members[now.sender].key(call.key_id)
        why: Why = {}
        if held is None or held.role is not Role.TRANSACTION or not held.is_good(now.height):
            why[Refusal.KEY_NOT_BINDABLE] = ()
        else:
            head = b"depoli/sign/certificate/1\x00" + self.chain_id + now.sender + call.certificate
            message = head + bytes((held.algorithm,)) + held.public
            if not is_signed(call.public, message, call.signature):
                why[Refusal.CERTIFICATE_NOT_PROVED] = ()

        def then() -> None:
            self.bindings[now.sender, call.key_id] = call.certificate

        return Verdict(why, then)

    # --- acting for another ---------------------------------------------------------------------

    def delegation_grant(self, now: Now, call: DelegationGrant) -> Verdict:
        why: Why = {}
        if call.delegate == now.sender:
            why[Refusal.DELEGATE_IS_SENDER] = ()
        if self.admitted(call.delegate) is None:
            why[Refusal.DELEGATE_UNKNOWN] = ()
        latest = now.time + (2 * 365 + 1) * DAY
        if not now.time <= call.until <= latest:
            why[Refusal.DELEGATION_NOT_IN_TIME] = (latest,)

        def then() -> None:
            self.delegations[now.sender, call.delegate] = Delegated(call.scope, call.until)

        return Verdict(why, then, frozenset((call.delegate,)))

    def delegation_withdraw(self, now: Now, call: DelegationWithdraw) -> Verdict:
        found = self.delegations.get((now.sender, call.delegate))
        why: Why = {}
        if found is None or not found.is_good(now.time):
            why[Refusal.DELEGATION_UNKNOWN] = ()

        def then() -> None:
            assert found is not None
            found.is_withdrawn = True

        return Verdict(why, then, frozenset((call.delegate,)))

    def check(self) -> None:
        """Nobody that may send is ever without a key: now, or from any height on."""
        super().check()
        for member in self.members.values():
            if member.status is Status.REMOVED:
                continue
            mine = [each for each in member.keys if each.role is Role.TRANSACTION]
            heights = {self.height + 1, *(e.end for e in mine if e.end and e.end > self.height)}
            for height in heights:
                assert any(each.is_good(height) for each in mine), member
