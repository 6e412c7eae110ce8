"""All that is refused is told together, each once, and of very many only the first."""

import pytest

from node.client.errors import ManyRefused, Refused
from node.client.faults import MOST, Faults, faults_of


def fail(field: str) -> int:
    raise Refused(field, "no")


def test_one_fault_is_raised_as_it_is_and_many_as_one() -> None:
    faults = Faults()
    faults.require_none()
    assert faults.take(0, fail, "a") == 0
    assert faults.take(None, int, "7") == 7
    with pytest.raises(Refused, match=r"^a: no$") as one:
        faults.require_none()
    assert not isinstance(one.value, ManyRefused)
    faults.take(0, fail, "b")
    with pytest.raises(ManyRefused, match=r"^a: no; b: no$") as both:
        faults.require_none()
    assert [fault.field for fault in faults_of(both.value)] == ["a", "b"]
    assert both.value.exit_code == one.value.exit_code


def test_what_was_said_is_not_said_again() -> None:
    faults = Faults()
    for field in ("a", "b", "a"):
        faults.take(0, fail, field)
    inner = ManyRefused([Refused("b", "no"), Refused("c", "no", hint="try")])
    faults.add(inner)
    assert [fault.field for fault in faults.found] == ["a", "b", "c"]
    with pytest.raises(ManyRefused) as refusal:
        faults.require_none()
    assert refusal.value.hint == "try"


def test_of_very_many_only_the_first_are_kept() -> None:
    faults = Faults()
    for number in range(2 * MOST):
        faults.take(0, fail, str(number))
    assert len(faults.found) == MOST
