"""What proofs are held against: where a prescription stands, and the block that draws one."""

import msgspec

from node.client.client import Hex16, Hex32, NodeClient


class PrescriptionView(msgspec.Struct, frozen=True):
    """Whether a prescription of a member is in force: committed, superseded or revoked."""

    id: Hex32
    member: Hex16
    state: str


class _Block(msgspec.Struct, frozen=True):
    hash: Hex32


async def prescription_of(node: NodeClient, member: bytes, id_: bytes) -> PrescriptionView:
    """Return where a prescription of a member stands, by its commitment; raise `NotFound`."""
    query = {"member": member.hex()}
    return await node.get(f"/prescriptions/{id_.hex()}", PrescriptionView, query)


async def header_of(node: NodeClient, height: int) -> bytes:
    """Return the hash of a block's header; raise `NotFound` where there is none yet."""
    return bytes.fromhex((await node.get(f"/blocks/{height}", _Block)).hash)
