"""What a health professional is shown of two prescriptions, on a terminal."""

from typing import Any

from contracts.documents import Value
from node.client import controls
from node.client.controls import Opening
from node.client.members import Members

_EYE: tuple[str, ...] = ("sphere", "cylinder", "axis", "add", "prism")
_LENGTHS = frozenset(("sphere", "cylinder", "add"))


def shown_opening(opening: Opening, members: Members, *, now: int) -> dict[str, Any]:
    """Return both prescriptions and what was typed beside them; raise `NotVerified`."""
    says = opening.attestation.says
    shown: dict[str, Any] = {
        "authorisation": says.authorisation.hex(),
        "optician": members.label_of(says.optician),
        "payer": members.label_of(says.recipient),
    }
    read = controls.read(opening, now=now)
    if read is None:
        return shown
    for which, values in zip(("before", "after"), read, strict=True):
        shown[f"{which}: written"] = values.get("date_written")
        shown[f"{which}: prescriber"] = values.get("prescriber")
        for eye in ("right", "left"):
            shown[f"{which}: {eye}"] = _eye(eye, values)
    if opening.facts is not None:
        for name in opening.facts.__struct_fields__:
            shown[name.replace("_", " ")] = getattr(opening.facts, name)
    return shown


def _eye(eye: str, values: dict[str, Value]) -> str:
    parts = []
    for name in _EYE:
        value = values.get(f"{eye}_{name}")
        if value is None:
            continue
        if name in _LENGTHS:
            parts.append(f"{name} {value / 100:+.2f}")
        elif name == "axis":
            parts.append(f"axis {value}°")
        else:
            parts.append(" ".join(f"prism {amount / 100:.2f} {base}" for amount, base in value))
    return ", ".join(parts) or "–"
