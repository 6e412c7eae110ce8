"""What members might do about their keys, and about who acts for them."""

from contracts.calls import (
    CertificateBind,
    DelegationGrant,
    DelegationWithdraw,
    KeyAdd,
    KeyRevoke,
    KeyRotate,
    Scope,
)
from contracts.registry import Status
from ledger.keys import Algorithm, P256SigningKey, Role, Signer, SigningKey
from tests.contracts.machine.book import Held, Member
from tests.contracts.machine.members import DAY
from tests.contracts.machine.stage import Draw, Intent, Stage, Unfit

LOW_ORDER = bytes([1]) + bytes(31)  # the neutral element
ROLES = (Role.TRANSACTION, Role.TRANSACTION, Role.HUMAN, Role.HUMAN, Role.SEALING, Role.TLS)


class MembersMoves(Stage):
    """Makes calls about keys and delegations."""

    def anyone(self, draw: Draw) -> Member:
        """Return a member; one that may send if it is to make sense."""
        every = list(self.model.members.values())
        return draw.target([each for each in every if each.status is Status.ADMITTED], every)

    def someone(self, draw: Draw, *proper: bytes) -> bytes:
        """Return who should send a call, or anybody."""
        good = [each for each in proper if self.model.admitted(each)]
        return draw.target(good, tuple(self.model.members))

    def new_signer(self, draw: Draw, role: Role) -> Signer:
        is_long = role in (Role.TRANSACTION, Role.HUMAN) and draw.once_in(4)
        made = P256SigningKey(self.fresh()) if is_long else SigningKey(self.fresh())
        self.signers[made.public] = made
        return made

    def key_of(self, draw: Draw, sender: bytes, *, by_person: bool = False) -> Held:
        """Return the key by which `sender` signs, or perhaps another."""
        role = Role.HUMAN if by_person else Role.TRANSACTION
        height = self.model.height + 1
        delegates = [other for owner, other in self.model.delegations if owner == sender]
        acts = draw.one_of(delegates) if delegates and draw.once_in(5) else sender
        mine = self.model.members[acts].keys
        good = [each for each in mine if each.role is role and each.is_good(height)]
        if good and (draw.fits or not draw.once_in(3)):
            return draw.one_of(good)
        others = [key for each in self.model.members.values() for key in each.keys]
        chosen = draw.one_of(draw.one_of((mine, mine, others)))
        return chosen if chosen.public in self.signers else mine[0]

    def possession(self, member: bytes, role: Role, signer: Signer) -> bytes:
        head = b"depoli/sign/key/1\x00" + self.model.chain_id + member
        return signer.sign(head + bytes((role, signer.algorithm)) + signer.public)

    def proof(self, draw: Draw, member: bytes, role: Role, signer: Signer) -> bytes:
        proof = self.possession(member, role, signer)
        return draw.value(proof, bytes(64), signer.sign(b"another thing"))

    def height_near(self, draw: Draw) -> int:
        return draw.one_of((0, self.model.height + 1, self.model.height + draw.number(2, 6)))

    def key_add(self, draw: Draw) -> Intent:
        member, role = self.anyone(draw), draw.one_of(ROLES)
        signer = self.new_signer(draw, role)
        first = self.height_near(draw)
        last = draw.one_of((None, first + draw.number(-1, 6)))
        taken = draw.one_of(draw.one_of(list(self.model.members.values())).keys).public
        public = draw.value(signer.public, LOW_ORDER, taken)
        algorithm = Algorithm.P256 if len(public) == 33 else Algorithm.ED25519
        proof = self.proof(draw, member.id, role, signer)
        last = None if last is None else max(last, 0)
        call = KeyAdd(role, algorithm, public, first, last, proof)
        return Intent(member.id, call)

    def an_endable_key(self, draw: Draw, member: Member) -> Held:
        height = self.model.height + 1
        good = [
            each
            for each in member.keys
            if not each.has_ended(height) and each.role not in (Role.CONSENSUS, Role.CHECKPOINT)
        ]
        every = [key for each in self.model.members.values() for key in each.keys]
        return draw.target(good, every)

    def key_revoke(self, draw: Draw) -> Intent:
        member = self.anyone(draw)
        held = self.an_endable_key(draw, member)
        key_id = draw.value(held.id, bytes(8))
        return Intent(member.id, KeyRevoke(key_id, self.height_near(draw)))

    def key_rotate(self, draw: Draw) -> Intent:
        member = self.anyone(draw)
        held = self.an_endable_key(draw, member)
        role = draw.value(held.role, Role.TLS, Role.HUMAN)
        if role in (Role.CONSENSUS, Role.CHECKPOINT):
            raise Unfit
        signer = self.new_signer(draw, role)
        public = draw.value(signer.public, LOW_ORDER, held.public)
        algorithm = Algorithm.P256 if len(public) == 33 else Algorithm.ED25519
        proof = self.proof(draw, member.id, role, signer)
        call = KeyRotate(held.id, role, algorithm, public, self.height_near(draw), proof)
        return Intent(member.id, call)

    def certificate_bind(self, draw: Draw) -> Intent:
        member, height = self.anyone(draw), self.model.height + 1
        keys = [e for e in member.keys if e.role is Role.TRANSACTION and e.is_good(height)]
        held = draw.target(keys, member.keys)
        vouching, certificate = P256SigningKey(self.fresh()), self.fresh()
        head = b"depoli/sign/certificate/1\x00" + self.model.chain_id + member.id + certificate
        proof = vouching.sign(head + bytes((held.algorithm,)) + held.public)
        shown = draw.value(proof, bytes(64), vouching.sign(head))
        return Intent(member.id, CertificateBind(held.id, certificate, vouching.public, shown))

    def delegation_grant(self, draw: Draw) -> Intent:
        member, other = self.anyone(draw), self.anyone(draw)
        if draw.fits and member is other:
            raise Unfit
        scope = draw.one_of((Scope.CLAIMS, 15, 15, draw.number(1, 15)))
        time = self.model.time
        until = draw.value(time + draw.number(1, 40) * DAY, time - 1, time + 800 * DAY)
        return Intent(member.id, DelegationGrant(draw.value(other.id, bytes(16)), scope, until))

    def delegation_withdraw(self, draw: Draw) -> Intent:
        good = [
            pair for pair, each in self.model.delegations.items() if each.is_good(self.model.time)
        ]
        every = [(a, b) for a in self.model.members for b in self.model.members]
        principal, delegate = draw.target(good, every)
        return Intent(self.someone(draw, principal), DelegationWithdraw(delegate))

    def intent(self, draw: Draw, kinds: tuple[str, ...]) -> Intent:
        """Return a call, which makes sense or not."""
        draw.fits = not draw.once_in(4)
        while True:
            # Of two kinds the one that was made less: so each has its turn, however rare.
            kind = min(draw.one_of(kinds), draw.one_of(kinds), key=self.made.__getitem__)
            try:
                intent: Intent = getattr(self, kind)(draw)
            except Unfit:
                draw.fits = draw.fits and not draw.once_in(8)
                continue
            self.made[kind] += draw.fits
            return intent
