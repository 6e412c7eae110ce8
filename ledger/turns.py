"""Whose turn it is to propose: round robin, past validators that missed their last turns.

A pure function of decided headers: `built_round` b of a block proves that the leaders of the rounds
below b did not get a block prepared. Who missed m turns in a row is passed over for n · 2^m blocks,
so that a dead validator costs a timeout now and then, and not in every n-th block for ever; the
first block that it builds again ends that. At most f are passed over at a time, so among f + 1
rounds in a row there is always the turn of an honest validator. Nothing is derived from a
certificate's round: nodes hold different certificates for one block.
"""

from functools import cached_property
from typing import Annotated, Final

import msgspec

from ledger.encoding import U63_MAX, Struct
from ledger.validators import MAX_VALIDATORS, faulty

MAX_PASSED_OVER: Final = 1024  # blocks: a validator that came back leads again within so many
_MAX_MISSES: Final = 10  # 2^10 is MAX_PASSED_OVER: more are not counted


class Absence(Struct):
    """A validator that missed the last turns that it had."""

    validator: Annotated[int, msgspec.Meta(ge=0, lt=MAX_VALIDATORS)]  # index in the set
    misses: Annotated[int, msgspec.Meta(ge=1, le=_MAX_MISSES)]  # in a row
    until: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # passed over at heights below


class Turns(Struct, dict=True):
    """Who leads at one height. The absences are by ascending index, each validator once."""

    absences: Annotated[tuple[Absence, ...], msgspec.Meta(max_length=MAX_VALIDATORS)] = ()

    @cached_property
    def _by_validator(self) -> dict[int, Absence]:
        return {absence.validator: absence for absence in self.absences}

    def passed_over(self, n: int, height: int) -> tuple[int, ...]:
        """Return which of n validators do not lead at `height`, ascending: at most f.

        Of more than f, those that missed most, then those with the lower index.
        """
        absent = [absence for absence in self.absences if height < absence.until]
        absent.sort(key=lambda absence: (-absence.misses, absence.validator))
        return tuple(sorted(absence.validator for absence in absent[: faulty(n)]))

    def leader(self, n: int, height: int, round_: int) -> int:
        """Return the index of the validator whose turn it is to propose."""
        passed_over = self.passed_over(n, height) if self.absences else ()
        leader = (height + round_) % (n - len(passed_over))
        for index in passed_over:  # ascending: skip each that stands at or before the place
            leader += index <= leader
        return leader

    def after(self, n: int, height: int, built_round: int) -> "Turns":
        """Return the turns at the next height, with the same n validators.

        `built_round` is that of the header decided at `height`.
        """
        if built_round == 0 and not self.absences:
            return self
        absences = dict(self._by_validator)
        leads = n - len(self.passed_over(n, height))
        for round_ in range(min(built_round, leads)):  # one missed turn a height, however often
            absent = self.leader(n, height, round_)
            known = absences.get(absent)
            misses = min(_MAX_MISSES, 1 if known is None else known.misses + 1)
            until = height + 1 + min(n << misses, MAX_PASSED_OVER)
            absences[absent] = Absence(absent, misses, min(until, U63_MAX))
        absences.pop(self.leader(n, height, built_round), None)
        return Turns(tuple(absence for _, absence in sorted(absences.items())))
