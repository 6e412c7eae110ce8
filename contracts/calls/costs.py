"""What calls cost a block, in units of about 8 µs: a pair of the state that is hashed.

Each class of call tells its own as `cost`, for the worst case of what it may do.
"""

from typing import Final

POINT_COST: Final = 3  # parsing a point of edwards25519, or adding one
SIGNATURE_COST: Final = 18  # verifying one
