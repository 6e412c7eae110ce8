"""What can be wrong with what a validator says, each error named for the fact it found."""


class ConsensusError(Exception):
    """Base of every refusal of this package: who sent the message is at fault, not the program."""


class MalformedMessage(ConsensusError):
    """Bytes are not the one encoding of a message, a promise or a piece of evidence."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(f"malformed {kind}: {reason}")
        self.kind = kind
        self.reason = reason


class UnknownSigner(ConsensusError):
    """A message names a validator that the height does not have."""

    def __init__(self, signer: int, n: int) -> None:
        super().__init__(f"signer {signer} of {n} validators")
        self.signer = signer
        self.n = n


class WrongHeight(ConsensusError):
    """A part of a message speaks of another height, or of another chain."""

    def __init__(self, part: str, expected: object, found: object) -> None:
        super().__init__(f"{part} is of {_show(found)}, not of {_show(expected)}")
        self.part = part
        self.expected = expected
        self.found = found


class NotLeader(ConsensusError):
    """A proposal comes from a validator whose turn it is not."""

    def __init__(self, round_: int, expected: int, found: int) -> None:
        super().__init__(f"round {round_} is led by validator {expected}, not by {found}")
        self.round = round_
        self.expected = expected
        self.found = found


class BadOutline(ConsensusError):
    """A proposal's parts are not those that its header binds, or not what its round allows."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"bad block in a proposal: {reason}")
        self.reason = reason


class BadRoundChange(ConsensusError):
    """A round change claims what cannot be, or claims it without its certificate."""

    def __init__(self, signer: int, reason: str) -> None:
        super().__init__(f"round change of validator {signer}: {reason}")
        self.signer = signer
        self.reason = reason


class BadCertificate(ConsensusError):
    """A certificate does not show a quorum for what it is said to show."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"bad certificate: {reason}")
        self.reason = reason


class Unjustified(ConsensusError):
    """A proposal does not follow from the round changes that it carries."""

    def __init__(self, round_: int, reason: str) -> None:
        super().__init__(f"proposal of round {round_} is not justified: {reason}")
        self.round = round_
        self.reason = reason


class BadEvidence(ConsensusError):
    """What is offered as evidence shows no contradiction, or is not signed by the accused."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no evidence: {reason}")
        self.reason = reason


class Impersonated(ConsensusError):
    """Our own key signed what our promises do not hold, so this core signs nothing more.

    Another instance runs with this key, or the journal was lost.
    """

    def __init__(self, statement: str, round_: int) -> None:
        super().__init__(
            f"our key signed a {statement} of round {round_} that this node never promised: "
            "another instance runs with it, or the journal was lost"
        )
        self.statement = statement
        self.round = round_


class BadPromises(ConsensusError):
    """What is said to have been promised contradicts itself: this journal must not be used."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"promises contradict each other: {reason}")
        self.reason = reason


def _show(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
