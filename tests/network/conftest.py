"""A network of four real nodes that the tests of one file share: each leaves it whole."""

from collections.abc import Iterator

import pytest

from tests.network import faultnet
from tests.network.faultnet import FaultNetwork


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultNetwork]:
    """Four nodes that run, each pair with wires of its own."""
    folder = tmp_path_factory.mktemp("shared") / "net"
    with faultnet.running(folder, max_block_transactions=16) as made:
        made.submit(made.labels[0])
        yield made
