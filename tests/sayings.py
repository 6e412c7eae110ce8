"""Every message that the people's side may say, collected from its source.

A message is what an error is made with: its text, where parts that vary stand as `…`. Of `Refused`
and `NotVerified` it is the reason; before that stands the field, or the fact. A place that stands
before a message (a file, a line) is left out too.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from tests.house import ROOT, relative, tree_of

VARIES: Final = "…"
_PLACE: Final = re.compile(rf"({VARIES}(, (line|row) {VARIES})?: )+")  # where, before the message
_NOMENCLATURE: Final = "node/client/nomenclature.py"
_ROOTS: Final = frozenset(("ClientError", "NodeError"))
_SECOND: Final = frozenset(("Refused", "NotVerified"))  # the text is the second argument
# What only operators, auditors and those who vote meet; docs/runbook.md and docs/operator.md speak
# to them.
_OTHERS: Final = frozenset(
    f"node/{name}.py"
    for name in (
        *("cli/audit", "cli/auditor", "cli/backup", "cli/compare", "cli/db", "cli/doctor"),
        *("cli/evidence", "cli/forks", "cli/genesis", "cli/node", "cli/snapshot", "cli/testnet"),
        *("cli/tlog", "cli/upgrade", "cli/validator", "cli/witness", "cli/proposal"),
        *("client/x509", "client/attestation", "client/validators", "client/voting"),
        *("client/proposals", "client/housekeeping"),
    )
)
_SHARED: Final = ("node/files.py", "node/keystore.py", "node/errors.py")


def sources() -> list[Path]:
    """Return the files whose messages people at shops and payers may read."""
    own = [
        path
        for name in ("client", "cli", "gateway")
        for path in (ROOT / "node" / name).glob("*.py")
    ]
    kept = [path for path in own if relative(path) not in _OTHERS]
    return sorted([*kept, *(ROOT / name for name in _SHARED)])


@cache
def messages() -> dict[str, str]:
    """Return each message, and where it is said first."""
    trees = {path: tree_of(path) for path in sources()}
    defined = [
        node
        for path in (*trees, *(ROOT / "node").glob("*.py"))
        for node in _classes(trees.get(path) or tree_of(path)).values()
    ]
    errors = _errors(defined)
    everywhere = {node.name: node for node in defined if _inherits(node, errors)}
    found: dict[str, str] = {}
    for text in _objections():
        found[text] = f"{_NOMENCLATURE}:0"
    for path, tree in trees.items():
        # Two files may have a class of one name: its own counts, then what it imports.
        classes = everywhere | _imported(tree, trees) | _classes(tree)
        for line, text in _said(tree, errors, classes):
            if text.replace(VARIES, "").strip(" :,.()'\""):
                found.setdefault(text, f"{relative(path)}:{line}")
    return found


@cache
def sentences() -> frozenset[str]:
    """Return every text of the same files, whatever it is for: some are shown without an error."""
    found = set()
    for path in sources():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.JoinedStr | ast.Constant):
                found |= {" ".join(text.split()) for text in _texts(node, {})}
    return frozenset(found)


def _objections() -> Iterator[str]:
    """Yield what is said of each objection of the nomenclature."""
    for node in ast.walk(tree_of(ROOT / _NOMENCLATURE)):
        match node:
            case ast.AnnAssign(target=ast.Name(id="_REASONS"), value=ast.Dict(values=reasons)):
                for reason in reasons:
                    match reason:
                        case ast.Lambda(body=body):
                            yield from _texts(body, {})
                        case ast.Name(id="_unknown"):
                            yield f"{VARIES} is no grouping code of optics"
                        case _:
                            raise AssertionError(ast.dump(reason))
            case _:
                pass


def _classes(tree: ast.Module) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def _imported(tree: ast.Module, trees: dict[Path, ast.Module]) -> dict[str, ast.ClassDef]:
    """Return the classes that a module of ours imports from others of ours."""
    found: dict[str, ast.ClassDef] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("node."):
            path = ROOT / (node.module.replace(".", "/") + ".py")
            if path in trees:
                names = {alias.name for alias in node.names}
                there = _classes(trees[path])
                found |= {name: there[name] for name in names & there.keys()}
    return found


def _errors(defined: list[ast.ClassDef]) -> set[str]:
    """Return the names of the classes that are errors of ours."""
    found = set(_ROOTS)
    while True:
        more = {node.name for node in defined if _inherits(node, found)}
        if more <= found:
            return found
        found |= more


def _is_error(name: str, errors: set[str], classes: dict[str, ast.ClassDef]) -> bool:
    """Return whether this is an error of ours, and no other class of the same name."""
    made = classes.get(name)
    return name in errors and (made is None or name in _ROOTS or _inherits(made, errors))


def _inherits(node: ast.ClassDef, names: set[str]) -> bool:
    return any(isinstance(base, ast.Name) and base.id in names for base in node.bases)


def _said(
    tree: ast.Module, errors: set[str], classes: dict[str, ast.ClassDef]
) -> Iterator[tuple[int, str]]:
    for scope in _scopes(tree):
        inside = [*_within(scope)]
        values = _assigned(inside) | _given(scope, tree)
        for node in inside:
            match node:
                case ast.Call(func=ast.Name(id=name)) if _is_error(name, errors, classes):
                    for text in _of_call(node, name, values, classes):
                        yield node.lineno, _without_place(" ".join(text.split()))
                case ast.Call(func=ast.Name(id="_fail"), args=[text, *_]):  # at the very end
                    for each in _texts(text, values):
                        yield node.lineno, _without_place(each)
                case ast.Raise(exc=ast.Name(id=name)) if _is_error(name, errors, classes):
                    for text in _of_call(ast.Call(ast.Name(name), [], []), name, values, classes):
                        yield node.lineno, _without_place(" ".join(text.split()))
                case _:
                    pass


def _of_call(
    node: ast.Call,
    name: str,
    values: dict[str, list[ast.expr]],
    classes: dict[str, ast.ClassDef],
) -> list[str]:
    """Return what the message may be where a call makes an error of this name."""
    made = classes.get(name)
    own = made and next(
        (each for each in made.body if getattr(each, "name", "") == "__init__"), None
    )
    if name in _ROOTS or name in _SECOND or made is None:
        place = 1 if name in _SECOND else 0
        return _texts(node.args[place], values) if len(node.args) > place else []
    if not isinstance(own, ast.FunctionDef):
        base = next((base.id for base in made.bases if isinstance(base, ast.Name)), "")
        return _of_call(node, base, values, classes)
    # The class says it by itself: with what it is given in the place of its parameters.
    given = {
        parameter.arg: [ast.Constant(value=text) for text in _texts(argument, values)]
        for parameter, argument in zip(own.args.args[1:], node.args, strict=False)
    }
    base = next((base.id for base in made.bases if isinstance(base, ast.Name)), "")
    return [
        text
        for each in ast.walk(own)
        if isinstance(each, ast.Call)
        and isinstance(each.func, ast.Attribute)
        and each.func.attr == "__init__"
        for text in _of_call(each, base, {**_assigned([*_within(own)]), **given}, classes)  # type: ignore[dict-item]
    ]


def _given(scope: ast.AST, tree: ast.Module) -> dict[str, list[ast.expr]]:
    """Return what the calls in a module give for each parameter of one of its functions."""
    if not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
        return {}
    names = [each.arg for each in scope.args.args]
    found: dict[str, list[ast.expr]] = {}
    for node, is_method in _calls(tree).get(scope.name, ()):
        if is_method and names[:1] != ["self"]:
            continue
        for parameter, value in zip(names[1:] if is_method else names, node.args, strict=False):
            found.setdefault(parameter, []).append(value)
        for keyword in node.keywords:
            if keyword.arg is not None:
                found.setdefault(keyword.arg, []).append(keyword.value)
    return found


@cache
def _calls(tree: ast.Module) -> dict[str, list[tuple[ast.Call, bool]]]:
    """Return the calls in a module by the name that is called, and whether that is a method."""
    found: dict[str, list[tuple[ast.Call, bool]]] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)):
                found.setdefault(name, []).append((node, False))
            case ast.Call(func=ast.Attribute(attr=name)):
                found.setdefault(name, []).append((node, True))
            case _:
                pass
    return found


def _scopes(tree: ast.Module) -> Iterator[ast.AST]:
    yield tree
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node


def _within(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield what stands in a scope, and not in a function inside it."""
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        yield node
        yield from _within(node)


def _assigned(inside: list[ast.AST]) -> dict[str, list[ast.expr]]:
    """Return what is assigned to each name among the nodes of a scope."""
    found: dict[str, list[ast.expr]] = {}
    for node in inside:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found.setdefault(name, []).append(value)
            case ast.For(target=ast.Tuple(elts=names), iter=ast.Tuple(elts=rows)):
                for row in rows:
                    for name_, value in zip(names, getattr(row, "elts", ()), strict=False):
                        if isinstance(name_, ast.Name):
                            found.setdefault(name_.id, []).append(value)
            case _:
                pass
    return found


def _texts(node: ast.expr, values: dict[str, list[ast.expr]]) -> list[str]:
    """Return every text that an expression may be, `…` for what varies."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            # Only a name at the end is followed, where reasons stand: lists stay readable.
            last = len(parts) - 1 if parts and _is_name(parts[-1]) else -1
            found = [""]
            for number, part in enumerate(parts):
                inner = [VARIES]
                if isinstance(part, ast.Constant):
                    inner = [str(part.value)]
                elif number == last and isinstance(part, ast.FormattedValue):
                    inner = _texts(part.value, values)
                found = [a + b for a in found for b in inner]
            return found
        case ast.IfExp(body=body, orelse=other):
            return [*_texts(body, values), *_texts(other, values)]
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return [a + b for a in _texts(left, values) for b in _texts(right, values)]
        case ast.Name(id=name) if name in values:
            return [text for value in values[name] for text in _texts(value, {})]
        case _:
            return [VARIES]


def _is_name(part: ast.expr) -> bool:
    return isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name | ast.IfExp)


def _without_place(text: str) -> str:
    found = _PLACE.match(text)
    return text if found is None else text[found.end() :]
