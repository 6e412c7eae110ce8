"""What calls cost a block, in units of some 12 µs: a pair of the state that is hashed, or an entry.

Each class of call tells its own as `cost`, for the worst case of what it may do; `scripts/costs`
measures it, and finds what says too little.
"""

from typing import Final

POINT_COST: Final = 3  # parsing a point of edwards25519, or adding one
SIGNATURE_COST: Final = 18  # verifying one
