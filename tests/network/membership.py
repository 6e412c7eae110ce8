"""A network in which organisations begin and cease to run validators, and the calls for that."""

import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self

from contracts.calls import (
    Approval,
    Approved,
    Change,
    Joining,
    Leaving,
    Possession,
    Replacing,
    Rotating,
    ValidatorJoin,
    ValidatorKeys,
    ValidatorLeave,
    ValidatorReplace,
    ValidatorRotate,
)
from contracts.membership import approval_bytes, possession_bytes
from contracts.parameters import Parameters
from ledger.entry import APPLIED
from ledger.keys import Algorithm, Role, SigningKey, key_id
from ledger.validators import quorum
from node import keystore, testnet
from node.initialise import DATA_FOLDER, _begin_journal
from node.testnet import LocalNetwork, Organisation
from tests.network.faultnet import PARAMETERS, FaultNetwork, Told, key_of

OWN: Final = (Role.CONSENSUS, Role.CHECKPOINT)  # the keys that are drawn anew for each validator

Membership_call = ValidatorJoin | ValidatorLeave | ValidatorReplace | ValidatorRotate


@dataclass
class Membership:
    """Who validates now, and how that is changed."""

    net: FaultNetwork
    validators: list[str]  # in their order
    term: int = 0  # one for every change that a quorum approved
    left: set[str] = field(default_factory=set)  # whose keys have been in force: they never return

    @classmethod
    def create(cls, folder: Path, *, validators: int, members: int, **parameters: int) -> Self:
        """Make a network of members that all run nodes, the first of which validate."""
        folder = folder.absolute()
        organisations = tuple(testnet._organisations(folder, members, 1))
        founders = [each.label for each in organisations[:validators]]
        signing = [replace(each, runs_node=each.label in founders) for each in organisations]
        chosen = Parameters(**(dict(PARAMETERS) | parameters))
        chain_id = testnet._hold_ceremony(folder / "ceremony", signing, founders, chosen)
        network = LocalNetwork(folder, chain_id, organisations)
        testnet._make_nodes(network)
        for each in organisations:
            used = each if each.runs_node else organisations[0]
            testnet._make_home(network, each, used)
        made = cls(FaultNetwork.route(network), founders)
        for label in made.followers:
            made.draw(label)
            made.settle(label)
        return made

    @property
    def followers(self) -> list[str]:
        """Who runs a node that does not validate."""
        return [label for label in self.net.labels if label not in self.validators]

    def organisation(self, label: str) -> Organisation:
        return self.net.network.organisation(label)

    def draw(self, label: str) -> None:
        """Draw the keys by which an organisation will validate."""
        shutil.rmtree(self._drawn(label), ignore_errors=True)
        keystore.create_keys(self._drawn(label), OWN)

    def settle(self, label: str) -> None:
        """Give the drawn keys to the node, which is down and has signed nothing with them."""
        for role in OWN:
            name = keystore.FILE_NAMES[role] + keystore.SUFFIX
            (self._drawn(label) / name).replace(self.organisation(label).keys / name)
        data = self.net.process(label).home / DATA_FOLDER
        key = keystore.load_keys(self.organisation(label).keys, OWN)[Role.CONSENSUS]
        _begin_journal(data, self.net.network.chain_id + key.public)

    def settle_running(self, label: str) -> None:
        """The same, with a node that runs."""
        assert self.net.process(label).stop()
        self.settle(label)
        self.net.start(label)

    def join(self, label: str, via: str) -> Told:
        """Let an organisation that only follows begin to validate."""
        self._renew(label)
        change = Joining(
            self.organisation(label).member, self._public(label), self.term, valid_until()
        )
        call = ValidatorJoin(change, self.approvals(change), self._possession(change, label, via))
        return self._changed(via, label, call, [*self.validators, label])

    def leave(self, label: str, via: str) -> Told:
        """Let a validator's organisation only follow; any validator's may send it."""
        change = Leaving(self.organisation(label).member, self.term, valid_until())
        call = ValidatorLeave(change, self.approvals(change))
        after = [each for each in self.validators if each != label]
        return self._changed(via, self.validators[0], call, after)

    def take_place(self, leaving: str, label: str, via: str) -> Told:
        """Let an organisation take the place of another one."""
        self._renew(label)
        change = Replacing(
            self.organisation(leaving).member,
            self.organisation(label).member,
            self._public(label),
            self.term,
            valid_until(),
        )
        call = ValidatorReplace(
            change, self.approvals(change), self._possession(change, label, via)
        )
        after = [label if each == leaving else each for each in self.validators]
        return self._changed(via, label, call, after)

    def rotate(self, label: str, via: str) -> Told:
        """Give a validator other keys to vote with, which its node uses once they are in force."""
        self.draw(label)
        change = Rotating(self.organisation(label).member, self._public(label, drawn=True))
        call = ValidatorRotate(change, self._possession(change, label, via, drawn=True))
        told = self._sent(via, label, call)
        self._until_in_force(told, via)
        self.settle_running(label)
        return told

    def approvals(self, change: Approved, fewer: int = 0) -> tuple[Approval, ...]:
        """Return what a quorum of the validators' organisations signs, or fewer of them."""
        message = approval_bytes(self.net.network.chain_id, change)
        needed = quorum(len(self.validators)) - fewer
        made = []
        for label in self.validators[:needed]:
            key = key_of(self.organisation(label))
            id_ = key_id(Role.TRANSACTION, Algorithm.ED25519, key.public)
            made.append(Approval(self.organisation(label).member, id_, key.sign(message)))
        return tuple(sorted(made, key=lambda approval: approval.member))

    def _renew(self, label: str) -> None:
        """Let a node that has validated before have new keys."""
        if label in self.left:
            self.draw(label)
            self.settle_running(label)
            self.left.remove(label)

    # --- of one change ---------------------------------------------------------------------------

    def _changed(self, via: str, sender: str, call: Membership_call, after: list[str]) -> Told:
        told = self._sent(via, sender, call)
        self._until_in_force(told, via)
        self.left |= set(self.validators) - set(after)
        self.validators, self.term = after, self.term + 1
        found = self.net.ask(via, "/v1/validators")["validators"]
        assert [each["member"] for each in found] == [
            self.organisation(label).member.hex() for label in after
        ]
        return told

    def _sent(self, via: str, sender: str, call: Membership_call) -> Told:
        told = self.net.submit(via, call, sender=self.organisation(sender))
        assert told.code == APPLIED, told
        return told

    def _until_in_force(self, told: Told, via: str) -> None:
        """Make blocks until the change is in force."""
        while self.net.height(via) < told.height + 1:
            self.net.submit(via)

    def _drawn(self, label: str) -> Path:
        return self.organisation(label).folder / "drawn"

    def _keys(self, label: str, *, drawn: bool) -> tuple[SigningKey, SigningKey, SigningKey]:
        folder = self.organisation(label).keys
        own = keystore.load_keys(self._drawn(label) if drawn else folder, OWN)
        node = keystore.load_keys(folder, (Role.TLS,))
        return own[Role.CONSENSUS], own[Role.CHECKPOINT], node[Role.TLS]

    def _public(self, label: str, *, drawn: bool = False) -> ValidatorKeys:
        return ValidatorKeys(*(key.public for key in self._keys(label, drawn=drawn)))

    def _possession(
        self, change: Change, label: str, via: str, *, drawn: bool = False
    ) -> Possession:
        status = self.net.status(via)
        height, block_id = int(status["height"]), bytes.fromhex(status["hash"])
        message = possession_bytes(self.net.network.chain_id, change, height, block_id)
        signed = (key.sign(message) for key in self._keys(label, drawn=drawn))
        return Possession(height, block_id, *signed)


def valid_until() -> int:
    return int(time.time()) + 3600
