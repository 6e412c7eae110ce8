"""Looking for many secrets in many bytes at once, in every plain way of writing them.

A needle is found by its first eight bytes, of which each eighth offset of a haystack is looked up
in one set: the cost is that of the haystack, however many needles there are. So needles of fewer
than eight bytes are not taken: what is that short is looked for in typed fields (`short_values`).
"""

import base64
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

SHORTEST: Final = 8  # bytes
_CHUNK: Final = 1 << 20
_ZEROS: Final = memoryview(bytes(_CHUNK)).cast("Q")


@dataclass(frozen=True, slots=True)
class Secret:
    """Something that somebody may not know."""

    what: str  # what it is, for the report
    value: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """A secret in bytes where it should not be."""

    secret: Secret
    written: str  # the way in which it was written
    offset: int


def writings(value: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield every plain way in which programs write bytes down."""
    yield "as it is", value
    yield "hexadecimal", value.hex().encode()
    yield "hexadecimal capitals", value.hex().upper().encode()
    yield "backwards", value[::-1]
    for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
        for before in range(3):  # it may begin inside a group of three
            text = encode(bytes(before) + value).rstrip(b"=")
            # Characters that depend on the bytes before and after it are left out.
            first = (before * 8 + 5) // 6
            last = len(text) - (1 if (before + len(value)) % 3 else 0)
            yield f"{name}, {before} in", text[first:last]
    if value.isascii():
        text16 = value.decode("ascii").encode("utf-16-le")
        yield "UTF-16", text16
        yield "UTF-16, the other way", text16[1:] + b"\x00"


class Needles:
    """Secrets to look for."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._by_window: dict[int, list[tuple[Secret, str, bytes]]] = defaultdict(list)
        self.count = 0
        for secret in secrets:
            assert len(secret.value) >= SHORTEST, secret.what
            for written, needle in writings(secret.value):
                if len(needle) >= SHORTEST:
                    window = int.from_bytes(needle[:8], _ORDER)
                    self._by_window[window].append((secret, written, needle))
                    self.count += 1
        self._windows = set(self._by_window)

    def search(self, data: bytes) -> Iterator[Found]:
        """Yield each place in `data` at which a secret stands."""
        view = memoryview(data)
        for shift in range(8):
            for start in range(shift, len(data), _CHUNK):
                stop = min(start + _CHUNK, len(data))
                words = view[start : stop - (stop - start) % 8].cast("Q")
                if words == _ZEROS[: len(words)]:
                    continue  # a file that was made long beforehand
                if not self._windows.isdisjoint(words):
                    yield from self._pinpoint(data, start, words)

    def _pinpoint(self, data: bytes, start: int, words: memoryview) -> Iterator[Found]:
        for index, word in enumerate(words):
            for secret, written, needle in self._by_window.get(word, ()):
                offset = start + 8 * index
                if data.startswith(needle, offset):
                    yield Found(secret, written, offset)


_ORDER: Final = "little" if memoryview(b"\x01" + bytes(7)).cast("Q")[0] == 1 else "big"


_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_\-]{16,}")
_URL: Final = bytes.maketrans(b"-_", b"+/")


def unwrapped(data: bytes, times: int) -> Iterator[bytes]:
    """Yield `data`, and what stands in it in base64, and in that again, so many times."""
    while data:
        yield data
        if not times:
            return
        times -= 1
        words = (word.translate(_URL) for word in _BASE64.findall(data))
        data = b"\n".join(
            base64.b64decode(word[: len(word) - (len(word) % 4 == 1)] + b"===") for word in words
        )


def short_values(data: bytes) -> set[str | int | float]:
    """Return every text, number and name in a message of JSON or MessagePack, or inside its bytes.

    What is shorter than a needle is looked for in these. A head of HTTP is left out. Of a stream of
    events each event is a message.
    """
    head, _, body = data.partition(b"\r\n\r\n")
    found = set(_leaves(body if head.startswith((b"HTTP/", b"GET ", b"POST ")) else data))
    for event in _EVENT.findall(data):
        found.update(_leaves(event))
    return found


_EVENT: Final = re.compile(rb"^data: (\{.*\})\r?$", re.MULTILINE)


def _leaves(value: Any) -> Iterator[str | int | float]:  # noqa: ANN401
    match value:
        case dict():
            for name, item in value.items():
                yield from _leaves(name)
                yield from _leaves(item)
        case list() | tuple():
            for item in value:
                yield from _leaves(item)
        case bytes():
            if value.isascii() and value.decode("ascii").isprintable():
                yield value.decode("ascii")
            if value[:1] in b"{[" or value[:1] >= _NESTED:
                yield from _leaves(_decoded(value))
        case str() | int() | float():
            yield value
        case _:
            pass


_NESTED: Final = b"\x80"  # what begins with less is no map or array of MessagePack


def _decoded(data: bytes) -> Any:  # noqa: ANN401
    """Return the value that bytes are in JSON or MessagePack, None where they are none."""
    for decode in (json.loads, msgspec.msgpack.decode):
        try:
            found = decode(data)
        except (ValueError, msgspec.MsgspecError, RecursionError):
            continue
        if isinstance(found, dict | list):
            return found
    return None
