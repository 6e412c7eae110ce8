"""Disclosures, which travel beside the chain: of them it holds that one was acknowledged.

A commitment stands once under the member that made it: nobody burns what he sees on its way, and
who lost track of what he sent finds out by sending it again.
"""

from typing import Final

from contracts import registry
from contracts.calls import DisclosureAcknowledge
from contracts.context import Concerned, Context
from contracts.errors import Refusal, Refused
from contracts.life import Rule, Rules
from contracts.state import Reader
from ledger.validators import MemberId

_STANDS: Final = b"D"  # + member + commitment -> height u64; never removed


def acknowledge(context: Context, call: DisclosureAcknowledge) -> Concerned:
    """Record an acknowledgement, or raise `Refused`. It concerns who disclosed."""
    require_counterpart(context, call.counterpart)
    require_new(context, call.commitment)
    stand(context, call.commitment)
    return (MemberId(call.counterpart),)


def require_counterpart(context: Context, member: bytes) -> None:
    """Raise `Refused` unless this is another member, which is admitted."""
    if member == context.sender:
        raise Refused(Refusal.COUNTERPART_IS_SENDER)
    if registry.admitted(context.state, member) is None:
        raise Refused(Refusal.COUNTERPART_UNKNOWN)


def require_new(context: Context, commitment: bytes) -> None:
    """Raise `Refused` where the sender made this commitment before."""
    since = stands_since(context.state, context.sender, commitment)
    if since is not None:
        raise Refused(Refusal.COMMITMENT_STANDS, since)


def stand(context: Context, commitment: bytes) -> None:
    """Let a commitment of the sender stand."""
    context.state.put(_STANDS + context.sender + commitment, context.height.to_bytes(8))


def stands_since(state: Reader, member: bytes, commitment: bytes) -> int | None:
    """Return the height at which `member` made this commitment, None where it did not."""
    found = state.get(_STANDS + member + commitment)
    return None if found is None else int.from_bytes(found)


def _concerned(_state: Reader, call: DisclosureAcknowledge, _made: bytes) -> Concerned:
    return (MemberId(call.counterpart),)


RULES: Final[Rules] = {DisclosureAcknowledge: Rule(acknowledge, _concerned)}
