"""What a node proves between two heights, and to whom; the commands that ask it, and verify."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result

from contracts.genesis_json import signed_json
from ledger import consistency, decided, history
from ledger.decided import Decided
from ledger.receipt import Voters
from ledger.split_view import SplitView
from ledger.split_view import to_json as split_json
from ledger.validators import EVERYONE
from node.cli.main import main
from node.errors import Exit
from node.proofs import Proofs, prove_consistency
from tests.chainmaker import Chain, found, member_of
from tests.node.cluster import prescription, run
from tests.node.test_api import PAYER, Door, served

SHOP: Final = member_of("shop-a")


def cli(*args: str | Path) -> Result:
    done = CliRunner().invoke(main, [*map(str, args)])
    assert "fault of depoli" not in done.output
    assert "Traceback" not in done.output
    return done


def home_of(folder: Path, door: Door, token: str) -> Path:
    home = folder / token
    home.mkdir()
    for name, text in (("key", "00" * 32), ("token", token), ("vault.key", "00" * 32)):
        (home / name).touch(0o600)
        (home / name).write_text(text)
    (home / "genesis.json").write_text(signed_json(door.genesis))
    (home / "client.toml").write_text(
        f'node = "{door.url}"\nmember = "{SHOP.hex()}"\nlabel = "shop-a"\nkey_file = "key"\n'
        'token_file = "token"\nvault = "vault.sqlite"\nvault_key_file = "vault.key"\n'
        'genesis = "genesis.json"\n'
    )
    return home


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a genesis and proofs that were asked of a running node."""
    folder = tmp_path_factory.mktemp("proofs")

    async def take() -> None:
        async with served(folder / "node") as door:
            for number in range(3):
                await door.send(prescription(door.genesis, number))
            await door.claim("one")
            (folder / "genesis").write_text(signed_json(door.genesis))
            home = ("--home", home_of(folder, door, "shop_a"))
            theirs = ("--home", home_of(folder, door, "auditor"))
            for code, words, args in (
                (Exit.OK, "", ("consistency", "1", "3", *home, "-o", folder / "consistency")),
                (Exit.OK, "", ("history", *home, "-o", folder / "history")),
                (
                    Exit.OK,
                    "",
                    ("history", "--from", "2", "--to", "3", *home, "-o", folder / "part"),
                ),
                (Exit.OK, "", ("history", "--member", "*", *home, "-o", folder / "everyone")),
                (Exit.OK, "", ("history", "--member", PAYER, *theirs, "-o", folder / "payer")),
                (Exit.FAILED, "is not overwritten", ("history", *home, "-o", folder / "part")),
                (
                    Exit.FAILED,
                    "this token may read",
                    ("history", "--member", PAYER, *home, "-o", folder / "x"),
                ),
                (Exit.NOT_FOUND, "no member", ("history", "--member", "x", *home, "-o", "x")),
                (Exit.NOT_FOUND, "no block 999", ("consistency", "1", "999", *home, "-o", "x")),
                (
                    Exit.FAILED,
                    "3 is not below 2",
                    ("history", "--from", "3", "--to", "2", *home, "-o", folder / "x"),
                ),
                (Exit.USAGE, "0 is not in the range", ("consistency", "0", *home, "-o", "x")),
                (Exit.USAGE, "Missing option", ("history", *home)),
            ):
                done = await asyncio.to_thread(cli, "proof", *args)
                assert done.exit_code == code, (args, done.output)
                assert words in done.stderr
            assert not (folder / "x").exists()

    run(take())
    return folder


def verified(made: Path, file: Path, *more: str) -> Any:  # noqa: ANN401
    done = cli("proof", "verify", file, "--genesis", made / "genesis", "--json", *more)
    assert done.exit_code == Exit.OK, done.output
    return json.loads(done.stdout)


def test_the_log_between_two_blocks_is_verified_offline(made: Path) -> None:
    told = verified(made, made / "consistency")
    assert told["proves"] == "that the log of one block begins that of another"
    assert (told["from"], told["to"]) == (1, 3)
    assert told["log_size_from"] < told["log_size"]


def test_all_entries_of_a_member_are_verified_offline(made: Path) -> None:
    whole = verified(made, made / "history")
    part = verified(made, made / "part")
    assert (whole["member"], whole["from"]) == ("shop-a", 0)
    assert (part["from"], part["to"]) == (2, 3)
    assert part["list"] == [each for each in whole["list"] if each["height"] == 3]
    assert part["list"][0]["call"] == "PrescriptionCommit"
    assert whole["entries"] == len(whole["list"]) > 3
    everyone = verified(made, made / "everyone")
    assert (everyone["member"], everyone["entries"]) == ("everyone", 0)
    payer = verified(made, made / "payer")
    assert [each["call"] for each in payer["list"]] == ["ClaimSubmit"]
    assert payer["list"][0] == whole["list"][-1]
    done = cli("proof", "verify", made / "part", "--genesis", made / "genesis", "--list")
    assert "PrescriptionCommit  applied" in done.stdout
    assert done.stdout.endswith("\nverified\n")


def test_an_entry_that_is_withheld_changed_or_twice_is_refused(made: Path, tmp_path: Path) -> None:
    value = json.loads((made / "history").read_text())
    entries = value["entries"]
    for changed, reason in (
        (entries[1:], "number of entries: expected"),
        ([*entries, entries[0]], "number of entries: expected"),
        ([entries[1], entries[0], *entries[2:]], "head after the entries"),
        ([entries[0] | {"position": 1}, *entries[1:]], "head after the entries"),
    ):
        (tmp_path / "false").write_text(json.dumps(value | {"entries": changed}))
        done = cli("proof", "verify", tmp_path / "false", "--genesis", made / "genesis")
        assert (done.exit_code, done.stdout) == (Exit.VERIFICATION_FAILED, "")
        assert reason in done.stderr


@pytest.mark.parametrize("name", ["consistency", "history", "part"])
def test_no_digit_of_a_proof_may_differ(made: Path, tmp_path: Path, name: str) -> None:
    text = (made / name).read_text()
    digits = [place for place, letter in enumerate(text) if letter in "23456789"]
    for place in random.Random(7).sample(digits, 40):
        (tmp_path / "false").write_text(text[:place] + "1" + text[place + 1 :])
        done = cli("proof", "verify", tmp_path / "false", "--genesis", made / "genesis")
        assert (done.exit_code, done.stdout) == (Exit.VERIFICATION_FAILED, "")


def test_a_proof_of_another_chain_or_of_no_known_kind_is_refused(
    made: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").write_text(signed_json(found()))
    for name in ("consistency", "history"):
        done = cli("proof", "verify", made / name, "--genesis", tmp_path / "other")
        assert done.exit_code == Exit.VERIFICATION_FAILED
        assert "chain id of the header" in done.stderr
    for text, reason in (
        ("", "malformed proof"),
        ("[]", "not an object with format depoli/receipt/1 or depoli/consistency/1"),
        ('{"format": "depoli/history/2"}', "something else, or of another version"),
        ('{"format": "depoli/history/1"}', "fields missing"),
        ('{"format": "depoli/history/1", "format": 1}', "a key stands twice"),
    ):
        (tmp_path / "none").write_text(text)
        done = cli("proof", "verify", tmp_path / "none", "--genesis", made / "genesis")
        assert done.exit_code == Exit.VERIFICATION_FAILED
        assert reason in done.stderr


def test_what_a_witness_keeps_and_a_decided_block_are_verified_too(tmp_path: Path) -> None:
    chain, other = Chain(), Chain()
    chain.block(seconds=1, built_round=1)
    other.block(seconds=2, built_round=1)
    first, second = (
        Decided(each.blocks[0].block.header, each.blocks[0].certificate, ())
        for each in (chain, other)
    )
    (tmp_path / "genesis").write_text(signed_json(chain.genesis))
    (tmp_path / "decided").write_text(decided.to_json(first))
    (tmp_path / "split").write_text(split_json(SplitView(first, second, bytes(32), ())))
    (tmp_path / "no split").write_text(split_json(SplitView(first, first, bytes(32), ())))
    assert verified(tmp_path, tmp_path / "decided")["to"] == 1
    told = verified(tmp_path, tmp_path / "split")
    assert told["proves"] == "that validators signed two logs that contradict each other"
    assert told["header_from"] != told["header"]
    done = cli("proof", "verify", tmp_path / "no split", "--genesis", tmp_path / "genesis")
    assert done.exit_code == Exit.VERIFICATION_FAILED
    assert "the two are one block" in done.stderr


def test_a_node_that_proves_something_else_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A true proof, but of other heights or another member than was asked."""

    async def ask() -> None:
        async with served(tmp_path / "node") as door:
            for number in range(3):
                await door.send(prescription(door.genesis, number))
            home = ("--home", home_of(tmp_path, door, "shop_a"), "-o", tmp_path / "x")
            chain = door.node.running.chain
            monkeypatch.setattr(
                Proofs,
                "_consistency",
                lambda *_: consistency.to_json(prove_consistency(chain, 2, 3)),
            )
            for heights, field in ((("1", "3"), "first"), (("2", "2"), "second")):
                monkeypatch.setattr(Proofs, "_heights", lambda *_: (2, 3))
                done = await asyncio.to_thread(cli, "proof", "consistency", *heights, *home)
                assert done.exit_code == Exit.VERIFICATION_FAILED, done.output
                assert f"height of the {field} block" in done.stderr
            for member, first, last, field in (
                (EVERYONE, 0, 3, "member"),
                (SHOP, 1, 3, "height of the beginning"),
                (SHOP, 0, 2, "height of the end"),
            ):
                text = history.to_json(chain.history(member, first, last))
                monkeypatch.setattr(Proofs, "_history", lambda *_, text=text: text)
                done = await asyncio.to_thread(cli, "proof", "history", "--to", "3", *home)
                assert done.exit_code == Exit.VERIFICATION_FAILED, done.output
                assert f"the node answers something else: {field}" in done.stderr
            assert not (tmp_path / "x").exists()

    run(ask())


# --- the API --------------------------------------------------------------------------------------


def test_a_history_is_for_the_member_and_for_auditors(tmp_path: Path) -> None:
    async def ask() -> None:
        async with served(tmp_path) as door:
            await door.claim("one")
            height = door.node.running.chain.height
            voters = Voters(0, door.genesis.genesis.validator_set)
            payer, everyone = (f"?member={each.hex()}" for each in (member_of(PAYER), EVERYONE))
            for token, query, status, count in (
                ("shop_a", "", 200, None),
                ("payer", "", 200, 1),
                ("payer", payer, 200, 1),
                ("shop_b", "", 200, 0),
                ("shop_b", payer, 403, None),
                ("shop_b", everyone, 200, 0),
                ("auditor", payer, 200, 1),
                ("auditor", "", 403, None),
                ("sender", "", 403, None),
            ):
                answer = await door.get(f"/v1/history{query}", token)
                assert answer.status == status, (token, query)
                if status == 200:
                    told = history.parse_json(answer.body.decode())
                    told.verify(door.genesis.chain_id, voters)
                    assert count is None or len(told.entries) == count
            answer = await door.get("/v1/consistency?from=1", "operator")
            grown = consistency.parse_json(answer.body.decode())
            grown.verify(door.genesis.chain_id, voters)
            assert (grown.first.header.height, grown.second.header.height) == (1, height)

    run(ask())


def test_what_cannot_be_proved_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask() -> None:
        async with served(tmp_path) as door:
            await door.claim("one")
            height = door.node.running.chain.height
            for path, status in (
                (f"/v1/consistency?from={height}", 400),
                (f"/v1/consistency?from=1&to={height + 1}", 404),
                (f"/v1/history?from={height}", 400),
                (f"/v1/history?to={height + 1}", 404),
            ):
                assert (await door.get(path, "shop_a")).status == status, path
            monkeypatch.setattr("node.proofs.MAX_SEVERAL", 0)
            of_one = await door.get(f"/v1/history?from={height - 1}", "shop_a")
            assert of_one.status == 200  # nobody can ask for less than a block
            answer = await door.get("/v1/history", "shop_a")
            assert (answer.status, answer.json["type"]) == (422, "urn:depoli:problem:too-long")
            assert "in parts" in answer.json["detail"]

    run(ask())
