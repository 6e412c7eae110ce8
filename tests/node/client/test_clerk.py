"""A payer's clerk: what was verified is decided once, whatever ends it, and the rest by people."""

import contextlib
import datetime as dt
import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.calls import ClaimAccept, ClaimReject, Reason, parse_call
from contracts.calls.registry import DelegationGrant, DelegationWithdraw, Scope
from ledger.keys import Role
from node.client import accounts, docket, inbox, weighing
from node.client.clerk import Clerk
from node.client.errors import Refused, Unreachable
from node.client.gathering import Gathering
from node.client.inbox import Reader
from node.client.letters import Folder
from node.client.mandate import Mandate, mandate_of
from node.client.policy import Policy, parse_policy
from node.client.records import (
    ClaimRecord,
    ReceivedRecord,
    ReviewRecord,
    Standing,
    TallyRecord,
    find,
    update,
)
from node.client.sending import Desk, Report, Sending
from node.client.settling import Settlements, known_opening
from node.client.statements import Statement
from node.client.transactions import Lapsed, Sender
from node.client.vault import Vault
from tests.contracts.world import id_of, key_of
from tests.node.client import desk
from tests.node.client.desk import MEMBERS
from tests.node.client.street import Street, run

EXAMPLE = Path(__file__).parents[3] / "scripts" / "data" / "policy.toml"
TEXT = EXAMPLE.read_text().replace("invoice_days = 365", "invoice_days = 36500")


def policy(*changes: tuple[str, str]) -> Policy:
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse_policy(text.encode(), "policy.toml", MEMBERS)


class Killed(Exception):
    """The process is gone: nothing that it would have done afterwards is done."""


class Payer:
    """An insurer with a street of shops, a folder, and what its clerk said."""

    def __init__(self, street: Street, folder: Path) -> None:
        self.street, self.folder = street, folder / "inbox"
        self.folder.mkdir()
        self.events: list[dict[str, Any]] = []
        self.told: list[Statement] = []

    def hand(self, data: bytes, name: str) -> None:
        """Put a file into the folder, written long ago."""
        import os  # noqa: PLC0415

        path = self.folder / f"{name}.json"
        path.write_bytes(data)
        os.utime(path, (1, 1))

    def hand_all(self) -> None:
        for number, claim in enumerate(self.street.claims):
            self.hand(self.street.file(claim), f"claim-{number}")

    def desk(self, vault: Vault | None = None, sender: Sender | None = None) -> Desk:
        async def hand_over(statement: Statement) -> None:
            self.told.append(statement)

        node = self.street.node
        return Desk(
            vault or self.street.payer_vault,
            node,
            node,
            sender or desk.sender("insurer", node),
            wait_s=5,
            say=self.street.said.append,
            report=Report(self.events.append),
            hand_over=hand_over,
        )

    def clerk(self, by: Policy, vault: Vault | None = None) -> Clerk:
        return Clerk(self.desk(vault), Reader(id_of("insurer"), MEMBERS, None), by)

    def run(self, by: Policy | None = None, vault: Vault | None = None) -> None:
        clerk = self.clerk(by or policy(), vault)

        async def go() -> None:
            await clerk.resume()
            await clerk.work(Folder(self.folder))

        run(go())

    def states(self) -> list[str]:
        return [self.street.state(claim) for claim in self.street.claims]

    def calls(self) -> Counter[bytes]:
        """Return how many decisions of each claim came to the chain, applied or not."""
        made = (parse_call(entry.call) for entry in self.street.node.entries)
        return Counter(call.claim for call in made if isinstance(call, ClaimAccept | ClaimReject))

    def names(self, folder: str = ".") -> set[str]:
        return {each.name for each in (self.folder / folder).glob("*.json")}

    def of(self, event: str) -> list[dict[str, Any]]:
        return [each for each in self.events if each["event"] == event]


@pytest.fixture
def payer(tmp_path: Path) -> Iterator[Payer]:
    street = Street.of(tmp_path)
    yield Payer(street, tmp_path)
    street.close()


def test_what_the_policy_lets_pass_is_accepted_in_one_lot(payer: Payer) -> None:
    payer.hand_all()
    sent = len(payer.street.node.sent)
    payer.run()
    assert payer.states() == ["accepted"] * 3
    assert len(payer.street.node.sent) == sent + 1
    assert payer.names() == set()
    assert len(payer.of("accepted")) == 3
    for claim in payer.street.claims:
        found = find(payer.street.payer_vault, ReceivedRecord, claim.hex())
        assert found is not None
        assert (found[1].decision, found[1].is_automatic) == ("accepted", True)
        assert found[1].policy == policy().digest


def test_again_is_no_harm(payer: Payer) -> None:
    payer.hand_all()
    payer.run()
    payer.hand_all()
    sent = len(payer.street.node.sent)
    payer.run()
    assert len(payer.street.node.sent) == sent
    assert [each["words"] for each in payer.of("closed")] == ["it is accepted"] * 3


def test_what_a_machine_refuses_says_so_on_the_chain(payer: Payer) -> None:
    payer.hand_all()
    payer.run(policy(("only_listed_shops = false", "only_listed_shops = true")))
    assert payer.states() == ["rejected"] * 3
    for entry in payer.street.node.entries:
        call = parse_call(entry.call)
        if isinstance(call, ClaimReject):
            assert (call.reason, call.automatic) == (Reason.PROVIDER_NOT_CONTRACTED, True)


def test_what_a_person_decides_is_not_marked_as_a_machines(payer: Payer) -> None:
    payer.hand_all()
    payer.run(policy(('mode = "decide"', 'mode = "propose"')))
    assert payer.states() == ["submitted"] * 3
    first, second, third = payer.street.claims
    vault = payer.street.payer_vault
    assert {each.standing for each in docket.pending(vault)} == {Standing.REVIEW}
    chosen = [
        docket.choose(vault, first, "accept", cents=None, reason=None),
        docket.choose(vault, second, "refuse", cents=None, reason=Reason.RIGHTS_CLOSED),
        docket.choose(vault, third, "part", cents=5_000, reason=None),
    ]
    assert all(chosen)
    assert docket.choose(vault, first, "refuse", cents=None, reason=Reason.OTHER) is None
    run(Sending(payer.desk()).resume())
    assert payer.states() == ["accepted", "rejected", "accepted_in_part"]
    calls = [parse_call(each.call) for each in payer.street.node.entries]
    (rejected,) = [each for each in calls if isinstance(each, ClaimReject)]
    assert not rejected.automatic
    (told,) = payer.told
    payer.street.take(told.to_json(), "shop")
    assert payer.street.record(third).accepted is not None
    found = find(vault, ReceivedRecord, second.hex())
    assert found is not None
    assert (found[1].decision, found[1].is_automatic) == ("rejected", False)


def test_over_a_cap_a_part_is_accepted_and_the_shop_is_told(payer: Payer) -> None:
    payer.hand_all()
    payer.run(policy(("a = { total_cents = 20000", "a = { total_cents = 13500")))
    amounts = [payer.street.record(claim).amount_cents for claim in payer.street.claims]
    assert payer.states() == [
        "accepted_in_part" if cents > 13_500 else "accepted" for cents in amounts
    ]
    assert {each.opening.amount for each in payer.told} == {13_500}


@pytest.mark.parametrize(
    ("spoil", "fact"),
    [
        (lambda value: value | {"cents": value["cents"] + 1}, "amount"),
        (lambda value: value | {"recipient": bytes(16).hex()}, "recipient"),
        (lambda value: value | {"expires": 1}, "expiry"),
        (lambda value: value | {"purpose": "marketing"}, "purpose"),
        (lambda value: value | {"claim": bytes(32).hex(), "expires": 1}, "claim"),
        (lambda value: value | {"blinding": "zz"}, "file"),
        (
            lambda value: (
                value | {"claim_document": "~".join(value["claim_document"].split("~")[1:])}
            ),
            "claim document",
        ),
        (
            lambda value: (
                value
                | {
                    "prescription_document": "~".join(value["prescription_document"].split("~")[:2])
                    + "~"
                }
            ),
            "mark",
        ),
    ],
)
def test_what_does_not_hold_is_named_and_decides_nothing(
    payer: Payer, spoil: Callable[[dict[str, Any]], object], fact: str
) -> None:
    claim = payer.street.claims[0]
    payer.hand(json.dumps(spoil(json.loads(payer.street.file(claim)))).encode(), "wrong")
    sent = len(payer.street.node.sent)
    payer.run()
    (said,) = payer.of("refused-file")
    assert said["fact"] == fact
    assert len(payer.street.node.sent) == sent
    assert payer.states() == ["submitted"] * 3
    assert docket.pending(payer.street.payer_vault) == []
    assert inbox.known(payer.street.payer_vault, claim) == {"disclosed": False}
    assert payer.names("refused") == {"wrong.json"}
    note = json.loads((payer.folder / "refused" / "wrong.json.why").read_text())
    assert (note["file"], note["fact"]) == ("wrong.json", fact)


def test_what_another_disclosed_of_this_claim_decides_nothing(payer: Payer) -> None:
    first, second = (json.loads(payer.street.file(claim)) for claim in payer.street.claims[:2])
    payer.hand(json.dumps(first | {"claim": second["claim"]}).encode(), "wrong")
    payer.run()
    assert [each["fact"] for each in payer.of("refused-file")] == ["claim document"]
    assert payer.states() == ["submitted"] * 3


def test_a_claim_that_is_not_on_the_chain_yet_waits(payer: Payer) -> None:
    value = json.loads(payer.street.file(payer.street.claims[0])) | {"claim": bytes(32).hex()}
    payer.hand(json.dumps(value).encode(), "early")
    payer.run()
    assert len(payer.of("later")) == 1
    assert payer.names() == {"early.json"}


def test_a_file_that_is_still_being_written_waits(payer: Payer) -> None:
    whole = payer.street.file(payer.street.claims[0])
    path = payer.folder / "half.json"
    path.write_bytes(whole[:100])
    payer.run()
    assert payer.names() == {"half.json"}
    path.write_bytes(whole)
    payer.run()
    assert payer.states()[0] == "accepted"


def test_a_rehearsal_keeps_sends_and_moves_nothing(payer: Payer) -> None:
    payer.hand_all()
    payer.hand(b"no JSON", "wrong")
    sent, vault = len(payer.street.node.sent), payer.street.payer_vault
    clerk = payer.clerk(policy(("accept_per_day_count = 20000", "accept_per_day_count = 2")))
    run(clerk.rehearse(Folder(payer.folder)))
    assert [each["event"] for each in payer.events] == [
        "would-accept", "would-accept", "would-review", "refused-file",
    ]  # fmt: skip
    assert len(payer.street.node.sent) == sent
    assert len(payer.names()) == 4
    assert docket.pending(vault) == []
    assert weighing.tally_of(vault, weighing.today()) == TallyRecord(day=weighing.today())


def test_a_claim_that_was_rectified_is_judged_anew_or_given_to_a_person(payer: Payer) -> None:
    payer.hand_all()
    payer.run(policy(('mode = "decide"', 'mode = "propose"')))
    vault, claim = payer.street.payer_vault, payer.street.claims[0]
    docket.choose(vault, claim, "accept", cents=None, reason=None)
    found = find(vault, ReviewRecord, claim.hex())
    assert found is not None
    assert docket.give_back(vault, claim, found[1].document, "rectified-since") is None
    assert docket.give_back(vault, claim, bytes(32), "rectified-since") == "rectified-since"
    found = find(vault, ReviewRecord, claim.hex())
    assert found is not None
    assert found[1].standing is Standing.REVIEW
    assert docket.give_back(vault, claim, None, "rectified-since") == "closed"
    assert find(vault, ReviewRecord, claim.hex()) is None


def test_what_was_taken_back_meanwhile_is_closed(payer: Payer) -> None:
    payer.hand_all()
    payer.run(policy(('mode = "decide"', 'mode = "propose"')))
    vault, claim = payer.street.payer_vault, payer.street.claims[0]
    docket.choose(vault, claim, "accept", cents=None, reason=None)
    docket.sign(vault, desk.sender("insurer", payer.street.node), [claim])
    run(payer.street.office("shop").cancel(claim))
    run(Sending(payer.desk()).resume())
    assert len(payer.of("closed")) == 1
    assert find(vault, ReviewRecord, claim.hex()) is None


def test_a_lot_that_came_too_late_is_signed_anew(payer: Payer) -> None:
    payer.hand_all()
    payer.street.node.let_lapse = 2
    payer.run()
    assert payer.states() == ["accepted"] * 3
    assert set(payer.calls().values()) == {1}


def test_what_is_heard_late_of_an_earlier_lot_changes_nothing(payer: Payer) -> None:
    payer.hand_all()
    payer.run(policy(('mode = "decide"', 'mode = "propose"')))
    vault, claim = payer.street.payer_vault, payer.street.claims[0]
    docket.choose(vault, claim, "accept", cents=None, reason=None)
    (lot,) = docket.sign(vault, desk.sender("insurer", payer.street.node), [claim])
    assert docket.heard(vault, Lapsed(bytes(32)), [claim], now=1) == []
    found = find(vault, ReviewRecord, claim.hex())
    assert found is not None
    assert (found[1].standing, found[1].transaction) == (Standing.SIGNED, lot)


def test_what_a_person_accepts_in_part_while_it_is_under_way_can_still_be_opened(
    payer: Payer,
) -> None:
    """Both have one opening, and the one that comes too late does not forget it."""
    payer.hand_all()
    payer.run(policy(('mode = "decide"', 'mode = "propose"')))
    vault, (claim, other, _) = payer.street.payer_vault, payer.street.claims
    for each in (claim, other):
        docket.choose(vault, each, "part", cents=5_000, reason=None)
        docket.sign(vault, desk.sender("insurer", payer.street.node), [each])
    run(payer.street.office("insurer").accept([claim], 5_000))
    run(payer.street.office("shop").cancel(other))
    run(Sending(payer.desk()).resume())
    assert len(payer.of("closed")) == 2
    view = run(payer.street.node.claim(claim))
    opening = known_opening(vault, view)
    assert opening is not None
    assert opening.amount == 5_000
    assert inbox.known(vault, other).keys() == {"disclosed", "claimed_cents"}


def test_what_was_chosen_by_a_round_that_failed_is_sent_by_the_next(
    payer: Payer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that goes on after its node was away leaves nothing chosen and unsigned."""
    payer.hand_all()
    clerk = payer.clerk(policy())

    async def go() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(docket, "sign", unreachable)
            with pytest.raises(Unreachable):
                await clerk.work(Folder(payer.folder))
        await clerk.resume()
        await clerk.work(Folder(payer.folder))

    def unreachable(*_: object) -> list[bytes]:
        raise Unreachable("no node answers")

    run(go())
    assert payer.states() == ["accepted"] * 3
    assert set(payer.calls().values()) == {1}


def test_what_came_before_is_weighed_as_the_chain_has_it_now(payer: Payer) -> None:
    """It is not verified twice; what was rectified, or taken back meanwhile, is not accepted."""
    one, two, three = payer.street.claims
    for claim in payer.street.claims:
        payer.street.take(payer.street.file(claim))
    vault = payer.street.payer_vault
    run(payer.street.office("shop").cancel(one))
    found = find(vault, ReviewRecord, two.hex())
    assert found is not None
    found[1].document = bytes(32)  # as if another one had been verified
    with vault.changes():
        update(vault, *found)
        other = find(vault, ReceivedRecord, two.hex())
        assert other is not None
        value = json.loads(other[1].disclosure) | {"cents": 1}
        other[1].disclosure = json.dumps(value).encode()
        update(vault, *other)
    run(payer.clerk(policy()).work(docket.Unread(vault)))
    assert payer.states() == ["cancelled", "submitted", "accepted"]
    assert [each["fact"] for each in payer.of("refused-file")] == ["amount"]
    assert [each.claim for each in docket.pending(vault)] == [three]


# --- duplicates, and what was paid before ---------------------------------------------------------


def twin(payer: Payer, reference: str, prior: ClaimRecord | None = None) -> bytes:
    """Submit the first claim once more; return its id.

    It has a prescription of its own, or that of a claim that was rejected, in whose place it is.
    """
    from node.client import lots  # noqa: PLC0415

    document = desk.example(3, reference=reference)
    document["prescription_reference"] = (
        reference if prior is None else prior.prescription_reference
    )
    sender, street = desk.sender("shop", payer.street.node), payer.street
    with street.shop_vault.changes():
        request = desk.as_request(document)
        lots.prepare(street.shop_vault, sender, request, MEMBERS.id_of, prior=prior)
    (record,) = run(
        lots.submit(street.shop_vault, street.node, sender, [reference], wait_s=5, say=desk.silent)
    )
    assert record.claim is not None
    return record.claim


STRICT = policy(
    ('duplicate = "review"', 'duplicate = "refuse"'),
    ('renewed-early = "review"', 'renewed-early = "pass"'),
)


def test_the_same_is_paid_once_and_each_copy_is_held_against_the_first(payer: Payer) -> None:
    payer.hand_all()
    payer.run(STRICT)
    copies = [twin(payer, "TWIN-1"), twin(payer, "TWIN-2")]
    for number, claim in enumerate(copies):
        payer.hand(payer.street.file(claim), f"twin-{number}")
        payer.run(STRICT)
    assert [payer.street.state(claim) for claim in copies] == ["rejected", "rejected"]
    assert payer.states() == ["accepted"] * 3


def test_the_same_twice_in_one_batch_is_paid_once(payer: Payer) -> None:
    copy = twin(payer, "TWIN-1")
    payer.hand_all()
    payer.hand(payer.street.file(copy), "twin")
    payer.run(STRICT)
    assert payer.states() == ["accepted"] * 3
    assert payer.street.state(copy) == "rejected"


def test_what_was_taken_back_may_be_claimed_again(payer: Payer) -> None:
    payer.hand_all()
    payer.run(policy(('mode = "decide"', 'mode = "propose"')))
    run(payer.street.office("shop").cancel(payer.street.claims[0]))
    copy = twin(payer, "TWIN-1")
    payer.hand(payer.street.file(copy), "twin")
    payer.run(STRICT)
    assert payer.street.state(copy) == "accepted"
    again = twin(payer, "TWIN-2")  # which is held against the one that stands
    payer.hand(payer.street.file(again), "again")
    payer.run(STRICT)
    assert payer.street.state(again) == "rejected"


def test_who_was_paid_for_lately_is_seen_by_a_person(payer: Payer) -> None:
    payer.hand_all()
    payer.run()
    claim = twin(payer, "TWIN-1")
    payer.hand(payer.street.file(claim), "twin")
    payer.run()
    (said,) = payer.of("review")
    assert said["why"] == ["duplicate", "renewed-early"]


def test_what_people_decided_without_the_inbox_is_remembered_too(payer: Payer) -> None:
    """A claim that came by post, and that a person accepted by its id, was claimed and paid."""
    first = payer.street.claims[0]
    payer.street.take(payer.street.file(first))
    run(payer.street.office("insurer").accept([first], None))
    claim = twin(payer, "TWIN-1")
    payer.hand(payer.street.file(claim), "twin")
    payer.run()
    (said,) = payer.of("review")
    assert said["why"] == ["duplicate", "renewed-early"]


def test_what_was_decided_before_its_disclosure_came_here_is_remembered_too(payer: Payer) -> None:
    first, other = payer.street.claims[:2]
    street = payer.street
    for claim, call in ((first, ClaimAccept(first, None)), (other, ClaimAccept(other, None))):
        assert street.node.world.call("insurer", call) == 0
        payer.hand(street.file(claim), claim.hex())
    payer.run()
    claim = twin(payer, "TWIN-1")
    payer.hand(street.file(claim), "twin")
    payer.run()
    (said,) = payer.of("review")
    assert said["why"] == ["duplicate", "renewed-early"]


@pytest.mark.parametrize("by_inbox", [True, False])
def test_no_machine_accepts_what_a_person_rejected(payer: Payer, *, by_inbox: bool) -> None:
    """The shop claims it again, on the same marks: a person decides that too."""
    street, first = payer.street, payer.street.claims[0]
    vault = street.payer_vault
    street.take(street.file(first))
    if by_inbox:
        docket.choose(vault, first, "refuse", cents=None, reason=Reason.RENEWAL_NOT_DUE)
        run(Sending(payer.desk()).resume())
    else:
        run(street.office("insurer").reject([first], Reason.RENEWAL_NOT_DUE, automatic=False))
    assert street.state(first) == "rejected"
    name = twin(payer, "AGAIN", prior=street.record(first))
    payer.hand(street.file(name), "again")
    payer.run()
    (said,) = payer.of("review")
    assert (said["proposal"], said["why"]) == ("accept", ["rejected-by-a-person"])


# --- limits, two at once, and what ends a run ----------------------------------------------------


def test_two_at_once_keep_to_one_limit_and_decide_nothing_twice(
    payer: Payer, tmp_path: Path
) -> None:
    limited = policy(("accept_per_day_count = 20000", "accept_per_day_count = 2"))
    payer.hand_all()
    letters = Folder(payer.folder).letters(9)
    with desk.open_vault(tmp_path, "payer") as other:
        first, second = payer.clerk(limited), payer.clerk(limited, other)

        async def go() -> None:
            for each in letters:  # both have read the same files before either moved one
                for clerk in (first, second):
                    await clerk._take(Folder(payer.folder), [each])
            await second.resume()
            await first.resume()

        run(go())
        tally = weighing.tally_of(other, weighing.today())
    assert (tally.accepted, tally.refused) == (2, 0)
    assert sorted(payer.states()) == ["accepted", "accepted", "submitted"]
    assert set(payer.calls().values()) == {1}
    assert len(payer.of("known")) == 3


class Faults:
    """Ends a process at its n-th durable step: before it is written, or just after."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.left, self.after, self.is_dead = at, after, False

    def step(self) -> bool:
        """Return whether the process ends here."""
        if self.is_dead:
            raise Killed
        self.left -= 1
        self.is_dead = self.left < 0
        return self.is_dead

    def vault(self, path: Path) -> Vault:
        faults = self

        class Mortal(Vault):
            @contextlib.contextmanager
            def changes(self) -> Iterator[None]:
                ends = faults.step()
                with super().changes():
                    yield
                    if ends and not faults.after:
                        raise Killed
                if ends:
                    raise Killed

        return Mortal(path, desk.KEY)


KILLS = [(at, after) for at in range(8) for after in (False, True)]


@pytest.mark.parametrize(("at", "after"), KILLS)
def test_a_run_that_is_killed_anywhere_is_gone_on_with(
    payer: Payer,
    tmp_path: Path,
    at: int,
    after: bool,  # noqa: FBT001
) -> None:
    capped = policy(("a = { total_cents = 20000", "a = { total_cents = 13500"))
    payer.hand_all()
    faults = Faults(at, after=after)
    payer.street.payer_vault.close()
    with faults.vault(tmp_path / "payer.sqlite") as vault, contextlib.suppress(Killed):
        payer.run(capped, vault)
    with desk.open_vault(tmp_path, "payer") as vault:
        payer.run(capped, vault)
        left = docket.pending(vault)
        tally = weighing.tally_of(vault, weighing.today())
    assert payer.calls() == dict.fromkeys(payer.street.claims, 1)
    assert {each.standing for each in left} == {Standing.ACCEPTED}
    assert {each.claim for each in left} == set(payer.street.claims)
    assert tally.accepted == 3
    parts = {each.id for each in payer.told}
    assert parts == {
        claim for claim in payer.street.claims if payer.street.state(claim) == "accepted_in_part"
    }
    assert payer.names() == set()


def test_the_last_kill_is_after_the_last_step(payer: Payer, tmp_path: Path) -> None:
    """So that the test above ends a run at every step that there is."""
    capped = policy(("a = { total_cents = 20000", "a = { total_cents = 13500"))
    payer.hand_all()
    faults = Faults(8, after=True)
    with faults.vault(tmp_path / "payer.sqlite") as vault:
        payer.run(capped, vault)
    assert not faults.is_dead


@pytest.mark.parametrize("failing", ["lose_requests", "lose_answers"])
def test_a_node_that_goes_away_loses_and_doubles_nothing(payer: Payer, failing: str) -> None:
    payer.hand_all()
    setattr(payer.street.node, failing, 1)
    with pytest.raises(Unreachable):
        payer.run()
    payer.run()
    assert payer.states() == ["accepted"] * 3
    assert set(payer.calls().values()) == {1}


def test_of_a_part_that_another_vault_opens_the_accounts_name_no_amount(payer: Payer) -> None:
    payer.hand_all()
    payer.run()
    vault, claim = payer.street.payer_vault, payer.street.claims[0]
    found = find(vault, ReceivedRecord, claim.hex())
    assert found is not None
    found[1].decision = "accepted_in_part"  # as the chain had it when its disclosure came here
    with vault.changes():
        update(vault, *found)
    rows = list(accounts.rows(vault, dt.date.min, dt.date.max, bytes.hex))
    (part,) = [row for row in rows if row["claim"] == claim.hex()]
    assert (part["accepted_cents"], part["accepted_eur"]) == (None, None)
    file = io.BytesIO()
    assert accounts.write_csv(rows, file) == 3
    assert accounts.write_parquet(rows, io.BytesIO()) == 3


# --- settlements ----------------------------------------------------------------------------------


def settle(payer: Payer, by: Policy) -> None:
    street = payer.street
    sender = desk.sender("insurer", street.node)
    ours = Gathering(street.payer_vault, street.node, sender, wait_s=0, say=street.said.append)
    run(payer.clerk(by).settle(ours))


def test_accepted_claims_are_put_into_a_settlement_when_it_is_time(payer: Payer) -> None:
    by = policy(("count = 500", "count = 3"), ("cents = 2000000\n", "cents = 90000000\n"))
    early = policy(("cents = 2000000\n", "cents = 90000000\n"))
    payer.hand_all()
    payer.run(by)
    settle(payer, early)
    assert payer.of("settlement") == []
    settle(payer, by)
    (said,) = payer.of("settlement")
    assert said["claims"] == 3
    view = run(payer.street.node.settlement(bytes.fromhex(said["settlement"])))
    assert (view.state, view.count) == ("open", 3)
    assert docket.pending(payer.street.payer_vault) == []
    found = find(payer.street.payer_vault, ReceivedRecord, payer.street.claims[0].hex())
    assert found is not None
    assert found[1].settlement == bytes.fromhex(said["settlement"])
    settle(payer, by)
    assert len(payer.of("settlement")) == 1


def test_later_claims_go_into_the_settlement_that_is_open(payer: Payer) -> None:
    by = policy(("count = 500", "count = 1"))
    for number, claim in enumerate(payer.street.claims):
        payer.hand(payer.street.file(claim), f"claim-{number}")
        payer.run(by)
        settle(payer, by)
    assert len({each["settlement"] for each in payer.of("settlement")}) == 1
    view = run(payer.street.node.settlement(bytes.fromhex(payer.events[-1]["settlement"])))
    assert view.count == 3


def test_a_settlement_that_people_must_see_to_stops_nothing(payer: Payer) -> None:
    by = policy(("count = 500", "count = 1"))
    payer.hand(payer.street.file(payer.street.claims[0]), "first")
    payer.run(by)
    settle(payer, by)
    settlement = bytes.fromhex(payer.events[-1]["settlement"])
    street = payer.street
    sender = desk.sender("insurer", street.node)
    people = Settlements(street.payer_vault, street.node, sender, wait_s=0, say=desk.silent)
    run(people.announce(settlement, None))
    payer.hand(street.file(street.claims[1]), "second")
    payer.run(by)
    settle(payer, by)
    assert "its statement was not written yet" in street.said[-1]
    assert [each.standing for each in docket.pending(street.payer_vault)] == [Standing.ACCEPTED]
    people.told(settlement)
    settle(payer, by)
    assert len({each["settlement"] for each in payer.of("settlement")}) == 2


def test_without_a_rule_people_settle(payer: Payer) -> None:
    text = TEXT.partition("[settle]")[0]
    by = parse_policy(text.encode(), "policy.toml", MEMBERS)
    payer.hand_all()
    payer.run(by)
    settle(payer, by)
    assert docket.pending(payer.street.payer_vault) == []
    assert payer.of("settlement") == []


# --- who acts for another -------------------------------------------------------------------------


def delegate(payer: Payer, scope: Scope) -> Sender:
    """Let the shop's neighbour act for the insurer; return that one with its own key."""
    from node.client.transactions import decide  # noqa: PLC0415

    node = payer.street.node
    insurer = desk.sender("insurer", node)
    until = int(time.time()) + 86_400
    made = insurer.sign([DelegationGrant(id_of("operator"), scope, until)], now=int(time.time()))
    run(decide(node, made, wait_s=5, hint=""))
    return Sender(node.world.chain_id, id_of("insurer"), key_of("operator"))


def test_who_acts_for_an_insurer_decides_with_its_own_key(payer: Payer) -> None:
    operator = delegate(payer, Scope.CLAIMS)
    node = payer.street.node
    assert run(mandate_of(node, desk.sender("insurer", node))) == Mandate()
    found = run(mandate_of(node, operator))
    assert found.delegate == id_of("operator")
    payer.hand_all()
    clerk = Clerk(payer.desk(sender=operator), Reader(id_of("insurer"), MEMBERS, None), policy())
    run(clerk.work(Folder(payer.folder)))
    assert payer.states() == ["accepted"] * 3


def test_who_may_not_decide_claims_is_told_so_before_anything(payer: Payer) -> None:
    operator = delegate(payer, Scope.DISPUTES)
    with pytest.raises(Refused, match="not decide claims"):
        run(mandate_of(payer.street.node, operator))
    stranger = Sender(operator.chain_id, id_of("insurer"), key_of("shop"))
    with pytest.raises(Refused, match="neither of the member"):
        run(mandate_of(payer.street.node, stranger))


def test_who_was_let_act_and_is_no_more_decides_nothing(payer: Payer) -> None:
    operator, node = delegate(payer, Scope.CLAIMS), payer.street.node
    assert node.world.call("insurer", DelegationWithdraw(id_of("operator"))) == 0
    with pytest.raises(Refused, match="neither of the member"):
        run(mandate_of(node, operator))


def test_no_machine_decides_with_the_key_of_a_person(payer: Payer) -> None:
    node = payer.street.node
    anne = Sender(node.world.chain_id, id_of("insurer"), key_of("anne", Role.HUMAN))
    with pytest.raises(Refused, match="neither of the member"):
        run(mandate_of(node, anne))
