"""A node is known by the lock that its process holds, and by nothing that can lie."""

import os
import subprocess
import sys
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from node import testnet
from node.config import Address
from node.process import BadAnswer, NoAnswer, Process, get_json, read_token, request
from node.testnet import LocalNetwork

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """A network of one validator, stopped at the end."""
    made = testnet.create(tmp_path_factory.mktemp("one") / "net", validators=1, shops=0)
    yield made
    made.stop()


@pytest.fixture
def process(network: LocalNetwork) -> Iterator[Process]:
    """Its one node, down."""
    (found,) = network.processes
    yield found
    found.stop()


def test_a_number_left_by_a_crash_is_no_process_and_gets_no_signal(tmp_path: Path) -> None:
    (tmp_path / "node.pid").write_text(f"{os.getpid()}\n")  # ours, by the system's choice
    process = Process("x", tmp_path)
    assert process.pid() is None
    process.ask_to_stop()
    process.kill()
    assert process.stop()  # and we are still here


def test_a_folder_without_a_process_has_none(tmp_path: Path) -> None:
    assert Process("x", tmp_path).pid() is None
    assert Process("x", tmp_path).tail() == []


def test_of_two_who_start_it_at_once_one_does(network: LocalNetwork, process: Process) -> None:
    command = (sys.executable, "-m", "node.cli.main", "testnet", "start", network.directory)
    both = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = sorted(each.communicate(timeout=60)[0] for each in both)
    assert [each.returncode for each in both] == [0, 0]
    assert said == ["all of it was running; ready\n", "started federation; ready\n"]
    assert process.pid() is not None


def test_it_outlives_who_started_it_and_leaves_no_zombie(process: Process) -> None:
    assert process.start()
    pid = process.pid()
    assert pid is not None
    assert os.getsid(pid) == pid  # no terminal of ours reaches it
    process.kill()
    assert process.pid() is None
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_where_nobody_listens_the_address_is_named() -> None:
    (address,) = testnet._free_ports(1)
    with pytest.raises(NoAnswer, match=str(address)) as caught:
        request(address, "/")
    assert caught.value.exit_code == 13


@pytest.fixture
def server() -> Iterator[Address]:
    """Something that speaks HTTP and is no node."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, status, body = self.path.split("/", 2)
            self.send_response(int(status))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as listening:
        thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Address("127.0.0.1", listening.server_port)
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/200/nonsense", "no JSON object"),
        ("/200/[]", "no JSON object"),
        ('/403/{"title":"forbidden"}', "answered 403: forbidden"),
        ('/500/{"title":"a","detail":"b"}', "answered 500: b"),
    ],
)
def test_an_answer_that_was_not_asked_for_is_refused(server: Address, path: str, said: str) -> None:
    with pytest.raises(BadAnswer, match=said):
        get_json(server, path)


def test_an_answer_is_parsed(server: Address) -> None:
    assert get_json(server, '/200/{"height":3}') == {"height": 3}
    assert request(server, "/404/x")[0] == HTTPStatus.NOT_FOUND


def test_a_token_is_read_without_its_line_end(network: LocalNetwork) -> None:
    token = read_token(network.auditor.home / "token")
    assert token.startswith("depoli_")
    assert token == token.strip()
