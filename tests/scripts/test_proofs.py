"""Node and second opinion judge alike what people keep: short receipts, and proofs of the log."""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from contracts.execute import DirectSignatures
from contracts.genesis_json import signed_json
from ledger.encoding import encode
from ledger.errors import LedgerError
from ledger.receipt import Receipt, to_json
from ledger.short_receipt import PREFIX, ShortReceipt, parse_text, shorten, to_text
from node.chain import Chain
from tests.chainmaker import upheaval
from tests.scripts.test_recheck import recheck

STORY: Final = upheaval()
GENESIS: Final = STORY.genesis.genesis
CHANCE: Final = random.Random(11)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    opened = Chain.open(tmp_path_factory.mktemp("chain"), GENESIS, DirectSignatures())
    for committed in STORY.blocks:
        header = committed.block.header
        executed = opened.execute(committed.block.body, header, DirectSignatures())
        opened.commit(executed, committed.certificate)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def genesis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("genesis") / "genesis.json"
    path.write_text(signed_json(STORY.genesis))
    return path


def receipts(chain: Chain) -> list[Receipt]:
    entries = [entry for executed in STORY.executed for entry in executed.entries]
    found = [chain.receipt(entry.transaction, entry.position) for entry in entries]
    return [each for each in found if each is not None]


def short_of(receipt: Receipt) -> ShortReceipt:
    changes = receipt.changes
    return shorten(receipt, changes[-1].validators if changes else GENESIS.validator_set)


def second(path: Path, genesis: Path, text: str, changes: Path) -> dict[str, Any]:
    path.write_text(text)
    options = argparse.Namespace(file=path, genesis=genesis, changes=changes)
    told: dict[str, Any] = recheck.check_receipt(options)
    return told


def test_both_make_the_same_receipt_of_a_short_form(
    chain: Chain, genesis: Path, tmp_path: Path
) -> None:
    every = receipts(chain)
    latest = tmp_path / "latest.json"
    latest.write_text(to_json(every[-1]))
    assert len(every[-1].changes) == 6
    for each in every:
        short = parse_text(to_text(short_of(each)))
        assert short.expand(STORY.chain_id, GENESIS.validator_set, every[-1].changes) == each
    for each in (every[0], every[len(every) // 2], every[-1]):  # a signature takes it milliseconds
        told = second(tmp_path / "short", genesis, to_text(short_of(each)), latest)
        path = tmp_path / "whole.json"
        path.write_text(to_json(each))
        whole = argparse.Namespace(file=path, genesis=genesis, changes=None)
        assert told == recheck.check_receipt(whole)


def test_both_refuse_a_short_form_with_any_bit_changed(
    chain: Chain, genesis: Path, tmp_path: Path
) -> None:
    each = receipts(chain)[-1]
    latest = tmp_path / "latest.json"
    latest.write_text(to_json(each))
    encoded = encode(short_of(each))
    for place in CHANCE.sample(range(8 * len(encoded)), 30):
        near = bytearray(encoded)
        near[place // 8] ^= 1 << place % 8
        groups = [bytes(near[at : at + 7]) for at in range(0, len(near), 7)]
        text = PREFIX + "".join(
            f"{int.from_bytes(group):0{recheck.DIGITS[len(group)]}}" for group in groups
        )
        with pytest.raises(LedgerError):
            parse_text(text).expand(STORY.chain_id, GENESIS.validator_set, each.changes).verify(
                STORY.chain_id, GENESIS.validator_set
            )
        with pytest.raises(recheck.FalseFact):
            second(tmp_path / "short", genesis, text, latest)


@pytest.mark.parametrize(
    "text", [PREFIX, f"{PREFIX}1", f"{PREFIX}{'0' * 16}", f"{PREFIX}256", f"{PREFIX}12x"]
)
def test_both_refuse_digits_that_are_none(text: str, genesis: Path, tmp_path: Path) -> None:
    with pytest.raises(LedgerError):
        parse_text(text)
    with pytest.raises(recheck.FalseFact):
        second(tmp_path / "short", genesis, text, genesis)
