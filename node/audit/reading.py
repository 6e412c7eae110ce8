"""An export as it is read, before anything in it is verified but checksums and the genesis.

What cannot be read is a false fact, too, and is told with its height, and of several files with its
file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, TypeVar

from contracts.genesis import SignedGenesis
from ledger.encoding import encode
from ledger.errors import BadSignature, Malformed, Mismatch, NoQuorum
from node.audit.errors import FalseFact
from node.audit.records import Records, is_proposal

T = TypeVar("T")


def opened(file: BinaryIO, genesis: SignedGenesis) -> Records:
    """Return the records behind the genesis of an export, which must be this one."""
    records = Records(file)
    with naming(None):
        records.read_magic()
        if next(records, None) != encode(genesis):
            raise Mismatch("genesis", "the one given", "another, or none")
    return records


def blocks_in(file: BinaryIO, genesis: SignedGenesis, first: int = 1) -> Iterator[bytes]:
    """Yield the blocks of an export from a height on, undecoded. Raises `FalseFact`."""
    records, height = opened(file, genesis), 0
    while True:
        with naming(height + 1):
            payload = next(records, None)
        if payload is None:
            return
        if not is_proposal(payload):
            height += 1
            if height >= first:
                yield payload


def each_of(file: str, items: Iterator[T]) -> Iterator[T]:
    """Yield items that are read from a file, which a false fact names."""
    while True:
        with within(file):
            item = next(items, None)
        if item is None:
            return
        yield item


@contextmanager
def within(file: str) -> Iterator[None]:
    """Say of a false fact in which of several files it is."""
    try:
        yield
    except FalseFact as fact:
        raise fact.within(file) from None


@contextmanager
def naming(height: int | None, place: str = "") -> Iterator[None]:
    """Turn what the record's own checks raise into the `FalseFact` that it is."""
    try:
        yield
    except Mismatch as error:
        raise mismatch(error, height, place) from None
    except NoQuorum as error:
        raise FalseFact(
            "signers", f"at least {error.needed}", error.found, height=height, place=place
        ) from None
    except BadSignature as error:
        raise FalseFact(
            "signature", f"one of {error.what} that verifies", "another", height=height, place=place
        ) from None
    except Malformed as error:
        raise FalseFact(
            error.kind, "the canonical encoding", error.reason, height=height, place=place
        ) from None


def mismatch(error: Mismatch, height: int | None, place: str = "") -> FalseFact:
    """Return the false fact that this is."""
    return FalseFact(error.field, error.expected, error.found, height=height, place=place)
