"""What the HTTP API tells of the members: who they are, where they stand, their keys, who acts."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from aiohttp import web

from contracts import certificates, delegation, registry
from contracts.calls import Scope as Group
from contracts.genesis import Genesis
from contracts.registry import Key, Member
from contracts.state import Reader
from ledger.validators import MEMBER_ID_BYTES
from node.asking import may_read, not_found, require
from node.problems import Problem
from node.things import Now, Readable
from node.tokens import Grant, Scope


class Organisations:
    """The handlers, over a chain; `reader` is where it is read. The genesis knows names."""

    def __init__(self, chain: Readable, genesis: Genesis, reader: Executor) -> None:
        self._chain, self._genesis, self._reader = chain, genesis, reader

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add ours to an application's."""
        router.add_get("/v1/members", self.members)
        router.add_get("/v1/members/{id}", self.member)

    async def members(self, request: web.Request) -> web.Response:
        """List the members and where they stand."""
        require(request, *Scope)
        loop = asyncio.get_running_loop()
        return web.json_response({"members": await loop.run_in_executor(self._reader, self._all)})

    async def member(self, request: web.Request) -> web.Response:
        """Tell of a member where it stood when, and its keys; to those whom it concerns, who acts.

        To whom it delegates is for itself, for its delegate, and for who reads everything.
        """
        grant = require(request, *Scope)
        id_ = parse_member_in_path(request)
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._reader, self._one, grant, id_)
        if found is None:
            raise not_found("member", id_)
        return web.json_response(found)

    def _all(self) -> list[dict[str, Any]]:
        return [
            _shown(self._genesis, id_, found)
            for id_, found in registry.members(self._chain.state.state)
        ]

    def _one(self, grant: Grant, id_: bytes) -> dict[str, Any] | None:
        return whole(
            self._chain.state,
            self._genesis,
            id_,
            lambda delegate: may_read(grant, id_, delegate),
        )


def whole(
    chain: Now, genesis: Genesis, id_: bytes, may_see: Callable[[bytes], bool]
) -> dict[str, Any] | None:
    """Return all that is shown of a member, None where there is none.

    Of delegations those to whom `may_see` allows.
    """
    state = chain.state
    found = registry.member(state, id_)
    if found is None:
        return None
    shown = _shown(genesis, id_, found) | {"height": chain.header.height + 1}
    shown["history"] = [
        {"from_height": each.height, "status": each.status.name.lower()}
        for each in registry.standings(state, id_)
    ]
    shown["keys"] = [_key(state, id_, key_id, key) for key_id, key in registry.keys_of(state, id_)]
    shown["delegations"] = [
        {
            "delegate": delegate.hex(),
            "scope": [group.name.lower() for group in Group if each.scope & group],
            "since": each.since,
            "until": each.until,
            "in_force": each.is_in_force(chain.header.time),
        }
        for delegate, each in delegation.given_by(state, id_)
        if may_see(delegate)
    ]
    return shown


def _shown(genesis: Genesis, id_: bytes, found: Member) -> dict[str, Any]:
    founder = genesis.member(id_)
    return {
        "id": id_.hex(),
        "label": None if founder is None else founder.label,
        "family": found.family.name.lower(),
        "country": found.country.decode("ascii"),
        "status": found.status.name.lower(),
        "since": found.since,
    }


def _key(state: Reader, owner: bytes, id_: bytes, key: Key) -> dict[str, Any]:
    bound = certificates.binding(state, owner, id_)
    return {
        "id": id_.hex(),
        "role": key.role.name.lower(),
        "algorithm": key.algorithm.name.lower(),
        "public": key.public.hex(),
        "from_height": key.from_height,
        "until_height": key.until_height,
        "certificate": None
        if bound is None
        else {
            "hash": bound.certificate.hex(),
            "public": bound.public.hex(),
            "height": bound.height,
        },
    }


def parse_member_in_path(request: web.Request) -> bytes:
    """Return the id of a member in the path; raise `Problem`."""
    text = request.match_info["id"]
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != MEMBER_ID_BYTES or value.hex() != text:
        raise Problem(400, "malformed", f"a member is {2 * MEMBER_ID_BYTES} hexadecimal digits")
    return value
