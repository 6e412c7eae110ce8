"""What is held about a person, on paper: pages in French and English that a patient can read.

Labels stand in both languages; what happened is told in each. Whatever stands in it is escaped.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any, Final

from node.audit.paper import NARROW, sheet
from node.client import french, words
from node.client.disclosing import Shown
from node.client.subject import Happened, Subject

_STYLE: Final = """@page { size: A4; margin: 11mm 12mm }
body { font-size: 8.6pt; line-height: 1.35; max-width: 186mm }
h1 { font-size: 15pt; line-height: 1.2; margin: 0 0 2mm; font-weight: 600 }
h2 { font-size: 10.5pt; margin: 5mm 0 1.2mm; break-after: avoid; color: #14532d }
h3 { font-size: 9pt; margin: 2.5mm 0 .8mm; break-after: avoid }
.both { display: grid; grid-template-columns: 1fr 1fr; gap: 7mm; margin-top: 3mm }
.both > * { min-width: 0 }
table { border-collapse: collapse; width: 100%; break-inside: auto }
tr { break-inside: avoid }
th { text-align: left; font-weight: 600; font-size: 7.4pt; color: #444 }
th { border-bottom: .8pt solid #333 }
th, td { padding: .8mm 2.2mm .8mm 0; vertical-align: top; overflow-wrap: break-word }
td { border-bottom: .3pt solid #bbb }
td.n, th.n { text-align: right }
td.n { white-space: nowrap; font-variant-numeric: tabular-nums }
"""
_WORDS: Final = {  # of closed lists, French and English
    "base": "obligatoire · basic",
    "complementary": "complémentaire · complementary",
    "reimbursement": "remboursement · reimbursement",
    "authorisation": "prise en charge · prior agreement",
    "acceptance": "montant accepté · amount accepted",
    "agreement": "montant accordé · amount agreed to",
    "settlement": "règlement · settlement",
    "question": "question · question",
    "answer": "réponse · answer",
    "erasure": "effacement · erasure",
    "erased": "effacé · erased",
    "waiting": "en attente · waiting",
    "handed on": "remis à son serveur · handed on",
    "acknowledged": "reçu, signé · received, signed for",
    "taken": "reçu, signé · received, signed for",
    "refused": "refusé · refused",
    "written to a file": "remis en main propre · handed over as a file",
    "expired": "non remis · not delivered",
    "accepted": "accepté · accepted",
    "accepted_in_part": "accepté en partie · accepted in part",
    "rejected": "rejeté · rejected",
    "prepared": "préparé · prepared",
    "locked": "réservé · locked",
    "submitted": "transmis · submitted",
    "committed": "inscrit · recorded",
    "cancelled": "annulé · cancelled",
    "ended": "terminé · ended",
    "last-reimbursement-date": "date du dernier remboursement · date of the last reimbursement",
    "early-renewal-qualifies": "renouvellement anticipé admis ? · does early renewal qualify?",
    "not-provable-here": "ne peut être établi ici · cannot be proved here",
    "yes": "oui · yes",
    "no": "non · no",
}
_EYES: Final = {"right": "œil droit · right eye", "left": "œil gauche · left eye"}
_DIGITS: Final = 12  # of an id, enough to tell it from others on paper

LabelOf = Callable[[bytes], str]


@dataclass(frozen=True, slots=True)
class About:
    """Whose data it is, as we call it, who holds it, and when it was looked at."""

    asked: str
    holder: str
    network: str
    made: int  # unix seconds
    label_of: LabelOf


def page(about: About, subject: Subject) -> str:
    """Return the HTML."""
    held = subject.held
    body = "".join(
        (
            f"<h1>{_text('Vos données · Your data')}</h1>",
            _both(_french(about), _english(about)),
            _section("Ordonnances · Prescriptions", _prescriptions(held.get("prescriptions", []))),
            _section("Demandes de remboursement · Claims", _claims(held.get("claims", []), about)),
            _section(
                "Prises en charge · Agreements", _claims(held.get("authorisations", []), about)
            ),
            _section("Reçu des opticiens · Received from opticians", _came(held, about)),
            _section("Questions posées · Questions asked", _questions(held.get("questions", []))),
            _section("Qui a vu quoi, et quand · Who saw what, and when", _seen(subject, about)),
            _section("Ce qui s'est passé · What happened", _happened(subject, about)),
            _section("Autres traces · Other traces", _others(held, about)),
            _ending(subject),
        )
    )
    return sheet(f"Vos données · Your data – {about.holder}", body, language="fr", style=_STYLE)


def _french(about: About) -> str:
    return _p(
        f"Voici tout ce que {about.holder} conserve dans son coffre chiffré à propos de"
        f" « {about.asked} », à la date du {_moment(about.made)}, et à qui cela a été montré."
    ) + _p(
        "Le registre partagé « "
        f"{about.network} » ne contient ni votre nom, ni votre correction, ni les codes, ni les"
        " montants : seulement des empreintes que seules les parties savent ouvrir. Votre numéro de"
        " sécurité sociale n'est conservé nulle part ici."
    )


def _english(about: About) -> str:
    return _p(
        f'This is all that {about.holder} keeps in its encrypted vault about "{about.asked}", as of'
        f" {_moment(about.made)}, and to whom it was shown."
    ) + _p(
        f'The shared ledger "{about.network}" holds neither your name nor your correction, codes or'
        " amounts: only commitments that the parties alone can open. Your social security number is"
        " kept nowhere here."
    )


def _ending(subject: Subject) -> str:
    ending = _both(
        _p(
            "Les secrets qui protègent ces données (clés, sels) ne figurent pas ici : ils ne disent"
            " rien de vous. Vous pouvez demander à rectifier ces données ou à les effacer, ici et"
            " chez ceux à qui elles ont été montrées."
        ),
        _p(
            "The secrets that guard these data (keys, salts) are left out: they say nothing of you."
            " You may ask to have these data rectified, or erased, here and at those who were shown"
            " them."
        ),
    )
    if subject.is_whole:
        return ending
    return ending + _both(
        _p("Le registre n'a pas été consulté en entier : ce qui s'est passé peut être incomplet."),
        _p("The ledger was not read whole: what happened may be incomplete."),
    )


def _prescriptions(items: Sequence[dict[str, Any]]) -> str:
    parts = []
    for item in items:
        parts.append(
            f"<h3>{_text(item['reference'])}</h3>"
            + _p(
                f"écrite le · written {item['written']} ; prescripteur (RPPS) · prescriber"
                f" {item['prescriber']}. Les cylindres sont écrits positifs, pour les mêmes"
                " verres. · Cylinders are written as positive ones, of the same lenses."
            )
        )
        headings = [
            *("", "sphère · sphere", "cylindre · cylinder", "axe · axis"),
            *("addition", "prismes · prisms"),
        ]
        rows = [
            (
                _EYES[side],
                eye["sphere"],
                eye["cylinder"],
                None if eye["axis"] is None else f"{eye['axis']}°",
                eye["addition"],
                ", ".join(eye["prisms"]) or None,
            )
            for side in _EYES
            if (eye := item[side]) is not None
        ]
        parts.append(_table(headings, rows))
    return "".join(parts)


def _claims(items: Sequence[dict[str, Any]], about: About) -> str:
    headings = [
        *("référence · reference", "payeur · payer", "part", "codes", "date"),
        *("demandé · claimed", "accepté · accepted", "assuré · insured", "état · state"),
    ]
    rows = [
        (
            _unbroken(item["reference"]),
            _unbroken(about.label_of(bytes.fromhex(item["payer"]))),
            _word(item["leg"]),
            " ".join([*item["codes"], *item["supplements"]]),
            _unbroken(item["date"]),
            _euros(item["cents"]),
            _euros(item["accepted_cents"]),
            item["insured"] or item["authorisation"],
            _word(item["state"]),
        )
        for item in items
    ]
    return _table(headings, rows, numbers=(5, 6))


def _came(held: dict[str, list[dict[str, Any]]], about: About) -> str:
    headings = [
        *("demande · claim", "opticien · optician", "part", "codes", "date"),
        *("demandé · claimed", "accepté · accepted", "assuré · insured", "décision · decision"),
    ]
    rows = [
        (
            _short(item["id"]),
            _unbroken(about.label_of(bytes.fromhex(item["submitter"]))),
            _word(item["leg"]),
            " ".join([*item["codes"], *item["supplements"]]),
            _unbroken(item["date"]),
            _euros(item["cents"]),
            _euros(item["accepted_cents"]),
            item["insured"] or item["authorisation"],
            _decision(item),
        )
        for item in held.get("received", [])
    ]
    return _table(headings, rows, numbers=(5, 6))


def _decision(item: dict[str, Any]) -> str | None:
    """Return what was decided, for which reason, and whether a machine did."""
    if item["decision"] is None:
        return None
    parts = [_word(item["decision"])]
    if item["reason"] is not None:
        name = item["reason"]
        parts.append(f"{french.SAYS[name.upper()]} · {name.replace('_', ' ')}")
    if item["is_automatic"]:
        parts.append("par un automate · by a machine")
    return " ; ".join(parts)


def _questions(items: Sequence[dict[str, Any]]) -> str:
    headings = ("question", "réponse · answer")
    rows = [
        (_word(item["question"]), None if item["answer"] is None else _word(item["answer"]))
        for item in items
    ]
    return _table(headings, rows)


def _seen(subject: Subject, about: About) -> str:
    headings = [
        *("quand · when", "de · from", "à · to", "pourquoi · what for", "de quoi · of what"),
        *("état · state", "accusé de réception · acknowledged"),
    ]

    def row(shown: Shown) -> tuple[str | None, ...]:
        other = about.label_of(shown.counterpart)
        is_sent = shown.direction == "sent"
        reason = "" if shown.reason is None else f" ({shown.reason})"
        return (
            _moment(shown.time),
            about.holder if is_sent else other,
            other if is_sent else about.holder,
            _word(shown.purpose),
            _unbroken(shown.reference or "") or _short(shown.subject.hex()),
            _word(shown.state) + reason,
            None if shown.acknowledged is None else _moment(shown.acknowledged),
        )

    return _table(headings, [row(shown) for shown in subject.shown])


def _happened(subject: Subject, about: About) -> str:
    def row(happened: Happened) -> tuple[str, str, str]:
        entry, id_ = happened.entry, _short(happened.id.hex())
        who = about.label_of(bytes.fromhex(entry.sender))
        told = words.what_happened(entry, b"", about.label_of)
        said = french.what_happened(entry, who, id_)
        return _moment(entry.time), _sentence(said), _sentence(f"{happened.kind} {id_}: {told}")

    headings = ("quand · when", "ce qui s'est passé", "what happened")
    return _table(headings, [row(each) for each in subject.history])


def _others(held: dict[str, list[dict[str, Any]]], about: About) -> str:
    told = {
        "proofs": "preuve du dernier remboursement · proof of the last reimbursement",
        "controls": "attestation de renouvellement · attestation of a renewal",
        "reviews": "en cours d'examen · under review",
        "queued": "en attente d'envoi · waiting to be sent",
    }
    rows = []
    for section, name in told.items():
        for item in held.get(section, []):
            facts = [f"{key}: {_plain(value, about)}" for key, value in item.items() if value]
            rows.append((name, "; ".join(facts)))
    return _table(("quoi · what", "contenu · content"), rows)


def _plain(value: object, about: About) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_plain(inner, about)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(_plain(each, about) for each in value)
    return str(value)


def _both(in_french: str, in_english: str) -> str:
    return (
        f'<div class="both"><section lang="fr">{in_french}</section>'
        f'<section lang="en">{in_english}</section></div>'
    )


def _section(title: str, content: str) -> str:
    return f"<h2>{_text(title)}</h2>{content}" if content else ""


def _table(
    headings: Sequence[str], rows: Sequence[Sequence[str | None]], numbers: Iterable[int] = ()
) -> str:
    """Return a table, nothing where there is no row."""
    if not rows:
        return ""
    right = set(numbers)

    def line(cells: Sequence[str | None], tag: str) -> str:
        marked = []
        for index, cell in enumerate(cells):
            kind = ' class="n"' if index in right else ""
            marked.append(f"<{tag}{kind}>{_text('–' if cell is None else cell)}</{tag}>")
        return f"<tr>{''.join(marked)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(headings, 'th')}</thead><tbody>{body}</tbody></table>"


def _unbroken(text: str) -> str:
    """Return a reference or a day that stays on its line."""
    return text.replace("-", "\N{NON-BREAKING HYPHEN}")


def _sentence(text: str) -> str:
    return text if text.endswith("…") else f"{text}."


def _word(name: str) -> str:
    return _WORDS.get(name, name)


def _short(id_: str) -> str:
    return f"{id_[:_DIGITS]}…" if len(id_) > _DIGITS else id_


def _euros(cents: int | None) -> str | None:
    return None if cents is None else f"{cents // 100},{cents % 100:02}{NARROW}€"


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%d/%m/%Y %H:%M UTC")


def _p(text: str) -> str:
    return f"<p>{_text(text)}</p>"


def _text(text: str) -> str:
    """Return text as markup, with the spaces that French sets kept on their lines."""
    for mark in ":;!?»":
        text = text.replace(f" {mark}", f"{NARROW}{mark}")
    return escape(text.replace("« ", f"«{NARROW}"))
