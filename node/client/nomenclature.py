"""The grouping codes of optics, and which of them may stand together in one claim.

The table is data (`contracts/tables/`), because codes come and go by decree; this file knows the
shape of a table and how to read its columns, not one code.
"""

import importlib.resources
from collections import Counter
from functools import cache
from typing import Final, Literal

import msgspec

from node.client.errors import Refused

CURRENT: Final = "optics-2020"
MAX_SUPPLEMENTS: Final = 8
_SIDES: Final = {"right": "right lens", "left": "left lens"}


class Requirement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What else must stand in a claim for a supplement to stand in it."""

    lens_class: Literal["A", "B"] | None = None
    frame: str | None = None


class Code(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One grouping code."""

    code: str
    label: str
    amo: int  # PRS_NAT_REF of the basic scheme
    c2s: int | None  # that of the complementary solidarity scheme, where there is one
    type: Literal["lens", "frame", "supplement"]
    class_: Literal["A", "B"] | None = msgspec.field(name="class", default=None)
    kind: Literal["a", "c", "f"] | None = None  # simple, complex, very complex (R. 871-2 CSS)
    design: Literal["unifocal", "multifocal"] | None = None
    wearer: Literal["adult", "child"] | None = None
    requires: Requirement = Requirement()


class _Closed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    on: str
    codes: frozenset[str]


class Codes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The grouping codes of one claim, as typed; `Nomenclature.require_valid` judges them."""

    right: str | None = None
    left: str | None = None
    frame: str | None = None
    supplements: tuple[str, ...] = ()


class Nomenclature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of the table."""

    table: str
    source: str
    codes: tuple[Code, ...]
    categories: dict[str, str]  # kinds of both lenses in order -> category of the equipment
    closed: _Closed

    def code(self, code: str, field: str) -> Code:
        """Return the row of `code`; raise `Refused` naming `field` where there is none."""
        for row in self.codes:
            if row.code == code:
                return row
        if code in self.closed.codes:
            raise Refused(
                field, f"the grouping code {code} was closed on {self.closed.on}", hint=self._hint
            )
        shown = f"{code[:12]} " if code.isascii() and code.isalnum() else ""
        raise Refused(field, f"{shown}is no grouping code of optics".strip(), hint=self._hint)

    def require_valid(self, codes: Codes, field: str = "codes") -> None:
        """Raise `Refused` unless these codes may stand together in one claim."""
        lenses = self.lenses(codes, field)
        if not lenses:
            raise Refused(
                field,
                "there is no lens",
                hint="give the code of the right lens, of the left, or both",
            )
        if codes.frame is not None:
            self._typed(codes.frame, "frame", f"{field}.frame")
        if len(codes.supplements) > MAX_SUPPLEMENTS:
            raise Refused(f"{field}.supplements", f"more than {MAX_SUPPLEMENTS}")
        classes = {row.class_ for row in lenses.values()}
        for supplement, count in Counter(codes.supplements).items():
            row = self._typed(supplement, "supplement", f"{field}.supplements")
            need = row.requires
            if count > len(lenses):
                raise Refused(
                    f"{field}.supplements", f"{row.code} stands {count} times, at most one per lens"
                )
            if need.lens_class is not None and need.lens_class not in classes:
                raise Refused(
                    f"{field}.supplements",
                    f"{row.code} goes with a lens of class {need.lens_class}, and there is none",
                )
            if need.frame is not None and need.frame != codes.frame:
                raise Refused(
                    f"{field}.supplements",
                    f"{row.code} goes with the frame {need.frame}, not {codes.frame or 'without'}",
                )

    def lenses(self, codes: Codes, field: str = "codes") -> dict[str, Code]:
        """Return the lenses that are claimed by side, "right" and "left"."""
        typed = {"right": codes.right, "left": codes.left}
        return {
            side: self._typed(code, "lens", f"{field}.{side}")
            for side, code in typed.items()
            if code is not None
        }

    def category(self, codes: Codes) -> str | None:
        """Return the category a to f of the equipment; None for one lens alone.

        It follows from the two codes: no dioptre is needed to know the ceiling.
        """
        kinds = sorted(str(row.kind) for row in self.lenses(codes).values())
        return self.categories.get("".join(kinds))

    def _typed(self, code: str, type_: str, field: str) -> Code:
        row = self.code(code, field)
        if row.type != type_:
            raise Refused(field, f"{row.code} is a {row.type}, not a {type_}: {row.label}")
        return row

    @property
    def _hint(self) -> str:
        return f"the codes of the table {self.table} are V01 to V04, VU1 to VU7 and so on"


@cache
def current() -> Nomenclature:
    """Return the table that new claims are judged by."""
    path = importlib.resources.files("contracts") / "tables" / f"{CURRENT}.json"
    return msgspec.json.decode(path.read_bytes(), type=Nomenclature)
