"""Draw docs/lives.md from the tables by which the contracts judge: a diagram and a table for each.

scripts/diagrams           writes it
scripts/diagrams --check   says whether it is as the tables are; the tests ask the same
"""

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from contracts import dispatch
from contracts.life import Life, Row, stored_state

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "lives.md"
HEAD: Final = """\
# Lives

What may happen to each thing on the chain: in which state, by which call, by whom, on what
conditions, and what it does. The contracts judge by these very tables
([`contracts/life.py`](../contracts/life.py)); `scripts/diagrams` draws them, and a test fails where
this page is not as they are. Do not edit it.

A call that stands in no row for the state that a thing is in is refused. Of several rows for one
state, call and party the first whose condition (*slanted*) holds is taken. What else stands under
"only if" refuses the call with its reason where it does not hold ([format.md](format.md), section
7), and nothing changes.
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join([HEAD, *(section(life) for life in dispatch.LIVES)])


def section(life: Life[Any]) -> str:
    """Return what the page says of one life."""
    name = f"{'an' if life.name[0] in 'aeio' else 'a'} {life.name}"
    lines = [f"## The life of {name}", "", summary(inspect.getdoc(life.thing) or ""), ""]
    parties = [f"{words(party.name)} (`{field}`)" for party, field in life.parties.items()]
    lines += [f"Who has a part in it: {', '.join(parties)}.", *crowd(life), ""]
    if life.state_of is not stored_state:
        lines += [f"Its state: {said(life.state_of)}.", ""]
    lines += unreached(life)
    lines += ["```mermaid", *diagram(life), "```", "", *table(life)]
    return "\n".join(lines) + "\n"


def crowd(life: Life[Any]) -> list[str]:
    """Return what is said of the part that everybody has."""
    if life.crowd is None:
        return []
    return [f"As {words(life.crowd.name)} acts whoever the conditions let."]


def unreached(life: Life[Any]) -> list[str]:
    """Return what is said of the states that no call leads to."""
    reached = {row.after for row in life.rows}
    states = [words(state.name) for state in type(life.rows[0].after) if state not in reached]
    if not states:
        return []
    return [f"No call leads to these states, but time or a block: {', '.join(states)}.", ""]


def diagram(life: Life[Any]) -> list[str]:
    """Return the states and the calls between them, in the language of Mermaid."""
    lines = ["stateDiagram-v2"]
    for row in life.rows:
        before = "[*]" if row.before is None else row.before.name
        call = f"{call_words(row)} ({words(row.who.name)})"
        lines.append(f"    {before} --> {row.after.name}: {call}")
    lines += [f"    {state.name} --> [*]" for state in ends(life)]
    return list(dict.fromkeys(lines))  # rows that differ only by their conditions are one arrow


def ends(life: Life[Any]) -> list[Any]:
    """Return the states that nothing leads out of."""
    states = type(life.rows[0].after)
    left = {row.before for row in life.rows}
    reached = {row.after for row in life.rows}
    return [state for state in states if state in reached and state not in left]


def table(life: Life[Any]) -> list[str]:
    """Return one line for each row."""
    lines = [
        "| in state | call | by | only if | then | and |",
        "|---|---|---|---|---|---|",
    ]
    for row in life.rows:
        before = "none yet" if row.before is None else words(row.before.name)
        call = f"{call_words(row)} ({vars(row.call)['KIND']})"
        cells = (before, call, words(row.who.name), conditions(row), words(row.after.name))
        lines.append(f"| {' | '.join(cells)} | {effects(row.effects)} |")
    return lines


def conditions(row: Row[Any]) -> str:
    """Return what must hold for a row, in the order in which it is asked."""
    found = []
    if row.when is not None:
        found.append(f"*{said(row.when)}*")
    if row.opens is not None:
        found.append(f"not before {said(row.opens)}")
    if row.closes is not None:
        found.append(f"not after {said(row.closes)}")
    found += [said(guard) for guard in row.guards]
    if row.due is not None:
        found.append(f"due by {said(row.due)}")
    return "; ".join(found)


def effects(functions: Sequence[Callable[..., object]]) -> str:
    """Return what a row does besides moving the state."""
    return "; ".join(map(said, functions))


_LEAD: Final = re.compile(
    r"^(Require that |Require |Return whether |Return when |Return the moment |Return )"
)


def said(function: Callable[..., object]) -> str:
    """Return what a function's docstring says of it, without the words that all begin with."""
    first = summary(inspect.getdoc(function) or "")
    rest = _LEAD.sub("", first).rstrip(".")
    rest = rest[:1].lower() + rest[1:]
    return rest.replace("|", "\\|")


def summary(text: str) -> str:
    """Return the first line of a docstring."""
    return text.partition("\n")[0]


def call_words(row: Row[Any]) -> str:
    """Return the name of a call as people say it: ClaimSubmit is "claim submit"."""
    return re.sub(r"(?<=.)([A-Z])", r" \1", row.call.__name__).lower()


def words(name: str) -> str:
    """Return the name of a state or a party as people say it."""
    return name.replace("_", " ").lower()


def main() -> None:
    """Write the page, or say whether it is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    drawn = page()
    if options.check:
        if not PAGE.exists() or PAGE.read_text("utf-8") != drawn:
            sys.exit("docs/lives.md is not as the tables are: run scripts/diagrams")
        return
    PAGE.write_text(drawn, "utf-8")
    print(f"drew {len(dispatch.LIVES)} lives in docs/{PAGE.name}", file=sys.stderr)


if __name__ == "__main__":
    main()
