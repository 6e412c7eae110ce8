"""A FHIR `Claim`, of R4 or R5, in the fields of our own format.

Of type vision, a claim or a preauthorization. What stands where:

* `identifier`: the shop's reference; `insurer`: the payer; `subType`: base or complementary;
* `item`: one for each lens, frame and supplement: the grouping code, which eye (`bodySite`), the
  amount in euros (`net`, or `unitPrice` by `quantity`; lenses may share one, with supplements);
* `insurance`: the coverage's number at the payer (the insured), and `preAuthRef`;
* `prescription`, or a `supportingInfo`: a VisionPrescription in the file, or the identifier of one
  that is kept; `related`: what was agreed before, or the rejected claim that this one replaces.

Names, notes, diagnoses and attachments are left out. Source: hl7.org/fhir/R4/claim.html and R5.
"""

from decimal import Decimal
from typing import Any, Final

from node.client import nomenclature, screening
from node.client.errors import Refused
from node.client.faults import Faults
from node.client.parts import Part
from node.client.reading import REFERENCE, as_list, as_object
from node.client.references import Resources, codes, identifiers
from node.client.request import (
    AMOUNT_MAX,
    AUTHORISATION_FORMAT,
    FORMAT,
    PRESCRIPTION_FORMAT,
)

_Resource = dict[str, Any]
USES: Final = ("claim", "preauthorization")
MAX_ITEMS: Final = 32
CURRENCY: Final = "EUR"
_LEGS: Final = {
    **dict.fromkeys(("base", "amo", "ro"), "base"),
    **dict.fromkeys(("complementary", "amc", "rc"), "complementary"),
}
# As programs write which eye: plain, as opticians do, and the codes of SNOMED CT.
_EYES: Final = {
    **dict.fromkeys(("right", "od", "re", "18944008", "362502000"), "right"),
    **dict.fromkeys(("left", "og", "os", "le", "8966001", "362503005"), "left"),
}
_KEPT: Final = frozenset(
    (
        "resourceType",
        "status",
        "type",
        "subType",
        "use",
        "identifier",
        "insurer",
        "created",
        "billablePeriod",
        "item",
        "insurance",
        "prescription",
        "supportingInfo",
        "related",
        "total",
        "contained",
        "id",
        "meta",
    )
)
_KEPT_OF_ITEM: Final = frozenset(
    ("sequence", "productOrService", "bodySite", "quantity", "unitPrice", "factor", "net")
)


def claim_parts(
    resources: Resources, name: str, *, agreements: bool, replacing: bool
) -> list[Part]:
    """Return each Claim of a file in our own format; nothing of it is judged yet.

    `replacing` allows claims that are to stand for a rejected one.
    """
    parts = []
    for number, resource in resources.of_type("Claim"):
        reader = _Claim(resource, resources, agreements=agreements, replacing=replacing)
        document = reader.document()
        place = _place(name, number, resource)
        found = tuple(reader.faults.found)
        left = (*reader.left_out(), *resources.left_out)
        parts.append(Part(place, document, found, reader.columns(), left, reader.unread))
    return parts


def prescription_parts(resources: Resources, name: str) -> list[Part]:
    """Return each VisionPrescription of a file in our own format, nothing of it judged yet."""
    parts = []
    for number, resource in resources.of_type("VisionPrescription"):
        document = {
            "format": PRESCRIPTION_FORMAT,
            "prescription": _with_prescriber(resource, resources, resource),
        }
        if reference := _reference_of(resource):
            document["reference"] = reference
        parts.append(Part(_place(name, number, resource), document, left_out=resources.left_out))
    return parts


def _place(name: str, number: int | None, resource: _Resource) -> str:
    own = next((each for each in identifiers(resource) if REFERENCE.fullmatch(each)), None)
    if number is None:
        return name
    return f"{name}, entry {number}" + (f" ({own})" if own else "")


def _reference_of(resource: object) -> str | None:
    """Return the identifier that may be a reference of the shop's; otherwise the first."""
    found = list(identifiers(resource))
    return next((each for each in found if REFERENCE.fullmatch(each)), found[0] if found else None)


def _with_prescriber(prescription: _Resource, resources: Resources, within: _Resource) -> _Resource:
    """Return a VisionPrescription that says the prescriber's number itself, where it is known."""
    prescriber = prescription.get("prescriber")
    found = resources.of(prescriber, prescription) or resources.of(prescriber, within)
    if found is not None and found.get("resourceType") == "PractitionerRole":
        role = found.get("practitioner")
        found = resources.of(role, found) or resources.of(role, within) or _as_dict(role)
    if found is None or not any(identifiers(found)):
        return prescription
    return prescription | {"prescriber": {"identifier": found["identifier"]}}


def _as_dict(value: object) -> _Resource | None:
    return value if isinstance(value, dict) else None


class _Claim:
    """One Claim, and what was found wrong with it so far."""

    def __init__(
        self, resource: _Resource, resources: Resources, *, agreements: bool, replacing: bool
    ) -> None:
        self.faults = Faults()
        self.unread: tuple[str, ...] = ()
        self._resource = resource
        self._resources = resources
        self._replacing = replacing
        self._key, self._date = (
            ("authorisation", "quote_date") if agreements else ("claim", "invoice_date")
        )
        self._use = USES[1] if agreements else USES[0]
        self._items: list[_Resource] = []

    def columns(self) -> dict[str, str]:
        """Return where in the resource each field of ours stands, for messages."""
        return {
            f"{self._key}.reference": "Claim.identifier",
            f"{self._key}.payer": "Claim.insurer",
            f"{self._key}.leg": "Claim.subType",
            f"{self._key}.{self._date}": "Claim.billablePeriod",
            f"{self._key}.insured": "Claim.insurance.coverage",
            f"{self._key}.authorisation": "Claim.insurance.preAuthRef",
            "prescription": "Claim.prescription",
        }

    def left_out(self) -> tuple[str, ...]:
        """Return the names of what is not read."""
        names = {f"Claim.{name}" for name in self._resource if name not in _KEPT}
        names |= {f"Claim.item.{n}" for item in self._items for n in item if n not in _KEPT_OF_ITEM}
        return tuple(sorted(name for name in names if name.replace(".", "").isidentifier()))

    def document(self) -> _Resource:
        """Return it in our own format."""
        self.faults.take(None, screening.require_none, self._resource, "Claim")
        if self.faults.found:
            return {}
        self._require_kind()
        insured, authorisation = self.faults.take((None, None), self._insurance)
        claimed = {
            "reference": _reference_of(self._resource),
            "payer": self._payer(),
            "leg": self._leg(),
            self._date: self._day(),
            "insured": insured,
            "authorisation": authorisation if self._key == "claim" else None,
            **self._claimed(),
        }
        document = {
            "format": FORMAT if self._key == "claim" else AUTHORISATION_FORMAT,
            self._key: {name: value for name, value in claimed.items() if value is not None},
            **self._prescribed(),
        }
        if self._key == "claim" and (agreement := self._agreement()):
            document["authorisation_reference"] = agreement
        return document

    def _require_kind(self) -> None:
        """Keep a fault unless it is an active claim for glasses, and of the use that is wanted."""
        if self._resource.get("status") != "active":
            why = "must be active; a draft or cancelled one is not submitted"
            self.faults.add(Refused("Claim.status", why))
        if "vision" not in codes(self._resource.get("type")):
            self.faults.add(Refused("Claim.type", "must be vision"))
        use = self._resource.get("use")
        if use != self._use:
            verbs = {"preauthorization": "authorisation request", "claim": "claim submit"}
            verb = verbs.get(use) if isinstance(use, str) else None
            hint = f"depoli {verb} takes it" if verb else ""
            self.faults.add(Refused("Claim.use", f"must be {self._use}", hint=hint))

    def _payer(self) -> str | None:
        """Return how the payer is named: by an identifier, or by the end of the reference."""
        insurer = self._resource.get("insurer")
        known = self._resources.of(insurer, self._resource)
        found = next(identifiers(insurer), None) or next(identifiers(known), None)
        name = insurer.get("reference") if isinstance(insurer, dict) else None
        if found is None and isinstance(name, str):
            return name.rpartition("/")[2]  # as in Organization/insurer-a
        return found

    def _leg(self) -> str | None:
        given = [*codes(self._resource.get("subType"))]
        found = {_LEGS[each.casefold()] for each in given if each.casefold() in _LEGS}
        if len(found) == 1:
            return found.pop()
        if given:
            why = "must be coded base (amo) or complementary (amc)"
            self.faults.add(Refused("Claim.subType", why))
        return None

    def _day(self) -> str | None:
        """Return the day of the invoice, or of the quote: that of the period, else of writing."""
        period = self._resource.get("billablePeriod")
        given = period if isinstance(period, dict) else {}
        moment = given.get("end") or given.get("start") or self._resource.get("created")
        return moment[:10] if isinstance(moment, str) else None

    def _insurance(self) -> tuple[str | None, str | None]:
        """Return the payer's reference of the insured, and the number that it gave."""
        found = as_list(self._resource.get("insurance", []), "Claim.insurance", limit=8)
        focal = [each for each in found if isinstance(each, dict) and each.get("focal") is True]
        if len(found) > 1 and len(focal) != 1:
            raise Refused("Claim.insurance", "exactly one of several must be focal: the payer's")
        if not found:
            return None, None
        insurance = as_object((focal or found)[0], "Claim.insurance")
        coverage = insurance.get("coverage")
        known = self._resources.of(coverage, self._resource)
        insured = next(identifiers(coverage), None) or _subscriber(known)
        numbers = as_list(insurance.get("preAuthRef", []), "Claim.insurance.preAuthRef", limit=8)
        if len(numbers) > 1:
            raise Refused("Claim.insurance.preAuthRef", "there is more than one number")
        return insured, numbers[0] if numbers else None

    def _claimed(self) -> _Resource:
        """Return codes and amounts."""
        where = "Claim.item"
        items = self.faults.take([], as_list, self._resource.get("item"), where, limit=MAX_ITEMS)
        self._items = [item for item in items if isinstance(item, dict)]
        found: _Resource = {"supplements": []}
        cents: dict[str, int] = {}
        before = len(self.faults.found)
        for index, item in enumerate(items):
            self.faults.take(None, _read_item, item, f"{where}[{index}]", found, cents)
        if len(self.faults.found) == before:
            self._require_total(sum(cents.values()))
        else:
            self.unread = ("codes", "amounts")
        return {"codes": found, "amounts": cents}

    def _require_total(self, cents: int) -> None:
        total = self._resource.get("total")
        if total is None:
            return
        given = self.faults.take(None, _as_cents, total, "Claim.total", most=2 * AMOUNT_MAX)
        if given is not None and given != cents:
            why = f"is not the sum of the items, {cents / 100:.2f} {CURRENCY}"
            self.faults.add(Refused("Claim.total", why))

    def _prescribed(self) -> _Resource:
        """Return the prescription, where it is in the file, and the shop's reference of it."""
        reference = self._resource.get("prescription")
        if reference is None:
            supporting = self._resource.get("supportingInfo")
            for info in supporting if isinstance(supporting, list) else ():
                given = info.get("valueReference") if isinstance(info, dict) else None
                found = self._resources.of(given, self._resource)
                if found is not None and found.get("resourceType") == "VisionPrescription":
                    reference = given
        if reference is None:
            return {}
        found = self._resources.of(reference, self._resource)
        name = next(identifiers(reference), None) or _fitting(found)
        result = {} if name is None else {"prescription_reference": name}
        if found is not None:
            held = _with_prescriber(found, self._resources, self._resource)
            return result | {"prescription": held}
        if name is None:
            why = "refers to what is not in the file"
            hint = (
                "put the VisionPrescription into the Bundle, or give the identifier of a kept one"
            )
            self.faults.add(Refused("Claim.prescription", why, hint=hint))
        return result

    def _agreement(self) -> str | None:
        """Return our own reference of the prior agreement that is consumed."""
        related = self._resource.get("related", [])
        for each in self.faults.take([], as_list, related, "Claim.related", limit=8):
            if not isinstance(each, dict):
                continue
            known = self._resources.of(each.get("claim"), self._resource)
            name = next(identifiers(each.get("claim")), None) or _reference_of(known)
            is_agreement = known is not None and known.get("use") == USES[1]
            if is_agreement or {"preauthorization", "agreement"} & {
                *codes(each.get("relationship"))
            }:
                return name
            if "prior" in codes(each.get("relationship")) and not self._replacing:
                self.faults.add(
                    Refused(
                        "Claim.related",
                        "this is to take the place of an earlier claim",
                        hint="depoli claim resubmit CLAIM FILE submits one in the place of another",
                    )
                )
        return None


def _fitting(resource: object) -> str | None:
    return next((each for each in identifiers(resource) if REFERENCE.fullmatch(each)), None)


def _subscriber(coverage: _Resource | None) -> str | None:
    """Return what the payer calls the insured: R4 writes a text, R5 a list of identifiers."""
    if coverage is None:
        return None
    given = coverage.get("subscriberId")
    if isinstance(given, str):
        return given
    return next(identifiers({"identifier": given}), None) or next(identifiers(coverage), None)


def _read_item(value: object, where: str, found: _Resource, cents: dict[str, int]) -> None:
    """Put the code and the amount of an item to those of the others; raise `Refused`."""
    item = as_object(value, where)
    given = [*codes(item.get("productOrService"))]
    if not given:
        raise Refused(f"{where}.productOrService", "must be a grouping code such as VU2")
    row = nomenclature.known(given, f"{where}.productOrService")
    count = _quantity(item, where)
    amount = _amount(item, count, where)
    match row.type:
        case "lens":
            sides = _sides(item, where, count)
            for side in sides:
                if side in found:
                    raise Refused(f"{where}.bodySite", f"the {side} lens stands twice")
                found[side] = row.code
        case "frame":
            if "frame" in found:
                raise Refused(where, "the frame stands twice")
            found["frame"] = row.code
        case "supplement":
            found["supplements"] += [row.code] * count
    part = "frame" if row.type == "frame" or row.per == "frame" else "lenses"
    if amount is not None:  # otherwise it is counted with another of its part
        cents[part] = cents.get(part, 0) + amount


def _sides(item: _Resource, where: str, count: int) -> set[str]:
    """Return of which eye, or eyes, a lens is; raise `Refused`."""
    given = codes([item.get("bodySite"), item.get("subSite"), item.get("modifier")])
    sides = {_EYES[each.casefold()] for each in given if each.casefold() in _EYES}
    if not sides and count == len(("right", "left")):
        return {"right", "left"}
    if not sides:
        hint = "right or left; two lenses alike are one item with the quantity 2"
        raise Refused(f"{where}.bodySite", "does not say of which eye the lens is", hint=hint)
    return sides


def _quantity(item: _Resource, where: str) -> int:
    given = item.get("quantity")
    if given is None:
        return 1
    value = as_object(given, f"{where}.quantity").get("value")
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or value not in range(1, 9):
        raise Refused(f"{where}.quantity", "must be a whole number, 1 to 8")
    return int(value)


def _amount(item: _Resource, count: int, where: str) -> int | None:
    """Return what an item costs, in cents, None where it does not say; raise `Refused`."""
    if item.get("net") is not None:
        return _as_cents(item["net"], f"{where}.net")
    if item.get("unitPrice") is None:
        return None
    return count * _as_cents(item["unitPrice"], f"{where}.unitPrice")


def _as_cents(value: object, field: str, *, most: int = AMOUNT_MAX) -> int:
    """Return FHIR's Money as cents; raise `Refused`."""
    money = as_object(value, field)
    if money.get("currency", CURRENCY) != CURRENCY:
        raise Refused(f"{field}.currency", f"must be {CURRENCY}")
    number = money.get("value")
    if isinstance(number, bool) or not isinstance(number, int | Decimal):
        raise Refused(f"{field}.value", "must be an amount in euros, such as 118.00")
    if not 0 <= number <= most // 100:
        raise Refused(f"{field}.value", f"must lie between 0 and {most // 100} euros")
    if (Decimal(number) * 100) % 1:
        raise Refused(f"{field}.value", "must be whole cents")
    return int(Decimal(number) * 100)
