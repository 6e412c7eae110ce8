"""How shops' programs name the columns of their tables, in French and in English.

Accents, capitals, signs and units do not matter: "N° facture" and "n facture" are one.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

_EYES: Final = {
    "right": ("od", "droit", "droite", "oeil droit", "right", "right eye"),
    "left": ("og", "gauche", "oeil gauche", "left", "left eye", "os"),
}
_OF_AN_EYE: Final = {
    "sphere": "sphere|sph",
    "cylinder": "cylindre|cylinder|cyl",
    "axis": "axe|axis|ax",
    "add": "addition|add",
    "prism": "prisme|prism|prism amount",
    "base": "base|base prisme|prism base",
    "code": "code|verre|code verre|code regroupement|lens|lens code",
    "amount": "montant|prix|montant verre|prix verre|amount|lens amount",
}
_ALONE: Final = {
    "reference": "facture|n facture|numero facture|reference|ref|invoice"
    "|invoice number|reference facture|claim|reference du dossier|dossier",
    "payer": "payeur|payer|organisme|complementaire|mutuelle|amc|insurer",
    "leg": "part|leg|regime|volet",
    "date": "date facture|date de facture|date de la facture|invoice date|date devis"
    "|date du devis|quote date",
    "insured": "n adherent|numero adherent|adherent|reference assure|insured|n assure"
    "|insured reference|member number",
    "authorisation": "pec|n pec|numero pec|prise en charge|n prise en charge"
    "|authorisation|authorization|authorisation number|n accord",
    "agreement": "reference accord|reference pec|authorisation reference",
    "prescription": "ordonnance|n ordonnance|reference ordonnance|prescription"
    "|prescription reference",
    "written": "date ordonnance|date de l ordonnance|date prescription|date written"
    "|date de prescription|prescription date",
    "prescriber": "prescripteur|n prescripteur|rpps|n rpps|prescriber|adeli"
    "|rpps prescripteur|prescriber number",
    "frame": "monture|code monture|frame|frame code",
    "supplements": "supplements|options|codes supplements|supplement codes",
    "lenses_amount": "montant verres|prix verres|verres|lenses|lenses amount",
    "frame_amount": "montant monture|prix monture|frame amount",
}
# Who the patient is: these are left out without a look at what stands in them.
_PERSON: Final = re.compile(
    r"(nir|ins|nss|ssn|matricule ins|ss)|.*\b(secu|securite sociale|social security).*"
    r"|(nom|prenom|name|first name|last name|client|cliente|patient|patiente|beneficiaire)\b.*"
    r"|.*\b(naissance|birth|birthdate|adresse|address|telephone|phone|tel|email|e mail|mail)\b.*"
)
_SHOWN: Final = 40  # characters of a heading in a message


def plain(heading: str) -> str:
    """Return a heading as it is compared: small letters and digits, single spaces."""
    text = unicodedata.normalize("NFKD", heading.casefold().replace("œ", "oe"))
    text = "".join(each for each in text if not unicodedata.combining(each))
    text = re.sub(r"\([^()]*\)", " ", text)  # a unit
    text = re.sub(r"[^a-z0-9]+", " ", text)
    return re.sub(r"\b(eur|euros?|d|dioptries|degres)$", "", text.strip()).strip()


def shown(heading: str) -> str:
    """Return a heading as messages show it."""
    text = "".join(each for each in heading if each.isprintable()).strip()
    return f'column "{text[:_SHOWN]}"'


def is_of_a_person(heading: str) -> bool:
    """Return whether what stands in the column is who the patient is."""
    return _PERSON.fullmatch(plain(heading)) is not None


def _names() -> Iterator[tuple[str, str]]:
    for eye, of_eye in _EYES.items():
        for what, words in _OF_AN_EYE.items():
            for word in words.split("|"):
                for side in of_eye:
                    yield f"{word} {side}", f"{eye}_{what}"
                    yield f"{side} {word}", f"{eye}_{what}"
    for what, words in _ALONE.items():
        for word in words.split("|"):
            yield word, what


FIELDS: Final = dict(_names())  # plain heading -> what stands in its column
EXAMPLES: Final = {what: words.split("|")[0] for what, words in _ALONE.items()}
