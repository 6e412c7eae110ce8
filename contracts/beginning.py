"""What a genesis does: the block of height 0, apart from what a genesis is.

Who only reads one, as to verify a receipt, need not load the rules that execute blocks.
"""

from contracts.execute import Executed
from contracts.genesis import Genesis, initial_state
from ledger import merkle
from ledger.block import FIRST_VERSION, Body, Header
from ledger.digest import StateDigest
from ledger.hashing import NO_HASH
from ledger.heads import Heads
from ledger.turns import Turns
from ledger.validators import MEMBER_ID_BYTES


def start(genesis: Genesis) -> Executed:
    """Return what genesis does, as the block of height 0 that nobody signs.

    Raises `BadGenesis`. Its changes are the whole first state; it has no entries.
    """
    genesis.check()
    state = initial_state(genesis)
    _, added = state.difference()
    digest = StateDigest().updated((), added)
    validators = genesis.validator_set
    header = Header(
        version=FIRST_VERSION,
        chain_id=genesis.chain_id,
        height=0,
        time=genesis.time,
        parent=NO_HASH,
        transactions_root=merkle.EMPTY_ROOT,
        log_size=0,
        log_root=merkle.EMPTY_ROOT,
        heads_root=Heads().root,
        state_digest=digest.hash,
        validators_hash=validators.hash,
        next_validators_hash=validators.hash,
        proposer=bytes(MEMBER_ID_BYTES),
        built_round=0,
        parent_commit_hash=NO_HASH,
        evidence_root=merkle.EMPTY_ROOT,
    )
    return Executed(
        header=header,
        body=Body(None, (), ()),
        accusations=(),
        entries=(),
        concerned=(),
        reached=(),
        changes=dict(added),
        log_nodes=[],
        skipped=(),
        log=merkle.Frontier(),
        heads=Heads(),
        digest=digest,
        validators=validators,
        next_validators=validators,
        turns=Turns(),
        parameters=genesis.parameters,
    )
