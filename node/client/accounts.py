"""What was decided, as rows for a payer's accounts: CSV that is safe in spreadsheets, or Parquet.

Amounts are whole cents; beside them stand euros as decimals, for people. Days are of UTC, by ISO
8601. Rows are written as they are read: an export of a year holds no year in memory.
"""

import csv
import datetime as dt
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any, BinaryIO, Final

from contracts.calls import Reason
from contracts.commitment import Opening
from ledger.encoding import decode
from node.client import disclosure
from node.client.errors import ClientError
from node.client.records import ReceivedRecord, every
from node.client.vault import Vault

# Name -> type: text, cents (whole), euros (decimal), day, or flag.
COLUMNS: Final[Mapping[str, str]] = {
    "claim": "text",
    "submitter": "text",
    "submitter_label": "text",
    "leg": "text",
    "category": "text",
    "right": "text",
    "left": "text",
    "frame": "text",
    "supplements": "text",
    "insured": "text",
    "authorisation": "text",
    "invoice_date": "day",
    "decision": "text",
    "reason": "text",
    "automatic": "flag",
    "policy": "text",
    "decided": "day",
    "claimed_cents": "cents",
    "accepted_cents": "cents",
    "claimed_eur": "euros",
    "accepted_eur": "euros",
    "settlement": "text",
}
Row = dict[str, Any]
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "'")  # what a spreadsheet would reckon
_GROUP: Final = 10_000  # rows that are held at once


class NoParquet(ClientError):
    """The library that writes Parquet is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "Parquet files need the library pyarrow, which is not installed",
            hint="pip install 'depoli[parquet]', or write CSV: --format csv",
        )


def rows(
    vault: Vault, first: dt.date, last: dt.date, label_of: Callable[[bytes], str]
) -> Iterator[Row]:
    """Yield what was decided from one day to another, in the order in which it came."""
    for _, record in every(vault, ReceivedRecord):
        if record.decided is None or record.decision is None:
            continue
        day = dt.datetime.fromtimestamp(record.decided, dt.UTC).date()
        if first <= day <= last:
            yield _row(record, day, label_of)


def write_csv(found: Iterable[Row], file: BinaryIO) -> int:
    """Write rows as CSV (RFC 4180) in UTF-8; return how many."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    count = 0
    for row in found:
        writer.writerow([_cell(row[name], kind) for name, kind in COLUMNS.items()])
        count += 1
    text.flush()
    text.detach()
    return count


def write_parquet(found: Iterable[Row], file: BinaryIO) -> int:
    """Write rows as Parquet; return how many. Raises `NoParquet`."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, and half a second to import
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError:
        raise NoParquet from None
    types = {
        "text": pa.string(),
        "cents": pa.int64(),
        "euros": pa.decimal128(18, 2),
        "day": pa.date32(),
        "flag": pa.bool_(),
    }
    schema = pa.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    count = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        rest = iter(found)
        while group := list(islice(rest, _GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
            count += len(group)
    return count


def safe(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: with an apostrophe before one."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _cell(value: object, kind: str) -> object:
    if value is None:
        return ""
    if kind == "flag":
        return "yes" if value else "no"
    return safe(str(value)) if kind == "text" else value


def _row(record: ReceivedRecord, day: dt.date, label_of: Callable[[bytes], str]) -> Row:
    shown = disclosure.told(record.disclosure)
    claimed = decode(record.opening, Opening).amount
    accepted: int | None = 0
    if record.decision == "accepted":
        accepted = claimed
    elif record.decision == "accepted_in_part":
        own = record.accepted  # None: from another vault, which alone knows how much
        accepted = None if own is None else decode(own, Opening).amount
    reason = None if record.reason is None else Reason(record.reason)
    return {
        "claim": record.claim.hex(),
        "submitter": record.submitter.hex(),
        "submitter_label": label_of(record.submitter),
        **{name: shown[name] for name in ("leg", "category", "right", "left", "frame")},
        "supplements": " ".join(shown["supplements"] or ()) or None,
        "insured": shown["insured"],
        "authorisation": shown["authorisation"],
        "invoice_date": dt.date.fromisoformat(shown["invoice_date"]),
        "decision": record.decision,
        "reason": None if reason is None else reason.name.lower().replace("_", "-"),
        "automatic": record.is_automatic,
        "policy": record.policy,
        "decided": day,
        "claimed_cents": claimed,
        "accepted_cents": accepted,
        "claimed_eur": Decimal(claimed).scaleb(-2),
        "accepted_eur": None if accepted is None else Decimal(accepted).scaleb(-2),
        "settlement": None if record.settlement is None else record.settlement.hex(),
    }
