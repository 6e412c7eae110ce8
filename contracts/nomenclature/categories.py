"""Categories of equipment: they follow from two lens codes, and bound what an insurer may bear.

Floors, ceilings and caps bind *responsible* contracts (R. 871-2 CSS) and count what the basic and
the complementary insurance bear together.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from contracts.errors import BadTable
from contracts.nomenclature.codes import Code
from contracts.nomenclature.correction import Correction
from contracts.nomenclature.errors import Objected, Objection
from contracts.nomenclature.tables import (
    MAX_CENTS,
    Cents,
    Design,
    Dioptres,
    GroupingCode,
    LensClass,
    LensKind,
    Row,
    Table,
)
from contracts.reference import TableKind


class Category(Row, frozen=True, kw_only=True):
    """One of a to f."""

    name: Literal["a", "b", "c", "d", "e", "f"]
    kinds: tuple[LensKind, LensKind]  # of its two lenses, in order
    floor: Cents
    ceiling: Cents
    collective_floor: Cents  # of the basket that employers owe (D. 911-1 CSS)


class Clause(Row, frozen=True, kw_only=True):
    """Some corrections that make one kind of lens; a bound that is not given does not bind."""

    kind: LensKind
    design: Design
    has_cylinder: bool
    sphere_from: Dioptres | None = None
    sphere_to: Dioptres | None = None
    cylinder_from: Dioptres | None = None
    cylinder_to: Dioptres | None = None
    sum_from: Dioptres | None = None  # of sphere and cylinder
    sum_to: Dioptres | None = None
    class_a: GroupingCode
    class_b: Annotated[tuple[GroupingCode, ...], msgspec.Meta(min_length=1, max_length=4)]

    def is_met(self, correction: Correction) -> bool:
        """Return whether it speaks of this correction."""
        cylinder = correction.cylinder or 0
        return self.has_cylinder is bool(cylinder) and all(
            (low is None or low <= value) and (high is None or value <= high)
            for value, low, high in (
                (correction.sphere, self.sphere_from, self.sphere_to),
                (cylinder, self.cylinder_from, self.cylinder_to),
                (correction.sphere + cylinder, self.sum_from, self.sum_to),
            )
        )


class Frame(Row, frozen=True, kw_only=True):
    """What of a frame may be borne at most."""

    cap: Cents  # of class B; it lies inside the ceiling
    class_a_price: Cents  # the price limit of class A


class Basic(Row, frozen=True, kw_only=True):
    """What the basic scheme reckons with."""

    class_b_element: Cents  # its base for a lens or a frame of class B
    rate_percent: Annotated[int, msgspec.Meta(ge=0, le=100)]


class CategoryTable(Table, frozen=True, kw_only=True):
    """Which lenses make which category, and what binds in each."""

    KIND = TableKind.OPTICS_CATEGORIES

    categories: Annotated[tuple[Category, ...], msgspec.Meta(min_length=1, max_length=6)]
    clauses: Annotated[tuple[Clause, ...], msgspec.Meta(min_length=1, max_length=64)]
    frame: Frame
    basic: Basic
    # How classes mix: one of class A is borne in full up to its price limit, and those of class B
    # share the ceiling less what it costs. A table with another rule needs another program.
    mixing: Literal["class_b_shares_ceiling_less_class_a"]

    def require_sound(self) -> None:
        """Raise `BadTable` unless every two kinds of lens make one category, within bounds."""
        kinds = [row.kinds for row in self.categories]
        pairs = [(one, other) for one in "acf" for other in "acf" if one <= other]
        if sorted(kinds) != pairs or len({row.name for row in self.categories}) != len(kinds):
            raise BadTable("every two kinds of lens make one category of their own")
        for row in self.categories:
            if not max(row.floor, row.collective_floor, self.frame.cap) <= row.ceiling:
                raise BadTable(f"the ceiling of category {row.name} lies too low")

    def category(self, kinds: Iterable[LensKind | None]) -> Category | None:
        """Return the category of the lenses of these kinds; None unless they are two."""
        ordered = tuple(sorted(map(str, kinds)))
        return next((row for row in self.categories if row.kinds == ordered), None)

    def clause(self, correction: Correction, design: Design) -> Clause:
        """Return the clause that a lens of this design for a correction falls under.

        Raises `Objected`, unless it is one alone.
        """
        met = [each for each in self.clauses if each.design == design and each.is_met(correction)]
        if len(met) != 1:
            raise Objected(Objection.CLAUSE_NOT_ONE, "correction", len(met))
        return met[0]

    def basic_share(self, class_b: int) -> int:
        """Return what the basic scheme bears of so many elements of class B, in cents."""
        return class_b * self.basic.class_b_element * self.basic.rate_percent // 100


@dataclass(frozen=True, slots=True)
class Element:
    """A lens or a frame with its supplements: its class, and what it costs in cents."""

    class_: LensClass
    price: int
    # Of class A: the price limit, where it is known. That of a frame stands in the table; those of
    # lenses do not, as one grouping code covers several.
    limit: int | None = None

    @property
    def in_full(self) -> int:
        """What is borne of it as an element of class A."""
        return self.price if self.limit is None else min(self.price, self.limit)


def element_of(row: Code, price: int) -> Element:
    """Return the lens or frame of this code at a price, whose limit is not known."""
    assert row.class_ is not None  # a table whose lenses and frames have none is refused
    return Element(row.class_, price)


@dataclass(frozen=True, slots=True)
class Bearable:
    """What both insurances together may bear at most: of each part, and of all."""

    lenses: int
    frame: int
    together: int  # may be less than the parts, which share a ceiling

    def complementary(self, basic: int) -> int:
        """Return what is left to the complementary insurance, once the basic one bore `basic`."""
        return max(0, self.together - basic)


def bearable(
    table: CategoryTable,
    category: Category | None,
    lenses: tuple[Element, ...],
    frame: Element | None,
    *,
    cap: int | None = None,
) -> Bearable | None:
    """Return what may be borne at most; None where the table does not say, for one lens of class B.

    `cap` is the contract's own limit, where it is below the ceiling. Raises `Objected`.
    """
    for element in (*lenses, *([] if frame is None else [frame])):
        for amount in (element.price, element.limit or 0):
            require_cents(amount, "price")
    # One of class A costs nothing as one of class B, and the reverse: so the sums need no branch.
    full = sum(lens.in_full for lens in lenses if lens.class_ == "A")
    limited = sum(lens.price for lens in lenses if lens.class_ == "B")
    frame_full = frame_limited = 0
    if frame is not None and frame.class_ == "A":
        frame_full = min(frame.in_full, table.frame.class_a_price)
    elif frame is not None:
        frame_limited = min(frame.price, table.frame.cap)
    has_class_b = frame_limited > 0 or limited > 0
    if category is None:
        return None if has_class_b else Bearable(full, frame_full, full + frame_full)
    ceiling = category.ceiling
    if cap is not None:
        require_cents(cap, "cap")
        ceiling = min(ceiling, cap)
    left = max(0, ceiling - full - frame_full)
    return Bearable(
        full + min(limited, left),
        frame_full + min(frame_limited, left),
        full + frame_full + min(limited + frame_limited, left),
    )


def require_cents(amount: int, field: str) -> None:
    """Raise `Objected` unless glasses may cost so much."""
    if not 0 <= amount <= MAX_CENTS:
        raise Objected(Objection.AMOUNT_OUT_OF_RANGE, field, MAX_CENTS)
