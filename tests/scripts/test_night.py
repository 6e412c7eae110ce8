"""A light node's night, in short: what it takes stays within the bounds that are promised."""

from pathlib import Path

from scripts import night


def test_a_shop_catches_up_from_nothing_and_after_a_night(tmp_path: Path) -> None:
    told = night.measure(tmp_path / "network", claims=1_000, shops=10)
    first, after = told["first"], told["night"]
    assert first["receipts"] == first["entries"] > 2 * 50
    assert told["night_claims"] == 50
    assert after["receipts"] == after["entries"] > first["entries"] + 3 * 50
    for each in (first, after):
        assert each["downloaded"] < 2 << 20
        assert each["cpu_s"] < 5
        assert each["rss_mb"] < 80
