"""The grouping codes of optics, and which of them may stand together in one claim."""

from collections import Counter
from typing import Annotated, Final, Literal

import msgspec

from contracts.errors import BadTable
from contracts.nomenclature.errors import Objected, Objection
from contracts.nomenclature.tables import (
    Age,
    Date,
    Design,
    GroupingCode,
    LensClass,
    LensKind,
    Row,
    Table,
    Text,
    require_age,
    require_day,
)
from contracts.reference import TableKind

MAX_SUPPLEMENTS: Final = 8
SIDES: Final = ("right", "left")
_MAX_CODES: Final = 256
_NUMBER: Final = msgspec.Meta(ge=1, le=9_999)


class Requirement(Row, frozen=True, kw_only=True):
    """What else must hold for a supplement to stand in a claim."""

    lens_class: LensClass | None = None
    frame: GroupingCode | None = None
    age_below: Age | None = None  # of the wearer, where it is known


class Code(Row, frozen=True, kw_only=True):
    """One grouping code."""

    code: GroupingCode
    label: Text
    amo: Annotated[int, _NUMBER]  # PRS_NAT_REF of the basic scheme
    c2s: Annotated[int, _NUMBER] | None = None  # of the complementary solidarity scheme
    type: Literal["lens", "frame", "supplement"]
    class_: LensClass | None = msgspec.field(name="class", default=None)
    kind: LensKind | None = None
    design: Design | None = None
    wearer: Literal["adult", "child"] | None = None
    per: Literal["lens", "frame"] | None = None  # of which it may stand once for each
    requires: Requirement | None = None


class Closed(Row, frozen=True, kw_only=True):
    """The codes that were in use until a day, which was the last."""

    last_day: Date
    codes: Annotated[tuple[GroupingCode, ...], msgspec.Meta(max_length=_MAX_CODES)]


class Codes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The grouping codes of one claim, as typed; `require_valid` judges them."""

    right: str | None = None
    left: str | None = None
    frame: str | None = None
    supplements: tuple[str, ...] = ()


class CodeTable(Table, frozen=True, kw_only=True):
    """The grouping codes there are, those that were, and those that are not for glasses."""

    KIND = TableKind.OPTICS_CODES

    codes: Annotated[tuple[Code, ...], msgspec.Meta(min_length=1, max_length=_MAX_CODES)]
    closed: Closed
    elsewhere: Annotated[tuple[GroupingCode, ...], msgspec.Meta(max_length=_MAX_CODES)]
    unverified: Annotated[tuple[GroupingCode, ...], msgspec.Meta(max_length=_MAX_CODES)]

    def require_sound(self) -> None:
        """Raise `BadTable` unless each code stands once and has what its type needs."""
        require_day(self.closed.last_day)
        for group in (self.closed.codes, self.elsewhere, self.unverified):
            if list(group) != sorted(group):
                raise BadTable(f"{', '.join(group)[:80]}: a list of codes is sorted")
        others = (*self.closed.codes, *self.elsewhere, *self.unverified)
        every = Counter((*(row.code for row in self.codes), *others))
        if twice := sorted(code for code, count in every.items() if count > 1):
            raise BadTable(f"the code {twice[0]} stands twice")
        frames = {row.code for row in self.codes if row.type == "frame"}
        for row in self.codes:
            is_lens, is_frame = row.type == "lens", row.type == "frame"
            if (
                {row.kind is not None, row.design is not None} != {is_lens}
                or (row.class_ is not None) is not (is_lens or is_frame)
                or (row.wearer is not None) is not is_frame
                or (row.per is None) is not (is_lens or is_frame)
                or (row.requires is not None and row.type != "supplement")
                or row.requires == Requirement()
            ):
                raise BadTable(f"the row of {row.code} is not that of a {row.type}")
            frame = row.requires and row.requires.frame
            if frame is not None and frame not in frames:
                raise BadTable(f"{row.code} goes with {frame}, which is no frame")

    def row(self, code: str, field: str) -> Code:
        """Return the row of `code`; raise `Objected` at `field` where there is none."""
        for row in self.codes:
            if row.code == code:
                return row
        if code in self.closed.codes:
            raise Objected(Objection.CODE_CLOSED, field, code, self.closed.last_day)
        if code in self.elsewhere:
            raise Objected(Objection.CODE_ELSEWHERE, field, code)
        if code in self.unverified:
            raise Objected(Objection.CODE_UNVERIFIED, field, code)
        raise Objected(Objection.CODE_UNKNOWN, field, code)

    def lenses(self, codes: Codes, field: str = "codes") -> dict[str, Code]:
        """Return the lenses that are claimed by side, "right" and "left"; raise `Objected`."""
        typed = {"right": codes.right, "left": codes.left}
        return {
            side: self._typed(code, "lens", f"{field}.{side}")
            for side, code in typed.items()
            if code is not None
        }

    def frame(self, codes: Codes, field: str = "codes") -> Code | None:
        """Return the frame that is claimed, if one is; raise `Objected`."""
        if codes.frame is None:
            return None
        return self._typed(codes.frame, "frame", f"{field}.frame")

    def require_valid(
        self, codes: Codes, field: str = "codes", *, age: int | None = None, is_c2s: bool = False
    ) -> None:
        """Raise `Objected` unless these codes may stand together in one claim.

        `age` is the wearer's in whole years, where it is known.
        """
        lenses = self.lenses(codes, field)
        if not lenses:
            raise Objected(Objection.NO_LENS, field)
        frame = self.frame(codes, field)
        inside = f"{field}.supplements"
        if len(codes.supplements) > MAX_SUPPLEMENTS:
            raise Objected(Objection.SUPPLEMENTS_TOO_MANY, inside, MAX_SUPPLEMENTS)
        if age is not None:
            require_age(age)
        classes = {row.class_ for row in lenses.values()}
        for supplement, count in sorted(Counter(codes.supplements).items()):
            row = self._typed(supplement, "supplement", inside)
            most = len(lenses) if row.per == "lens" else 1
            if count > most:
                raise Objected(Objection.SUPPLEMENT_REPEATED, inside, row.code, most, count)
            need = row.requires or Requirement()
            if need.lens_class is not None and need.lens_class not in classes:
                raise Objected(Objection.LENS_CLASS_ABSENT, inside, row.code, need.lens_class)
            if need.frame is not None and (frame is None or frame.code != need.frame):
                found = "" if frame is None else frame.code
                raise Objected(Objection.FRAME_ABSENT, inside, row.code, need.frame, found)
            if need.age_below is not None and age is not None and age >= need.age_below:
                raise Objected(Objection.WEARER_TOO_OLD, inside, row.code, need.age_below)
        if is_c2s:
            self._require_c2s(codes, field)

    def _require_c2s(self, codes: Codes, field: str) -> None:
        typed = {"right": codes.right, "left": codes.left, "frame": codes.frame}
        every = [(part, code) for part, code in typed.items() if code is not None]
        for part, code in (*every, *(("supplements", each) for each in codes.supplements)):
            if self.row(code, f"{field}.{part}").c2s is None:
                raise Objected(Objection.CODE_NOT_OF_C2S, f"{field}.{part}", code)

    def _typed(self, code: str, type_: str, field: str) -> Code:
        row = self.row(code, field)
        if row.type != type_:
            raise Objected(Objection.CODE_MISPLACED, field, row.code, row.type, type_, row.label)
        return row
