"""What a run looked like, for a person: a diagram of who told whom what, and when."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

from consensus.messages import (
    Commit,
    Decided,
    Message,
    Prepare,
    Proposal,
    RoundChange,
    Status,
)
from tests.simulation.packets import Block, Burst, Head, Packet, WantBlock, WantHead

COLUMN = 8  # characters between two lifelines
ROW_PX, COLUMN_PX, LEFT_PX = 18, 90, 110


@dataclass(frozen=True, slots=True)
class Arrow:
    """A packet that came, or never did because its target was down."""

    sent_ms: int
    at_ms: int
    source: int
    target: int
    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened at one place, or to all."""

    at_ms: int
    text: str


@dataclass
class Trace:
    """The newest of what happened. Heartbeats are left out."""

    rows: list[Arrow | Note] = field(default_factory=list)

    def arrow(self, sent_ms: int, at_ms: int, source: int, target: int, packet: Packet) -> None:
        """Keep that a packet arrived, if agreement is what it is about."""
        if text := _words(packet):
            self.rows.append(Arrow(sent_ms, at_ms, source, target, text))

    def note(self, at_ms: int, text: str) -> None:
        """Keep that this happened."""
        self.rows.append(Note(at_ms, text))

    def text(self, names: Sequence[str], last: int) -> str:
        """Return a sequence diagram of the last rows, time downwards."""
        head = " " * 9 + "".join(name.ljust(COLUMN) for name in names)
        return "\n".join([head, *self._lines(len(names), self.rows[-last:])])

    def svg(self, names: Sequence[str]) -> str:
        """Return the whole diagram as a picture."""
        height, width = ROW_PX * (len(self.rows) + 3), LEFT_PX + COLUMN_PX * len(names) + 300
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">',
            "<style>text { font: 12px monospace }</style>",
        ]
        for place, name in enumerate(names):
            x = LEFT_PX + COLUMN_PX * place
            parts.append(f'<text x="{x - 12}" y="14">{escape(name)}</text>')
            parts.append(f'<path d="M{x} 20V{height}" stroke="#bbb"/>')
        for number, row in enumerate(self.rows):
            parts += _drawn(row, ROW_PX * (number + 2))
        return "\n".join([*parts, "</svg>\n"])

    def _lines(self, peers: int, rows: Sequence[Arrow | Note]) -> Iterator[str]:
        for row in rows:
            if isinstance(row, Note):
                yield f"{row.at_ms:7}  {'|'.ljust(COLUMN) * peers}* {row.text}"
                continue
            line = list("|".ljust(COLUMN) * peers)
            left, right = sorted((row.source * COLUMN, row.target * COLUMN))
            line[left + 1 : right] = "-" * (right - left - 1)
            line[row.source * COLUMN] = "o"
            if row.target > row.source:
                line[right - 1] = ">"
            else:
                line[left + 1] = "<"
            age = row.at_ms - row.sent_ms
            yield f"{row.at_ms:7}  {''.join(line)}{row.text} ({age} ms)"


def _drawn(row: Arrow | Note, y: int) -> Iterator[str]:
    yield f'<text x="4" y="{y}">{row.at_ms} ms</text>'
    if isinstance(row, Note):
        yield f'<text x="{LEFT_PX}" y="{y}" fill="#b00">{escape(row.text)}</text>'
        return
    source, target = (LEFT_PX + COLUMN_PX * peer for peer in (row.source, row.target))
    back = target + (6 if target < source else -6)
    yield f'<path d="M{source} {y - 4}H{target}" stroke="#06c"/>'
    yield f'<path d="M{target} {y - 4}L{back} {y - 8}V{y}Z" fill="#06c"/>'
    x = max(source, target) + 4
    yield f'<text x="{x}" y="{y}" >{escape(row.text)}</text>'


def _words(packet: Packet) -> str:
    match packet:
        case Proposal() | Prepare() | Commit() | RoundChange() | Decided():
            return _said(packet)
        case Block(outline):
            return f"block {outline.header.height} {_short(outline.header.hash)}"
        case WantBlock(block_id):
            return f"wants block {_short(block_id)}"
        case WantHead():
            return "wants to know the head"
        case Head(decided):
            return f"head is {decided.height if decided else 0}"
        case Burst(messages):
            return f"{len(messages)} messages, the first: {_said(messages[0])}"
        case _:
            return ""


def _said(message: Message) -> str:
    match message:
        case Proposal():
            why = message.justification
            reason = f", {len(why.round_changes)} round changes" if why else ""
            lock = f", lock of {why.prepared.round}" if why and why.prepared else ""
            again = message.outline.header.built_round != message.round
            kind = "proposes again" if again else "proposes"
            place = f"{message.height}/{message.round} {_short(message.block_id)}"
            return f"v{message.signer} {kind} {place}{reason}{lock}"
        case Prepare() | Commit():
            kind = type(message).__name__.lower()
            place = f"{message.height}/{message.round} {_short(message.block_id)}"
            return f"v{message.signer} {kind}s {place}"
        case RoundChange():
            lock = f", locked {message.prepared_round} {_short(message.prepared_id)}"
            locked = lock if message.prepared_round >= 0 else ""
            return f"v{message.signer} wants {message.height}/{message.round}{locked}"
        case Decided():
            rounds = message.certificate.round
            return f"decided {message.height} {_short(message.header.hash)} in round {rounds}"
        case Status():
            return ""


def _short(block_id: bytes) -> str:
    return block_id[:3].hex()
