"""What looks wrong is said and not refused: lenses that are not prescribed, an old prescription."""

import pytest

from node.client.doubts import doubts
from tests.node.client.desk import EXAMPLES, as_request, example


def found(number: int = 3, **changes: object) -> list[str]:
    request = as_request(example(number, **changes))
    assert request.prescribed is not None
    return doubts(request, request.prescribed.prescription)


def test_no_example_is_doubted() -> None:
    numbers = [int(path.stem.removeprefix("f2025-")) for path in EXAMPLES.glob("f2025-*.json")]
    asked = [number for number in numbers if "prescription" in example(number)]
    assert len(asked) > 20
    assert not [doubt for number in asked for doubt in found(number)]


@pytest.mark.parametrize(
    ("codes", "doubt"),
    [
        ({"right": "VU2"}, []),
        ({"right": "VU2", "left": "V01"}, []),
        ({"right": "VU4"}, ["codes.right: VU4 is claimed, and what is prescribed makes VU2"]),
        ({"left": "V02"}, ["codes.left: V02 is claimed, and what is prescribed makes V01"]),
    ],
)
def test_a_lens_that_the_prescription_does_not_make_is_doubted(
    codes: dict[str, str], doubt: list[str]
) -> None:
    assert found(codes=codes, amounts={"lenses": 7500}) == doubt


def test_a_prescription_that_serves_at_no_age_is_doubted() -> None:
    document = example()
    document["prescription"]["dateWritten"] = "2020-05-09"
    for day, count in (("2025-05-09", 0), ("2025-05-10", 1)):
        document["claim"]["invoice_date"] = day
        request = as_request(document)
        assert request.prescribed is not None
        assert len(doubts(request, request.prescribed.prescription)) == count


@pytest.mark.parametrize(("number", "count"), [("759350123", 1), ("759350127", 0)])
def test_an_adeli_number_whose_last_digit_does_not_fit_is_doubted(number: str, count: int) -> None:
    document = example()
    document["prescription"]["prescriber"]["identifier"]["value"] = number
    request = as_request(document)
    assert request.prescribed is not None
    assert len(doubts(request, request.prescribed.prescription)) == count
