"""One HTTP/1.1 connection to one node, by the standard library.

A command lives for a moment, and importing an asynchronous HTTP client would take most of it. No
redirect is followed and no proxy used: the token goes to the node that was named, nowhere else.
"""

import asyncio
import contextlib
import http.client
import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode, urlsplit

# The node closed a connection that had rested; what was sent on it may be sent again.
_RESTED: Final = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


class Connection:
    """A connection that is opened when it is needed, and kept."""

    def __init__(self, url: str, headers: Mapping[str, str], *, connect_s: float) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None  # the home was parsed
        self._path, self._headers, self._connect_s = parts.path, dict(headers), connect_s
        self._hung_up = 0  # times
        self._http: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context()
            self._http = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=connect_s, context=context
            )
        else:
            self._http = http.client.HTTPConnection(parts.hostname, parts.port, timeout=connect_s)

    async def exchange(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        data: bytes | None,
        headers: Mapping[str, str],
        seconds: float,
        limit: int,
    ) -> tuple[int, bytes]:
        """Send a request; return the status and the body, of which at most `limit` + 1 bytes.

        Raises `OSError`, `http.client.HTTPException`, `ValueError`, and `TimeoutError` where all of
        it takes longer than `seconds`. One at a time.
        """
        target = f"{self._path}{path}" + (f"?{urlencode(query)}" if query else "")
        arguments = (method, target, data, {**self._headers, **headers}, limit)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.to_thread(self._exchange, *arguments, seconds)
        except BaseException:
            self.hang_up()  # ends the thread too, where it still waits
            raise

    def open(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str], *, seconds: float
    ) -> http.client.HTTPResponse:
        """Send a GET; return the answer, whose body is yet to be read.

        Raises as `exchange`, `TimeoutError` where nothing comes for `seconds`; so does reading it.
        """
        target = f"{self._path}{path}?{urlencode(query)}"
        return self._request("GET", target, None, {**self._headers, **headers}, seconds)

    def close(self) -> None:
        """Close the connection, if it is open."""
        self._http.close()

    def _exchange(
        self,
        method: str,
        target: str,
        data: bytes | None,
        headers: dict[str, str],
        limit: int,
        seconds: float,
    ) -> tuple[int, bytes]:
        was_open, hung_up = self._http.sock is not None, self._hung_up
        try:
            response = self._request(method, target, data, headers, seconds)
        except _RESTED:
            self._http.close()
            if not was_open or self._hung_up > hung_up:
                raise
            response = self._request(method, target, data, headers, seconds)
        body = response.read(limit + 1)
        if not response.isclosed():
            self._http.close()  # more than we take
        return response.status, body

    def _request(
        self, method: str, target: str, data: bytes | None, headers: dict[str, str], seconds: float
    ) -> http.client.HTTPResponse:
        is_open = self._http.sock is not None
        if not is_open:
            self._http.connect()
        self._http.sock.settimeout(seconds)
        self._http.request(method, target, body=data, headers=headers)
        return self._http.getresponse()

    def hang_up(self) -> None:
        """Close the connection under whoever waits for it, in another thread too."""
        self._hung_up += 1
        with contextlib.suppress(AttributeError, OSError):  # there is none, or it is closed
            self._http.sock.shutdown(socket.SHUT_RDWR)
        self._http.close()


def batches(raws: Sequence[bytes], *, count: int, size: int) -> list[list[bytes]]:
    """Return `raws` in parts that fit one request each: so many, of so many bytes in all."""
    found: list[list[bytes]] = []
    left = 0
    for raw in raws:
        needs = len(raw) + 5  # the longest length of a byte string
        if not found or len(found[-1]) == count or needs > left:
            found.append([])
            left = size
        found[-1].append(raw)
        left -= needs
    return found
