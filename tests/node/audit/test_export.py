"""Exports: whole or kept as a beginning, from a running node and from a stopped one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from consensus import messages
from contracts.genesis_json import parse_signed_json, signed_json
from ledger.encoding import encode
from ledger.segments import Segments
from node.audit.errors import AuditError, BadStream, NoBlocks, OtherChain, Refused, Unreachable
from node.audit.export import Writer, copy_blocks
from node.audit.fetch import fetch_chain, fetch_genesis, open_session
from node.audit.records import frame, split_frames
from node.audit.replay import verify_export
from node.audit.report import Progress
from tests.chainmaker import Chain, export_of, found, story
from tests.node.audit.forked import Speakers

CHAIN = story()
BLOCKS = [encode(block) for block in CHAIN.blocks]
WHOLE = export_of(CHAIN.genesis, CHAIN.blocks)
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def show(progress: Progress) -> None:
    assert progress.done > 0


def write(path: Path, payloads: list[bytes], *, finish: bool) -> None:
    with Writer(path, CHAIN.genesis) as writer:
        for payload in payloads:
            writer.append(payload)
        if finish:
            writer.finish()


def test_a_finished_export_is_whole_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "chain.export"
    write(path, BLOCKS, finish=True)
    assert path.read_bytes() == WHOLE
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_export_shows_nothing_and_is_gone_on_from(tmp_path: Path) -> None:
    path = tmp_path / "chain.export"
    write(path, BLOCKS[:3], finish=False)
    assert not path.exists()
    (partial,) = tmp_path.iterdir()
    for torn in (b"", frame(BLOCKS[3])[:-1], frame(BLOCKS[3])[:5], b"\xff" * 40, frame(b"\xc0")):
        with partial.open("ab") as file:
            file.write(torn)
        with Writer(path, CHAIN.genesis) as writer:
            assert writer.height == 3
    write(path, BLOCKS[3:], finish=True)
    assert path.read_bytes() == WHOLE


def test_an_export_is_extended(tmp_path: Path) -> None:
    path = tmp_path / "chain.export"
    write(path, BLOCKS[:5], finish=True)
    assert path.read_bytes() == export_of(CHAIN.genesis, CHAIN.blocks[:5])
    write(path, BLOCKS[5:], finish=True)
    assert path.read_bytes() == WHOLE


def test_another_chain_does_not_come_into_an_export(tmp_path: Path) -> None:
    path = tmp_path / "chain.export"
    write(path, BLOCKS[:2], finish=True)
    other = Chain(found(others=()))
    with pytest.raises(OtherChain):
        Writer(path, other.genesis)
    with Writer(path, CHAIN.genesis) as writer:
        with pytest.raises(BadStream):
            writer.append(BLOCKS[3])  # not the next one
        with pytest.raises(BadStream):
            writer.append(b"\xc0")
    same = Chain(CHAIN.genesis)
    for _ in range(3):
        same.block(built_round=1)
    with Writer(path, CHAIN.genesis) as writer, pytest.raises(OtherChain):
        writer.append(encode(same.blocks[2]))  # the next height of another branch
    assert path.read_bytes() == export_of(CHAIN.genesis, CHAIN.blocks[:2])


def test_a_file_that_is_no_export_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("dear member")
    with pytest.raises(OtherChain):
        Writer(path, CHAIN.genesis)
    assert path.read_text() == "dear member"
    assert list(tmp_path.iterdir()) == [path]


def test_a_stopped_node_is_exported_from_its_files(tmp_path: Path) -> None:
    directory = tmp_path / "segments"
    segments = Segments.open(directory, chain_id=CHAIN.chain_id)
    for payload in BLOCKS:
        segments.append(payload)
    segments.sync()
    segments.close()
    with Writer(tmp_path / "e", CHAIN.genesis) as writer:
        copy_blocks(writer, directory, show)
        writer.finish()
    assert (tmp_path / "e").read_bytes() == WHOLE
    with Writer(tmp_path / "f", CHAIN.genesis) as writer, pytest.raises(NoBlocks):
        copy_blocks(writer, tmp_path / "nothing", show)


def test_frames_are_split_wherever_they_are_cut() -> None:
    stream = b"".join(map(frame, BLOCKS))
    for size in (1, 7, 1000):
        found: list[bytes] = []
        rest = b""
        for start in range(0, len(stream), size):
            payloads, rest = split_frames(rest + stream[start : start + size])
            found += payloads
        assert (found, rest) == (BLOCKS, b"")


@asynccontextmanager
async def serve(chain: Answer, genesis: Answer, kept: Sequence[bytes] = ()) -> AsyncIterator[str]:
    async def proposals(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"".join(map(frame, kept)))

    app = web.Application()
    app.router.add_get("/v1/proposals", proposals)
    app.router.add_get("/v1/chain", chain)
    app.router.add_get("/v1/genesis", genesis)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def stream_of(payloads: list[bytes], *, cut: int = 0, last: int | None = None) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != "Bearer right":
            raise web.HTTPForbidden(text="not for you")
        start = int(request.query["from"])
        height = len(payloads) if last is None else last
        response = web.StreamResponse(headers={"Depoli-Height": str(height)})
        await response.prepare(request)
        content = b"".join(map(frame, payloads[start - 1 :]))
        for place in range(0, len(content) - cut, 999):
            await response.write(content[: len(content) - cut][place : place + 999])
        return response

    return answer


async def genesis_of_chain(_: web.Request) -> web.StreamResponse:
    return web.Response(text=signed_json(CHAIN.genesis), content_type="application/json")


async def fetch(path: Path, chain: Answer, shown: str = "right", kept: Sequence[bytes] = ()) -> int:
    async with serve(chain, genesis_of_chain, kept) as url, open_session(shown) as session:
        genesis = parse_signed_json(await fetch_genesis(session, url))
        with Writer(path, genesis) as writer:
            await fetch_chain(session, url, writer, show)
            writer.finish()
            return writer.height


def test_a_running_node_is_exported_and_gone_on_from(tmp_path: Path) -> None:
    path = tmp_path / "e"
    assert asyncio.run(fetch(path, stream_of(BLOCKS[:4]))) == 4
    assert asyncio.run(fetch(path, stream_of(BLOCKS))) == 8
    assert asyncio.run(fetch(path, stream_of(BLOCKS))) == 8
    assert path.read_bytes() == WHOLE


def proposals() -> list[bytes]:
    """Return proposals that a validator of this chain could have kept."""
    signing = Speakers(CHAIN)
    changes = [signing.change(i, 1) for i in range(3)]
    made = [signing.proposal(CHAIN.blocks[0], round_, changes, None) for round_ in (1, 2)]
    return [messages.encode(proposal) for proposal in made]


def test_kept_proposals_are_part_of_an_export_each_once(tmp_path: Path) -> None:
    path = tmp_path / "e"
    first, second = proposals()
    asyncio.run(fetch(path, stream_of(BLOCKS[:4]), kept=[first]))
    asyncio.run(fetch(path, stream_of(BLOCKS), kept=[first, second]))
    parts = [WHOLE, frame(first), frame(second)]
    assert sorted(path.read_bytes()) == sorted(b"".join(parts))
    report = verify_export(path, CHAIN.genesis, workers=1)
    assert report.header == CHAIN.state.header
    with Writer(path, CHAIN.genesis) as writer:
        assert writer.proposals == 2


def test_a_proposal_that_is_none_or_of_another_chain_is_refused(tmp_path: Path) -> None:
    with Writer(tmp_path / "e", CHAIN.genesis) as writer, pytest.raises(BadStream):
        writer.append(b"\x96\x01")
    with Writer(tmp_path / "f", found(others=())) as writer, pytest.raises(OtherChain):
        writer.append(proposals()[0])


@pytest.mark.parametrize(
    ("chain", "token", "error"),
    [
        (stream_of(BLOCKS), "wrong", Refused),
        (stream_of(BLOCKS, cut=1), "right", BadStream),
        (stream_of(BLOCKS[:7], last=8), "right", BadStream),
        (stream_of([*BLOCKS[:3], *BLOCKS[4:]]), "right", BadStream),
        (stream_of([b"\xc0"]), "right", BadStream),
    ],
    ids=["token", "cut", "short", "gap", "nonsense"],
)
def test_a_node_that_does_not_send_its_chain_is_told_of(
    chain: Answer, token: str, error: type[AuditError], tmp_path: Path
) -> None:
    with pytest.raises(error):
        asyncio.run(fetch(tmp_path / "e", chain, token))
    assert not (tmp_path / "e").exists()
    asyncio.run(fetch(tmp_path / "e", stream_of(BLOCKS)))
    assert (tmp_path / "e").read_bytes() == WHOLE


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (
            '{"title": "no", "detail": "it lacks a scope"}',
            "the node refuses (403): no: it lacks a scope",
        ),
        ('{"title": "no", "status": 403}', "the node refuses (403): no"),
        ("[1]", "the node refuses (403): [1]"),
        ("not for you", "the node refuses (403): not for you"),
    ],
)
def test_a_refusal_is_told_in_the_words_of_the_node(problem: str, words: str) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        raise web.HTTPForbidden(text=problem)

    async def ask() -> None:
        async with serve(refuse, refuse) as url, open_session("") as session:
            await fetch_genesis(session, url)

    with pytest.raises(Refused) as refusal:
        asyncio.run(ask())
    assert str(refusal.value) == words


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:9", "no node answers there: Connection refused"),
        ("127.0.0.1:9", "this is no address like http://127.0.0.1:7680"),
    ],
)
def test_nobody_at_the_address_is_told_of(url: str, words: str) -> None:
    async def ask() -> None:
        async with open_session("") as session:
            await fetch_genesis(session, url)

    with pytest.raises(Unreachable) as refusal:
        asyncio.run(ask())
    assert str(refusal.value) == f"{url}/v1/genesis: {words}"


def test_a_genesis_without_end_is_refused() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError, aiohttp.ClientError):
            while True:
                await response.write(b" " * 65536)
        return response

    async def ask() -> None:
        async with serve(endless, endless) as url, open_session("") as session:
            await fetch_genesis(session, url)

    with pytest.raises(BadStream):
        asyncio.run(ask())
