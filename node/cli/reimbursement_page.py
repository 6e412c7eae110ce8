"""The day of a reimbursement on paper, for its patient: one page in French and English.

It tells neither who nor what: the day, whose word it is, and a code that the next shop reads. Who
has the page can show it, as who has a ticket can.
"""

from html import escape
from typing import Final

import segno

from node.audit.paper import NARROW, sheet
from node.cli.qr import MODULE_MM, QUIET
from node.client.day_proofs import Carried
from node.client.members import Members

_STYLE: Final = """@page { size: A4; margin: 12mm 16mm }
h1 { font-size: 15pt; margin: 0 0 4mm; font-weight: 600 }
.said { border: 1.1pt solid #14532d; background: #f0fdf4; padding: 3mm 4mm; font-weight: 600;
  -webkit-print-color-adjust: exact; print-color-adjust: exact }
.both { display: grid; grid-template-columns: 1fr 1fr; gap: 8mm; margin-top: 5mm }
.both > * { min-width: 0 } h2 { font-size: 10.5pt; margin: 3mm 0 1mm }
.code { display: flex; gap: 6mm; align-items: center; margin-top: 6mm; break-inside: avoid }
.code > svg { flex: none } ul { margin: 0; padding-left: 4.5mm } li { margin: 0 0 .8mm }
"""


def page(carried: Carried, members: Members) -> str:
    """Return the HTML."""
    payer, network = members.label_of(carried.issuer), members.genesis.network.decode("ascii")
    year, month, day = carried.day.split("-")
    whole_day = carried.day.replace("-", "\N{NON-BREAKING HYPHEN}")  # on one line
    code = segno.make(carried.to_text(), error="m", micro=False)
    svg = code.svg_inline(scale=MODULE_MM, unit="mm", border=QUIET, light="#fff")
    french = (
        _said(f"Dernier remboursement : facture du {day}/{month}/{year}. Attesté par {payer}."),
        _title("À quoi sert cette page"),
        _text(
            "Donnez-la à votre opticien si une complémentaire demande la date de votre dernier"
            " remboursement. Il lit le code et prouve ce jour, et rien d'autre, à celle qui le"
            " demande."
        ),
        _title("Ce qu'elle contient"),
        _list(
            "le jour, et qui l'atteste",
            "ni votre nom, ni votre correction, ni ce qui fut acheté, ni le prix",
        ),
        _title("À savoir"),
        _list(
            "gardez-la pour vous : qui la tient peut la montrer",
            "elle prouve un remboursement, et non qu'il n'y en eut pas d'autre depuis",
            f"si {payer} change de clé, demandez-en une nouvelle",
            "ne pas l'avoir n'est pas un motif de refus : l'opticien répond « non prouvable ici »",
        ),
    )
    english = (
        _said(f"Last reimbursement: invoice of {whole_day}. Stated by {payer}."),
        _title("What this page is for"),
        _text(
            "Give it to your optician where an insurer asks for the date of your last"
            " reimbursement. The optician reads the code and proves that day, and nothing else, to"
            " the insurer that asks."
        ),
        _title("What is in it"),
        _list(
            "the day, and who states it",
            "neither your name, nor your correction, nor what was bought, nor the price",
        ),
        _title("To know"),
        _list(
            "keep it to yourself: who has it can show it",
            "it proves one reimbursement, not that there was none since",
            f"where {payer} has another key, ask for a new one",
            'not to have it is no reason to refuse: the optician answers "not provable here"',
        ),
    )
    body = (
        f"<h1>{_marked('Date du dernier remboursement · Date of the last reimbursement')}</h1>"
        f'<div class="both"><section lang="fr">{"".join(french)}</section>'
        f'<section lang="en">{"".join(english)}</section></div>'
        f'<div class="code">{svg}<div>{_text("Pour l’opticien · For the optician:")}'
        "<p><code>depoli renewal import scanned.txt --reference …</code></p>"
        f"{_text(f'réseau · network: {network}')}</div></div>"
    )
    title = "Date du dernier remboursement · Date of the last reimbursement"
    return sheet(title, body, language="fr", style=_STYLE)


def _said(text: str) -> str:
    return f'<p class="said">{_marked(text)}</p>'


def _title(text: str) -> str:
    return f"<h2>{_marked(text)}</h2>"


def _text(text: str) -> str:
    return f"<p>{_marked(text)}</p>"


def _list(*items: str) -> str:
    return f"<ul>{''.join(f'<li>{_marked(each)}</li>' for each in items)}</ul>"


def _marked(text: str) -> str:
    """Return text as markup, with the spaces that French sets kept on their lines."""
    for mark in ":;!?»":
        text = text.replace(f" {mark}", f"{NARROW}{mark}")
    return escape(text.replace("« ", f"«{NARROW}"))
