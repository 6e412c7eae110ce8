"""The gateway against its own OpenAPI document, by schemathesis: what it promises, it keeps.

Whatever is asked, well or badly, is answered with a status, a media type and a body that the
document names, and never by a fault of ours.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok

from tests.node.client.desk import example
from tests.node.gateway.doorstep import Gateway, open_gateway

STREAM = "/v1/events"  # never ends; another test looks at it
MAX_EXAMPLES = 4  # of each operation and mode
load_all_checks()
# Rules of optics are more than a schema can say: a document that fits it may be refused.
LEFT_OUT = {"positive_data_acceptance"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("gateway")) as made:
        made.post("/v1/lots?wait=30", {"claims": [example(number) for number in (3, 4)]})
        yield made


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_one_that_the_document_promises(
    gateway: Gateway, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_url(f"{gateway.url}/openapi.json").exclude(path=STREAM)
    headers = {"Authorization": f"Bearer {gateway.tokens['both']}"}
    left_out: list[Any] = [each for each in CHECKS.get_all() if each.__name__ in LEFT_OUT]
    asked = set()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        asked.add(operation.label)

        @settings(
            max_examples=MAX_EXAMPLES,
            deadline=None,
            derandomize=True,  # it takes a query that is wrong by what is not sent for one
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def keeps_its_promise(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(headers=headers, excluded_checks=left_out)

        keeps_its_promise()
    assert len(asked) == 14
