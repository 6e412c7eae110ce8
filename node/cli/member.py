"""`depoli member`: who members are, their keys, who acts for them, what vouches for a key."""

import datetime as dt
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from contracts import certificates
from contracts.calls import Scope
from contracts.delegation import MAX_AHEAD_S
from ledger.keys import Algorithm, Role, Signer, algorithm_of, key_id
from ledger.validators import MemberId
from node import files, keystore
from node.cli.keys import algorithm_option
from node.cli.output import Verbs, emit, fields, json_option, moment, note, table
from node.cli.person import Person, at_home, run, wait_option
from node.client import x509
from node.client.attestation import (
    Attestation,
    binding_message,
    bound_keys,
    parse_attestation,
)
from node.client.client import MemberView
from node.client.errors import NotVerified
from node.client.housekeeping import DAY_S, Housekeeper, find_key
from node.errors import Usage

_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_ROLES: Final = {
    "transaction": Role.TRANSACTION,
    "human": Role.HUMAN,
    "sealing": Role.SEALING,
    "node": Role.TLS,
}
_NAMES: Final = {role: name for name, role in _ROLES.items()}
_SETTINGS: Final = {  # of client.toml, by the role of the key whose file they name
    Role.TRANSACTION: "key_file",
    Role.HUMAN: "human_key_file",
    Role.SEALING: "sealing_key_file",
}
_height_option = click.option(
    "--height",
    type=click.IntRange(0),
    default=0,
    help="At which block; the next one if not said.",
)
_key_option = click.option("--key", "name", default="", help="Id of the key; ours if not said.")


@click.group(cls=Verbs)
def member() -> None:
    """Look at members; keep our keys, let others act for us, and bind certificates."""


@member.command()
@click.argument("name", default="")
@at_home
@json_option
@click.pass_context
def show(context: click.Context, person: Person, name: str) -> None:
    """Show a member, NAME being its label or id, or our own: where it stands, and who acts."""
    view = _view(person, name)
    label = person.members.label_of
    result = _plain(view)

    def human() -> str:
        rows = [
            (
                label(bytes.fromhex(each.delegate)),
                ", ".join(each.scope),
                moment(each.until),
                "in force" if each.in_force else "over",
            )
            for each in view.delegations
        ]
        head = fields(
            {
                "member": view.id,
                "label": view.label,
                "family": view.family,
                "country": view.country,
                "status": f"{view.status}, since block {view.since}",
                "keys in force": sum(key.is_in_force(view.height) for key in view.keys),
            }
        )
        return head if not rows else f"{head}\n\n{table(('acts', 'in', 'until', ''), rows)}"

    emit(context, result, human)


@member.command()
@click.argument("name", default="")
@at_home
@json_option
@click.pass_context
def keys(context: click.Context, person: Person, name: str) -> None:
    """List every key that a member ever had, NAME being its label or id, or our own."""
    view = _view(person, name)
    rows = [
        (
            key.id,
            key.role,
            key.algorithm,
            key.from_height,
            key.until_height,
            "in force" if key.is_in_force(view.height) else "not in force",
            key.public,
        )
        for key in view.keys
    ]
    headings = ("id", "role", "algorithm", "from block", "until block", "", "public key")
    emit(context, {"keys": _plain(view)["keys"]}, lambda: table(headings, rows))


@member.command("add-key")
@click.argument("file", type=_FILE)
@click.option("--role", type=click.Choice(list(_ROLES)), default="transaction", show_default=True)
@algorithm_option
@_height_option
@click.option("--until", type=click.IntRange(1), help="Block at which it ends; never if not said.")
@wait_option
@at_home
@json_option
@click.pass_context
def add_key(
    context: click.Context,
    person: Person,
    file: Path,
    role: str,
    algorithm: str,
    height: int,
    until: int | None,
) -> None:
    """Add a key: its secret is drawn and written to FILE, or is in FILE already."""
    key, kind = _key_in(file, _ROLES[role], algorithm), _ROLES[role]
    block = run(_do(person, lambda keeper: keeper.add_key(kind, key, first=height, until=until)))
    result = {
        "block": block,
        "role": role,
        "public": key.public,
        "from_height": max(height, block + 1),
        "until_height": until,
        "file": str(file),
    }
    emit(context, result, lambda: f"{fields(result)}\n\nBack up {file}, and hand it to nobody.")


@member.command("revoke-key")
@click.argument("name", metavar="KEY")
@_height_option
@wait_option
@at_home
@json_option
@click.pass_context
def revoke_key(context: click.Context, person: Person, name: str, height: int) -> None:
    """End a key of ours, KEY being its id or how that begins; never the last one."""
    key = find_key(_view(person), name)
    id_ = bytes.fromhex(key.id)
    block = run(_do(person, lambda keeper: keeper.revoke_key(id_, height=height)))
    result = {"block": block, "key": key.id, "until_height": max(height, block + 1)}
    emit(context, result, lambda: fields(result))


@member.command("rotate-key")
@click.argument("file", type=_FILE)
@_key_option
@algorithm_option
@_height_option
@wait_option
@at_home
@json_option
@click.pass_context
def rotate_key(
    context: click.Context, person: Person, file: Path, name: str, algorithm: str, height: int
) -> None:
    """End a key of ours and begin with another, in one step: that in FILE, or drawn into it."""
    view = _view(person)
    old = find_key(view, name or person.sender.key_id.hex())
    role, id_ = Role[old.role.upper()], bytes.fromhex(old.id)
    key = _key_in(file, role, algorithm)
    block = run(_do(person, lambda keeper: keeper.rotate_key(id_, role, key, height=height)))
    first = max(height, block + 1)
    result = {
        "block": block,
        "ended": old.id,
        "role": old.role,
        "public": key.public,
        "from_height": first,
        "file": str(file),
    }
    emit(context, result, lambda: fields(result))
    if role in _SETTINGS:
        named = f"if it is the one that {_SETTINGS[role]} of client.toml names"
        note(f"From block {first} on {old.id} is good for nothing new: {named}, name {file} there.")


@member.command()
@click.argument("name", metavar="MEMBER")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice([scope.name.lower() for scope in Scope]),
    help="What it may do; once for each.",
)
@click.option(
    "--days",
    type=click.IntRange(1, MAX_AHEAD_S // DAY_S - 1),
    default=365,
    show_default=True,
    help="For how long.",
)
@wait_option
@at_home
@json_option
@click.pass_context
def delegate(
    context: click.Context, person: Person, name: str, scopes: Sequence[str], days: int
) -> None:
    """Let MEMBER act for us, signing with its own key, in place of what it might do before."""
    who = person.members.id_of(name)
    until = int(time.time()) + days * DAY_S
    groups = [Scope[scope.upper()] for scope in scopes]
    block = run(_do(person, lambda keeper: keeper.delegate(who, groups, until)))
    result = {
        "block": block,
        "delegate": who,
        "label": person.members.label_of(who),
        "scope": sorted(set(scopes)),
        "until": until,
    }
    emit(context, result, lambda: fields(result | {"until": moment(until)}))


@member.command()
@click.argument("name", metavar="MEMBER")
@wait_option
@at_home
@json_option
@click.pass_context
def withdraw(context: click.Context, person: Person, name: str) -> None:
    """Let MEMBER act for us no more."""
    who = person.members.id_of(name)
    block = run(_do(person, lambda keeper: keeper.withdraw(who)))
    result = {"block": block, "delegate": who, "label": person.members.label_of(who)}
    emit(context, result, lambda: fields(result))


@member.command("bind-certificate")
@click.argument("file", metavar="CERTIFICATE", type=_FILE)
@_key_option
@click.option("--private-key", "private", type=_FILE, help="PEM of the certificate's key.")
@click.option("--signature", type=_FILE, help="Signature of the message, by a card or module.")
@click.option("--message", type=_FILE, help="Write the message to be signed here, and stop.")
@click.option("-o", "--output", "out", type=_FILE, help="Write a file for others; send nothing.")
@wait_option
@at_home
@json_option
@click.pass_context
def bind_certificate(
    context: click.Context,
    person: Person,
    file: Path,
    name: str,
    private: Path | None,
    signature: Path | None,
    message: Path | None,
    out: Path | None,
) -> None:
    """Bind a transaction key of ours to our organisation's CERTIFICATE, whose key signs for it.

    With --message, what is to be signed (SHA-256; RSA PKCS #1 v1.5, or P-256) is written to a file.
    With --output nothing is sent: so an organisation shows who it is before it is admitted.
    """
    if sum(each is not None for each in (private, signature, message)) != 1:
        raise Usage("give one of --private-key, --signature and --message")
    certificate = x509.parse_certificates(_read(file), str(file))[0]
    public = x509.key_in(certificate)
    hash_ = x509.fingerprint(certificate)
    held: bytes = person.sender.key.public
    if (out is None and message is None) or name:
        key = find_key(_view(person), name or person.sender.key_id.hex())
        held = bytes.fromhex(key.public)
    text = binding_message(person.sender, hash_, held)
    if message is not None:
        files.create(message, text)
        emit(context, {"message": str(message)}, f"sign {message} with the certificate's key")
        return
    signed = _signed(private, signature, text, is_p256=len(public) == 33)  # noqa: PLR2004
    if not certificates.is_signed(public, text, signed):
        raise NotVerified(
            "signature",
            f"it is not by the key in the certificate {file}, or not of this member's message",
            hint="sign anew, with that key, what --message writes",
        )
    if out is not None:
        made = Attestation(person.sender.chain_id, person.home.member, held, hash_, public, signed)
        files.create(out, made.to_json())
        emit(context, {"file": str(out)}, f"hand {out} and {file} to who votes on us")
        return
    id_ = key_id(Role.TRANSACTION, algorithm_of(held), held)
    block = run(_do(person, lambda keeper: keeper.bind(id_, hash_, public, signed)))
    result = {"block": block, "key": id_, "certificate": hash_}
    emit(context, result, lambda: fields(result))


@member.command("verify-certificate")
@click.argument("name", metavar="MEMBER")
@click.argument("file", metavar="CERTIFICATE", type=_FILE)
@click.option("--anchor", "anchors", multiple=True, required=True, type=_FILE, help="Trusted CA.")
@click.option("--crl", "crls", multiple=True, type=_FILE, help="List of revoked certificates.")
@click.option("--binding", type=_FILE, help="File of one that is no member yet.")
@click.option("--at", type=click.DateTime(["%Y-%m-%d"]), help="Day to judge; now if not said.")
@at_home
@json_option
@click.pass_context
def verify_certificate(
    context: click.Context,
    person: Person,
    name: str,
    file: Path,
    anchors: Sequence[Path],
    crls: Sequence[Path],
    binding: Path | None,
    at: dt.datetime | None,
) -> None:
    """Check that CERTIFICATE is good, and the one to which a key of MEMBER is bound.

    Behind the certificate its file may hold those between it and an anchor. Nothing is sent.
    """
    first, *others = x509.parse_certificates(_read(file), str(file))
    hash_, public, id_ = x509.fingerprint(first), x509.key_in(first), _id(person, name)
    if binding is None:
        bound = bound_keys(_view(person, name), hash_, public)
    else:
        made = parse_attestation(_read(binding), str(binding))
        bound = made.verify(person.members.genesis.chain_id, id_, hash_, public)
    when = dt.datetime.now(dt.UTC) if at is None else at.replace(tzinfo=dt.UTC)
    found = x509.verify(
        first,
        others=others,
        anchors=[
            each for path in anchors for each in x509.parse_certificates(_read(path), str(path))
        ],
        revocations=[x509.parse_revocations(_read(path), str(path)) for path in crls],
        at=when,
    )
    result = {
        "member": id_,
        "keys": bound,
        "organisation": found.organisation,
        "identifier": found.identifier,
        "common_name": found.common_name,
        "issuer": found.issuer,
        "anchor": found.anchor,
        "valid_from": f"{found.not_before:%Y-%m-%d}",
        "valid_until": f"{found.not_after:%Y-%m-%d}",
        "revocation_checked": bool(crls),
    }
    emit(context, result, lambda: fields(result))
    if not crls:
        note("Whether it was revoked was not looked at: give its issuer's list with --crl.")


def _view(person: Person, name: str = "") -> MemberView:
    id_ = _id(person, name)

    async def ask() -> MemberView:
        async with person.node() as node:
            return await node.member(id_)

    return run(ask())


def _id(person: Person, name: str) -> MemberId:
    """Return the id of a member, ours where none is named."""
    return person.members.id_of(name) if name else person.home.member


async def _do(person: Person, doing: Any) -> int:  # noqa: ANN401 - a verb of `Housekeeper`
    async with person.node() as node:
        made: int = await doing(Housekeeper(node, person.sender, person.wait_s))
        return made


def _key_in(file: Path, role: Role, algorithm: str) -> Signer:
    """Return the key in a file, which is drawn and written where there is none."""
    wanted = Algorithm[algorithm.upper()]
    if not role.allows(wanted):
        raise Usage(
            f"a key for {_NAMES[role]} is Ed25519, not of {algorithm}", hint="leave out --algorithm"
        )
    if not file.exists():
        if not file.parent.is_dir():
            raise files.Missing(file.parent, hint=f"make that folder first, for {file.name}")
        keystore.create_key(file, wanted)
    return keystore.read_signer(file)


def _signed(private: Path | None, signature: Path | None, text: bytes, *, is_p256: bool) -> bytes:
    if private is not None:
        pem = files.read_secret(private, limit=x509.MAX_BYTES, hint="name a PEM file")
        return x509.sign(pem, str(private), text)
    assert signature is not None  # one of the two is given
    data = _read(signature)
    return x509.plain(data, str(signature)) if is_p256 else data


def _read(path: Path) -> bytes:
    return files.read_public(path, limit=x509.MAX_BYTES, hint="name a file that is there")


def _plain(view: MemberView) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(view)
    return shown
