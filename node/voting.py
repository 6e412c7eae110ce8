"""What the HTTP API tells everybody of proposals, votes, and what is in force by them."""

import asyncio
from concurrent.futures import Executor
from typing import Any, Final

from aiohttp import web

from contracts import ballot, governance, reference, versions
from contracts.execute import ChainState
from contracts.governance import Proposal
from contracts.reference import TableKind
from contracts.state import Reader
from ledger.encoding import encode
from ledger.plain import plain
from ledger.validators import MemberId
from node.asking import not_found, parse_id, parse_number, require
from node.chain import Chain
from node.tokens import Scope

MAX_PROPOSALS: Final = 50  # in one answer: each may list a hundred votes


class Voting:
    """The handlers, over a chain; `reader` is where it is read."""

    def __init__(self, chain: Chain, reader: Executor) -> None:
        self._chain, self._reader = chain, reader

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add ours to an application's."""
        router.add_get("/v1/governance", self.governance)
        router.add_get("/v1/proposals/{id}", self.proposal)

    async def governance(self, request: web.Request) -> web.Response:
        """List proposals from a number on, and what is in force in the next block."""
        require(request, *Scope)
        first = parse_number(request, "from", 0, 0, 1 << 31)
        loop = asyncio.get_running_loop()
        shown = await loop.run_in_executor(self._reader, in_force, self._chain.state, first)
        return web.json_response(shown)

    async def proposal(self, request: web.Request) -> web.Response:
        """Tell how the vote on a proposal stands."""
        require(request, *Scope)
        id_ = parse_id(request)
        loop = asyncio.get_running_loop()
        shown = await loop.run_in_executor(self._reader, _found, self._chain.state, id_)
        if shown is None:
            raise not_found("proposal", id_)
        return web.json_response(shown)


def in_force(chain: ChainState, first: int) -> dict[str, Any]:
    """Return what holds in the next block, and the proposals from number `first` on."""
    state, made = chain.state, governance.docket(chain.state).made
    numbers = range(first, min(made, first + MAX_PROPOSALS))
    found = (governance.numbered(state, number) for number in numbers)
    shown = [_found(chain, id_) for id_ in found if id_ is not None]
    tables = {kind.subject: reference.in_force(state, kind) for kind in TableKind}
    return {
        "height": chain.header.height + 1,
        "time": chain.header.time,
        "version": versions.at(state, chain.header.height + 1),
        "parameters": plain(chain.parameters),
        "tables": {kind: table.hex() for kind, table in tables.items() if table is not None},
        "electors": [member.hex() for member in _electors(chain)],
        "proposals": shown,
        "next": numbers.stop if numbers.stop < made else None,
    }


def view(chain: ChainState, id_: bytes, record: Proposal) -> dict[str, Any]:
    """Return a proposal, and how the vote stands among those who could vote in the next block."""
    state, height = chain.state, chain.header.height + 1
    notice = chain.parameters.notice_blocks
    tally = governance.tally(state, height, id_, record)
    standing = governance.standing(record, height, chain.header.time, notice)
    return {
        "id": id_.hex(),
        **plain(record),
        "kind": record.subject.VERB,
        "subject": plain(record.subject),
        "encoded": encode(record.subject).hex(),
        "state": standing.name.lower(),
        "last_vote": record.effect - notice,
        "agree": tally.agree,
        "decline": tally.declined,
        "needed": tally.needed,
        "votes": list(_votes(state, id_, chain)),
    }


def _votes(state: Reader, id_: bytes, chain: ChainState) -> list[dict[str, Any]]:
    """Return what each elector voted, and what those voted who are none any more."""
    electors = _electors(chain)
    cast = ballot.ballots(state, id_)
    return [
        {
            "member": member.hex(),
            "agrees": cast[member].agrees if member in cast else None,
            "height": cast[member].height if member in cast else None,
            "is_elector": member in electors,
        }
        for member in dict.fromkeys((*electors, *cast))
    ]


def _found(chain: ChainState, id_: bytes) -> dict[str, Any] | None:
    record = governance.load(chain.state, id_)
    return None if record is None else view(chain, id_, record)


def _electors(chain: ChainState) -> list[MemberId]:
    return [MemberId(validator.member) for validator in chain.validators.members]
