"""A short campaign of faults under contending clients; scripts/jepsen runs long ones."""

from tests.network import campaigns

NEMESES = ("crash-all", "halves", "restore", "ring", "truncate", "twin")


def test_whatever_befalls_the_nodes_no_client_is_lied_to() -> None:
    faults = ("--faults", str(len(NEMESES)), "--nemeses", ",".join(NEMESES))
    found = campaigns.ended("jepsen", "--seed", "5", "--hold", "0.2", *faults)
    assert found["held"] is True, found["wrong"]
    assert found["acknowledged"] == found["offered"] > 0
    assert found["contests"] > 0
    assert found["nemeses"] == dict.fromkeys(NEMESES, 1)
    assert found["receipts_verified"] > 0
