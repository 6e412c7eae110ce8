"""What goes through the doors of a node in the clear, written down: for the search of leaks alone.

On PYTHONPATH of nodes whose TAP names a folder; the node itself is the one that is delivered. Each
process writes for each door, `p2p` (frames inside TLS, both ways) and `http`, what went through it
and how long each piece of it was; of a request in many pieces the body is written once more, whole.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

_FOLDER: Final = os.environ.get("TAP")


def _tap(folder: Path) -> None:
    # Here, because no other Python that starts beside a node is to load them.
    from aiohttp.http_writer import StreamWriter
    from aiohttp.web_protocol import RequestHandler
    from aiohttp.web_request import BaseRequest

    from node.link import Channel, Link

    folder.mkdir(parents=True, exist_ok=True)
    files = {
        (door, kind): (folder / f"{door}-{os.getpid()}.{kind}").open("ab", buffering=0)
        for door in ("http", "p2p")
        for kind in ("bytes", "lengths")
    }

    def keep(door: str, data: bytes) -> None:
        files[door, "bytes"].write(data)
        files[door, "lengths"].write(len(data).to_bytes(4))

    received, write, write_lines = (
        RequestHandler.data_received,
        StreamWriter._write,
        StreamWriter._writelines,
    )
    read_body, read_frame, write_frame = BaseRequest.read, Link.read, Link._write

    def tapped_received(self: RequestHandler, data: bytes) -> None:
        keep("http", data)
        received(self, data)

    def tapped_write(self: StreamWriter, chunk: bytes) -> None:
        keep("http", bytes(chunk))
        write(self, chunk)

    def tapped_write_lines(self: StreamWriter, chunks: Iterable[bytes]) -> None:
        parts = [bytes(chunk) for chunk in chunks]
        keep("http", b"".join(parts))
        write_lines(self, parts)

    async def tapped_body(self: BaseRequest) -> bytes:
        body = await read_body(self)
        keep("http", body)
        return body

    async def tapped_read(self: Link) -> Any:  # noqa: ANN401
        frame = await read_frame(self)
        keep("p2p", frame[1])
        return frame

    def tapped_frame(self: Link, channel: Channel, payload: bytes) -> None:
        keep("p2p", payload)
        write_frame(self, channel, payload)

    for owner, name, tapped in (
        (RequestHandler, "data_received", tapped_received),
        (StreamWriter, "_write", tapped_write),
        (StreamWriter, "_writelines", tapped_write_lines),
        (BaseRequest, "read", tapped_body),
        (Link, "read", tapped_read),
        (Link, "_write", tapped_frame),
    ):
        setattr(owner, name, tapped)


if _FOLDER is not None:
    _tap(Path(_FOLDER))
