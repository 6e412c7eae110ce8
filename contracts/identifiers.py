"""The numbers by which France knows people, prescribers, places and firms, and their check digits.

Only whether one is well formed is said here; none of them ever enters the chain.
"""

import re
from enum import Enum
from typing import Final

_DIGITS: Final = re.compile(r"[0-9]*")
# Sex, year, month (or a civil fiction from 20 on), department, commune, order; then the key.
NIR_FORM: Final = r"[1-478]\d{2}(?:0[1-9]|1[0-2]|[2-9]\d)(?:\d{2}|2[AB])\d{6}"
_NIR: Final = re.compile(rf"({NIR_FORM})(\d\d)", re.ASCII)
_NIR_MODULUS: Final = 97


class Identifier(Enum):
    """A kind of number."""

    NIR = "social security number, or NIA"  # 13 characters and a key of two
    RPPS = "number of a health professional"
    FINESS = "number of a health establishment"  # not those of Corsica that hold a letter
    SIRET = "number of a firm's place"


_LENGTHS: Final = {Identifier.RPPS: 11, Identifier.FINESS: 9, Identifier.SIRET: 14}


def is_well_formed(identifier: Identifier, text: str) -> bool:
    """Return whether `text`, without separators, has the form and the key of such a number."""
    if identifier is Identifier.NIR:
        found = _NIR.fullmatch(text)
        return found is not None and nir_key(found[1]) == int(found[2])
    is_long_enough = len(text) == _LENGTHS[identifier]
    return is_long_enough and _DIGITS.fullmatch(text) is not None and passes_luhn(text)


def nir_key(number: str) -> int:
    """Return the key of the 13 characters of a NIR, 1 to 97; 2A counts as 19 and 2B as 18."""
    return _NIR_MODULUS - int(number.replace("2A", "19").replace("2B", "18")) % _NIR_MODULUS


def passes_luhn(number: str) -> bool:
    """Return whether the last digit checks the others (ISO/IEC 7812-1, annex B)."""
    digits = [int(digit) for digit in reversed(number)]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
