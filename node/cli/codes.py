"""`depoli codes`: what the reference tables of optics say, asked without a vault or a node.

Only `early` reads the vault, for the two prescriptions that it compares.
"""

from collections import Counter
from typing import Any, Final

import click

from contracts.calendar import text_of
from contracts.nomenclature.categories import Category, Element, bearable, element_of
from contracts.nomenclature.codes import SIDES, Code, Codes
from contracts.nomenclature.prescriptions import Answer
from contracts.nomenclature.renewal import EarlyRequest
from contracts.nomenclature.tables import MAX_AGE, MAX_CENTS
from node.cli.output import Verbs, emit, fields, json_option, table
from node.cli.person import Person, at_home, euros, today
from node.client import nomenclature, renewals
from node.client.nomenclature import as_day, current, in_words
from node.client.packaged import table_hashes
from node.errors import Usage

_CENTS: Final = click.IntRange(0, MAX_CENTS)
_age = click.option(
    "--age",
    required=True,
    type=click.IntRange(0, MAX_AGE),
    help="The wearer's age, in whole years.",
)
_last = click.option("--last", required=True, metavar="DAY", help="Invoice date of the last ones.")
_on = click.option("--on", metavar="DAY", help="The day in question; today if left out.")


@click.group(cls=Verbs)
def codes() -> None:
    """Ask the tables of optics: codes, categories, ceilings, renewals."""


@codes.command()
@json_option
@click.pass_context
def tables(context: click.Context) -> None:
    """List the reference tables with their hashes, and how far their facts are verified.

    S was read in the primary source; S2 is second hand, M from memory, I inferred, U unknown.
    """
    hashes = table_hashes()
    result = [
        {
            "kind": each.kind,
            "name": each.name,
            "valid_from": each.valid_from,
            "hash": hashes[each.KIND],
            "facts": {
                fact: {"mark": source.mark, "source": source.source}
                for fact, source in each.facts.items()
            },
        }
        for each in current()
    ]

    def rows() -> list[list[object]]:
        counts = [Counter(source.mark for source in each.facts.values()) for each in current()]
        marks = [" ".join(f"{mark}:{count[mark]}" for mark in sorted(count)) for count in counts]
        return [
            [each["kind"], each["name"], each["valid_from"], shown, each["hash"]]
            for each, shown in zip(result, marks, strict=True)
        ]

    headings = ("kind", "name", "valid from", "facts", "sha-256")
    emit(context, result, lambda: table(headings, rows()))


@codes.command()
@click.argument("code", required=False)
@json_option
@click.pass_context
def show(context: click.Context, code: str | None) -> None:
    """Show all the grouping codes, or what there is to know of CODE."""
    if code is not None:
        with in_words():
            result = _shown(current().codes.row(code, "code"))
        emit(context, result, lambda: fields(result))
        return
    rows = [_shown(row) for row in current().codes.codes]
    headings = ("code", "type", "class", "kind", "amo", "c2s", "label")
    emit(
        context,
        rows,
        lambda: table(headings, [[row[heading] for heading in headings] for row in rows]),
    )


@codes.command()
@click.argument("lenses", metavar="LENS...", nargs=-1, required=True)
@click.option("--frame", help="Code of the frame.")
@click.option("--supplement", "supplements", multiple=True, help="Code of one; may be repeated.")
@click.option("--age", type=click.IntRange(0, MAX_AGE), help="The wearer's age, where known.")
@click.option("--c2s", "is_c2s", is_flag=True, help="For the complementary solidarity scheme.")
@click.option(
    "--lens-price",
    "prices",
    multiple=True,
    type=_CENTS,
    metavar="CENTS",
    help="Of each lens with its supplements, in order.",
)
@click.option("--frame-price", type=_CENTS, metavar="CENTS", help="Of the frame.")
@click.option("--cap", type=_CENTS, metavar="CENTS", help="What the contract bears, if less.")
@click.option(
    "--basic",
    type=_CENTS,
    metavar="CENTS",
    help="What the basic scheme bears; left out, that of class B is reckoned.",
)
@json_option
@click.pass_context
def check(
    context: click.Context,
    lenses: tuple[str, ...],
    frame: str | None,
    supplements: tuple[str, ...],
    age: int | None,
    prices: tuple[int, ...],
    frame_price: int | None,
    cap: int | None,
    basic: int | None,
    *,
    is_c2s: bool,
) -> None:
    """Check that codes go together; show category, floor, ceiling, and what may be borne.

    One LENS or two. Amounts are in cents, and bind responsible contracts.
    """
    if len(lenses) > len(SIDES):
        raise Usage("glasses have one lens or two", hint="other codes: --frame, --supplement")
    right, left = (*lenses, None)[: len(SIDES)]
    typed = Codes(right, left, frame, supplements)
    nomenclature.require_valid(typed, age=age, is_c2s=is_c2s)
    rows = list(nomenclature.lenses(typed).values())
    found = current().categories.category(row.kind for row in rows)
    result: dict[str, Any] = {
        "category": found and found.name,
        "floor_cents": found and found.floor,
        "ceiling_cents": found and found.ceiling,
        "collective_floor_cents": found and found.collective_floor,
        "frame_cap_cents": current().categories.frame.cap,
    }
    if prices or frame_price is not None:
        if len(prices) != len(lenses) or (frame_price is None) is not (frame is None):
            raise Usage(
                "give the price of each part that is claimed, and of no other",
                hint="--lens-price once for each lens, --frame-price with --frame",
            )
        elements = tuple(map(element_of, rows, prices))
        framed = current().codes.frame(typed)
        result |= _borne(
            found,
            elements,
            None if framed is None else element_of(framed, frame_price or 0),
            cap,
            basic,
        )
    emit(context, result, lambda: fields(_in_euros(result)))


@codes.command()
@_last
@_on
@_age
@click.option(
    "--outgrown",
    "is_outgrown",
    is_flag=True,
    help="The frame no longer fits the child's face, and the lenses lose their effect.",
)
@json_option
@click.pass_context
def renewal(
    context: click.Context, last: str, on: str | None, age: int, *, is_outgrown: bool
) -> None:
    """Say whether new glasses are due at a date, without any reason; `early` looks for reasons."""
    rules = current().renewal
    begun, asked = as_day(last, "last"), as_day(on or today(), "on")
    with in_words():
        is_due = rules.is_due(begun, asked, age, is_outgrown=is_outgrown)
        due_on = rules.due_on(begun, age, is_outgrown=is_outgrown)
    result = {"due": is_due, "due_on": text_of(due_on), "counted_from": rules.anchor}
    emit(context, result, lambda: fields(result))


@codes.command()
@click.argument("before")
@click.argument("after")
@_last
@_on
@_age
@click.option("--with-frame", "has_frame", is_flag=True, help="A frame is claimed too.")
@click.option("--ophthalmologist", is_flag=True, help="An ophthalmologist prescribed.")
@click.option("--degraded", is_flag=True, help="The prescriber found the sight degraded.")
@click.option(
    "--listed-situation", is_flag=True, help="One that the decree lists; never say which."
)
@at_home
@json_option
@click.pass_context
def early(
    context: click.Context,
    person: Person,
    before: str,
    after: str,
    last: str,
    on: str | None,
    age: int,
    *,
    has_frame: bool,
    ophthalmologist: bool,
    degraded: bool,
    listed_situation: bool,
) -> None:
    """Say whether glasses may be renewed before their time: yes or no, and not why.

    BEFORE and AFTER are your references of the two prescriptions, which stay in the vault.
    """
    begun, asked = as_day(last, "last"), as_day(on or today(), "on")
    with person.vault() as vault:
        request = EarlyRequest(
            begun,
            asked,
            age,
            has_frame,
            renewals.load_eyes(vault, before),
            renewals.load_eyes(vault, after),
            ophthalmologist,
            degraded,
            listed_situation,
        )
    result = {"qualifies": renewals.qualifies(request)}
    emit(context, result, lambda: fields(result))


@codes.command()
@click.option("--written", required=True, metavar="DAY", help="The day it was written.")
@_on
@_age
@click.option("--asked", metavar="DAY", help="The day the prescriber was asked for an adaptation.")
@click.option("--agreed", metavar="DAY", help="The day the prescriber agreed to it.")
@click.option("--opposed", metavar="DAY", help="The day the prescriber opposed it.")
@json_option
@click.pass_context
def prescription(
    context: click.Context,
    written: str,
    on: str | None,
    age: int,
    asked: str | None,
    agreed: str | None,
    opposed: str | None,
) -> None:
    """Say whether a prescription serves at a date, and how an adaptation of it stands.

    The age is the patient's when it was written.
    """
    rules = current().prescriptions
    begun, day = as_day(written, "written"), as_day(on or today(), "on")
    with in_words():
        result: dict[str, Any] = {
            "serves": rules.is_valid(begun, day, age),
            "until": text_of(rules.valid_until(begun, age)),
        }
    if asked is None:
        if agreed or opposed:
            raise Usage("an answer needs a question", hint="--asked DAY")
    elif agreed and opposed:
        raise Usage("a prescriber agrees or opposes", hint="--agreed DAY, or --opposed DAY")
    else:
        request = as_day(asked, "asked")
        reply = agreed or opposed
        answer = Answer(bool(agreed), as_day(reply, "answer")) if reply else None
        with in_words():
            state = rules.adaptation_at(request, day, answer)
        result |= {
            "adaptation": state.name.lower(),
            "silence_agrees_from": text_of(rules.tacit_from(request)),
        }
    emit(context, result, lambda: fields(result))


def _borne(
    category: Category | None,
    lenses: tuple[Element, ...],
    frame: Element | None,
    cap: int | None,
    basic: int | None,
) -> dict[str, int | None]:
    """Return what both insurances may bear, and what is left to the complementary one."""
    rules = current().categories
    with in_words():
        most = bearable(rules, category, lenses, frame, cap=cap)
    every = (*lenses, *([] if frame is None else [frame]))
    if basic is None and all(element.class_ == "B" for element in every):
        basic = rules.basic_share(len(every))
    if most is None:  # no ceiling is known
        return dict.fromkeys(("lenses_most_cents", "frame_most_cents", "together_most_cents"))
    return {
        "lenses_most_cents": most.lenses,
        "frame_most_cents": most.frame,
        "together_most_cents": most.together,
        "basic_cents": basic,
        "complementary_most_cents": None if basic is None else most.complementary(basic),
    }


def _in_euros(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name.removesuffix("_cents").replace("_", " "): (
            euros(value) if name.endswith("_cents") else value
        )
        for name, value in values.items()
    }


def _shown(row: Code) -> dict[str, Any]:
    needs = row.requires
    return {
        "code": row.code,
        "type": row.type,
        "class": row.class_,
        "kind": row.kind,
        "design": row.design,
        "wearer": row.wearer,
        "amo": row.amo,
        "c2s": row.c2s,
        "per": row.per,
        "lens_class": needs and needs.lens_class,
        "frame": needs and needs.frame,
        "age_below": needs and needs.age_below,
        "label": row.label,
    }
