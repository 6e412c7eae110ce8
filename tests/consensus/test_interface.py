"""The order of the output is the order of effects: durable first, then decided, then sent."""

from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

import consensus.interface
from consensus.interface import Output


def test_what_must_be_durable_comes_before_what_is_sent() -> None:
    names = [field.name for field in fields(Output)]
    assert names == ["promises", "decided", "messages", "timer", "asks", "evidence", "refusal"]


def test_an_output_is_a_value() -> None:
    assert Output() == Output()
    with pytest.raises(FrozenInstanceError):
        Output().promises = ()  # type: ignore[misc]


def test_the_page_for_shells_names_every_event_and_ask() -> None:
    text = Path(consensus.interface.__file__).read_text(encoding="utf-8").split('"""')[1]
    for name in ("Received", "Judged", "Built", "Work", "Ready", "Tick"):
        assert f"`{name}" in text
    for name in ("Judge", "Fetch", "Build", "SendDecided", "Pull"):
        assert f"    {name} " in text
