"""The model of who runs a validator, and with which keys."""

from dataclasses import dataclass, field

from contracts.calls import (
    Possession,
    ValidatorJoin,
    ValidatorKeys,
    ValidatorLeave,
    ValidatorReplace,
    ValidatorRotate,
)
from contracts.errors import Refusal
from contracts.governance import State
from ledger.encoding import Struct, encode
from ledger.hashing import Domain, hash_of
from ledger.keys import Algorithm, Role, key_id
from ledger.validators import Validator, quorum
from tests.contracts.machine.book import Held, Now, Verdict, Why, everyone
from tests.contracts.machine.council import Council
from tests.contracts.machine.members import DAY, is_signed, is_usable

ROLES = (Role.CONSENSUS, Role.CHECKPOINT, Role.TLS)


def listed(keys: ValidatorKeys) -> tuple[bytes, bytes, bytes]:
    return keys.consensus, keys.checkpoint, keys.node


def keys_of(seat: Validator) -> tuple[bytes, bytes, bytes]:
    return seat.consensus_key, seat.checkpoint_key, seat.node_key


@dataclass
class Seats(Council):
    """Who runs validators."""

    blocks: dict[int, bytes] = field(default_factory=dict)  # height -> id
    rotated: dict[bytes, int] = field(default_factory=dict)

    def validator_join(self, now: Now, call: ValidatorJoin) -> Verdict:
        change = call.change
        why = self._why_not_now(now) | self._why_not_voted(now, call)
        if now.sender != change.member:
            why[Refusal.CHANGE_NOT_YOURS] = ()
        if self._seat(change.member) is not None:
            why[Refusal.ALREADY_VALIDATOR] = ()
        after = (*self.coming, Validator(change.member, *listed(change.keys)))
        if len(after) > 100:
            why[Refusal.TOO_MANY_VALIDATORS] = ()
        why |= self._why_not_shared(after)
        new = self._new_keys(now, change.keys)
        why |= self._why_no_keys(change.keys, new)
        why |= self._why_not_proved(now, change, change.keys, call.possession)

        def then() -> None:
            self._seat_with(now, change.keys, new, after)
            self.proposals[change.proposal].state = State.ENACTED

        return Verdict(why, then, everyone())

    def validator_leave(self, now: Now, call: ValidatorLeave) -> Verdict:
        member = call.change.member
        why = self._why_not_now(now) | self._why_not_voted(now, call)
        if self._seat(now.sender) is None:
            why[Refusal.CHANGE_NOT_YOURS] = ()
        seat = self._seat(member)
        if seat is None:
            why[Refusal.NO_VALIDATOR] = ()
        after = tuple(each for each in self.coming if each is not seat)
        if seat is not None and len(after) < 4:
            why[Refusal.TOO_FEW_VALIDATORS] = (len(after),)
        why |= self._why_not_shared(after)

        def then() -> None:
            assert seat is not None
            self._stop(now, member, keys_of(seat)[:2])
            self.eras.append((now.height + 2, after))
            self.proposals[call.change.proposal].state = State.ENACTED

        return Verdict(why, then, (everyone() | {member}) - {now.sender})

    def validator_replace(self, now: Now, call: ValidatorReplace) -> Verdict:
        change = call.change
        why = self._why_not_now(now) | self._why_not_voted(now, call)
        if now.sender != change.member:
            why[Refusal.CHANGE_NOT_YOURS] = ()
        seat, is_own = self._seat(change.leaving), change.leaving == change.member
        if seat is None:
            why[Refusal.NO_VALIDATOR] = ()
        if not is_own and self._seat(change.member) is not None:
            why[Refusal.ALREADY_VALIDATOR] = ()
        new_seat = Validator(change.member, *listed(change.keys))
        after = tuple(new_seat if each is seat else each for each in self.coming)
        why |= self._why_not_shared(after)
        new = self._new_keys(now, change.keys)
        why |= self._why_no_keys(change.keys, new)
        why |= self._why_not_proved(now, change, change.keys, call.possession)

        def then() -> None:
            assert seat is not None
            all_end = is_own and change.keys.node != seat.node_key
            ended = keys_of(seat)[: 3 if all_end else 2]
            self._stop(now, change.leaving, ended)
            self._seat_with(now, change.keys, new, after)
            self.proposals[change.proposal].state = State.ENACTED

        return Verdict(why, then, (everyone() | {change.leaving}) - {now.sender})

    def validator_rotate(self, now: Now, call: ValidatorRotate) -> Verdict:
        change = call.change
        why = self._why_not_now(now)
        if now.sender != change.member:
            why[Refusal.CHANGE_NOT_YOURS] = ()
        seat = self._seat(change.member)
        if seat is None:
            return Verdict({**why, Refusal.NO_VALIDATOR: ()}, lambda: None)
        new = [one != other for one, other in zip(listed(change.keys), keys_of(seat), strict=True)]
        if not any(new):
            why[Refusal.KEYS_UNCHANGED] = ()
        since = self.rotated.get(now.sender)
        if since is not None and now.time < since + DAY:
            why[Refusal.KEYS_CHANGED_LATELY] = (since,)
        why |= self._why_no_keys(change.keys, new)
        why |= self._why_not_proved(now, change, change.keys, call.possession)
        new_seat = Validator(change.member, *listed(change.keys))
        after = tuple(new_seat if each is seat else each for each in self.coming)

        def then() -> None:
            gone = [old for old, is_new in zip(keys_of(seat), new, strict=True) if is_new]
            self._stop(now, now.sender, gone)
            self._seat_with(now, change.keys, new, after)
            self.rotated[now.sender] = now.time

        return Verdict(why, then, everyone())

    # --- what they share ------------------------------------------------------------------------

    def _seat(self, member: bytes) -> Validator | None:
        return next((each for each in self.coming if each.member == member), None)

    def _why_not_now(self, now: Now) -> Why:
        return {Refusal.CHANGE_UNDER_WAY: ()} if self.eras[-1][0] == now.height + 2 else {}

    def _why_not_voted(
        self, now: Now, call: ValidatorJoin | ValidatorLeave | ValidatorReplace
    ) -> Why:
        """Return why no vote allows this: only one that passed, for this, is good, and once."""
        proposed = self.proposals.get(call.change.proposal)
        if proposed is None:
            return {Refusal.PROPOSAL_UNKNOWN: ()}
        why: Why = {}
        if proposed.state is not State.PASSED:
            why[Refusal.PROPOSAL_IN_WRONG_STATE] = (proposed.state,)
        if proposed.subject != call.change.subject:
            why[Refusal.PROPOSAL_OF_ANOTHER_CHANGE] = ()
        if now.height < proposed.effect:
            why[Refusal.NOT_IN_EFFECT_YET] = (proposed.effect,)
        if now.time > proposed.deadline:
            why[Refusal.TOO_LATE] = (proposed.deadline,)
        return why

    def _why_not_shared(self, after: tuple[Validator, ...]) -> Why:
        families = self.families([e.member for e in after if e.member in self.members])
        n = len(families)
        ruling = [each for each in families if n >= 4 and families.count(each) >= quorum(n)]
        why: Why = {Refusal.FAMILY_WOULD_DECIDE: (ruling[0],)} if ruling else {}
        if not self.is_enough([each.member for each in after], len(after)):
            why[Refusal.NOBODY_COULD_DECIDE] = ()
        return why

    def _new_keys(self, now: Now, keys: ValidatorKeys) -> list[bool]:
        """Return which keys are new: a node that follows keeps its own."""
        held = self.members[now.sender].key(key_id(Role.TLS, Algorithm.ED25519, keys.node))
        return [True, True, held is None or held.end is not None]

    def _why_no_keys(self, keys: ValidatorKeys, new: list[bool]) -> Why:
        for index, (role, public) in enumerate(zip(ROLES, listed(keys), strict=True)):
            if not new[index]:
                continue
            if not is_usable(role, Algorithm.ED25519, public):
                return {Refusal.KEY_UNUSABLE: (index,)}
            if self.is_used(public):
                return {Refusal.KEY_TAKEN: (index,)}
        return {}

    def _why_not_proved(
        self, now: Now, change: Struct, keys: ValidatorKeys, proof: Possession
    ) -> Why:
        is_near = now.height - 32 <= proof.height < now.height
        if not is_near or self.blocks.get(proof.height) != proof.block_id:
            return {Refusal.BLOCK_NOT_RECENT: ()}
        head = b"depoli/sign/possession/1\x00"
        head += hash_of(Domain.CHANGE, self.chain_id, encode(change))
        message = head + proof.height.to_bytes(8) + proof.block_id
        proofs = (proof.consensus, proof.checkpoint, proof.node)
        for index, (public, signature) in enumerate(zip(listed(keys), proofs, strict=True)):
            if not is_signed(public, message, signature):
                return {Refusal.POSSESSION_NOT_PROVED: (index,)}
        return {}

    def _stop(self, now: Now, member: bytes, keys: tuple[bytes, ...] | list[bytes]) -> None:
        for held in self.members[member].keys:
            if held.public in keys and held.role in ROLES:
                held.stop(now.height + 2)

    def _seat_with(
        self, now: Now, keys: ValidatorKeys, new: list[bool], after: tuple[Validator, ...]
    ) -> None:
        for role, public, is_new in zip(ROLES, listed(keys), new, strict=True):
            if is_new:
                self.members[now.sender].keys.append(Held(role, public, now.height + 2))
        self.eras.append((now.height + 2, after))
