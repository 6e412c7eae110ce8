"""The countries whose organisations may be members: those of the European Economic Area.

Directives on health data and the rules on certificates hold there, and nowhere else. The list is
that of the EEA Agreement; ISO 3166-1 alpha-2 codes, ascending (Greece is GR).
"""

from typing import Final

UNION: Final = (
    b"AT", b"BE", b"BG", b"CY", b"CZ", b"DE", b"DK", b"EE", b"ES", b"FI", b"FR", b"GR", b"HR",
    b"HU", b"IE", b"IT", b"LT", b"LU", b"LV", b"MT", b"NL", b"PL", b"PT", b"RO", b"SE", b"SI",
    b"SK",
)  # fmt: skip
ASSOCIATED: Final = (b"IS", b"LI", b"NO")


def is_in_eea(country: bytes) -> bool:
    """Return whether an organisation of this country may be a member."""
    return country in UNION or country in ASSOCIATED
