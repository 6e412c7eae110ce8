"""Two exports that differ: the height is found, enough culprits are named, and nobody is framed."""

from pathlib import Path

import msgspec
import pytest

from consensus.evidence import CrossVote
from consensus.evidence import decode as decode_evidence
from ledger.block import CommittedBlock
from node.audit.conviction import to_json, verify_json
from node.audit.errors import FalseFact
from node.audit.fork import Agreement, Fork, compare
from tests.chainmaker import Chain, export_of, story
from tests.node.audit.forked import Forked, forked, genesis_of

CHAIN = story()
SEEDS = range(40)


def judged(fork: Forked, folder: Path, *kept: int, noise: bool = True) -> Fork:
    """Return the comparison of the two exports; the second holds the proposals of these rounds."""
    folder.mkdir(exist_ok=True)
    paths = (
        fork.export(folder / "one", 0, fork.noise if noise else ()),
        fork.export(folder / "two", 1, [fork.kept[round_] for round_ in kept]),
    )
    found = compare(paths, fork.genesis, workers=1)
    assert isinstance(found, Fork)
    assert found.height == fork.height
    convicted = {fork.genesis.genesis.members[i].id for i in fork.evil}
    assert set(found.culprits) <= convicted, "an honest validator is framed"
    assert found.shared == fork.shared >= found.faulty + 1
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_every_fork_convicts_enough_and_frames_nobody(seed: int, tmp_path: Path) -> None:
    fork = forked(seed)
    found = judged(fork, tmp_path, *fork.kept)
    assert len(found.culprits) >= fork.shared
    assert found.missing is None
    for conviction in found.convictions:  # each is a file that proves itself
        text = to_json(conviction, fork.genesis.genesis)
        verified = verify_json(text, fork.genesis.genesis)
        assert verified.member == conviction.member
        assert verified.recorded is None
        assert verified.organisation in {fork.label(i) for i in fork.evil}


def test_the_seeds_hold_every_kind_of_fork(tmp_path: Path) -> None:
    kinds, later = set(), 0
    for seed in SEEDS:
        fork = forked(seed)
        later += len(fork.kept) > 1
        found = judged(fork, tmp_path / str(seed), *fork.kept)
        kinds |= {type(decode_evidence(each.evidence)).__name__ for each in found.convictions}
    assert kinds == {"DoubleVote", "Amnesia", "CrossVote", "BadProposal"}
    assert later > 3


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_missing_is_named_until_nothing_is(seed: int, tmp_path: Path) -> None:
    fork = forked(seed)
    here: list[int] = []
    found = judged(fork, tmp_path, noise=False)
    while found.missing is not None:
        assert found.missing.round not in here
        lacked = fork.kept[found.missing.round]  # it was made, and it is asked for
        assert lacked.block_id == found.missing.block_id
        assert len(found.missing.holders) >= fork.genesis.genesis.validator_set.quorum
        here.append(found.missing.round)
        found = judged(fork, tmp_path, *here, noise=False)
    assert len(found.culprits) >= fork.shared


def test_proposals_of_a_third_export_count_too(tmp_path: Path) -> None:
    fork = next(each for each in map(forked, SEEDS) if len(each.kept) == 1)
    paths = fork.export(tmp_path / "one", 0, ()), fork.export(tmp_path / "two", 1, ())
    third = fork.export(tmp_path / "three", 1, fork.kept.values())
    found = compare(paths, fork.genesis, also=[third], workers=1)
    assert isinstance(found, Fork)
    assert found.missing is None
    assert len(found.culprits) >= fork.shared


def test_cross_votes_follow_from_a_lock_of_the_same_round(tmp_path: Path) -> None:
    for seed in SEEDS:
        fork = forked(seed)
        found = judged(fork, tmp_path / str(seed), *fork.kept)
        crossed = [
            each
            for each in found.convictions
            if isinstance(decode_evidence(each.evidence), CrossVote)
        ]
        if crossed:
            assert len({each.member for each in crossed}) >= fork.shared
            return
    pytest.fail("no fork of this kind")


# --- no fork --------------------------------------------------------------------------------------


def agreed(tmp_path: Path, one: list[CommittedBlock], other: list[CommittedBlock]) -> Agreement:
    paths = tmp_path / "one", tmp_path / "two"
    for path, blocks in zip(paths, (one, other), strict=True):
        path.write_bytes(export_of(CHAIN.genesis, blocks))
    found = compare(paths, CHAIN.genesis, workers=1)
    assert isinstance(found, Agreement)
    return found


def test_the_same_twice_is_no_fork(tmp_path: Path) -> None:
    assert agreed(tmp_path, CHAIN.blocks, CHAIN.blocks) == Agreement(8, None)


def test_the_beginning_of_a_chain_is_no_fork(tmp_path: Path) -> None:
    assert agreed(tmp_path, CHAIN.blocks[:3], CHAIN.blocks) == Agreement(3, 1)
    assert agreed(tmp_path, CHAIN.blocks, []) == Agreement(0, 0)


def test_two_certificates_of_one_block_are_no_fork(tmp_path: Path) -> None:
    blocks = list(CHAIN.blocks)
    header = blocks[-1].block.header
    another = CHAIN.certify(8, header.hash, 4, (1, 2, 3))
    blocks[-1] = msgspec.structs.replace(blocks[-1], certificate=another)
    assert agreed(tmp_path, CHAIN.blocks, blocks) == Agreement(8, None)


# --- what is false --------------------------------------------------------------------------------


def test_another_genesis_is_no_fork_of_this_chain(tmp_path: Path) -> None:
    one, other = CHAIN.export(tmp_path / "one"), Chain(genesis_of(4)).export(tmp_path / "two")
    with pytest.raises(FalseFact, match="two: before the first block: genesis"):
        compare((one, other), CHAIN.genesis, workers=1)
    with pytest.raises(FalseFact, match="two: before the first block: genesis"):
        compare((other, one), CHAIN.genesis, workers=1)


def test_a_block_that_no_quorum_decided_is_no_fork(tmp_path: Path) -> None:
    other = Chain(CHAIN.genesis)
    other.block(built_round=1)
    few = other.certify(1, other.state.header.hash, 0, (0, 1))
    other.blocks[0] = msgspec.structs.replace(other.blocks[0], certificate=few)
    paths = CHAIN.export(tmp_path / "one"), other.export(tmp_path / "two")
    with pytest.raises(FalseFact, match="two: block 1, certificate: signers"):
        compare(paths, CHAIN.genesis, workers=1)


def test_a_lie_below_the_fork_is_told_with_its_export(tmp_path: Path) -> None:
    def lying(header: bool) -> list[CommittedBlock]:  # noqa: FBT001
        blocks = list(CHAIN.blocks)
        if header:
            blocks[2] = msgspec.structs.replace(blocks[2], certificate=blocks[1].certificate)
        else:
            blocks[2] = msgspec.structs.replace(blocks[2], outcomes=())
        return blocks

    for is_header in (True, False):
        path = tmp_path / "liar"
        path.write_bytes(export_of(CHAIN.genesis, lying(is_header)))
        true = CHAIN.export(tmp_path / "true")
        for pair in ((path, true), (true, path)):
            with pytest.raises(FalseFact, match=r"liar: block 3"):
                compare(pair, CHAIN.genesis, workers=1)
