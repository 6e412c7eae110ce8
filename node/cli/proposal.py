"""`depoli proposal`: what the members that run validators propose, and how they vote."""

import functools
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from contracts.calls import (
    AdmitMember,
    JoinValidators,
    LeaveValidators,
    NewKey,
    Propose,
    ReinstateMember,
    RekeyMember,
    RemoveMember,
    ReplaceTable,
    ReplaceValidator,
    ScheduleVersion,
    SetParameters,
    Subject,
    SuspendMember,
    Vote,
    Withdraw,
)
from contracts.errors import BadTable
from contracts.governance import MAX_AHEAD_S
from contracts.parameters import Parameters
from contracts.reference import MAX_TABLE_BYTES, TableKind, table_hash
from contracts.registry import Family
from ledger.keys import Role, algorithm_of
from node import card as cards
from node import files
from node.cli.output import Verbs, emit, fields, json_option, moment, table
from node.cli.person import Person, at_home, run, wait_option
from node.client import nomenclature, voting, x509
from node.client.client import NodeClient
from node.client.errors import NotFound
from node.client.proposals import GovernanceView, ProposalView, governance_of, proposal_of
from node.client.refusals import PROPOSAL
from node.client.validators import Registrar
from node.errors import Usage

_CARD: Final = click.Path(path_type=Path, exists=False)
_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_DAY_S: Final = 86_400
_MARGIN_S: Final = 60  # a little less than the most: clocks differ
MAX_CERTIFICATE_BYTES: Final = 64 << 10
_INDEX: Final = re.compile(r"`\$\[(\d+)\]`")  # as msgspec says which
_ID: Final = re.compile(r"[0-9a-f]{64}")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Terms:
    """Until when one may vote, and how soon the change is in force."""

    blocks: int  # from now
    days: int


def proposing(command: F) -> F:
    """Give a command what every proposal needs: options, and its argument `terms`."""

    @functools.wraps(command)
    def with_terms(*args: Any, blocks: int, days: int, **options: Any) -> Any:  # noqa: ANN401
        return command(*args, terms=Terms(blocks, days), **options)

    made: Any = with_terms
    for decorate in (
        json_option,
        at_home,
        wait_option,
        click.option(
            "--days",
            type=click.IntRange(1, MAX_AHEAD_S // _DAY_S),
            default=7,
            show_default=True,
            help="How long one may vote, and a change of validators be made.",
        ),
        click.option(
            "--in-blocks",
            "blocks",
            type=click.IntRange(min=1),
            required=True,
            help="So many blocks ahead it is in force; votes count until a notice before.",
        ),
    ):
        made = decorate(made)
    return made  # type: ignore[no-any-return]


@click.group(cls=Verbs)
def proposal() -> None:
    """Propose what is to change, and vote on it.

    Members that run validators propose and vote; everybody sees it.
    """


@proposal.command("list")
@click.option("--all", "everything", is_flag=True, help="Those too that are over.")
@at_home
@json_option
@click.pass_context
def show_list(context: click.Context, person: Person, *, everything: bool) -> None:
    """Show the proposals that are open or passed and not made yet."""

    async def ask() -> tuple[GovernanceView, list[ProposalView]]:
        async with person.node() as node:
            view = await governance_of(node)
            found, page = list(view.proposals), view
            while page.next is not None:
                page = await governance_of(node, page.next)
                found += page.proposals
            return view, found

    view, found = run(ask())
    now = _parameters(view)
    shown = [
        voting.as_json(each, person.members, now)
        for each in found
        if everything or each.state in {"open", "passed"}
    ]
    rows = [
        (each["number"], each["state"], each["says"], _count(each), each["effect"])
        for each in shown
    ]
    headings = ("number", "state", "change", "votes", "from block")
    emit(
        context,
        {"height": view.height, "proposals": shown},
        lambda: table(headings, rows) if rows else "no proposal is open",
    )


@proposal.command()
@click.argument("name", metavar="PROPOSAL")
@at_home
@json_option
@click.pass_context
def show(context: click.Context, person: Person, name: str) -> None:
    """Show a proposal, by id or number: who voted, what is missing, until when."""
    view, now = _ask(person, name)
    emit(context, voting.as_json(view, person.members, now), lambda: _words(person, view, now))


@proposal.command()
@click.argument("name", metavar="PROPOSAL")
@click.argument("says", metavar="yes|no", type=click.Choice(["yes", "no"]))
@wait_option
@at_home
@json_option
@click.pass_context
def vote(context: click.Context, person: Person, name: str, says: str) -> None:
    """Vote on a proposal in our member's name. A vote cannot be taken back."""
    view, _ = _ask(person, name)
    call = Vote(bytes.fromhex(view.id), agrees=says == "yes")
    _make(person, call, "the vote")
    after, now = _ask(person, view.id)
    emit(context, voting.as_json(after, person.members, now), lambda: _words(person, after, now))


@proposal.command()
@click.argument("name", metavar="PROPOSAL")
@wait_option
@at_home
@json_option
@click.pass_context
def withdraw(context: click.Context, person: Person, name: str) -> None:
    """Take back a proposal of ours that is open."""
    view, _ = _ask(person, name)
    height, _ = _make(person, Withdraw(bytes.fromhex(view.id)), "the withdrawal")
    result = {"id": view.id, "height": height}
    emit(context, result, f"proposal {view.number} is withdrawn, in block {height}")


@proposal.command()
@click.argument("card", type=_CARD)
@click.option("--certificate", type=_FILE, help="X.509 certificate of the organisation.")
@proposing
@click.pass_context
def admit(
    context: click.Context, person: Person, card: Path, certificate: Path | None, terms: Terms
) -> None:
    """Propose that the organisation of a member.json becomes a member."""
    found = cards.load_card(card)
    subject = AdmitMember(
        Family[found.family.upper()],
        found.country.encode(),
        _new_key(found),
        found.keys[Role.SEALING],
        None if certificate is None else _fingerprint(certificate),
    )
    _propose(context, person, subject, terms)


@proposal.command()
@click.argument("member")
@proposing
@click.pass_context
def suspend(context: click.Context, person: Person, member: str, terms: Terms) -> None:
    """Propose that MEMBER (label or id) may send nothing until it is reinstated."""
    _propose(context, person, SuspendMember(person.members.id_of(member)), terms)


@proposal.command()
@click.argument("member")
@proposing
@click.pass_context
def reinstate(context: click.Context, person: Person, member: str, terms: Terms) -> None:
    """Propose that MEMBER, which is suspended, may send again."""
    _propose(context, person, ReinstateMember(person.members.id_of(member)), terms)


@proposal.command()
@click.argument("member")
@proposing
@click.pass_context
def remove(context: click.Context, person: Person, member: str, terms: Terms) -> None:
    """Propose that MEMBER goes for ever. Its validator, if it runs one, leaves first."""
    _propose(context, person, RemoveMember(person.members.id_of(member)), terms)


@proposal.command()
@click.argument("member")
@click.argument("card", type=_CARD)
@proposing
@click.pass_context
def rekey(context: click.Context, person: Person, member: str, card: Path, terms: Terms) -> None:
    """Propose that MEMBER, which lost its keys, gets the transaction key of a new member.json."""
    subject = RekeyMember(person.members.id_of(member), _new_key(cards.load_card(card)))
    _propose(context, person, subject, terms)


@proposal.command()
@click.argument("member")
@proposing
@click.pass_context
def join(context: click.Context, person: Person, member: str, terms: Terms) -> None:
    """Propose that MEMBER may begin to run a validator: depoli validator join."""
    _propose(context, person, JoinValidators(person.members.id_of(member)), terms)


@proposal.command()
@click.argument("member")
@proposing
@click.pass_context
def leave(context: click.Context, person: Person, member: str, terms: Terms) -> None:
    """Propose that MEMBER ceases to run a validator: depoli validator leave."""
    _propose(context, person, LeaveValidators(person.members.id_of(member)), terms)


@proposal.command()
@click.argument("leaving")
@click.argument("member")
@proposing
@click.pass_context
def replace(
    context: click.Context, person: Person, leaving: str, member: str, terms: Terms
) -> None:
    """Propose that MEMBER takes the place of LEAVING: depoli validator replace.

    Both may be the same: so a validator gets other keys sooner than once a day.
    """
    id_of = person.members.id_of
    _propose(context, person, ReplaceValidator(id_of(leaving), id_of(member)), terms)


@proposal.command("table")
@click.argument("kind", type=click.Choice([kind.subject for kind in TableKind]))
@click.argument("file", type=_FILE)
@proposing
@click.pass_context
def replace_table(
    context: click.Context, person: Person, kind: str, file: Path, terms: Terms
) -> None:
    """Propose that the reference table in FILE is the one in force, by its SHA-256."""
    wanted = next(each for each in TableKind if each.subject == kind)
    content = files.read_public(file, limit=MAX_TABLE_BYTES, hint="name the file of the table")
    try:
        nomenclature.require_table(wanted, content)
    except BadTable as error:
        raise Usage(
            f"{file} is no table {kind}: {error.reason}",
            hint="vote on a file that everybody can read; those in force are in contracts/tables",
        ) from None
    _propose(context, person, ReplaceTable(wanted, table_hash(content)), terms)


@proposal.command("parameters")
@click.argument("settings", nargs=-1, required=True, metavar="NAME=VALUE...")
@proposing
@click.pass_context
def set_parameters(
    context: click.Context, person: Person, settings: tuple[str, ...], terms: Terms
) -> None:
    """Propose other parameters; those that are not named stay as they are."""
    now = _parameters(_governance(person))
    changed = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in Parameters.__struct_fields__ or not value.isdecimal():
            raise Usage(
                f"{setting[:80]} sets no parameter",
                hint=f"parameters are {', '.join(Parameters.__struct_fields__)}",
            )
        changed[name] = int(value)
    try:
        wanted = msgspec.convert(msgspec.structs.astuple(now), Parameters)
        wanted = msgspec.convert(
            tuple(
                changed.get(name, getattr(wanted, name)) for name in Parameters.__struct_fields__
            ),
            Parameters,
        )
    except msgspec.ValidationError as error:
        raise Usage(
            f"these parameters cannot be: {_named(str(error))}",
            hint="docs/format.md, section 14, says what each may be",
        ) from None
    _propose(context, person, SetParameters(wanted), terms)


@proposal.command()
@click.argument("number", type=click.IntRange(1, (1 << 16) - 1))
@proposing
@click.pass_context
def version(context: click.Context, person: Person, number: int, terms: Terms) -> None:
    """Propose that version NUMBER of the rules follows, once a quorum of validators is ready."""
    _propose(context, person, ScheduleVersion(number), terms)


def _propose(context: click.Context, person: Person, subject: Subject, terms: Terms) -> None:
    view = _governance(person)
    now = _parameters(view)
    if person.home.member.hex() not in view.electors:
        raise Usage(
            f"{person.home.label} runs no validator, so it proposes nothing",
            hint="ask an organisation that does: depoli validator list",
        )
    if terms.blocks <= now.notice_blocks:
        raise Usage(
            f"the network wants {now.notice_blocks} blocks of notice, after the last vote",
            hint=f"--in-blocks {now.notice_blocks + 100}, say: until then one can vote",
        )
    until = max(int(time.time()), view.time) + terms.days * _DAY_S - _MARGIN_S
    _, id_ = _make(person, Propose(subject, until, view.height + terms.blocks), PROPOSAL)
    made, now = _ask(person, id_.hex())
    emit(context, voting.as_json(made, person.members, now), lambda: _words(person, made, now))


def _make(person: Person, call: Propose | Vote | Withdraw, what: str) -> tuple[int, bytes]:
    async def send() -> tuple[int, bytes]:
        async with person.node() as node:
            registrar = Registrar(node, person.sender, wait_s=person.wait_s)
            return await registrar.make(call, what)

    return run(send())


def _governance(person: Person) -> GovernanceView:
    async def ask() -> GovernanceView:
        async with person.node() as node:
            return await governance_of(node)

    return run(ask())


def _ask(person: Person, name: str) -> tuple[ProposalView, Parameters]:
    """Return the proposal of this id or number, and the parameters in force."""

    async def ask() -> tuple[ProposalView, GovernanceView]:
        async with person.node() as node:
            return await find(node, name), await governance_of(node)

    view, now = run(ask())
    return view, _parameters(now)


async def find(node: NodeClient, name: str) -> ProposalView:
    """Return the proposal of this id or number; raise `Usage`, `NotFound`."""
    if _ID.fullmatch(name):
        return await proposal_of(node, bytes.fromhex(name))
    if not (name.isdecimal() and len(name) < 10):  # noqa: PLR2004 - digits of a u32
        raise Usage(
            f"{name[:80]} names no proposal: its number, or its id of 64 hexadecimal digits",
            hint="depoli proposal list shows both",
        )
    page = (await governance_of(node, int(name))).proposals
    if not page or page[0].number != int(name):
        raise NotFound(f"there is no proposal {name}", hint="depoli proposal list --all")
    return page[0]


def _parameters(view: GovernanceView) -> Parameters:
    values = [view.parameters.get(name) for name in Parameters.__struct_fields__]
    try:
        return msgspec.convert(values, Parameters)
    except msgspec.ValidationError as error:
        raise Usage(f"the node's parameters are not those of this version: {error}") from None


def _new_key(found: cards.Card) -> NewKey:
    public = found.keys[Role.TRANSACTION]
    return NewKey(algorithm_of(public), public)


def _fingerprint(path: Path) -> bytes:
    """Return the hash by which the chain knows the first certificate in a file."""
    data = files.read_public(path, limit=MAX_CERTIFICATE_BYTES, hint="name a file that is there")
    return x509.fingerprint(x509.parse_certificates(data, path.name)[0])


def _named(reason: str) -> str:
    """Return why parameters cannot be, with the name of the one in place of its index."""
    names = Parameters.__struct_fields__
    return _INDEX.sub(lambda found: names[int(found[1])], reason)


def _count(shown: dict[str, Any]) -> str:
    return f"{shown['agree']} of {shown['needed']}, {shown['decline']} against"


def _words(person: Person, view: ProposalView, now: Parameters) -> str:
    shown = voting.as_json(view, person.members, now)
    subject = voting.subject_of(view)
    about = {
        "proposal": f"{view.number}, {view.id}",
        "proposed by": shown["proposed_by"],
        "state": view.state,
        "it takes": f"{voting.threshold_of(subject)}: {view.needed} of"
        f" {sum(vote.is_elector for vote in view.votes)}",
        "agree": view.agree,
        "against": view.decline,
        "missing": shown["missing"],
        "voting ends": f"{moment(view.deadline)}, or after block {view.last_vote}",
        "in force from": f"block {view.effect}",
    }
    if isinstance(subject, AdmitMember):
        about["key"] = subject.key.public
        about["certificate"] = subject.certificate
    rows = [
        (vote["label"], vote["vote"], vote["height"], vote["counts"]) for vote in shown["votes"]
    ]
    voted = table(("member", "vote", "in block", "counts"), rows)
    return f"{shown['says']}.\n\n{fields(about)}\n\n{voted}"
