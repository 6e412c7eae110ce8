"""What the nomenclature objects to: a closed list of facts, each with the field it is about."""

from enum import IntEnum
from typing import Final

from contracts.errors import ContractsError


class Objection(IntEnum):
    """Why codes, dates or amounts are no proper claim; what the evidence is, its text says."""

    NO_LENS = 1
    CODE_UNKNOWN = 2
    CODE_CLOSED = 3
    CODE_ELSEWHERE = 4
    CODE_UNVERIFIED = 5
    CODE_MISPLACED = 6
    SUPPLEMENTS_TOO_MANY = 7
    SUPPLEMENT_REPEATED = 8
    LENS_CLASS_ABSENT = 9
    FRAME_ABSENT = 10
    WEARER_TOO_OLD = 11
    CODE_NOT_OF_C2S = 12
    AGE_OUT_OF_RANGE = 20
    AMOUNT_OUT_OF_RANGE = 21
    CLAUSE_NOT_ONE = 22
    ANCHOR_ABSENT = 30
    DATE_BEFORE = 31

    @property
    def text(self) -> str:
        """What it says to a person, in one sentence."""
        return _TEXTS[self]


_TEXTS: Final = {
    Objection.NO_LENS: "There is no lens.",
    Objection.CODE_UNKNOWN: "The code given is no grouping code of this table.",
    Objection.CODE_CLOSED: "The code given was closed after the day given.",
    Objection.CODE_ELSEWHERE: "The code given is of another scheme than the glasses claimed here.",
    Objection.CODE_UNVERIFIED: "The code given is known at second hand only, and not in the table.",
    Objection.CODE_MISPLACED: "The code given is of the type given, and another belongs here.",
    Objection.SUPPLEMENTS_TOO_MANY: "There are more supplements than the number given.",
    Objection.SUPPLEMENT_REPEATED: "The code given stands more often than the number given.",
    Objection.LENS_CLASS_ABSENT: "The code given goes with a lens of the class given.",
    Objection.FRAME_ABSENT: "The code given goes with the frame given.",
    Objection.WEARER_TOO_OLD: "The code given is for wearers below the age given.",
    Objection.CODE_NOT_OF_C2S: "The complementary solidarity scheme has no such code.",
    Objection.AGE_OUT_OF_RANGE: "An age is a number of whole years, at most the number given.",
    Objection.AMOUNT_OUT_OF_RANGE: "An amount is a number of cents, at most the number given.",
    Objection.CLAUSE_NOT_ONE: "One clause must speak of a correction; the number given do.",
    Objection.ANCHOR_ABSENT: "The date that the period is counted from is not given.",
    Objection.DATE_BEFORE: "The date is before the one it must follow.",
}


class Objected(ContractsError):
    """Something is no proper claim; what was typed is evidence, and not in the message."""

    def __init__(self, objection: Objection, field: str, *evidence: str | int) -> None:
        super().__init__(f"{field}: {objection.text}")
        self.objection = objection
        self.field = field
        self.evidence = evidence
