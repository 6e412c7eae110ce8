"""Canonical MessagePack: one value, one encoding.

A written subset of MessagePack (github.com/msgpack/msgpack, spec.md): a struct is an array of its
fields in order, integers and lengths take their shortest form, bytes are `bin`; there are no
floats, maps, strings or extensions. `decode` refuses whatever `encode` would not have written,
because it encodes what it read and compares.
"""

from typing import Any, Final, TypeVar, dataclass_transform

import msgspec

from ledger.errors import Malformed

U16_MAX: Final = (1 << 16) - 1
U32_MAX: Final = (1 << 32) - 1
U63_MAX: Final = (1 << 63) - 1  # heights, sizes and times stay inside a signed 64-bit integer

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class _Frozen(msgspec.StructMeta):
    """Tells type checkers that every `Struct` is frozen, as its base is."""


class Struct(
    msgspec.Struct, metaclass=_Frozen, array_like=True, frozen=True, forbid_unknown_fields=True
):
    """Base of every encoded record: an immutable value, encoded as the array of its fields."""


_encoder: Final = msgspec.msgpack.Encoder()
_decoders: Final[dict[Any, msgspec.msgpack.Decoder[Any]]] = {}


def encode(value: object) -> bytes:
    """Return the one encoding of `value`, a `Struct`, tuple, int, bytes, bool or None."""
    return _encoder.encode(value)


def decode(data: bytes, type_: type[T], *, kind: str | None = None) -> T:
    """Return the value whose encoding is `data`, or raise `Malformed`.

    `kind` names the thing in the error; the type's own name where it is not given.
    """
    decoder = _decoders.get(type_)
    if decoder is None:
        decoder = _decoders[type_] = msgspec.msgpack.Decoder(type_)
    try:
        value: T = decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, OverflowError, RecursionError) as error:
        raise Malformed(kind or _name(type_), str(error)) from None
    if _encoder.encode(value) != data:
        raise Malformed(kind or _name(type_), "not the canonical encoding")
    return value


def _name(type_: object) -> str:
    return getattr(type_, "__name__", str(type_)).lower()
