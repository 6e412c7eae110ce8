"""Why a backup is not made, not believed, or not restored."""

from pathlib import Path

from node.errors import NodeError, NotInitialised, Rejected, Usage, VerificationFailed


class NoBackup(NotInitialised):
    """A folder holds no backup that was finished."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder} holds no whole backup: it has no manifest",
            hint="make one with: depoli backup create",
        )


class BadBackup(VerificationFailed):
    """What is in a backup is not what its manifest says, or is not true."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path}: {reason}",
            hint="take another backup; nothing of this one was used. A new one needs a new folder",
        )


class NotOurs(Usage):
    """A folder holds something else than a backup, and is left as it is."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(
            f"{folder} holds {name[:64]}, which is of no backup",
            hint="name a folder that is empty or does not exist, for backups of this node alone",
        )


class OtherBlocks(Rejected):
    """The backup that is there is not of this node's chain; it was left as it is."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(f"{folder}: {reason}", hint="name another folder for this node")


class Behind(Rejected):
    """The backup that is there holds blocks that the node has not; it was left as it is."""

    def __init__(self, folder: Path, kept: int, height: int) -> None:
        super().__init__(
            f"{folder} holds blocks up to {kept}, and the node only up to {height}",
            hint="let the node catch up first, or name another folder",
        )


class NothingThere(NotInitialised):
    """The node has no block yet."""

    def __init__(self, data: Path) -> None:
        super().__init__(f"{data} holds no block yet", hint="name the folder of a node that ran")


class NoSnapshot(Rejected):
    """The blocks of the node do not lead to its state, and no snapshot of it does."""

    def __init__(self, data: Path, first: int) -> None:
        super().__init__(
            f"{data}: whole blocks begin with {first}, and no snapshot stands for those before",
            hint="try again: a running node makes them; else stop it, and: depoli snapshot create",
        )


class NoRoom(NodeError):
    """The disk cannot hold what would be written; nothing was."""

    def __init__(self, folder: Path, needed: int, free: int) -> None:
        super().__init__(
            f"{folder}: {needed >> 20} MiB are needed there, and {free >> 20} MiB are free",
            hint="free some space, or name another disk",
        )


class Inside(Usage):
    """A backup would stand in the folder that it is to replace one day."""

    def __init__(self, folder: Path, data: Path) -> None:
        super().__init__(
            f"{folder} is within {data}: it would be lost together with it",
            hint="name a folder on another disk",
        )


class InTheWay(Rejected):
    """There is something where a backup would be restored; it was left as it is."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(
            f"{folder} is not empty: it holds {name[:64]}",
            hint="name an empty folder, or a new one; nothing is ever restored over a node",
        )
