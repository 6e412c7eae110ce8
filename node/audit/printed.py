"""A report on paper: one HTML file that needs nothing else, in English or French, for A4.

It is made of the report's value alone, and escapes whatever stands in it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, Final

from node.audit.french import FRENCH
from node.audit.paper import NARROW, sheet
from node.audit.statement import Statement

LANGUAGES: Final = ("en", "fr")
_MAX_ROWS: Final = 400  # of one table; the file of the report has them all
_SHORT: Final = 16  # hexadecimal digits of an id that tell it from others on paper

_STYLE: Final = """
@page { size: A4; margin: 18mm 16mm 20mm;
  @bottom-right { content: counter(page) " / " counter(pages); font: 8pt sans-serif; color: #555 }
  @bottom-left { content: "FOOT"; font: 8pt monospace; color: #555 } }
h1 { font-size: 19pt; line-height: 1.2; margin: 0 0 4mm; font-weight: 600 }
h2 { font-size: 12.5pt; margin: 9mm 0 2mm; padding-bottom: 1mm; border-bottom: .6pt solid #111;
  break-after: avoid }
h3 { font-size: 10pt; margin: 5mm 0 1.5mm; break-after: avoid }
.verdict { border: 1.2pt solid #14532d; background: #f0fdf4; padding: 3mm 4mm; margin: 0 0 5mm;
  font-size: 12pt; font-weight: 600; -webkit-print-color-adjust: exact; print-color-adjust: exact }
.odd { color: #7c2d12; font-weight: 600 }
table { border-collapse: collapse; width: 100%; margin: 0 0 3mm; font-size: 8.6pt }
thead { display: table-header-group }
tr { break-inside: avoid }
th { text-align: left; font-weight: 600; border-bottom: .6pt solid #111; padding: 1mm 2mm 1mm 0;
  vertical-align: bottom }
td { border-bottom: .3pt solid #bbb; padding: .9mm 2mm .9mm 0; vertical-align: top;
  overflow-wrap: break-word }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.facts td:first-child { width: 42mm; color: #444 }
.s { white-space: nowrap }
ul { margin: 0 0 2mm; padding-left: 5mm } li { margin: 0 0 .8mm }
.sign { margin-top: 8mm; border-top: .3pt solid #bbb; padding-top: 2mm; height: 26mm; color: #444;
  break-inside: avoid }
"""


def page(statement: Statement, language: str) -> str:
    """Return the HTML of a report that we made."""
    return _Page(statement, language).html()


class _Code(str):
    """Something that is set as it is typed: a hash, a command."""

    __slots__ = ()


class _Page:
    def __init__(self, statement: Statement, language: str) -> None:
        self._statement, self._language = statement, language
        self._report = statement.report
        self._names = {one["member"]: one["organisation"] for one in self._report["members"]}

    def html(self) -> str:
        report = self._report
        title = self._say("Audit report of a Dépoli ledger")
        body = "".join(
            (
                f"<h1>{escape(title)}</h1>",
                self._verdict(),
                self._identity(),
                self._checked(),
                self._odd(report["exceptions"]),
                self._evidence(),
                self._votes(),
                self._members(),
                self._validators(),
                self._activity(),
                self._things(),
                self._settings(),
                f'<div class="sign">{self._text("Date and signature")}</div>',
            )
        )
        style = _STYLE.replace("FOOT", self._statement.digest[:32])
        network = str(report["chain"]["network"])
        return sheet(f"{title} – {network}", body, language=self._language, style=style)

    # --- parts ------------------------------------------------------------------------------------

    def _verdict(self) -> str:
        height = self._report["chain"]["header"]["height"]
        words = self._say("Every fact in blocks 1 to {} is true.", height)
        if not height:
            words = self._say("The chain has no block yet; its genesis is true.")
        return f'<p class="verdict">{escape(words)}</p>'

    def _identity(self) -> str:
        chain, export, made = self._report["chain"], self._report["export"], self._statement.made
        header, signer = chain["header"], self._statement.signer
        log = self._say("{} entries, root {}", header["log_size"], header["log_root"])
        unsigned = "nobody: whoever has the export and the genesis can make it again"
        rows: list[tuple[str, object]] = [
            ("network", chain["network"]),
            ("chain", _Code(header["chain_id"])),
            ("last block", _Code(chain["last_block"])),
            ("from", _moment(chain["first_time"] or chain["genesis_time"])),
            ("to", _moment(header["time"])),
            ("log", _Code(log)),
            ("state digest", _Code(header["state_digest"])),
            ("export, SHA-256", _Code(export["sha256"])),
            ("bytes", export["bytes"]),
            ("made by", made.auditor or "–"),
            ("made on", _moment(made.time)),
            ("software", made.software),
            (
                "signed under the key",
                _Code(signer.hex()) if signer is not None else self._say(unsigned),
            ),
            ("digest of this report", _Code(self._statement.digest)),
        ]
        note = "This page was printed from a file whose signature a reader verifies with {}."
        command = "<code>depoli audit check\N{NON-BREAKING HYPHEN}report</code>"
        return self._facts(rows) + f"<p>{self._text(note, '%').replace('%', command)}</p>"

    def _checked(self) -> str:
        report, counts = self._report, self._report["counts"]
        rules = ", ".join(
            self._say("version {} from block {}", each["version"], each["from_height"])
            for each in report["rules"]
        )
        rows: list[tuple[str, object]] = [
            ("blocks", counts["blocks"]),
            ("transactions", counts["transactions"]),
            ("calls", counts["entries"]),
            ("signatures verified", counts["signatures"]),
            ("rules", rules or "–"),
        ]
        return (
            self._title("What was checked")
            + self._list(report["checked"])
            + self._facts(rows)
            + self._title("What this cannot say", 3)
            + self._list(report["not_checked"])
        )

    def _odd(self, odd: Mapping[str, Any]) -> str:
        counts = [
            ("calls that were refused", odd["refused"]["count"]),
            ("overdue", odd["overdue"]["count"]),
            ("in dispute", odd["disputed"]["count"]),
            ("blocks built in a later round", odd["late_blocks"]["count"]),
            ("an hour or more without a block", odd["gaps"]["count"]),
            ("evidence against validators", len(self._report["evidence"])),
        ]
        parts = [
            self._title("What looks odd"),
            f"<p>{self._text('Each may be lawful; it is told so that somebody asks.')}</p>",
            self._table(("what", "how many"), [(self._say(what), count) for what, count in counts]),
        ]
        if odd["refused"]["count"]:
            parts += [
                self._title("Refused, by reason", 3),
                self._table(("reason", "how many"), list(odd["refused"]["reasons"].items())),
            ]
        if odd["overdue"]["count"]:
            rows: list[Sequence[object]] = [
                (
                    one["kind"],
                    _short(one["id"]),
                    one["state"],
                    one["organisation"],
                    ", ".join(one["calls"]),
                    _moment(one["due"]),
                )
                for one in odd["overdue"]["first"]
            ]
            headings = ("kind", "id", "state", "who", "call", "due")
            parts += [
                self._title("Overdue, the earliest first", 3),
                self._table(headings, rows, odd["overdue"]["count"]),
            ]
        if odd["disputed"]["count"]:
            rows = [
                (
                    one["kind"],
                    _short(one["id"]),
                    one["state"],
                    ", ".join(one["organisations"]),
                    _moment(one["since"]),
                )
                for one in odd["disputed"]["first"]
            ]
            parts += [
                self._title("In dispute, the earliest first", 3),
                self._table(
                    ("kind", "id", "state", "who", "since"), rows, odd["disputed"]["count"]
                ),
            ]
        if odd["gaps"]["count"]:
            rows = [(one["height"], one["seconds"]) for one in odd["gaps"]["longest"][:10]]
            parts += [
                self._title("The longest times without a block", 3),
                self._table(("before block", "seconds"), rows),
            ]
        return "".join(parts)

    def _evidence(self) -> str:
        deeds = self._report["evidence"]
        title = self._title("Evidence against validators")
        if not deeds:
            return title + f"<p>{self._text('none')}</p>"
        rows = [
            (one["organisation"], one["says"], one["recorded"], _short(one["id"])) for one in deeds
        ]
        return title + self._table(("who", "says", "recorded in block", "id"), rows)

    def _votes(self) -> str:
        title = self._title("Votes")
        proposals = self._report["proposals"]
        if not proposals:
            return title + f"<p>{self._text('No change was ever proposed.')}</p>"
        rows = [
            (
                str(one["number"]),
                _change(one),
                one["organisation"],
                one["height"],
                one["effect"],
                one["state"],
                _voters(one["votes"], agrees=True),
                _voters(one["votes"], agrees=False),
            )
            for one in proposals
        ]
        headings = (
            "",
            "change",
            "proposed by",
            "block",
            "in force from block",
            "state",
            "yes",
            "no",
        )
        return title + self._table(headings, rows)

    def _members(self) -> str:
        height = self._report["chain"]["header"]["height"]
        rows = [
            (
                "–" if one["organisation"] == one["member"] else one["organisation"],
                one["family"],
                one["country"],
                "; ".join(
                    f"{each['status']} {self._number(each['from_height'])}"
                    for each in one["standings"]
                ),
                self._keys(one["keys"], height),
                _short(one["member"]),
            )
            for one in self._report["members"]
        ]
        events = self._report["member_events"]
        happened = [
            (
                one["height"],
                self._names.get(one["member"], one["member"]),
                one["call"],
                _said(one["says"]),
            )
            for one in events["first"]
        ]
        title = self._title("Keys, delegations, certificates, validators", 3)
        history = (
            self._table(("block", "who", "call", "says"), happened, events["count"])
            if happened
            else f"<p>{self._text('Nothing of the kind happened.')}</p>"
        )
        headings = ("member", "family", "country", "stands, from block", "keys", "id")
        return self._title("Members") + self._table(headings, rows) + title + history

    def _validators(self) -> str:
        rows = [
            (
                era["from_height"],
                era["quorum"],
                ", ".join(one["organisation"] for one in era["validators"]),
            )
            for era in self._report["validators"]
        ]
        headings = ("from block", "quorum", "validators")
        return self._title("Validators") + self._table(headings, rows)

    def _activity(self) -> str:
        every = self._report["activity"]
        busiest = sorted(every, key=lambda one: -one["entries"])
        rows = [
            (
                one["organisation"],
                one["transactions"],
                one["applied"],
                one["refused"],
                one["concerned"],
                one["blocks"],
            )
            for one in busiest
        ]
        by_call = [
            (one["organisation"], name, counts["applied"], counts["refused"])
            for one in busiest
            for name, counts in one["calls"].items()
        ]
        headings = (
            "member",
            "transactions",
            "applied",
            "refused",
            "concerned by",
            "blocks built",
        )
        return (
            self._title("Who did how much")
            + self._table(headings, rows)
            + self._title("By member and call", 3)
            + self._table(("member", "call", "applied", "refused"), by_call)
        )

    def _things(self) -> str:
        rows = [
            (kind, state, count)
            for kind, states in self._report["things"].items()
            for state, count in states.items()
        ]
        title = self._title("What stands where")
        return title + self._table(("kind", "state", "how many"), rows)

    def _settings(self) -> str:
        tables = [
            (one["table"], one["from_height"], _Code(one["sha256"]))
            for one in self._report["tables"]
        ]
        return (
            self._title("Parameters and tables")
            + self._table(("parameter", "value"), list(self._report["parameters"].items()))
            + self._table(("table", "from block", "SHA-256"), tables)
        )

    # --- pieces -----------------------------------------------------------------------------------

    def _say(self, words: str, *values: object) -> str:
        """Return words in the language of the page; what is missing there is an error of ours."""
        if self._language == "fr" and words != _HASH:
            words = FRENCH[words]
        return words.format(*map(self._number, values))

    def _text(self, words: str, *values: object) -> str:
        return escape(self._say(words, *values))

    def _number(self, value: object) -> str:
        if not isinstance(value, int) or isinstance(value, bool):
            return str(value)
        return f"{value:,}".replace(",", NARROW if self._language == "fr" else ",")

    def _title(self, words: str, level: int = 2) -> str:
        return f"<h{level}>{self._text(words)}</h{level}>"

    def _list(self, sentences: Iterable[str]) -> str:
        return "<ul>" + "".join(f"<li>{self._text(each)}</li>" for each in sentences) + "</ul>"

    def _facts(self, rows: Iterable[tuple[str, object]]) -> str:
        lines = (
            f"<tr><td>{self._text(name)}</td><td>{self._inline(value)}</td></tr>"
            for name, value in rows
        )
        return f'<table class="facts"><tbody>{"".join(lines)}</tbody></table>'

    def _table(
        self, headings: Sequence[str], rows: Sequence[Sequence[object]], total: int | None = None
    ) -> str:
        """Return rows under their headings; `total` is how many there are, where it is more."""
        if not rows:
            return ""
        right = [isinstance(cell, int) for cell in rows[0]]
        head = "".join(
            f"<th{_class(number)}>{self._text(name) if name else ''}</th>"
            for name, number in zip(headings, right, strict=True)
        )
        lines = [
            "<tr>"
            + "".join(
                f"<td{_class(number)}>{self._inline(cell)}</td>"
                for cell, number in zip(row, right, strict=True)
            )
            + "</tr>"
            for row in rows[:_MAX_ROWS]
        ]
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
        left = (len(rows) if total is None else total) - len(lines)
        if left:
            table += f"<p>{self._text('{} more stand in the file of this report.', left)}</p>"
        return table

    def _inline(self, value: object) -> str:
        text = escape(self._number(value))
        if not isinstance(value, _Code):
            return text
        return f'<code class="s">{text}</code>' if len(value) <= _SHORT else f"<code>{text}</code>"

    def _keys(self, keys: Sequence[Mapping[str, Any]], height: int) -> str:
        ended = sum(
            1 for key in keys if key["until_height"] is not None and key["until_height"] <= height
        )
        return self._say("{} in force, {} ended", len(keys) - ended, ended)


_HASH: Final = "SHA-256"  # in any language


def _class(is_number: bool) -> str:  # noqa: FBT001
    return ' class="n"' if is_number else ""


def _short(id_: str) -> _Code:
    return _Code(id_[:_SHORT])


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _change(proposal: Mapping[str, Any]) -> str:
    """Return what would change, as commands call it, with what tells it from another."""
    words = [proposal["kind"], *proposal["about"]]
    subject = proposal["subject"]
    if proposal["changes"]:
        words += [f"{name}: {old} → {new}" for name, (old, new) in proposal["changes"].items()]
    elif not proposal["about"]:
        words += [str(value)[:_SHORT] for value in subject.values() if isinstance(value, str | int)]
    return " ".join(words)


def _voters(votes: Iterable[Mapping[str, Any]], *, agrees: bool) -> str:
    return ", ".join(vote["organisation"] for vote in votes if vote["agrees"] is agrees)


def _said(told: Mapping[str, Any]) -> str:
    """Return the fields of a call, ids shortened."""
    words = []
    for name, value in told.items():
        if isinstance(value, dict):
            words.append(f"{name} ({_said(value)})")
        elif value is not None:
            words.append(f"{name} {value[:_SHORT] if isinstance(value, str) else value}")
    return ", ".join(words)
