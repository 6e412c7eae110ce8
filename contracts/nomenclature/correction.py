"""What one eye needs, in integers, and its one form: a positive cylinder, an axis of 1 to 180."""

from dataclasses import dataclass

HALF_TURN = 180  # degrees: an axis has no direction


@dataclass(frozen=True, slots=True)
class Prism:
    """A prism; its amount in hundredths of a prism dioptre."""

    amount: int
    base: str


@dataclass(frozen=True, slots=True)
class Correction:
    """What one eye needs, in hundredths of a dioptre and degrees; positive cylinder."""

    sphere: int
    cylinder: int | None = None
    axis: int | None = None
    addition: int | None = None
    prisms: tuple[Prism, ...] = ()


def canonical(
    sphere: int, cylinder: int | None, axis: int | None
) -> tuple[int, int | None, int | None]:
    """Return sphere, cylinder and axis with a positive cylinder; a cylinder of 0 is none."""
    if not cylinder or axis is None:
        return sphere, None, None
    if cylinder < 0:
        sphere, cylinder, axis = sphere + cylinder, -cylinder, axis + HALF_TURN // 2
    return sphere, cylinder, (axis - 1) % HALF_TURN + 1


def turn_between(axis: int, other: int) -> int:
    """Return by how many degrees two axes differ, 0 to 90."""
    turn = (axis - other) % HALF_TURN
    return min(turn, HALF_TURN - turn)
