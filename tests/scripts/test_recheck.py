"""The second opinion: it says what the node's auditor says, but of what it cannot see."""

import argparse
import dataclasses
import importlib.util
import json
import random
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import nacl.bindings as sodium
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus import messages
from contracts import certificates, delegation, keyring, registry, versions
from contracts.calls import (
    Call,
    CertificateBind,
    DelegationGrant,
    KeyAdd,
    KeyRevoke,
    MarkLock,
    Scope,
    SuspendMember,
    parse_call,
)
from contracts.commitment import IDENTITY, sum_points
from contracts.genesis import MemberKey, assemble, sign
from contracts.genesis_json import signed_json
from contracts.parameters import Parameters
from contracts.state import Overlay
from ledger import keys, merkle
from ledger.digest import StateDigest
from ledger.encoding import encode
from ledger.errors import BadKey, BadSignature
from ledger.hashing import Hash
from ledger.heads import Heads, first
from ledger.keys import P256SigningKey, Role, Signer, SigningKey, key_id, parse_public_key
from ledger.receipt import Receipt, to_json
from ledger.transaction import Transaction
from ledger.turns import Turns
from ledger.validators import MemberId
from node.audit.conviction import to_json as conviction_json
from node.audit.errors import FalseFact
from node.audit.recorded import conviction_in, evidence_in
from node.audit.records import MAGIC, frame
from node.audit.replay import verify_export
from tests.chainmaker import (
    TIME,
    Chain,
    export_of,
    found,
    key_of,
    member_of,
    some_bytes,
    story,
    upheaval,
)
from tests.chains import FIRST, two_versions
from tests.contracts.world import opening
from tests.edwards import BASE, ORDER, TORSION, add, challenge, encoded, multiply
from tests.forgeries import Forgery, forgeries
from tests.housekeeping import housekeeping
from tests.lifelines import lives
from tests.node.audit.forked import Speakers

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "recheck.py"
CHAIN = story()
FORGERIES = forgeries(CHAIN)
FLIPS = 40


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recheck", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


recheck = load()


@pytest.fixture(scope="module")
def genesis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("genesis") / "genesis.json"
    path.write_text(signed_json(CHAIN.genesis))
    return path


def check(path: Path, content: bytes, genesis: Path, header: str | None = None) -> dict[str, Any]:
    path.write_bytes(content)
    options = argparse.Namespace(file=path, genesis=genesis, header=header, jobs=1)
    told: dict[str, Any] = recheck.check_chain(options)
    return told


def test_a_true_chain_is_accepted(genesis: Path, tmp_path: Path) -> None:
    told = check(tmp_path / "e", export_of(CHAIN.genesis, CHAIN.blocks), genesis)
    assert told["header"] == CHAIN.state.header.hash
    assert told["transactions"] == 19
    assert told["applied"] + told["refused"] == CHAIN.state.header.log_size


def test_a_chain_of_every_life_is_accepted(tmp_path: Path) -> None:
    chain = lives()
    founding = tmp_path / "genesis.json"
    founding.write_text(signed_json(chain.genesis))
    told = check(tmp_path / "e", export_of(chain.genesis, chain.blocks), founding)
    assert told["header"] == chain.state.header.hash
    assert told["applied"] > told["refused"] > 0


def test_kept_proposals_are_counted_and_are_no_part_of_the_chain(
    genesis: Path, tmp_path: Path
) -> None:
    speakers = Speakers(Chain(CHAIN.genesis))
    changes = [speakers.change(i, 1) for i in range(3)]
    kept = frame(messages.encode(speakers.proposal(CHAIN.blocks[0], 1, changes, None)))
    content = export_of(CHAIN.genesis, CHAIN.blocks[:1]) + kept * 2
    content += b"".join(frame(encode(block)) for block in CHAIN.blocks[1:]) + kept
    told = check(tmp_path / "e", content, genesis)
    assert (told["header"], told["kept_proposals"]) == (CHAIN.state.header.hash, 3)


def test_a_chain_whose_validators_missed_turns_is_accepted(genesis: Path, tmp_path: Path) -> None:
    late = Chain(CHAIN.genesis)
    for built_round in (1, 2, 4, 1, 3, 1, 1, 2):  # empty blocks, which are of no round 0
        late.block(built_round=built_round, committed_in=built_round)
    assert late.state.turns.absences
    content = export_of(late.genesis, late.blocks)
    assert check(tmp_path / "e", content, genesis)["header"] == late.state.header.hash
    assert verify_export(tmp_path / "e", late.genesis, workers=1).header == late.state.header


@given(st.integers(1, 13), st.lists(st.integers(0, 20), max_size=80))
def test_it_finds_the_same_leaders(n: int, built_rounds: list[int]) -> None:
    ours, theirs = Turns(), recheck.Turns(n)
    for height, built_round in enumerate(built_rounds, 1):
        for round_ in range(n + 1):
            assert ours.leader(n, height, round_) == theirs.leader(height, round_)
        ours = ours.after(n, height, built_round)
        theirs.record(height, built_round)


@pytest.mark.parametrize("forgery", FORGERIES, ids=str)
def test_a_lie_is_named(forgery: Forgery, genesis: Path, tmp_path: Path) -> None:
    content = export_of(CHAIN.genesis, forgery.blocks)
    if not forgery.recheck:
        check(tmp_path / "e", content, genesis)
        return
    with pytest.raises(recheck.FalseFact) as error:
        check(tmp_path / "e", content, genesis)
    assert (error.value.field, error.value.height) == (forgery.recheck, forgery.height)


@pytest.mark.parametrize("seed", range(FLIPS))
def test_a_flipped_bit_is_named_with_its_block(seed: int, genesis: Path, tmp_path: Path) -> None:
    chance = random.Random(seed)
    payloads = [bytearray(encode(each)) for each in (CHAIN.genesis, *CHAIN.blocks)]
    number = chance.choices(range(len(payloads)), [len(each) for each in payloads])[0]
    place, bit = chance.randrange(len(payloads[number])), 1 << chance.randrange(8)
    content = bytearray(MAGIC)
    for index, payload in enumerate(payloads):
        if index == number and seed % 4:  # most of them under a checksum that is right again
            payload[place] ^= bit
        record = bytearray(frame(bytes(payload)))
        if index == number and not seed % 4:
            record[8 + place] ^= bit
        content += record
    with pytest.raises(recheck.FalseFact) as error:
        check(tmp_path / "e", bytes(content), genesis)
    assert error.value.height == (number or None)


def test_an_export_that_is_torn_or_not_the_one_asked_for_is_refused(
    genesis: Path, tmp_path: Path
) -> None:
    whole = export_of(CHAIN.genesis, CHAIN.blocks)
    with pytest.raises(recheck.FalseFact) as error:
        check(tmp_path / "e", whole[:-1], genesis)
    assert error.value.height == 8
    last = CHAIN.state.header.hash.hex()
    check(tmp_path / "e", whole, genesis, last)
    with pytest.raises(recheck.FalseFact, match="last block"):
        check(tmp_path / "e", export_of(CHAIN.genesis, CHAIN.blocks[:7]), genesis, last)


def test_a_genesis_with_one_change_is_refused(genesis: Path, tmp_path: Path) -> None:
    text = genesis.read_text()
    for old, new in (
        ('"optician"', '"insurer"'),
        ('"federation"', '"federatio"'),
        ('"time": 18', '"time": 17'),
        ('"signature": "', '"signature": "00'),
        ('"min_interval_ms": 20', '"min_interval_ms": 21'),
        ('"format"', '"formal"'),
        ("{", "["),
    ):
        assert old in text
        path = tmp_path / "changed.json"
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(recheck.FalseFact) as error:
            recheck.read_genesis(path)
        assert error.value.where.startswith("genesis")


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("base_timeout_ms", {"min_interval_ms": 1_000}),
        ("max_block_cost", {"base_timeout_ms": 100, "max_block_cost": 100_001}),
        (
            "notice_blocks",
            {"min_interval_ms": 2_500, "base_timeout_ms": 3_000, "notice_blocks": 1_036_801},
        ),
        ("snapshot_blocks", {"snapshot_blocks": 1}),
        ("snapshot_blocks", {"snapshot_blocks": 99}),
        ("retention_blocks", {"retention_blocks": 1}),
        ("retention_blocks", {"retention_blocks": 999}),
    ],
)
def test_it_refuses_parameters_that_contradict_one_another(
    field: str, change: dict[str, int]
) -> None:
    fields = msgspec.structs.asdict(Parameters())
    for least in (
        {},
        {"retention_blocks": 1_000},
        {"snapshot_blocks": 100},
        {"snapshot_blocks": 0},
    ):
        recheck.check_parameters(recheck.parameters_.type(**(fields | least)))
    with pytest.raises(recheck.FalseFact) as error:
        recheck.check_parameters(recheck.parameters_.type(**(fields | change)))
    assert error.value.field == field


def receipt(height: int, index: int, proved_at: int) -> Receipt:
    """Return the receipt of an entry under the header of a block."""
    nodes: dict[tuple[int, int], Hash] = {}
    leaves = [entry.leaf() for executed in CHAIN.executed for entry in executed.entries]
    merkle.Frontier().append(leaves, lambda level, at, hash_: nodes.update({(level, at): hash_}))
    block = CHAIN.blocks[proved_at - 1]
    number = CHAIN.executed[height - 1].header.log_size
    number += index - len(CHAIN.executed[height - 1].entries)
    proof = merkle.inclusion_proof(
        number, block.block.header.log_size, lambda level, at: nodes[level, at]
    )
    entry = CHAIN.executed[height - 1].entries[index]
    return Receipt(entry, number, proof, block.block.header, block.certificate, ())


def test_its_verdicts_on_proofs_are_those_of_others_but_where_hashes_are_none() -> None:
    def is_refused(kind: str, case: dict[str, Any]) -> bool:
        def read(*names: str) -> list[bytes]:
            return [b64decode(case[name]) for name in names]

        proof = [b64decode(each) for each in case["proof"]]
        try:
            if kind == "inclusion":
                root, leaf = read("root", "leafHash")
                recheck.check_inclusion(root, case["treeSize"], case["leafIdx"], leaf, proof)
            else:
                old, new = read("root1", "root2")
                recheck.check_consistency(old, case["size1"], new, case["size2"], proof)
        except recheck.FalseFact:
            return True
        return False

    path = Path(__file__).parents[1] / "vectors" / "merkle_proofs.json"
    verdicts = [
        (case["name"], is_refused(kind, case), case["wantErr"])
        for kind, cases in json.loads(path.read_text(encoding="ascii")).items()
        for case in cases
    ]
    assert len(verdicts) == 196
    other = [name for name, refused, wanted in verdicts if refused is not wanted]
    assert other == ["additional/sizes-are-equal-one-and-proof-is-empty"]  # roots of 12 bytes


def run(*arguments: object) -> tuple[int, str, str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("depth", [33, 600, 100_000])
def test_what_is_nested_without_end_is_refused_as_any_false_document(
    tmp_path: Path, genesis: Path, depth: int
) -> None:
    file = tmp_path / "deep.json"
    nested = "[" * depth + "]" * depth
    for check, format_ in (
        (recheck.check_receipt, "depoli/receipt/1"),
        (recheck.check_proof, "depoli/history/1"),
    ):
        file.write_text(f'{{"format": "{format_}", "changes": {nested}}}')
        with pytest.raises(recheck.FalseFact) as error:
            check(argparse.Namespace(file=file, genesis=genesis, changes=None))
        assert error.value.field == "JSON"


def test_a_receipt_is_accepted_and_with_one_change_refused(genesis: Path, tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    options = argparse.Namespace(file=path, genesis=genesis, changes=None)
    for height, index, proved_at in ((1, 0, 1), (4, 1, 4), (3, 2, 7)):
        true = receipt(height, index, proved_at)
        true.verify(CHAIN.chain_id, CHAIN.genesis.genesis.validator_set)
        path.write_text(to_json(true))
        assert recheck.check_receipt(options)["transaction"] == true.entry.transaction
    text = to_json(receipt(4, 1, 4))
    digits = [place for place, letter in enumerate(text) if letter in "23456789"]
    for place in random.Random(3).sample(digits, 40):
        path.write_text(text[:place] + "1" + text[place + 1 :])
        with pytest.raises(recheck.FalseFact):
            recheck.check_receipt(options)


def test_a_file_of_evidence_is_accepted_and_with_one_change_refused(tmp_path: Path) -> None:
    chain = upheaval()
    path, genesis, export = tmp_path / "evidence.json", tmp_path / "g", chain.export(tmp_path / "e")
    genesis.write_text(signed_json(chain.genesis))
    options = argparse.Namespace(file=path, genesis=genesis, changes=None)
    texts: list[str] = []
    for each in evidence_in(export, chain.genesis, workers=1):
        conviction = conviction_in(export, chain.genesis, each.id, workers=1)
        texts.append(conviction_json(conviction, chain.genesis.genesis))
        path.write_text(texts[-1])
        told = recheck.check_conviction(options)
        assert (told["offence"], told["member"]) == (each.id, each.member)
        assert told["stands_in"] == f"block {each.header.height}"
        alone = msgspec.structs.replace(conviction, standing=None)
        path.write_text(conviction_json(alone, chain.genesis.genesis))
        assert recheck.check_conviction(options)["stands_in"] == "no block"
    chance = random.Random(5)
    for text in (texts[0], texts[-1]):
        digits = [place for place, letter in enumerate(text) if letter in "23456789"]
        for place in chance.sample(digits, 30):
            path.write_text(text[:place] + "1" + text[place + 1 :])
            with pytest.raises(recheck.FalseFact):
                recheck.check_conviction(options)


def test_a_key_that_gets_a_table_has_the_same_multiples() -> None:
    key = key_of("shop-a", keys.Role.TRANSACTION).public
    for number in range(1, recheck.MANY + 3):
        assert recheck.times(key, number) == recheck.point(key) * number
    assert recheck.times(key, ORDER - 1) + recheck.point(key) == recheck.INFINITY


def test_its_scopes_are_those_of_the_contracts() -> None:
    assert recheck.SCOPES == delegation.SCOPES


def test_it_follows_keys_and_delegations(tmp_path: Path) -> None:
    chain, _ = housekeeping()
    genesis, content = tmp_path / "g", export_of(chain.genesis, chain.blocks)
    genesis.write_text(signed_json(chain.genesis))
    told = check(tmp_path / "e", content, genesis)
    codes = [each.code for block in chain.blocks for each in block.outcomes]
    assert told["refused"] == len([code for code in codes if code]) == 2
    assert told["applied"] == len(codes) - 2
    verify_export(tmp_path / "e", chain.genesis, workers=1)


Lie = tuple[str, str, Callable[[Chain], list[Transaction]], str]
SHOP_KEY = key_of("shop-a", Role.TRANSACTION)
SHOP_KEY_ID = key_id(Role.TRANSACTION, SHOP_KEY.algorithm, SHOP_KEY.public)


def one(call: Call, **how: Any) -> Callable[[Chain], list[Transaction]]:  # noqa: ANN401
    return lambda chain: [chain.transaction("shop-a", call, **how)]


# Which guard a quorum forgets, by what call it shows, and what the second opinion says of it.
LIES: list[Lie] = [
    ("keyring", "_has_another", one(KeyRevoke(SHOP_KEY_ID, 0)), "the last transaction key"),
    (
        "keyring",
        "_require_new",
        one(KeyAdd(Role.TRANSACTION, SHOP_KEY.algorithm, key_of("x", Role.TLS).public, 0, None,
                   bytes(64))),
        "the key did not sign",
    ),
    (
        "delegation",
        "require_within",
        lambda chain: [
            chain.transaction("shop-a", DelegationGrant(member_of("shop-b"), 2, TIME + 999)),
            chain.transaction(
                "shop-a", MarkLock(bytes(32)), key=key_of("shop-b", Role.TRANSACTION)
            ),
        ],
        "one in the scope 2",
    ),
    (
        "certificates",
        "is_signed",
        one(CertificateBind(SHOP_KEY_ID, bytes(32), b"\xff" * 256, bytes(256))),
        "the key of the certificate did not sign",
    ),
]  # fmt: skip


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: f"{lie[0]}.{lie[1]}")
def test_a_quorum_that_forgets_a_rule_of_keys_is_told(
    lie: Lie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name, make, said = lie
    monkeypatch.setattr(f"contracts.{module}.{name}", lambda *_: True)
    chain = Chain()
    chain.block(*make(chain))
    assert {each.code for each in chain.blocks[0].outcomes} == {0}
    genesis = tmp_path / "g"
    genesis.write_text(signed_json(chain.genesis))
    with pytest.raises(recheck.FalseFact, match=said):
        check(tmp_path / "e", export_of(chain.genesis, chain.blocks), genesis)


@pytest.mark.parametrize("after", ["revoked", "withdrawn", "not begun", "over", "suspended"])
def test_a_signature_by_a_key_that_is_not_in_force_is_told(
    after: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The quorum takes every key for good, and every delegation."""
    chain, held = housekeeping()
    own = key_of("shop-a", Role.TRANSACTION)
    begun = P256SigningKey(some_bytes("begun"))
    proof = keyring.possession_bytes(
        chain.chain_id, member_of("shop-a"), Role.TRANSACTION, begun.algorithm, begun.public
    )
    far = 1_000
    add = KeyAdd(Role.TRANSACTION, begun.algorithm, begun.public, far, None, begun.sign(proof))
    grant = DelegationGrant(member_of("shop-b"), Scope.CLAIMS, chain.state.header.time + 5)
    first: dict[str, Call] = {"not begun": add, "over": grant}
    if after in first:
        chain.block(chain.transaction("shop-a", first[after], key=held["second"]))
    if after == "suspended":
        grant = msgspec.structs.replace(grant, until=grant.until + 86_400)
        chain.block(chain.transaction("shop-a", grant, key=held["second"]))
        chain.enact(SuspendMember(member_of("shop-b")))
        monkeypatch.setattr(registry, "sender", registry.member)
    monkeypatch.setattr(registry.Key, "is_in_force", lambda *_: True)
    monkeypatch.setattr(delegation.Delegation, "is_in_force", lambda *_: True)
    signers: dict[str, Signer] = {"revoked": own, "not begun": begun}
    key = signers.get(after, held["vendor"])
    chain.block(chain.transaction("shop-a", MarkLock(bytes(32)), key=key), seconds=6)
    genesis = tmp_path / "g"
    genesis.write_text(signed_json(chain.genesis))
    with pytest.raises(recheck.FalseFact, match="a transaction key of the sender"):
        check(tmp_path / "e", export_of(chain.genesis, chain.blocks), genesis)


def test_it_judges_the_vectors_of_rsa_as_the_node_does() -> None:
    path = Path(__file__).parent.parent / "vectors" / "wycheproof_rsa.json"
    for group in json.loads(path.read_text(encoding="ascii")):
        modulus = bytes.fromhex(group["modulus"])
        for case in group["cases"]:
            message, signature = (bytes.fromhex(case[part]) for part in ("message", "signature"))
            if len(signature) == len(modulus):  # no call holds another one
                expected = certificates.is_signed(modulus, message, signature)
                assert recheck.is_vouched(modulus, message, signature) == expected


def test_the_command_line_tells_people_and_programs(genesis: Path, tmp_path: Path) -> None:
    path = CHAIN.export(tmp_path / "e")
    code, out, err = run("chain", path, "--genesis", genesis, "--json", "--jobs", 2)
    assert (code, err) == (0, "")
    assert json.loads(out)["height"] == 8
    forged = next(each for each in FORGERIES if each.name == "a signature under another's name")
    path.write_bytes(export_of(CHAIN.genesis, forged.blocks))
    code, out, err = run("chain", path, "--genesis", genesis, "--jobs", 2)
    assert (code, out) == (4, "")
    assert err.startswith("error: block 4, certificate, validator 2: signature: expected one that")
    code, out, err = run("chain", path, "--genesis", genesis, "--json")
    assert (code, json.loads(out)["height"]) == (4, 4)
    code, out, err = run("chain", tmp_path / "none", "--genesis", genesis)
    assert (code, len(err.splitlines())) == (1, 1)


def test_it_imports_nothing_of_ours_nor_of_the_libraries_of_the_node() -> None:
    program = (
        f"import runpy, sys; runpy.run_path({str(SCRIPT)!r});"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    command = [sys.executable, "-I", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split())
    ours = {"ledger", "contracts", "consensus", "node"}
    theirs = {"nacl", "msgspec", "cryptography", "google_crc32c", "aiohttp", "click"}
    assert not loaded & (ours | theirs)


def test_it_judges_the_edges_of_ed25519_as_the_node_does() -> None:
    scalar, message = 0x1234567890ABCDEF, b"depoli"
    for key_twist in range(8):
        for twist in range(8):
            for factor in (0, 7):
                key = encoded(add(multiply(scalar, BASE), multiply(key_twist, TORSION)))
                point = encoded(add(multiply(factor, BASE), multiply(twist, TORSION)))
                s = (factor + challenge(point, key, message) * scalar) % ORDER
                for value in (s, s + ORDER):
                    signature = point + value.to_bytes(32, "little")
                    is_valid = sodium.crypto_core_ed25519_is_valid_point(key)
                    assert is_valid == (key_twist == 0)
                    # A key that cannot be registered is refused, whatever it signed.
                    expected = is_valid and is_signed_by_node(key, message, signature)
                    assert recheck.is_signed(key, message, signature) == expected


def is_signed_by_node(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        keys.verify(key, message, signature, what="it")
    except BadSignature:
        return False
    return True


def test_it_judges_the_vectors_of_p256_as_the_node_does() -> None:
    path = Path(__file__).parent.parent / "vectors" / "wycheproof_p256.json"
    verdicts = set()
    for case in json.loads(path.read_text(encoding="ascii")):
        key, message, signature = (
            bytes.fromhex(case[part]) for part in ("key", "message", "signature")
        )
        expected = is_signed_by_node(key, message, signature)
        assert recheck.is_signed(key, message, signature) == expected
        verdicts.add(expected)
    assert verdicts == {True, False}


@pytest.mark.parametrize("kind", ["even", "hybrid", "x beyond p", "not on the curve", "Ed25519"])
def test_it_refuses_keys_of_p256_that_the_node_refuses(kind: str) -> None:
    good = P256SigningKey(some_bytes("p256")).public
    public = {
        "even": b"\x04" + good[1:],
        "hybrid": b"\x06" + good[1:],
        "x beyond p": b"\x02" + b"\xff" * 32,
        "not on the curve": b"\x02" + (1).to_bytes(32),
        "Ed25519": SigningKey(some_bytes("p256")).public,
    }[kind]
    recheck.check_key(1, 2, good)
    for algorithm, key in ((2, public), (1, good)):
        with pytest.raises(recheck.FalseFact):
            recheck.check_key(1, algorithm, key)
        with pytest.raises(BadKey):
            parse_public_key(keys.Algorithm(algorithm), key)
    with pytest.raises(recheck.FalseFact):
        recheck.check_key(2, 2, good)  # a consensus key


def test_it_follows_keys_of_p256_and_of_people(tmp_path: Path) -> None:
    p256, human = P256SigningKey(some_bytes("p256")), P256SigningKey(some_bytes("human"))
    before = found().genesis
    extra = (
        MemberKey(Role.TRANSACTION, p256.algorithm, p256.public),
        MemberKey(Role.HUMAN, human.algorithm, human.public),
    )
    members = tuple(
        msgspec.structs.replace(one, keys=one.keys + extra) if one.label == "shop-a" else one
        for one in before.members
    )
    draft = msgspec.structs.replace(before, members=members)
    signers = [before.members[index].label for index in before.validators]
    signed = assemble(draft, [sign(draft, key_of(each, Role.CONSENSUS)) for each in signers])
    chain = Chain(signed)
    chain.block(
        chain.transaction("shop-a", MarkLock(some_bytes("a")), key=p256),
        chain.transaction("shop-a", MarkLock(some_bytes("b")), key=human, role=Role.HUMAN),
        chain.transaction("shop-a", MarkLock(some_bytes("c"))),
    )
    path = tmp_path / "genesis.json"
    path.write_text(signed_json(signed))
    content = export_of(signed, chain.blocks)
    assert check(tmp_path / "e", content, path)["applied"] == 3
    bad = bytearray(content)
    bad[content.index(chain.transactions[0].signature) + 63] ^= 1
    with pytest.raises(recheck.FalseFact):
        check(tmp_path / "e", bytes(bad), path)


@given(st.lists(st.tuples(st.integers(0, 5), st.binary(min_size=32, max_size=32)), max_size=20))
def test_it_makes_the_heads_map_as_the_node_does(entries: list[tuple[int, bytes]]) -> None:
    members = [bytes(15) + bytes((n,)) for n in (0, 1, 3)]
    members += [some_bytes(n)[:16] for n in range(3)]
    ours, theirs = recheck.Heads(), Heads()
    for number, leaf in entries:
        member = members[number]
        ours.extend(member, leaf)
        head = theirs.get(member)
        after = first(leaf) if head is None else head.extend(leaf)
        theirs = theirs.updated({MemberId(member): after})
        assert ours.root() == theirs.root


@given(st.dictionaries(st.binary(max_size=40), st.binary(max_size=40), max_size=5))
def test_it_makes_the_state_digest_as_the_node_does(pairs: dict[bytes, bytes]) -> None:
    assert recheck.state_digest(pairs.items()) == StateDigest().updated((), pairs.items()).hash


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(data: bytes) -> None:
    for kind in (recheck.committed_block, recheck.wire, recheck.unsigned, recheck.call):
        try:
            value = recheck.decode(data, kind, "it")
        except recheck.FalseFact:
            continue
        assert recheck.encode(value) == data


def test_a_block_above_a_maximum_is_named(tmp_path: Path) -> None:
    """A quorum forgets its own limits: the chain is made under others than its genesis says."""
    small = Chain(found(parameters=Parameters(max_block_transactions=2, max_block_calls=256)))
    genesis = tmp_path / "genesis.json"
    genesis.write_text(signed_json(small.genesis))
    small.state = dataclasses.replace(small.state, parameters=Parameters())
    for _ in range(3):
        small.transaction("shop-a", MarkLock(some_bytes("lock", len(small.transactions))))
    small.block(*small.transactions)
    content = export_of(small.genesis, small.blocks)
    with pytest.raises(recheck.FalseFact, match="max_block_transactions"):
        check(tmp_path / "e", content, genesis)
    with pytest.raises(FalseFact, match="block 1, transaction 2: over-limit"):
        verify_export(tmp_path / "e", small.genesis, workers=1)


def test_calls_cost_what_they_cost_the_node() -> None:
    for executed in CHAIN.executed:
        for entry in executed.entries:
            parsed = recheck.decode(entry.call, recheck.call, "call")
            assert recheck.cost_of(*parsed) == parse_call(entry.call).cost


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(1, 9)), max_size=30))
def test_it_finds_the_same_versions_in_force(deeds: list[tuple[int, int, int]]) -> None:
    """Deeds: a validator signals a version; validator 3 stands for a vote that schedules it."""
    chain = Chain(CHAIN.genesis)
    voters, state = chain.state.validators, Overlay(chain.memory)
    theirs = recheck.Versions(recheck.Council.__new__(recheck.Council))
    theirs.council.eras = [(0, voters.members)]
    for height, (who, version, ahead) in enumerate(deeds, 1):
        assert theirs.step(height) == versions.step(state, height, voters)
        if who == 3:
            theirs.schedule(version, height + ahead)
            versions.schedule(state, version, height + ahead)
        else:
            member = voters.members[who].member
            theirs.signal(member, version)
            state.put(b"h" + member, version.to_bytes(2))


def test_it_stops_before_rules_that_it_does_not_know_and_says_so(
    genesis: Path, tmp_path: Path
) -> None:
    class Old(recheck.Versions):  # type: ignore[misc, name-defined]
        def step(self, height: int) -> int:
            return 2 if height >= 4 else 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recheck, "Versions", Old)
        with pytest.raises(recheck.FalseFact, match="version of the rules") as caught:
            check(tmp_path / "e", export_of(CHAIN.genesis, CHAIN.blocks), genesis)
    assert (caught.value.height, caught.value.found) == (4, 2)


def test_it_refuses_a_header_of_a_version_that_is_not_in_force(
    genesis: Path, tmp_path: Path
) -> None:
    first, *rest = CHAIN.blocks
    header = msgspec.structs.replace(first.block.header, version=2)
    block = msgspec.structs.replace(first.block, header=header)
    lie = msgspec.structs.replace(first, block=block)
    with pytest.raises(recheck.FalseFact) as caught:
        check(tmp_path / "e", export_of(CHAIN.genesis, [lie, *rest]), genesis)
    assert (caught.value.field, caught.value.height) == ("version", 1)


def test_it_follows_a_vote_to_the_second_version_and_stops_there_unless_it_knows_it(
    tmp_path: Path,
) -> None:
    chain = two_versions()
    path = tmp_path / "genesis.json"
    path.write_text(signed_json(chain.genesis))
    content = export_of(chain.genesis, chain.blocks)
    with pytest.raises(recheck.FalseFact, match="version of the rules") as caught:
        check(tmp_path / "e", content, path)
    assert (caught.value.height, caught.value.found) == (FIRST, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recheck, "VERSIONS", (1, 2))
        assert check(tmp_path / "e", content, path)["header"] == chain.state.header.hash


def test_a_settlement_that_announces_another_sum_than_that_of_its_claims_is_named() -> None:
    one, two, three = (opening(cents, f"{cents}").commitment() for cents in (100, 250, 30))
    claims, batch = [some_bytes("claim", n) for n in range(2)], some_bytes("settlement")

    def announced(total: bytes) -> None:
        sums = recheck.Sums()
        for claim, amount in zip(claims, (one, two), strict=True):
            sums.apply(claim, 30, bytes(16), 1, bytes(32), bytes(32), amount, (), None, None)
        sums.apply(bytes(32), 31, claims[1], one)  # in part, and disputed
        sums.apply(bytes(32), 134, claims[1], 2)
        sums.apply(bytes(32), 136, claims[1], three)
        sums.apply(bytes(32), 31, claims[0], two)
        sums.apply(bytes(32), 134, claims[0], 2)
        sums.apply(bytes(32), 136, claims[0], None)  # as claimed
        sums.apply(bytes(32), 134, claims[0], 3)
        sums.apply(bytes(32), 136, claims[0], None)  # of the payment: nothing else is due
        sums.apply(batch, 170, bytes(16), 0)
        sums.apply(bytes(32), 171, batch, tuple(claims))
        sums.apply(bytes(32), 172, batch, claims[:1])
        sums.apply(bytes(32), 171, batch, claims[:1])
        sums.apply(bytes(32), 173, batch, total, None)

    announced(sum_points((one, three)))
    for wrong in (sum_points((one, two)), one, IDENTITY):
        with pytest.raises(recheck.FalseFact, match="sum of the settlement"):
            announced(wrong)


def test_a_claim_that_is_said_to_be_put_in_twice_is_named() -> None:
    sums, claim, batch = recheck.Sums(), some_bytes("claim"), some_bytes("settlement")
    sums.apply(claim, 30, bytes(16), 1, bytes(32), bytes(32), IDENTITY, (), None, None)
    sums.apply(batch, 170, bytes(16), 0)
    sums.apply(bytes(32), 171, batch, (claim,))
    for number, listed in ((171, claim), (172, some_bytes("another"))):
        with pytest.raises(recheck.FalseFact, match="cannot be moved"):
            sums.apply(bytes(32), number, batch, (listed,))


def test_a_claim_that_is_said_to_be_paid_twice_is_named() -> None:
    """By two settlements at once, or by one that ended: nobody may say that this was applied."""
    sums, claim = recheck.Sums(), some_bytes("claim")
    first, second, back = (some_bytes("settlement", n) for n in range(3))
    sums.apply(claim, 30, bytes(16), 1, bytes(32), bytes(32), IDENTITY, (), None, None)
    for batch, way in ((first, 0), (second, 0), (back, 1)):
        sums.apply(batch, 170, bytes(16), way)
    with pytest.raises(recheck.FalseFact, match="cannot be moved"):
        sums.apply(bytes(32), 171, back, (claim,))  # it was never paid
    sums.apply(bytes(32), 171, first, (claim,))
    with pytest.raises(recheck.FalseFact, match="cannot be moved"):
        sums.apply(bytes(32), 171, second, (claim,))
    sums.apply(bytes(32), 177, first)
    sums.apply(bytes(32), 171, second, (claim,))  # it was given up, and may be paid
    sums.apply(bytes(32), 41, second)
    for batch, number in product((first, second), (41, 177)):
        with pytest.raises(recheck.FalseFact, match="is closed"):
            sums.apply(bytes(32), number, batch)
    sums.apply(bytes(32), 171, back, (claim,))
    sums.apply(bytes(32), 41, back)
    again = some_bytes("settlement", 3)
    sums.apply(again, 170, bytes(16), 1)
    with pytest.raises(recheck.FalseFact, match="cannot be moved"):
        sums.apply(bytes(32), 171, again, (claim,))


def test_an_erasure_that_is_said_to_be_answered_as_no_guard_allows_is_named(
    tmp_path: Path,
) -> None:
    founding = tmp_path / "genesis.json"
    founding.write_text(signed_json(found()))
    told = recheck.Disclosures(recheck.Registry(recheck.read_genesis(founding)))
    shop, payer, other = (member_of(name) for name in ("shop-a", "insurer-a", "shop-b"))
    one, two, salt = (some_bytes("erasure", n) for n in range(3))

    def refuses(*call: Any) -> None:  # noqa: ANN401 - sender, id, number, fields
        with pytest.raises(recheck.FalseFact, match="a refusal"):
            told.apply(*call)

    told.apply(shop, one, 181, payer, salt)
    for sender, member in ((shop, payer), (shop, shop), (shop, bytes(16))):
        refuses(sender, two, 181, member, salt if member == payer else two)
        refuses(sender, two, 180, member, salt if member == payer else two)
    refuses(other, two, 182, one, 1)
    refuses(payer, two, 182, two, 1)
    told.apply(payer, two, 182, one, 2)
    refuses(payer, two, 182, one, 3)
    told.apply(payer, two, 182, one, 1)
    refuses(payer, two, 182, one, 1)
