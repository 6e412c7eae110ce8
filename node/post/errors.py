"""Why a node does not take an envelope, each error named for the fact that it found."""

from contracts.errors import Inadmissible
from node.errors import NodeError


class PostRefused(NodeError):
    """Base: this node does not take this envelope, or not now."""


class ManyWait(PostRefused):
    """There is no room for more post of, or for, this member."""

    def __init__(self, whose: str, most: int) -> None:
        super().__init__(
            f"{most >> 20} MiB of post {whose} wait here already",
            hint="wait until some is collected, and send again, which is safe",
        )


class NoRoom(PostRefused):
    """The disk takes nothing more."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the post cannot be written here: {reason}",
            hint="the node's operator makes room on its disk; send again then, which is safe",
        )


class NotInTime(PostRefused):
    """An envelope has expired, or would be kept for too long."""

    def __init__(self, expires: int, now: int, most: int) -> None:
        wrong = "has expired" if expires <= now else f"expires in more than {most} days"
        super().__init__(
            f"the envelope {wrong}, by this node's clock", hint="set the clock, and write a new one"
        )


class NoSuchRecipient(PostRefused):
    """Nobody takes post for whom the envelope is addressed to."""

    def __init__(self, recipient: bytes) -> None:
        super().__init__(
            f"the recipient {recipient.hex()} is no member in good standing",
            hint="look at the member: depoli member show",
        )


class NotTakenHere(PostRefused):
    """A light node, or one that follows, takes post only for those whom it brings it to."""

    def __init__(self, recipient: bytes) -> None:
        super().__init__(f"post for {recipient.hex()} is not brought here")


class NotTheNewest(PostRefused):
    """A mailbox is older than what is known of its member, or of a time that is to come."""

    def __init__(self) -> None:
        super().__init__(
            "a newer mailbox of this member is known, or this one is not of now",
            hint="set the clock, and sign another",
        )


class NotASender(PostRefused):
    """The key of an envelope may not sign for its sender."""

    def __init__(self, error: Inadmissible) -> None:
        super().__init__(
            f"the sender may not write with this key: {error}",
            hint="sign with a key that is in force: depoli member show",
        )
