"""Who is called at night finds what the alert says, and what is written there is so.

The rules are YAML of one simple shape, read strictly here: each value is a JSON string, which is
YAML too.
"""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import click
import prometheus_client.parser
import pytest

from contracts import errors as contracts_errors
from ledger import errors as ledger_errors
from node import mempool
from node.chain import what_to_do
from node.cli.main import main
from node.errors import Exit
from node.health import shortage
from node.joining import Joining
from node.light import follow
from node.light import server as light_server
from node.light.staleness import Staleness
from node.metrics import Metrics
from node.replica import Replica
from node.upgrade import Outlook
from tests.house import ROOT, text_of, tree_of

RULES = ROOT / "docs" / "alerts.yml"
PAGE = ROOT / "docs" / "runbook.md"
LABELS = ("Means", "Grave", "Causes", "Look", "Do", "Never")
PROMETHEUS = {"up", "job"}  # what it makes itself
FUNCTIONS = {
    *("and", "or", "offset", "without", "sum", "rate", "increase", "changes", "delta"),
    *("min_over_time", "predict_linear"),
}
TOKEN = re.compile(
    r"\s+|\"\w*\"|\[\d+[smhd]\]|\d+(?:\.\d+)?[smhd]?\b|[A-Za-z_]\w*|!=|==|[-+*/<>=(){},]"
)
REASONS = {  # for which a transaction is refused at the door
    name
    for module in (contracts_errors, ledger_errors, mempool)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, Exception)
}
SOURCES: tuple[Callable[..., Any], ...] = (  # of the lines of /readyz
    Replica.not_ready,
    vars(Joining)["words"].fget,
    what_to_do,
    shortage,
    vars(Outlook)["warning"].fget,
    Staleness.not_ready,
    Staleness.reason,
)


@dataclass
class Rule:
    """One alert."""

    name: str
    expr: str = ""
    wait: str = ""
    severity: str = ""
    summary: str = ""


@dataclass
class _Reader:
    rules: list[Rule] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    def take(self, line: str) -> None:
        """Take a line that is neither empty nor a remark; anything unexpected is an error."""
        found = re.fullmatch(r'( *)(- )?(\w+):(?: (".*"))?', line)
        assert found, line
        indent, dash, key, text = found.groups()
        value = json.loads(text) if text else ""
        match len(indent), bool(dash), key, bool(value):
            case 0, False, "groups", False:
                assert not self.groups
            case 2, True, "name", True:
                self.groups.append(value)
            case 4, False, "rules", False:
                pass
            case 6, True, "alert", True:
                self.rules.append(Rule(value))
            case 8, False, "expr", True:
                self.rules[-1].expr = value
            case 8, False, "for", True:
                self.rules[-1].wait = value
            case 8, False, "labels" | "annotations", False:
                pass
            case 10, False, "severity", True:
                self.rules[-1].severity = value
            case 10, False, "summary", True:
                self.rules[-1].summary = value
            case _:
                pytest.fail(f"unexpected: {line}")


def rules() -> list[Rule]:
    reader = _Reader()
    for line in text_of(RULES).splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            reader.take(line)
    assert len(set(reader.groups)) == len(reader.groups) > 1
    return reader.rules


def words_of(expr: str) -> set[str]:
    """Return the names in an expression, each character of which must belong to a token."""
    found, at, depth = set[str](), 0, 0
    while at < len(expr):
        token = TOKEN.match(expr, at)
        assert token, expr[at:]
        depth += token[0] in {"(", "{"}
        depth -= token[0] in {")", "}"}
        assert depth >= 0, expr
        if re.fullmatch(r"[A-Za-z_]\w*", token[0]):
            found.add(token[0])
        at = token.end()
    assert not depth, expr
    return found


def sections() -> dict[str, str]:
    """Return the text below each heading of an alert."""
    parts = re.split(r"^##+ (.*)\n", text_of(PAGE), flags=re.MULTILINE)[1:]
    found = zip(parts[::2], parts[1::2], strict=True)
    return {title: text for title, text in found if title.startswith("Depoli")}


def exposed() -> dict[str, set[str]]:
    """Return the names that /metrics shows, and the labels of each."""
    metrics = Metrics()
    metrics.entries.labels("applied")
    metrics.rejected.labels("Expired")
    metrics.evidence.found.labels("Equivocation")
    text = metrics.text().decode()
    names: dict[str, set[str]] = {}
    for family in prometheus_client.parser.text_string_to_metric_families(text):
        for sample in family.samples:
            names.setdefault(sample.name, set()).update(sample.labels)
    light = re.findall(r'^ +"(\w+)": ', inspect.getsource(light_server.admin), re.MULTILINE)
    return names | {f"depoli_light_{name}": set() for name in light}


def test_each_rule_is_whole() -> None:
    found = rules()
    assert len(found) > 20
    assert len({rule.name for rule in found}) == len(found)
    for rule in found:
        assert re.fullmatch(r"Depoli[A-Z]\w+", rule.name)
        assert rule.expr, rule
        assert rule.summary.endswith("."), rule
        assert rule.severity in {"page", "ticket"}, rule
        assert re.fullmatch(r"(\d+[mhd])?", rule.wait), rule


def test_every_rule_asks_for_metrics_that_exist() -> None:
    names = exposed()
    assert {"depoli_light_height", "depoli_height", "depoli_commit_seconds_sum"} <= set(names)
    labels = set().union(*names.values())
    for rule in rules():
        asked = words_of(rule.expr)
        assert asked <= {*names, *PROMETHEUS, *FUNCTIONS, *labels}, rule
        assert asked & {*names, *PROMETHEUS}, rule
        wanted = re.findall(r"\b(\w+)!?=\"(\w+)\"", rule.expr)
        assert all(value in REASONS for label, value in wanted if label == "reason"), rule


def test_every_alert_has_its_section_and_the_other_way_round() -> None:
    assert [rule.name for rule in rules()] == list(sections())


def test_every_section_says_what_it_should() -> None:
    severities = {rule.name: rule.severity for rule in rules()}
    for name, text in sections().items():
        assert re.findall(r"^- \*\*(\w+)\*\*", text, re.MULTILINE) == list(LABELS), name
        assert f"**Grave**: {severities[name]}" in text, name
        look = text.partition("**Look**")[2].partition("**Do**")[0]
        assert "```sh" in look, f"{name}: nothing to type"


def test_the_reasons_of_refusals_are_real() -> None:
    named = set(re.findall(r"`([A-Z]\w+[a-z])`", sections()["DepoliRefusals"]))
    assert len(named) > 5
    assert named <= REASONS


def said(tree: ast.AST) -> Iterator[str]:
    """Yield the fixed parts of every sentence that the code in `tree` builds."""
    for each in ast.walk(tree):
        if isinstance(each, ast.JoinedStr | ast.List | ast.Return):
            yield from (part.strip(" ,;:") for part in texts(each) if len(part.split()) > 1)


def texts(tree: ast.AST) -> list[str]:
    """Return the strings that stand in code."""
    parts = (each.value for each in ast.walk(tree) if isinstance(each, ast.Constant))
    return [part for part in parts if isinstance(part, str)]


def test_every_reason_of_readyz_is_in_the_page() -> None:
    parts = {"the record cannot be written"}
    for source in SOURCES:
        parts |= {*said(ast.parse(textwrap.dedent(inspect.getsource(source))))}
    assert {"blocks behind", "no peer is linked", "MiB free on the disk of"} <= parts
    assert "the record cannot be written" in inspect.getsource(follow)
    page = chapter("What /readyz says")
    assert not {part for part in parts if part not in page}


def chapter(title: str) -> str:
    """Return what stands below a heading."""
    found = re.search(
        rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text_of(PAGE), re.MULTILINE | re.DOTALL
    )
    assert found, title
    return found[1]


def causes() -> Iterator[str]:
    """Yield the cause of every finding that the doctor can make."""
    for path in sorted((ROOT / "node" / "doctor").glob("*.py")):
        for each in ast.walk(tree_of(path)):
            if isinstance(each, ast.Call) and isinstance(each.func, ast.Name):
                place = {"_finding": (0, 1), "_refused": (0,), "Reason": (0,)}.get(each.func.id, ())
                names = [each.args[i] for i in place if i < len(each.args)]
                first = [
                    name.value
                    for name in names
                    if isinstance(name, ast.Constant) and isinstance(name.value, str)
                ][:1]
                assert first or not place or isinstance(names[0], ast.Name | ast.Attribute)
                yield from first


def test_every_finding_of_the_doctor_is_in_the_page_and_no_other() -> None:
    found = set(causes())
    assert {"votes", "port", "keys", "timeout", "twin"} <= found
    named = re.findall(r"^\| `([\w-]+)` \|", chapter("What the doctor finds"), re.MULTILINE)
    assert len(named) == len(set(named))
    assert set(named) == found


def test_every_exit_code_is_in_the_page() -> None:
    named = re.findall(r"^\| (\d+) \| `(\w+)` \|", chapter("Exit codes"), re.MULTILINE)
    assert named == [(str(code.value), code.name) for code in Exit]


def test_every_link_leads_to_a_heading() -> None:
    found = re.findall(r"\]\(([\w.]*)#([\w-]+)\)", text_of(PAGE))
    assert len(found) > 20
    for page, anchor in found:
        titles = re.findall(r"^#+ (.*)$", text_of(PAGE.parent / (page or PAGE.name)), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles}


def test_every_command_that_is_named_in_passing_exists() -> None:
    named = re.findall(r"`depoli ((?:[a-z-]+ ?)+)", text_of(PAGE))
    assert len(named) > 5
    for words in named:
        command: click.Command = main
        for word in words.split():
            if not isinstance(command, click.Group):
                break
            inner = command.get_command(click.Context(command), word)
            assert inner is not None, words
            command = inner
