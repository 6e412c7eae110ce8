"""Records for people and for JSON: objects with the names of the fields, bytes in lower-case hex.

Only the canonical encoding is hashed or signed; this form is read back into it, strictly.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, NoReturn, TypeVar

from msgspec import inspect

from ledger.encoding import U63_MAX, Struct, decode, encode
from ledger.errors import Malformed

T = TypeVar("T", bound=Struct)


def plain(value: object) -> Any:  # noqa: ANN401 - what the json module takes
    """Return `value`, a `Struct` or a part of one, in dicts, lists, strings and integers."""
    if isinstance(value, Struct):
        names = value.__struct_fields__
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    return value


def parse_plain(value: object, type_: type[T], *, kind: str | None = None) -> T:
    """Return the `type_` whose plain form is `value`, or raise `Malformed`.

    Every field must be there and no other. `kind` names the thing in the error.
    """
    kind = kind or type_.__name__.lower()
    return decode(encode(_arrays(value, _type_info(type_), kind)), type_, kind=kind)


def document(format_: str, value: Struct) -> str:
    """Return `value` as a JSON object that says its format, for a file that people keep."""
    return json.dumps({"format": format_, **plain(value)}, indent=1)


def parse_document(text: str, format_: str, type_: type[T], *, kind: str, max_length: int) -> T:
    """Return the value that `document` wrote, or raise `Malformed`. It is not verified yet."""
    return parse_one_of(text, {format_: type_}, kind=kind, max_length=max_length)


def parse_one_of(text: str, types: Mapping[str, type[T]], *, kind: str, max_length: int) -> T:
    """Return the value that `document` wrote with one of these formats, or raise `Malformed`."""
    loaded = load_json(text, kind=kind, max_length=max_length)
    found = loaded.pop("format", None) if isinstance(loaded, dict) else None
    if isinstance(found, str) and found in types:
        return parse_plain(loaded, types[found])
    wanted = " or ".join(types)
    if isinstance(found, str) and found.startswith("depoli/"):
        reason = f"of the format {found[:40]!a}, not {wanted}"
        raise Malformed(kind, f"{reason}: it is something else, or of another version")
    raise Malformed(kind, f"not an object with format {wanted}")


def load_json(text: str, *, kind: str, max_length: int) -> object:
    """Return what this JSON says; raise `Malformed` if it is none, says a key twice or is too long.

    Of numbers only integers are taken.
    """
    if len(text) > max_length:
        raise Malformed(kind, f"{len(text)} characters, at most {max_length}")
    try:
        loaded: object = json.loads(
            text, object_pairs_hook=_object, parse_float=_no_float, parse_constant=_no_float
        )
    except Malformed as error:
        raise Malformed(kind, error.reason) from None
    except (ValueError, RecursionError) as error:
        raise Malformed(kind, str(error)) from None
    return loaded


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("object", "a key stands twice in it")
    return found


def _no_float(text: str) -> NoReturn:
    raise Malformed("number", f"{text[:40]} is not an integer")


@cache
def _type_info(type_: type[Struct]) -> inspect.Type:
    return inspect.type_info(type_)


def _arrays(value: object, type_: inspect.Type, path: str) -> object:
    """Return `value` as the arrays, bytes and integers that `type_` is encoded as."""
    match type_:
        case inspect.StructType():
            if not isinstance(value, dict):
                raise Malformed(path, "not an object")
            names = [field.name for field in type_.fields]
            if set(value) != set(names):
                strange = ", ".join(sorted(map(ascii, set(value) ^ set(names))))
                raise Malformed(path, f"fields missing or unknown: {strange[:200]}")
            return [_arrays(value[f.name], f.type, f"{path}.{f.name}") for f in type_.fields]
        case inspect.VarTupleType():
            if not isinstance(value, list):
                raise Malformed(path, "not a list")
            return [_arrays(item, type_.item_type, f"{path}[{i}]") for i, item in enumerate(value)]
        case inspect.UnionType():
            if value is None:
                return None
            (other,) = (one for one in type_.types if not isinstance(one, inspect.NoneType))
            return _arrays(value, other, path)
        case inspect.BytesType():
            return _bytes(value, path)
        case inspect.BoolType() if isinstance(value, bool):
            return value
        case inspect.IntType() if type(value) is int and abs(value) <= U63_MAX:
            return value
        case _:
            raise Malformed(path, "a value of the wrong type or out of range")


def _bytes(value: object, path: str) -> bytes:
    try:
        data = bytes.fromhex(value) if isinstance(value, str) else None
    except ValueError:
        data = None
    if data is None or data.hex() != value:
        raise Malformed(path, "not bytes in lower-case hex")
    return data
