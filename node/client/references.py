"""The FHIR resources of one file, and which of them a reference means.

A reference is resolved inside the file alone: `#id` among what the resource contains, otherwise by
the full URL (`urn:uuid:…`, or one that ends in `Type/id`) of an entry of the bundle. Nothing is
ever fetched.
"""

from collections.abc import Iterator
from typing import Any, Final

from node.client.errors import NotReadable
from node.client.identity import without_identity

MAX_ENTRIES: Final = 10_000
# A history holds what was, and a response to one what is not asked for.
BUNDLES: Final = frozenset(
    ("collection", "transaction", "batch", "message", "document", "searchset")
)
_Resource = dict[str, Any]


class Resources:
    """The resources of a bundle, or one alone, in the order of the file; patients are cut out."""

    def __init__(self, document: _Resource, name: str) -> None:
        document, self.left_out = without_identity(document)
        self._listed: list[tuple[int | None, _Resource]] = []
        self._known: dict[str, _Resource] = {}
        if document.get("resourceType") != "Bundle":
            self._add(None, document, None)
            return
        type_ = document.get("type")
        if not isinstance(type_, str) or type_ not in BUNDLES:
            raise NotReadable(
                f"{name} is a Bundle of another type than {', '.join(sorted(BUNDLES))}"
            )
        entries = document.get("entry", [])
        if not isinstance(entries, list) or len(entries) > MAX_ENTRIES:
            raise NotReadable(f"{name} has no list of at most {MAX_ENTRIES} entries: split it")
        for index, entry in enumerate(entries):
            resource = entry.get("resource") if isinstance(entry, dict) else None
            if isinstance(resource, dict):
                self._add(index + 1, resource, entry.get("fullUrl"))

    def of_type(self, type_: str) -> Iterator[tuple[int | None, _Resource]]:
        """Yield the resources of a type, each with the number of its entry in the bundle."""
        for number, resource in self._listed:
            if resource.get("resourceType") == type_:
                yield number, resource

    def of(self, reference: object, within: _Resource) -> _Resource | None:
        """Return the resource that a Reference in `within` means, None where it is not here."""
        name = reference.get("reference") if isinstance(reference, dict) else None
        if not isinstance(name, str):
            return None
        if name.startswith("#"):
            contained = within.get("contained")
            for each in contained if isinstance(contained, list) else ():
                if isinstance(each, dict) and each.get("id") == name[1:]:
                    return each
            return None
        return self._known.get(name) or self._known.get("/".join(name.split("/")[-2:]))

    def _add(self, number: int | None, resource: _Resource, url: object) -> None:
        self._listed.append((number, resource))
        names = [url] if isinstance(url, str) else []
        if isinstance(url, str) and "/" in url:
            names.append("/".join(url.split("/")[-2:]))
        if isinstance(resource.get("id"), str):
            names.append(f"{resource.get('resourceType')}/{resource['id']}")
        for each in names:
            self._known.setdefault(each, resource)


def identifiers(resource: object) -> Iterator[str]:
    """Yield the values of a resource's identifiers, or of a Reference's only one."""
    found = resource.get("identifier") if isinstance(resource, dict) else None
    for each in found if isinstance(found, list) else [found]:
        value = each.get("value") if isinstance(each, dict) else None
        if isinstance(value, str):
            yield value


def codes(value: object) -> Iterator[str]:
    """Yield every code in a CodeableConcept, or in whatever holds some (R5: CodeableReference)."""
    match value:
        case dict():
            if isinstance(code := value.get("code"), str):
                yield code
            for inner in value.values():
                yield from codes(inner)
        case list():
            for inner in value:
                yield from codes(inner)
        case _:
            pass
