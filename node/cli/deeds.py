"""The verbs of `depoli claim` for what follows a decision: disputes, giving up, paying back."""

from collections.abc import Callable, Coroutine
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from contracts.calls import (
    ClaimAbandon,
    ClaimClose,
    ClaimConcede,
    ClaimDispute,
    ClaimGround,
    ClaimRecover,
    ClaimReverse,
    ClaimUphold,
    ClaimWithdraw,
    Reason,
)
from node.cli.given import the_claim
from node.cli.handing import Telling, hand_over, require_way
from node.cli.output import emit, fields, json_option, note
from node.cli.person import (
    Person,
    at_home,
    authorisation_id,
    claim_id,
    run,
    wait_option,
)
from node.client import inbox, lots
from node.client.acts import Acts
from node.client.client import CallOutcome, NodeClient
from node.client.deliveries import Letter
from node.client.disclosing import letter_of_statement
from node.client.records import ClaimRecord, Progress
from node.client.refusals import refusal, told
from node.client.vault import Vault
from node.errors import Usage

E = TypeVar("E", bound=IntEnum)
F = TypeVar("F", bound=Callable[..., Any])
Doing = Callable[[Acts, bytes], Coroutine[Any, Any, CallOutcome]]

_IDS: Final = {"claim": claim_id, "authorisation": authorisation_id}  # by what people call it
REASONS: Final = ", ".join(each.name.lower().replace("_", "-") for each in Reason)
GROUNDS: Final = ", ".join(each.name.lower().replace("_", "-") for each in ClaimGround)


def human_option(command: F) -> F:
    """Give a command `--human`: a person decides, and signs with a key of its own."""
    return click.option(
        "--human",
        is_flag=True,
        help="Sign as a person, with human_key_file; needed where a machine decided, or may have.",
    )(command)


def acted(
    context: click.Context,
    person: Person,
    name: str,
    done: str,
    do: Doing,
    *,
    human: bool = False,
    kind: str = "claim",
    telling: Telling | None = None,
) -> None:
    """Do something to a thing of ours, tell the other side, print what it is then.

    Ends as refused if it was.
    """
    with person.vault() as vault:
        id_ = _IDS[kind](vault, name)

        async def go() -> CallOutcome:
            async with person.node() as node:
                other = b""
                if telling is not None:
                    other = bytes.fromhex(await telling.recipient(node, id_))
                    await require_way(person, vault, node, other, telling.output)
                acts = person.acts(vault, node, human=human)
                outcome = await do(acts, id_)
                if telling is not None and outcome.code == 0:
                    letter = telling.letter(acts, id_, other)
                    note(await hand_over(person, vault, node, letter, telling.output))
                return outcome

        outcome = run(go())
    if outcome.code:
        raise refusal(outcome)
    tell_next(context, kind, id_, name, done)


def tell_next(context: click.Context, kind: str, id_: bytes, name: str, done: str) -> None:
    """Print what was done, and where one reads what may happen next."""
    result = {kind: id_.hex(), "outcome": done}
    emit(context, result, f"{name}: {done}\nwhat may happen next: depoli explain {kind} {name}")


def parse_choice(type_: type[E], text: str, what: str) -> E:
    """Return the member of a closed list that `text` names, or raise `Usage`."""
    try:
        return type_[text.upper().replace("-", "_")]
    except KeyError:
        known = ", ".join(each.name.lower().replace("_", "-") for each in type_)
        raise Usage(f"{text[:40]} is no {what}", hint=f"{what}s: {known}") from None


@click.command()
@click.argument("name", metavar="CLAIM")
@wait_option
@at_home
@json_option
@click.pass_context
def abandon(context: click.Context, person: Person, name: str) -> None:
    """Give up CLAIM, which was rejected; its marks are free again."""
    acted(context, person, name, "abandoned", lambda acts, id_: acts.give_up(ClaimAbandon(id_)))


@click.command()
@click.argument("name", metavar="CLAIM")
@wait_option
@at_home
@json_option
@click.pass_context
def reverse(context: click.Context, person: Person, name: str) -> None:
    """Take CLAIM back after it was settled: you repay it, and its marks are free again."""
    acted(context, person, name, "reversed", lambda acts, id_: acts.give_up(ClaimReverse(id_)))


@click.command()
@click.argument("name", metavar="CLAIM")
@wait_option
@at_home
@json_option
@click.pass_context
def concede(context: click.Context, person: Person, name: str) -> None:
    """Agree that CLAIM, which the payer asks back, was not owed: you repay it."""
    acted(context, person, name, "conceded", lambda acts, id_: acts.give_up(ClaimConcede(id_)))


@click.command()
@click.argument("name", metavar="CLAIM")
@click.option("--reason", required=True, help=f"One of: {REASONS}.")
@wait_option
@at_home
@json_option
@click.pass_context
def recover(context: click.Context, person: Person, name: str, reason: str) -> None:
    """Ask CLAIM back, which you paid without owing it."""
    why = parse_choice(Reason, reason, "reason")
    call = lambda acts, id_: acts.make(ClaimRecover(id_, why))  # noqa: E731
    acted(context, person, name, "asked back", call)


@click.command()
@click.argument("name", metavar="CLAIM")
@click.option("--ground", required=True, help=f"One of: {GROUNDS}.")
@wait_option
@at_home
@json_option
@click.pass_context
def dispute(context: click.Context, person: Person, name: str, ground: str) -> None:
    """Say that what was decided of CLAIM is wrong, or that its payment is not found.

    A machine's rejection must be looked at by a person of the payer then. What was not found is
    disputed; it is never submitted again.
    """
    why = parse_choice(ClaimGround, ground, "ground")
    call = lambda acts, id_: acts.make(ClaimDispute(id_, why))  # noqa: E731
    acted(context, person, name, "disputed", call)


@click.command()
@click.argument("name", metavar="CLAIM")
@human_option
@wait_option
@at_home
@json_option
@click.pass_context
def uphold(context: click.Context, person: Person, name: str, *, human: bool) -> None:
    """Stand by what is disputed of CLAIM.

    What a machine rejected, and every amount, a person decides, with a key of its own: --human.
    """
    call = lambda acts, id_: acts.make(ClaimUphold(id_))  # noqa: E731
    acted(context, person, name, "upheld", call, human=human)


@click.command()
@click.argument("name", metavar="CLAIM")
@click.option(
    "--amount", type=click.IntRange(min=0), help="Accept only so many cents of a rejected claim."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="New file for the shop: what --amount opens. Left out, the shop is told by post.",
)
@human_option
@wait_option
@at_home
@json_option
@click.pass_context
def overturn(
    context: click.Context,
    person: Person,
    name: str,
    amount: int | None,
    output: Path | None,
    *,
    human: bool,
) -> None:
    """Give way in the dispute over CLAIM: what was rejected is accepted, what was refused is due.

    What a machine rejected, and every amount, a person decides, with a key of its own: --human.
    """
    if amount is None and output is not None:
        raise Usage("--output is for what --amount opens")

    async def shop(node: NodeClient, id_: bytes) -> str:
        return (await node.claim(id_)).submitter

    def letter(acts: Acts, id_: bytes, _shop: bytes) -> Letter:
        return letter_of_statement(acts.statement(id_, of_claim=True), inbox.ACCEPTED)

    telling = None if amount is None else Telling(output, shop, letter)
    do = lambda acts, id_: acts.overturn(id_, amount)  # noqa: E731
    acted(context, person, name, "overturned", do, human=human, telling=telling)


@click.command()
@click.argument("name", metavar="CLAIM")
@wait_option
@at_home
@json_option
@click.pass_context
def withdraw(context: click.Context, person: Person, name: str) -> None:
    """Withdraw your dispute over CLAIM, or that you ask it back."""
    acted(context, person, name, "withdrawn", lambda acts, id_: acts.make(ClaimWithdraw(id_)))


@click.command()
@click.argument("name", metavar="CLAIM")
@wait_option
@at_home
@json_option
@click.pass_context
def close(context: click.Context, person: Person, name: str) -> None:
    """Be done with CLAIM, which is settled: you will ask nothing back."""
    acted(context, person, name, "closed", lambda acts, id_: acts.make(ClaimClose(id_)))


@click.command()
@click.argument("name", metavar="CLAIM")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@wait_option
@at_home
@json_option
@click.pass_context
def supersede(context: click.Context, person: Person, name: str, file: Path) -> None:
    """Put the rectified claim in FILE in the place of CLAIM's document, before it is decided.

    What is rectified is a code, a date or a reference; the amount stays. Hand the payer a new
    disclosure: the old one proves nothing any more.
    """
    request = the_claim(file)

    async def do(acts: Acts, _id: bytes) -> CallOutcome:
        return await acts.supersede(name, request, person.members.id_of(request.payer))

    acted(context, person, name, "superseded", do)


@click.command()
@click.argument("name", metavar="CLAIM")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@wait_option
@at_home
@json_option
@click.pass_context
def resubmit(context: click.Context, person: Person, name: str, file: Path) -> None:
    """Submit the claim in FILE in the place of CLAIM, which was rejected; it inherits its marks.

    FILE has a reference of its own. Run again after a failure, it goes on.
    """
    request = the_claim(file, replacing=True)
    with person.vault() as vault:
        prior = lots.load(vault, name)[1]
        with vault.changes():
            lots.prepare(vault, person.sender, request, person.members.id_of, prior=prior)
        record = sent(vault, person, request.reference)
    result = {"claim": None if record.claim is None else record.claim.hex(), "prior": name}
    emit(context, result | {"progress": record.progress.value}, lambda: fields(result))
    if record.progress is not Progress.COMMITTED:
        raise told(str(record.refusal), str(record.refusal_text), record.reference)


def sent(
    vault: Vault, person: Person, reference: str, type_: type[ClaimRecord] = ClaimRecord
) -> ClaimRecord:
    """Bring one prepared claim, or request, onto the chain; return what became of it."""

    async def go() -> ClaimRecord:
        async with person.node() as node:
            (record,) = await lots.submit(
                vault, node, person.sender, [reference], type_, wait_s=person.wait_s, say=note
            )
            return record

    return run(go())


VERBS: Final = (
    *(abandon, resubmit, reverse, concede, recover, dispute, uphold, overturn, withdraw, close),
    supersede,
)
