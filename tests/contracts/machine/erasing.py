"""The model of acknowledgements and erasures."""

from dataclasses import dataclass, field

from contracts.calls import (
    DisclosureAcknowledge,
    ErasureOutcome,
    ErasureRequest,
    ErasureStatement,
)
from contracts.erasure import State
from contracts.errors import Refusal
from tests.contracts.machine.book import Now, Verdict, Why, wrong_state
from tests.contracts.machine.paying import Paying


@dataclass
class Asked:
    """An erasure that was asked for."""

    requester: bytes
    recipient: bytes
    since: int
    outcome: ErasureOutcome | None = None
    is_over: bool = False

    @property
    def state(self) -> State:
        if self.outcome is None:
            return State.REQUESTED
        return State.STATED if self.is_over else State.HELD


@dataclass
class Erasing(Paying):
    """What was acknowledged, and what is to be erased."""

    stands: dict[tuple[bytes, bytes], int] = field(default_factory=dict)
    erasures: dict[bytes, Asked] = field(default_factory=dict)

    def disclosure_acknowledge(self, now: Now, call: DisclosureAcknowledge) -> Verdict:
        why = self._why_not(now, call.counterpart, call.commitment)
        then = lambda: self._stand(now, call.commitment)  # noqa: E731
        return Verdict(why, then, frozenset((call.counterpart,)))

    def erasure_request(self, now: Now, call: ErasureRequest) -> Verdict:
        why = self._why_not(now, call.recipient, call.commitment)

        def then() -> None:
            self._stand(now, call.commitment)
            self.erasures[now.made] = Asked(now.sender, call.recipient, now.time)

        return Verdict(why, then, frozenset((call.recipient,)))

    def erasure_statement(self, now: Now, call: ErasureStatement) -> Verdict:
        found = self.erasures.get(call.request)
        if found is None:
            return Verdict({Refusal.ERASURE_UNKNOWN: ()}, lambda: None)
        why: Why = {}
        if found.recipient != now.sender:
            why[Refusal.ERASURE_NOT_YOURS] = ()
        is_later = found.state is State.HELD and call.outcome is ErasureOutcome.ERASED
        if found.state is not State.REQUESTED and not is_later:
            why |= wrong_state(Refusal.ERASURE_IN_WRONG_STATE, found.state)

        def then() -> None:
            found.since, found.outcome = now.time, call.outcome
            found.is_over = call.outcome is not ErasureOutcome.HELD_BY_LAW

        return Verdict(why, then, frozenset((found.requester,)))

    def _why_not(self, now: Now, other: bytes, commitment: bytes) -> Why:
        why: Why = {}
        if other == now.sender:
            why[Refusal.COUNTERPART_IS_SENDER] = ()
        if self.admitted(other) is None:
            why[Refusal.COUNTERPART_UNKNOWN] = ()
        since = self.stands.get((now.sender, commitment))
        if since is not None:
            why[Refusal.COMMITMENT_STANDS] = (since,)
        return why

    def _stand(self, now: Now, commitment: bytes) -> None:
        self.stands[now.sender, commitment] = now.height
