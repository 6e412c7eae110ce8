"""What receipts take on paper is what the decision about their codes says it is."""

import pytest

from ledger.encoding import encode
from ledger.short_receipt import shorten, to_text
from node.cli.qr import MODULE_MM, QUIET, draw
from scripts.bench_receipts import receipt_of


@pytest.mark.parametrize(
    ("validators", "signatures", "size", "version", "millimetres"),
    [(4, 3, 1_310, 26, 64), (20, 14, 2_026, 33, 78)],
)
def test_a_receipt_of_a_large_log_fits_in_a_code(
    validators: int, signatures: int, size: int, version: int, millimetres: int
) -> None:
    signed, receipt = receipt_of(validators)
    first = signed.genesis.validator_set
    receipt.verify(signed.chain_id, first)
    assert len(receipt.certificate.seals) == signatures
    short = shorten(receipt, first)
    assert len(encode(short)) == size
    code = draw(to_text(short))
    assert code.version == version
    assert int(code.symbol_size(border=QUIET)[0] * MODULE_MM) == millimetres
