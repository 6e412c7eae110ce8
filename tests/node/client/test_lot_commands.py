"""`depoli lot` as people type it: what each command shows, and how it ends."""

import asyncio
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from node.cli import course, lot
from node.cli.course import Course
from node.cli.home import BadHome, load_home
from node.errors import Exit
from tests.node.client import desk
from tests.node.client.desk import example
from tests.node.client.test_commands import Town, town
from tests.node.client.test_sheets import FRENCH, table

__all__ = ["town"]  # pytest finds the fixture here

BAD = desk.EXAMPLES.parent / "bad" / "axis-900.json"


def folder_of(town: Town, *numbers: int) -> Path:
    folder = town.folder / "today"
    folder.mkdir(exist_ok=True)
    for number in numbers:
        (folder / f"{number}.json").write_text(json.dumps(example(number)))
    return folder


def shown(town: Town, code: Exit, *args: str | Path) -> Any:  # noqa: ANN401
    result = town.call("shop", "lot", *args, "--json")
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout)


def test_a_bad_document_is_named_and_the_others_are_sent(town: Town) -> None:
    result = town.call("shop", "lot", "submit", folder_of(town, 3, 4), BAD)
    assert result.exit_code == Exit.REJECTED
    assert "axis-900.json: right eye, axis: 900 degrees" in result.stderr
    assert "error: lot: 1 of 3 documents are refused; the others are not" in result.stderr
    rows = result.stdout.splitlines()
    assert re.fullmatch(r"F2025-0003 +committed +\d+  [0-9a-f]{64}", rows[1])
    assert re.fullmatch(r"axis-900.json +refused +–  right eye, axis: 900 .*", rows[3])
    sent = len(town.node.sent)
    value = shown(town, Exit.REJECTED, "submit", town.folder / "today", BAD)
    assert len(town.node.sent) == sent  # nothing is sent twice
    assert [each["state"] for each in value["claims"]] == ["committed"] * 2
    assert [each["file"] for each in value["claims"]] == ["3.json", "4.json"]
    (refused,) = value["refused"]
    assert (refused["file"], refused["reference"]) == ("axis-900.json", None)
    assert "axis" in refused["error"]


def test_all_or_none_sends_nothing_where_one_is_refused(town: Town) -> None:
    stderr = town.refuses(
        Exit.REJECTED, "shop", "lot", "submit", folder_of(town, 3, 4), BAD, "--all-or-none"
    )
    assert "axis-900.json: right eye, axis: 900 degrees" in stderr
    assert "1 of 3 claims are refused, and nothing was kept or sent" in stderr
    assert not town.node.sent
    assert not town.does("shop", "prescription", "list")


def test_a_file_that_is_named_twice_is_read_once(town: Town) -> None:
    folder = folder_of(town, 3)
    value = shown(town, Exit.OK, "submit", folder, folder / "3.json")
    assert [each["reference"] for each in value["claims"]] == ["F2025-0003"]
    town.refuses(Exit.USAGE, "shop", "lot", "submit", town.folder / "shop")


def test_a_table_is_a_lot_and_each_bad_row_is_named(town: Town) -> None:
    rows = [
        FRENCH | {"Payeur": "insurer"},
        FRENCH | {"Payeur": "insurer", "N° facture": "A-2", "Axe OD": "900"},
        FRENCH | {"Payeur": "insurer", "N° facture": "A-3", "Ordonnance": "ORD-3"},
    ]
    folder = folder_of(town)
    (folder / "day.csv").write_text(table(*rows), "utf-8")
    value = shown(town, Exit.REJECTED, "submit", folder)
    assert [each["reference"] for each in value["claims"]] == ["F2025-0001", "A-3"]
    assert [each["file"] for each in value["claims"]] == ["day.csv, row 2", "day.csv, row 4"]
    (refused,) = value["refused"]
    assert refused["file"] == "day.csv, row 3"
    assert "Axe OD" in refused["error"]


def test_what_the_chain_refuses_is_told_with_what_to_do(town: Town) -> None:
    file = town.file("c.json", example(3, payer="auditor"))
    value = shown(town, Exit.REJECTED, "submit", file)
    (claim,) = value["claims"]
    assert (claim["state"], claim["refusal"]) == ("refused", "PAYER_NOT_ELIGIBLE")
    assert claim["trouble"]
    assert "F2025-0003 was refused" in town.refuses(Exit.REJECTED, "shop", "lot", "submit", file)


def test_a_shop_without_network_queues_and_sends_when_it_is_back(town: Town) -> None:
    town.node.lose_requests = 100
    value = shown(town, Exit.OK, "queue", folder_of(town, 3, 4))
    assert town.node.lose_requests == 100  # nobody was asked
    assert [each["state"] for each in value["claims"]] == ["queued"] * 2
    leaves = {each["at"] for each in value["claims"]}
    assert len(leaves) == 1
    assert shown(town, Exit.OK, "flush") == {"claims": [], "refused": []}
    stderr = town.refuses(Exit.UNREACHABLE, "shop", "lot", "flush", "--now")
    assert "the request is lost" in stderr
    text = town.call("shop", "lot", "status").stdout
    assert re.search(r"F2025-0003 +retry +–  again at .* UTC: the request is lost", text)
    town.node.lose_requests = 0
    value = shown(town, Exit.OK, "flush", "--now")
    assert {each["state"] for each in value["claims"]} == {"committed"}
    assert [each["state"] for each in town.does("shop", "lot", "status")["claims"]] == [
        "committed",
        "committed",
    ]


def test_a_bad_document_is_not_queued_and_the_others_are(town: Town) -> None:
    value = shown(town, Exit.REJECTED, "queue", folder_of(town, 3), BAD)
    assert [each["reference"] for each in value["claims"]] == ["F2025-0003"]
    town.refuses(Exit.REJECTED, "shop", "lot", "queue", town.folder / "today", BAD, "--all-or-none")
    assert len(town.does("shop", "lot", "status")["claims"]) == 1


def test_what_was_queued_by_mistake_is_taken_back(town: Town) -> None:
    shown(town, Exit.OK, "queue", folder_of(town, 3, 4))
    assert shown(town, Exit.OK, "remove", "F2025-0003") == {"removed": ["F2025-0003"]}
    (left,) = town.does("shop", "lot", "status")["claims"]
    assert left["reference"] == "F2025-0004"
    town.refuses(Exit.NOT_FOUND, "shop", "lot", "remove", "F2025-0004", "F2025-0003")
    assert len(town.does("shop", "lot", "status")["claims"]) == 1  # all or none


def test_now_and_watch_are_not_for_one_command(town: Town) -> None:
    assert "give one" in town.refuses(Exit.USAGE, "shop", "lot", "flush", "--now", "--watch")


def test_a_watch_sends_what_is_due_until_it_is_interrupted(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    shown(town, Exit.OK, "queue", folder_of(town, 3))
    town.node.lose_requests = 1
    town.refuses(Exit.UNREACHABLE, "shop", "lot", "flush", "--now")  # it is due from now on
    (claim,) = town.does("shop", "lot", "status")["claims"]
    monkeypatch.setattr(lot, "_now", lambda: claim["at"])
    monkeypatch.setattr(asyncio, "sleep", interrupted)
    result = town.call("shop", "lot", "flush", "--watch")
    assert result.exit_code == 130
    assert re.search(r"F2025-0003 +committed", result.stdout)


@pytest.mark.parametrize("minutes", ["0", "1441", "60.5", "an hour", "-1"])
def test_windows_that_cannot_be_meant_are_refused(town: Town, minutes: str) -> None:
    file = town.folder / "shop" / "client.toml"
    plain = file.read_text()
    file.write_text(plain + f'window_minutes = "{minutes}"\n')
    with pytest.raises(BadHome, match="window_minutes"):
        load_home(file.parent)


def test_the_length_of_windows_is_the_homes(town: Town) -> None:
    file = town.folder / "shop" / "client.toml"
    assert load_home(file.parent).window_minutes == 60
    file.write_text(file.read_text() + 'window_minutes = "1"\n')
    (claim,) = shown(town, Exit.OK, "queue", folder_of(town, 3))["claims"]
    assert 0 <= claim["at"] - desk.now() <= 120


def test_the_program_of_the_shops_page_runs_as_it_stands(
    town: Town, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "shop.md").read_text("utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    folder = folder_of(town, 3)
    (folder / "bad.json").write_bytes(BAD.read_bytes())
    monkeypatch.setattr(sys, "argv", ["program", str(town.folder / "shop"), str(folder)])

    def run() -> list[str]:
        exec(compile(program, "docs/shop.md", "exec"), {"__name__": "__main__"})  # noqa: S102
        return capsys.readouterr().out.splitlines()

    refused, stands = run()
    assert refused.startswith("bad.json right eye, axis: 900 degrees")
    assert stands.strip() == "F2025-0003 queued"
    shown(town, Exit.OK, "flush", "--now")
    assert run()[1].strip() == "F2025-0003 committed"


def test_how_far_it_is_is_told_in_lines_where_nobody_looks_on(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(course, "FEW", 2)
    stderr = town.call("shop", "lot", "submit", folder_of(town, 3, 4, 5)).stderr
    for step in ("judged", "marks locked", "submitted"):
        assert f"{step}: 3 of 3" in stderr.splitlines()


def test_how_far_it_is_is_told_by_a_bar_where_a_person_looks_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with Course() as going:
        going.advance("judged", 1, 3)
        for done in (25, 50, 100):
            going.advance("judged", done, 100)
        going.say("all are ready")
        going.advance("submitted", 100, 100)
    said = screen.getvalue()
    assert "judged" in said
    assert "100%" in said
    assert said.index("all are ready") > said.index("judged")
    assert "of 3" not in said


def test_lines_are_few_however_many_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = io.StringIO()
    monkeypatch.setattr(sys, "stderr", quiet)
    with Course() as going:
        for done in range(1, 1001):
            going.advance("judged", done, 1000)
    lines = quiet.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[-1] == "judged: 1000 of 1000"
