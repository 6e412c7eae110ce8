"""What a node tells of proposals, votes, and what is in force by them: over HTTP, as votes come."""

from pathlib import Path
from typing import Any

import pytest

from contracts.calls import (
    Propose,
    ReplaceTable,
    SetParameters,
    Subject,
    Vote,
    Withdraw,
    parse_subject,
)
from contracts.parameters import Parameters
from contracts.reference import TableKind
from ledger.transaction import created_id
from node import voting
from tests.chainmaker import member_of, some_bytes
from tests.node.cluster import ALONE, prescription, run
from tests.node.test_api import ID, Door, served

FEDERATION = ALONE[0]  # votes alone
FASTER = SetParameters(Parameters(min_interval_ms=5))


async def propose(door: Door, subject: Subject, ahead: int) -> str:
    """Propose a change for so many blocks ahead; return the id."""
    state = door.node.running.chain.state.header
    call = Propose(subject, state.time + 3600, state.height + ahead)
    made = door.made(FEDERATION, call)
    (result,) = await door.send(made)
    assert result["outcomes"][0]["name"] == "APPLIED"
    return created_id(made.id, 0).hex()


async def governance(door: Door, first: int = 0) -> Any:  # noqa: ANN401
    answer = await door.get(f"/v1/governance?from={first}", "reader")
    assert answer.status == 200
    return answer.json


def test_a_proposal_is_shown_from_its_first_block_until_its_change_is_in_force(
    tmp_path: Path,
) -> None:
    async def vote() -> None:
        async with served(tmp_path) as door:
            before = await governance(door)
            assert before["proposals"] == []
            assert before["electors"] == [member_of(FEDERATION).hex()]
            assert (before["version"], before["next"]) == (1, None)
            assert before["parameters"]["min_interval_ms"] == 20

            id_ = await propose(door, FASTER, 14)
            (shown,) = (await governance(door))["proposals"]
            assert shown == (await door.get(f"/v1/proposals/{id_}", "sender")).json
            assert parse_subject(bytes.fromhex(shown["encoded"])) == FASTER
            told = ("id", "number", "kind", "state", "agree", "decline", "needed")
            assert [shown[name] for name in told] == [id_, 0, "parameters", "open", 0, 0, 1]
            assert shown["last_vote"] == shown["effect"] - Parameters().notice_blocks
            (elector,) = shown["votes"]
            assert elector == {
                "member": member_of(FEDERATION).hex(),
                "agrees": None,
                "height": None,
                "is_elector": True,
            }

            await door.send(door.made(FEDERATION, Vote(bytes.fromhex(id_), agrees=True)))
            passed = (await door.get(f"/v1/proposals/{id_}")).json
            assert (passed["state"], passed["agree"]) == ("passed", 1)
            assert passed["votes"][0]["agrees"] is True
            assert passed["votes"][0]["height"] == passed["decided"]

            number = 0
            while (await governance(door))["height"] < shown["effect"]:
                assert (await governance(door))["parameters"]["min_interval_ms"] == 20
                number += 1
                await door.send(prescription(door.genesis, number))
            after = await governance(door)
            assert after["parameters"]["min_interval_ms"] == 5
            assert after["proposals"][0]["state"] == "enacted"

    run(vote())


def test_proposals_come_page_by_page_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voting, "MAX_PROPOSALS", 2)

    async def page() -> None:
        async with served(tmp_path) as door:
            tables = [
                ReplaceTable(TableKind.OPTICS_CODES, some_bytes("table", n)) for n in range(3)
            ]
            made = [await propose(door, table, 50) for table in tables]
            await door.send(door.made(FEDERATION, Withdraw(bytes.fromhex(made[1]))))
            first = await governance(door)
            assert [each["id"] for each in first["proposals"]] == made[:2]
            assert [each["state"] for each in first["proposals"]] == ["open", "withdrawn"]
            assert first["next"] == 2
            last = await governance(door, 2)
            assert [each["id"] for each in last["proposals"]] == made[2:]
            beyond = await governance(door, 9)
            assert (last["next"], beyond["proposals"], beyond["next"]) == (None, [], None)

    run(page())


def test_every_token_opens_it_and_nothing_else_does(tmp_path: Path) -> None:
    async def ask() -> None:
        async with served(tmp_path, runs=False) as door:
            for path, status in (("/v1/governance", 200), (f"/v1/proposals/{ID}", 404)):
                for token in ("reader", "sender", "anyone", "auditor", "operator"):
                    assert (await door.get(path, token)).status == status
                for nobody in (None, "wrong"):
                    assert (await door.get(path, nobody)).status == 401

    run(ask())


@pytest.mark.parametrize(
    "path",
    [
        "/v1/governance?from=-1",
        "/v1/governance?from=x",
        f"/v1/governance?from={1 << 33}",
        "/v1/proposals/0",
        f"/v1/proposals/{'A' * 64}",
    ],
)
def test_a_question_that_makes_no_sense_is_refused(tmp_path: Path, path: str) -> None:
    async def ask() -> None:
        async with served(tmp_path, runs=False) as door:
            assert (await door.get(path)).status == 400

    run(ask())
