"""A network in which organisations begin and cease to run validators, and the calls for that."""

import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self

from contracts.calls import (
    Change,
    Joining,
    JoinValidators,
    LeaveValidators,
    Leaving,
    Possession,
    Propose,
    ReplaceValidator,
    Replacing,
    Rotating,
    Subject,
    ValidatorJoin,
    ValidatorKeys,
    ValidatorLeave,
    ValidatorReplace,
    ValidatorRotate,
    Vote,
)
from contracts.membership import possession_bytes
from contracts.parameters import Parameters
from ledger.entry import APPLIED
from ledger.keys import Role, SigningKey
from ledger.transaction import created_id
from ledger.validators import quorum
from node import keystore, testnet
from node.initialise import DATA_FOLDER, _begin_journal
from node.testnet import LocalNetwork, Organisation
from tests.network.faultnet import PARAMETERS, FaultNetwork, Told, transaction

MARGINS: Final = (8, 40, 200)  # blocks from a proposal to its height: under load they fly
OWN: Final = (Role.CONSENSUS, Role.CHECKPOINT)  # the keys that are drawn anew for each validator

Membership_call = ValidatorJoin | ValidatorLeave | ValidatorReplace | ValidatorRotate


@dataclass
class Membership:
    """Who validates now, and how that is changed."""

    net: FaultNetwork
    validators: list[str]  # in their order
    left: set[str] = field(default_factory=set)  # whose keys have been in force: they never return

    @classmethod
    def create(cls, folder: Path, *, validators: int, members: int, **parameters: int) -> Self:
        """Make a network of members that all run nodes, the first of which validate."""
        folder = folder.absolute()
        organisations = tuple(testnet._organisations(folder, members, 1))
        founders = [each.label for each in organisations[:validators]]
        signing = [replace(each, runs_node=each.label in founders) for each in organisations]
        chosen = Parameters(**(dict(PARAMETERS) | {"notice_blocks": 2} | parameters))
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
        member = self.organisation(label).member
        change = Joining(member, self._public(label), self.agree(JoinValidators(member), via))
        call = ValidatorJoin(change, self._possession(change, label, via))
        return self._changed(via, label, call, [*self.validators, label])

    def leave(self, label: str, via: str) -> Told:
        """Let a validator's organisation only follow; any validator's may send it."""
        member = self.organisation(label).member
        call = ValidatorLeave(Leaving(member, self.agree(LeaveValidators(member), via)))
        after = [each for each in self.validators if each != label]
        return self._changed(via, self.validators[0], call, after)

    def take_place(self, leaving: str, label: str, via: str) -> Told:
        """Let an organisation take the place of another one."""
        self._renew(label)
        seats = self.organisation(leaving).member, self.organisation(label).member
        voted = self.agree(ReplaceValidator(*seats), via)
        change = Replacing(*seats, self._public(label), voted)
        call = ValidatorReplace(change, self._possession(change, label, via))
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

    def agree(self, subject: Subject, via: str) -> bytes:
        """Let a quorum vote for a change, and blocks be made until its height; return the vote."""
        for blocks in MARGINS:
            proposal, effect, told = self.vote(subject, via, blocks)
            if all(each.code == APPLIED for each in told):
                while self.net.height(via) < effect - 1:
                    self.net.submit(via)
                return proposal
        raise AssertionError("blocks are made faster than votes are cast")

    def vote(
        self, subject: Subject, via: str, blocks: int, fewer: int = 0
    ) -> tuple[bytes, int, list[Told]]:
        """Let a quorum vote, or fewer; return the proposal, its height, what became of votes."""
        net, needed = self.net, quorum(len(self.validators))
        voters = [self.organisation(label) for label in self.validators[: needed - fewer]]
        effect = net.height(via) + blocks
        wanted = Propose(subject, int(time.time()) + 3600, effect)
        made = net.submit(via, wanted, sender=voters[0])
        assert made.code == APPLIED, made
        proposal = created_id(made.id, 0)
        votes = (transaction(net.network, each, Vote(proposal, agrees=True)) for each in voters)
        return proposal, effect, net.send(via, *votes)

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
        self.validators = after
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
