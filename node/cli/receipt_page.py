"""A receipt on paper: one A4 page in French and English, with the QR code of its short form.

It is made of what was verified, and escapes whatever stands in it. The page itself proves nothing:
it says so, and how to check what it tells.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Final

from node.audit.paper import NARROW, sheet
from node.client import french, words
from node.client.events import EntryView

SHORT: Final = 16  # hexadecimal digits of an id that tell it from others on paper
_PRIVATE: Final = {"prescription", "claim", "authorisation", "settlement"}  # what is of patients
_STYLE: Final = """@page { size: A4; margin: 9mm 13mm }
body { font-size: 8.2pt; line-height: 1.28; max-width: 184mm }
h1 { font-size: 14pt; line-height: 1.2; margin: 0 0 2.5mm; font-weight: 600 }
h2 { font-size: 9.2pt; margin: 2.4mm 0 .8mm; break-after: avoid }
p { margin: 0 0 1.4mm } ul, ol { margin: 0; padding-left: 4.5mm } li { margin: 0 0 .5mm }
.both { display: grid; grid-template-columns: 1fr 1fr; gap: 7mm }
.both > * { min-width: 0 }
.said { border: 1.1pt solid #14532d; background: #f0fdf4; padding: 2mm 3mm; font-weight: 600;
  overflow-wrap: anywhere; -webkit-print-color-adjust: exact; print-color-adjust: exact }
.refused { border-color: #7c2d12; background: #fff7ed }
.foot { display: flex; gap: 5mm; margin-top: 2mm; padding-top: 1.5mm; border-top: .6pt solid #111;
  break-inside: avoid; align-items: flex-start }
.foot > svg { flex: none } .foot > div { flex: 1; min-width: 0 }
table { border-collapse: collapse; width: 100%; font-size: 7.6pt }
td { border-bottom: .3pt solid #bbb; padding: .6mm 2mm .6mm 0; vertical-align: top }
td:first-child { width: 31mm; color: #444 }
code { font-size: 6.6pt } li span { white-space: nowrap }
"""


@dataclass(frozen=True, slots=True)
class Page:
    """What a page tells: of a receipt that verifies, nothing else."""

    network: str
    chain: str
    entry: EntryView
    sender: str  # its label; its id where the genesis does not name it
    payee: str | None  # whom the call names as the other side
    header: str
    height: int  # of the header
    log_size: int
    signed: int  # validators who signed it
    of: int
    are_changed: bool  # whether validators changed before it
    svg: str | None  # the code; None: no code holds the short form


def page(told: Page) -> str:
    """Return the HTML."""
    title = f"Récépissé · Receipt – {told.network}"
    body = (
        f"<h1>{_text('Récépissé de registre · Ledger receipt')}</h1>"
        f'<div class="both"><section lang="fr">{_french(told)}</section>'
        f'<section lang="en">{_english(told)}</section></div>'
        f'<div class="foot">{told.svg or ""}<div>{_ids(told)}</div></div>'
    )
    return sheet(title, body, language="fr", style=_STYLE)


def shortened(id_: str) -> str:
    """Return how an id begins, for people."""
    return f"{id_[:SHORT]}…" if len(id_) > SHORT else id_


def _french(told: Page) -> str:
    entry, (kind, id_) = told.entry, words.about(told.entry)
    said = french.what_happened(entry, told.sender, shortened(id_))
    to = "" if told.payee is None else f" Destinataire : {told.payee}."
    is_applied = entry.outcome.code == 0
    effect = "inscrit et pris en compte" if is_applied else "inscrit comme refusé (sans effet)"
    moment = f"{_time(entry):%d/%m/%Y à %H:%M:%S} (UTC)"
    lost = ["ce qui s'est passé après ce bloc : la suite donnée (décision, paiement, annulation)"]
    lost += ["si ce qui est déclaré est exact : le registre dit qui l'a déclaré, et quand"]
    if kind in _PRIVATE:
        lost.append(
            "l'identité du patient, la correction, les codes et les montants n'y figurent pas ;"
            " des empreintes scellées en tiennent lieu, que seules les parties savent ouvrir"
        )
    code = "Sans ce fichier, lisez le QR code avec un téléphone : le texte lu est scanned.txt"
    if told.svg is None:
        code = "Ce récépissé est trop long pour un QR code : demandez-en le fichier."
    elif told.are_changed:
        code += " ; il faut aussi un récépissé récent du réseau (later.json), car les validateurs"
        code += " ont changé"
    return "".join(
        (
            _said(_sentence(said) + to, is_applied=is_applied),
            _title("Ce qui est prouvé"),
            _text_p(
                f"Cet acte est {effect} dans le registre « {told.network} », au bloc"
                f" {_number(entry.height, NARROW)} du {moment}. {told.signed} validateurs sur"
                f" {told.of} ont signé le bloc {_number(told.height, NARROW)}, qui en fait foi."
            ),
            _title("À qui"),
            _text_p(
                "À quiconque détient l'acte de fondation du réseau (genesis.json), sans connexion"
                " et sans avoir à croire celui qui remet ce récépissé."
            ),
            _title("Ce qui n'est pas prouvé"),
            _list(lost),
            _title("Comment vérifier"),
            _text_p(
                "Cette page seule n'est pas une preuve : n'importe qui peut en imprimer une. Seule"
                " la vérification fait foi."
            ),
            _steps(
                told,
                "Procurez-vous l'acte de fondation auprès d'une organisation de confiance, et non"
                " de celui qui remet cette page ; son identifiant de chaîne est ci-dessous :",
                "Avec le fichier du récépissé :",
                code,
            ),
            _text_p(
                "La réponse doit finir par « verified » et donner les mêmes identifiants qu'ici."
            ),
        )
    )


def _english(told: Page) -> str:
    entry, (kind, id_) = told.entry, words.about(told.entry)
    said = words.what_happened(entry, b"", lambda _: told.sender)
    named = f"{kind.capitalize()} {shortened(id_)}: {said}" if kind else said
    to = "" if told.payee is None else f" Addressed to {told.payee}."
    is_applied = entry.outcome.code == 0
    effect = "recorded, and took effect," if is_applied else "recorded as refused (without effect)"
    moment = f"{_time(entry):%Y-%m-%d, %H:%M:%S} UTC"
    lost = ["what happened after that block: what became of it (decision, payment, cancellation)"]
    lost += ["whether what was stated is true: the ledger shows who stated it, and when"]
    if kind in _PRIVATE:
        lost.append(
            "who the patient is, the correction, codes and amounts: none of them is in it;"
            " sealed commitments stand for them, which only the parties can open"
        )
    code = "Without that file, read the QR code with a phone: the text that it reads is scanned.txt"
    if told.svg is None:
        code = "This receipt is too long for a QR code: ask for its file."
    elif told.are_changed:
        code += "; it takes a recent receipt of the network too (later.json), since the validators"
        code += " have changed"
    return "".join(
        (
            _said(_sentence(named) + to, is_applied=is_applied),
            _title("What is proved"),
            _text_p(
                f'This call is {effect} in the ledger "{told.network}", in block'
                f" {_number(entry.height, ',')} of {moment}. {told.signed} of {told.of} validators"
                f" signed block {_number(told.height, ',')}, which vouches for it."
            ),
            _title("To whom"),
            _text_p(
                "To whoever holds the founding document of the network (genesis.json), offline, and"
                " without trusting who hands over this receipt."
            ),
            _title("What is not proved"),
            _list(lost),
            _title("How to check it"),
            _text_p(
                "This page alone is no proof: anybody can print one. Only what is verified counts."
            ),
            _steps(
                told,
                "Get the founding document from an organisation that you trust, not from who hands"
                " over this page; its chain id is below:",
                "With the file of the receipt:",
                code,
            ),
            _text_p('The answer must end with "verified", and give the same ids as here.'),
        )
    )


def _steps(told: Page, genesis: str, file: str, code: str) -> str:
    """Return how to check, with the commands, which are the same in every language."""
    verify = "depoli receipt verify {} --genesis genesis.json"
    scanned = verify.format("scanned.txt") + (" --changes later.json" if told.are_changed else "")
    steps = (
        _step(genesis, "depoli genesis verify genesis.json"),
        _step(file, verify.format("receipt.json")),
        _step(code, "" if told.svg is None else scanned),
    )
    return f"<ol>{''.join(steps)}</ol>"


def _step(words_: str, command: str) -> str:
    if not command:
        return f"<li>{_text(words_)}</li>"
    shown = " ".join(f"<span>{escape(word)}</span>" for word in command.split())
    return f"<li>{_text(words_)}<br><code>{shown}</code></li>"


def _ids(told: Page) -> str:
    """Return the ids whole, for machines."""
    entry, (kind, id_) = told.entry, words.about(told.entry)
    rows = [
        ("chaîne · chain", told.chain),
        ("transaction", entry.transaction),
        ("rang · position", f"{entry.position}"),
        (f"objet · {kind}", id_),
        ("auteur · sender", entry.sender),
        ("acte · call", f"{entry.call}: {entry.outcome.name}"),
        ("bloc · block", f"{entry.height}"),
        ("inscription · entry", f"{entry.number} / {told.log_size}"),
        (f"en-tête · header {told.height}", told.header),
    ]
    lines = (
        f"<tr><td>{_text(name)}</td><td><code>{escape(value)}</code></td></tr>"
        for name, value in rows
        if value
    )
    return f"<table><tbody>{''.join(lines)}</tbody></table>"


def _sentence(words_: str) -> str:
    return words_ if words_.endswith("…") else f"{words_}."


def _said(sentence: str, *, is_applied: bool) -> str:
    classes = "said" if is_applied else "said refused"
    return f'<p class="{classes}">{_text(sentence)}</p>'


def _title(text: str) -> str:
    return f"<h2>{_text(text)}</h2>"


def _text_p(text: str) -> str:
    return f"<p>{_text(text)}</p>"


def _list(items: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{_text(each)}</li>' for each in items)}</ul>"


def _text(text: str) -> str:
    """Return text as markup, with the spaces that French sets kept on their lines."""
    for mark in ":;!?»":
        text = text.replace(f" {mark}", f"{NARROW}{mark}")
    return escape(text.replace("« ", f"«{NARROW}"))


def _number(value: int, space: str) -> str:
    return f"{value:,}".replace(",", space)


def _time(entry: EntryView) -> datetime:
    return datetime.fromtimestamp(entry.time, UTC)
