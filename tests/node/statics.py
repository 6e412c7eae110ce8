"""A web server that knows nothing but files: what an export of the log is made for."""

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ledger.checkpoint import Checkpoint, Note
from ledger.decided import Decided, to_json
from ledger.hashing import Hash
from ledger.keys import Role
from ledger.merkle import Frontier
from ledger.tiles import tile_bytes, tiles
from tests.chainmaker import Chain, key_of


class _Files(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Serve a folder on loopback while the context lasts; yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(directory)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def dripping() -> Iterator[str]:
    """Answer on loopback with one byte after another, and never to the end; yield the address."""
    ended = threading.Event()

    def drip(server: socket.socket) -> None:
        line, _ = server.accept()
        with line, suppress(OSError):
            line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not ended.wait(0.01):
                line.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()


def publish(chain: Chain, folder: Path, label: str | None = None) -> Path:
    """Write what a node would serve under /tlog of a chain, signed by one of its validators."""
    nodes: dict[tuple[int, int], Hash] = {}
    leaves = [entry.leaf() for executed in chain.executed for entry in executed.entries]
    Frontier().append(leaves, lambda level, index, node: nodes.update({(level, index): node}))
    header = chain.state.header
    assert header.log_size == len(leaves)
    shutil.rmtree(folder, ignore_errors=True)
    for tile in tiles(header.log_size):
        path = folder / tile.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tile_bytes(tile, lambda level, index: nodes[level, index]))
    (folder / "commit").mkdir(parents=True)
    decided = Decided(header, chain.blocks[-1].certificate, ())
    (folder / "commit" / str(header.height)).write_text(to_json(decided))
    checkpoint = Checkpoint.of(header)
    line = checkpoint.sign(key_of(label or chain.labels[0], Role.CHECKPOINT))
    (folder / "checkpoint").write_bytes(Note(checkpoint.encode(), (line,)).encode())
    return folder
