"""Who the patient is does not enter: what a FHIR document declares to be that is cut out unread.

What is *declared* a patient, or a national health identity (INS, which is the social security
number), is left out, and said to be. A social security number that stands anywhere else is refused
(`node.client.screening`): there somebody put it where it must not be.
"""

from typing import Any, Final

PERSONS: Final = frozenset(("Patient", "Person", "RelatedPerson"))
# The arc of object identifiers for the INS: with the NIR, the NIA, and those for tests.
_SYSTEMS: Final = ("urn:oid:1.2.250.1.213.1.4.", "1.2.250.1.213.1.4.")
_TYPES: Final = frozenset(("INS", "INS-C", "INS-NIR", "INS-NIA", "NIR", "NIA", "NSS"))


def without_identity(value: Any) -> tuple[Any, tuple[str, ...]]:  # noqa: ANN401 - what JSON holds
    """Return what JSON holds without patients and their identities, and what was left out."""
    left: set[str] = set()
    return _cut(value, left), tuple(sorted(left))


def _cut(value: Any, left: set[str]) -> Any:  # noqa: ANN401
    match value:
        case dict():
            kept = {}
            for name, item in value.items():
                if not _is_kept(item, left):
                    continue
                kept[name] = _cut(item, left)
            return kept
        case list():
            return [_cut(item, left) for item in value if _is_kept(item, left)]
        case _:
            return value


def _is_kept(value: object, left: set[str]) -> bool:
    if not isinstance(value, dict):
        return True
    kind = value.get("resourceType")
    if isinstance(kind, str) and kind in PERSONS:
        left.add(kind)
        return False
    if _is_health_identity(value):
        left.add("identifier (INS)")
        return False
    return True


def _is_health_identity(value: dict[str, Any]) -> bool:
    system = value.get("system")
    if isinstance(system, str) and system.startswith(_SYSTEMS):
        return "value" in value
    type_ = value.get("type")
    codings = type_.get("coding") if isinstance(type_, dict) else None
    if "value" not in value or not isinstance(codings, list):
        return False
    given = (each.get("code") for each in codings if isinstance(each, dict))
    return any(isinstance(code, str) and code in _TYPES for code in given)
