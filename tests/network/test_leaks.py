"""After a day of claims nobody holds what he must not know; and the search would find it."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from node.testnet import LocalNetwork
from scripts import leaks
from scripts.leaks import Day, Leaked
from scripts.needles import Secret

Spent = tuple[LocalNetwork, Day, Path]


def silent(text: str) -> None:
    del text


@pytest.fixture(scope="module")
def spent(tmp_path_factory: pytest.TempPathFactory) -> Spent:
    return leaks.spend(tmp_path_factory.mktemp("leaks"), 12, silent)


def test_nobody_holds_what_he_must_not_know(spent: Spent) -> None:
    found = leaks.search(*spent, silent)
    assert found["leaks"] == 0
    assert found["secrets"] > 1000
    assert found["messages"] > 100
    assert found["found_where_they_may_be"] > 1000


def plant(spent: Spent, party: str, name: str, content: bytes) -> Path:
    path = spent[0].organisation(party).folder / name
    with path.open("ab") as file:
        file.write(content)
    return path


@pytest.mark.parametrize(
    ("what", "write"),
    [
        ("a patient's name", lambda value: value),
        ("a prescriber", lambda value: b"Dr " + value.hex().encode()),
        ("a blinding", lambda value: json.dumps({"b": value.hex().upper()}).encode()),
        ("a salt of a claim", lambda value: b"\x00" * 3 + value),
        ("right_sphere of a prescription", lambda value: value.decode().encode("utf-16-le")),
        ("the secret of marks", lambda value: value[::-1]),
    ],
)
def test_what_a_node_would_write_down_is_found(
    spent: Spent, what: str, write: Callable[[bytes], bytes]
) -> None:
    day = spent[1]
    known = [*day.nobody, *day.shop["shop-2"], *day.shown["shop-2", "insurer-b"]]
    secret = next(each for each in known if each.what.endswith(what))
    path = plant(spent, "federation", "node/planted.log", write(secret.value))
    try:
        with pytest.raises(Leaked, match=rf"federation, node/planted.log: .*{what}"):
            leaks.search(*spent, silent)
    finally:
        path.unlink()


@pytest.mark.parametrize("write", [json.dumps, msgspec.msgpack.encode])
def test_a_code_and_an_amount_in_a_field_of_a_message_are_found(
    spent: Spent, write: Callable[[object], str | bytes]
) -> None:
    _, day, taps = spent
    for value in (min(day.codes), min(day.cents)):
        written = write({"seen": [7, {"of": value}]})
        message = written.encode() if isinstance(written, str) else written
        made = taps / "federation" / "http-planted.bytes"
        made.write_bytes(message)
        made.with_suffix(".lengths").write_bytes(len(message).to_bytes(4))
        try:
            with pytest.raises(Leaked, match=f"http-planted: a message has the field {value}"):
                leaks.search(*spent, silent)
        finally:
            made.unlink()
            made.with_suffix(".lengths").unlink()


def test_a_search_that_does_not_find_what_is_there_fails(spent: Spent) -> None:
    network, day, taps = spent
    day.shop["shop-1"].append(Secret("a thing that is nowhere", b"nowhere at all"))
    try:
        with pytest.raises(Leaked, match="does not find a thing that is nowhere that shop-1 knows"):
            leaks.search(network, day, taps, silent)
    finally:
        day.shop["shop-1"].pop()
