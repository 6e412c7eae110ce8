"""Keys, validators and blocks to test with, and a Hypothesis strategy for every encoded type."""

import importlib
import pkgutil
import resource
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

import ledger
from ledger.block import Header
from ledger.certificate import KIND_COMMIT, CommitCertificate, Seal, vote_signing_bytes
from ledger.encoding import U63_MAX, Struct
from ledger.hashing import NO_HASH
from ledger.keys import SigningKey
from ledger.validators import Validator, ValidatorSet

CHAIN = bytes(range(32))


@cache
def key(number: int) -> SigningKey:
    return SigningKey(number.to_bytes(32))


@cache
def validators(*numbers: int) -> ValidatorSet:
    return ValidatorSet(
        tuple(
            Validator(
                number.to_bytes(16),
                key(number).public,
                key(number + 1000).public,
                key(number + 2000).public,
            )
            for number in numbers
        )
    )


def header(height: int = 1, **changed: object) -> Header:
    plain = Header(
        version=1,
        chain_id=CHAIN,
        height=height,
        time=1_800_000_000 + height,
        parent=NO_HASH,
        transactions_root=NO_HASH,
        log_size=0,
        log_root=NO_HASH,
        heads_root=NO_HASH,
        state_digest=NO_HASH,
        validators_hash=validators(1, 2, 3, 4).hash,
        next_validators_hash=validators(1, 2, 3, 4).hash,
        proposer=bytes(16),
        built_round=0,
        parent_commit_hash=NO_HASH,
        evidence_root=NO_HASH,
    )
    return msgspec.structs.replace(plain, **changed)


def certificate(
    of: Header, signers: Sequence[int] = (1, 2, 3), round_: int = 0, kind: bytes = KIND_COMMIT
) -> CommitCertificate:
    """Return `of` signed by the keys with these numbers, each at the index one below its number."""
    message = vote_signing_bytes(kind, of.chain_id, of.height, round_, of.hash)
    seals = tuple(Seal(number - 1, key(number).sign(message)) for number in signers)
    return CommitCertificate(of.height, round_, of.hash, seals)


@contextmanager
def disk_full_at(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size`: the system takes a part, then refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@cache
def encoded_types() -> tuple[type[Struct], ...]:
    """Return every encoded type of the package."""
    for module in pkgutil.iter_modules(ledger.__path__):
        importlib.import_module(f"ledger.{module.name}")
    return tuple(sorted(_subclasses(Struct), key=lambda type_: type_.__name__))


def _subclasses(type_: type[Struct]) -> Iterable[type[Struct]]:
    for sub in type_.__subclasses__():
        if sub.__module__.startswith("ledger."):
            yield sub
            yield from _subclasses(sub)


@cache
def values(type_: type[Struct]) -> st.SearchStrategy[Any]:
    """Return a strategy of values of an encoded type, made from its annotations."""
    if type_ is ValidatorSet:  # a rule between its members
        numbers = st.lists(st.integers(0, 50), min_size=1, max_size=7, unique=True)
        return numbers.map(lambda some: validators(*some))
    return _values(inspect.type_info(type_))


def _values(info: inspect.Type) -> st.SearchStrategy[Any]:
    match info:
        case inspect.StructType():
            fields: dict[str, st.SearchStrategy[Any]] = {
                field.name: values(field.type.cls)
                if isinstance(field.type, inspect.StructType)
                else _values(field.type)
                for field in info.fields
            }
            return st.builds(info.cls, **fields)
        case inspect.VarTupleType():
            longest = min(3, info.max_length or 3)
            items = _values(info.item_type)
            return st.lists(items, min_size=info.min_length or 0, max_size=longest).map(tuple)
        case inspect.UnionType():
            return st.one_of([_values(one) for one in info.types])
        case inspect.NoneType():
            return st.none()
        case inspect.IntType():
            most = info.lt - 1 if info.lt is not None else info.le
            return st.integers(info.ge or 0, U63_MAX if most is None else most)
        case inspect.BytesType():
            least = info.min_length or 0
            largest = 300 if info.max_length is None else min(info.max_length, 300)
            return st.binary(min_size=least, max_size=max(least, largest))
        case _:
            raise AssertionError(info)


def spoiled(data: bytes) -> st.SearchStrategy[bytes]:
    """Return a strategy of bytes that differ a little from `data`."""
    places = st.integers(0, max(len(data) - 1, 0))
    byte = st.binary(min_size=1, max_size=1)
    return st.one_of(
        st.builds(lambda at, new: data[:at] + new + data[at + 1 :], places, byte),
        st.builds(lambda at, new: data[:at] + new + data[at:], places, byte),
        st.builds(lambda at, count: data[:at] + data[at + count :], places, st.integers(1, 8)),
        st.builds(lambda tail: data + tail, st.binary(min_size=1, max_size=4)),
    )
