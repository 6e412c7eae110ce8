"""config.toml is parsed once, whole, and refuses what cannot be meant."""

import contextlib
import re
import tomllib
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.config import (
    KEYS,
    Address,
    BadConfig,
    Config,
    Mode,
    Unfit,
    load_config,
    parse_address,
    parse_config,
    write_config,
)
from node.files import Missing
from node.log import Level

PATH = Path("/etc/depoli/config.toml")


def parse(text: str) -> Config:
    return parse_config(text.encode(), PATH)


def test_an_empty_file_is_a_node_of_defaults() -> None:
    config = parse("")
    assert config.mode is Mode.VALIDATOR
    assert config.log_level is Level.INFO
    assert config.genesis == Path("/etc/depoli/genesis.json")
    assert config.api_listen == Address("127.0.0.1", 7680)
    assert config.store_engine is None
    assert not config.peers


def test_every_key_can_be_set() -> None:
    config = parse(
        """
        mode = "observer"
        log_level = "warning"
        genesis = "/srv/genesis.json"
        keys = "k"
        tokens = "t.toml"
        data = "/var/lib/depoli"
        [p2p]
        listen = "[::1]:7600"
        [api]
        listen = "0.0.0.0:80"
        [admin]
        listen = "localhost:9"
        [mempool]
        transactions = 5
        bytes = 1048576
        [store]
        engine = "sqlite"
        cache_mb = 3
        least_free_mb = 7
        [peers]
        insurer-a = "a.example:7600"
        """
    )
    assert config.genesis == Path("/srv/genesis.json")
    assert config.keys == Path("/etc/depoli/k")
    assert config.p2p_listen == Address("::1", 7600)
    assert config.mempool.transactions == 5
    assert config.store_engine == "sqlite"
    assert config.store_cache_bytes == 3 << 20
    assert config.least_free_bytes == 7 << 20
    assert config.peers == {"insurer-a": Address("a.example", 7600)}


def test_it_cannot_be_changed_afterwards() -> None:
    config = parse('[peers]\na = "b:1"')
    with pytest.raises(FrozenInstanceError):
        config.mode = Mode.OBSERVER  # type: ignore[misc]
    with pytest.raises(TypeError):
        config.peers["c"] = Address("d", 2)  # type: ignore[index]


def test_a_misspelled_key_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(BadConfig, match=r"there is no key mempool\.byte$") as caught:
        parse("[mempool]\nbyte = 3")
    assert "mempool.bytes" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('mode = "leader"', "mode must be one of validator, observer"),
        ("mode = []", "mode must be one of"),
        ('mempool.transactions = "5"', "mempool.transactions must be a whole number"),
        ("mempool.transactions = true", "mempool.transactions must be a whole number"),
        ("mempool.transactions = 0", "mempool.transactions must be a whole number from 1"),
        ('data = ""', "data must be a path"),
        ('admin.listen = "0.0.0.0:1"', "admin.listen must be a loopback address"),
        ('admin.listen = "example.org:1"', "admin.listen must be a loopback address"),
        ("peers = 3", "peers must be a table"),
        ('peers.x = "nowhere"', "peers x must be"),
        ('p2p = "x"', "there is no key p2p"),
        ("= 3", "not a TOML file"),
        ("mode = 'validator'\nmode = 'validator'", "not a TOML file"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_name(text: str, reason: str) -> None:
    with pytest.raises(BadConfig, match=reason):
        parse(text)


@pytest.mark.parametrize(
    "text",
    ["", ":1", "a:", "a:0", "a:65536", "a:\uff11", "a:-1", "::1:5", "[a:5", "[a]:5", "a b:1"],
)
def test_an_address_needs_a_host_and_a_port(text: str) -> None:
    with pytest.raises(Unfit):
        parse_address(text)


@given(st.sampled_from(["h", "::1", "10.0.0.1"]), st.integers(1, 65535))
def test_an_address_reads_as_it_is_written(host: str, port: int) -> None:
    assert parse_address(str(Address(host, port))) == Address(host, port)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_configuration_or_refused(data: bytes) -> None:
    with contextlib.suppress(BadConfig):
        parse_config(data, PATH)


def test_a_written_file_says_what_every_key_means_and_reads_back() -> None:
    text = write_config(
        {"mode": Mode.OBSERVER, "mempool.bytes": 2 << 20, "api.listen": Address("::1", 5)},
        {"insurer-a": Address("a.example", 7600)},
    )
    assert all(key.meaning in text for key in KEYS)
    config = parse(text)
    assert config.mode is Mode.OBSERVER
    assert config.mempool.bytes == 2 << 20
    assert config.api_listen == Address("::1", 5)
    assert config.peers == {"insurer-a": Address("a.example", 7600)}


def test_the_operators_page_has_every_key_as_it_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operator.md").read_text(encoding="utf-8")
    for key in KEYS:
        default = key.default.replace('"', "")
        assert f"| `{key.name}` | `{default}` | {key.meaning} |" in page


def test_the_defaults_that_a_written_file_shows_are_those_that_hold() -> None:
    settings = re.sub(r"^#(\w+ = )", r"\1", write_config({}, {}), flags=re.MULTILINE)
    assert tomllib.loads(settings)["mode"] == "validator"
    assert parse(settings) == parse("")


def test_a_folder_stands_for_its_config(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('mode = "observer"')
    assert load_config(tmp_path) == load_config(tmp_path / "config.toml")
    assert load_config(tmp_path).home == tmp_path


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(Missing) as caught:
        load_config(tmp_path)
    assert caught.value.exit_code == 10
    assert "node init" in caught.value.hint
