"""In whose name the key here signs: that of its own member, or of another that delegated to it."""

from dataclasses import dataclass
from typing import Final

from node.client.client import MemberView, NodeClient
from node.client.errors import NotFound, Refused
from node.client.transactions import Sender

CLAIMS: Final = "claims"  # the scope in which claims are decided


@dataclass(frozen=True, slots=True)
class Mandate:
    """By what right a key signs; `delegate` is the member that acts, None where it is our own."""

    delegate: bytes | None = None
    until: int | None = None  # the last second of it, unix


async def mandate_of(node: NodeClient, sender: Sender) -> Mandate:
    """Return by what right `sender` decides claims; raise `Refused` where it has none."""
    principal = await node.member(sender.member)
    if _holds(principal, sender):
        return Mandate()
    beyond = None
    for given in principal.delegations:
        if not given.in_force:
            continue
        try:
            delegate = await node.member(bytes.fromhex(given.delegate))
        except NotFound:
            continue
        if not _holds(delegate, sender):
            continue
        if CLAIMS in given.scope:
            return Mandate(bytes.fromhex(given.delegate), given.until)
        beyond = ", ".join(given.scope)
    if beyond is not None:
        raise Refused(
            "key",
            f"the member of client.toml lets us act for {beyond}, and not decide claims",
            hint="its people widen that: depoli member delegate … --scope claims",
        )
    raise Refused(
        "key",
        "the key here is neither of the member of client.toml nor of one that acts for it",
        hint="its people say who acts for it: depoli member delegate … --scope claims",
    )


def _holds(member: MemberView, sender: Sender) -> bool:
    public = sender.key.public.hex()
    return any(
        key.public == public and key.role == "transaction" and key.is_in_force(member.height)
        for key in member.keys
    )
