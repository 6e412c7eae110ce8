"""What the pure rings may not do, found in their syntax: a rule each, told by line and function.

A local analysis: it knows what a file says of itself, names, annotations, calls. It errs on the
side of finding too much; what is no fault stands in a table with its reason (test_purity.py).
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Walk: TypeAlias = ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp


@dataclass(frozen=True, order=True)
class Finding:
    """One place that breaks a rule."""

    line: int
    where: str  # Class.function, or "" for the module
    rule: str
    what: str


Rule: TypeAlias = Callable[[ast.Module], Iterator[tuple[ast.AST, str]]]


def findings(tree: ast.Module) -> list[Finding]:
    """Return all that a file does and may not."""
    where = enclosing(tree)
    return sorted(
        Finding(line_of(node), where.get(node, ""), rule, what)
        for rule, look in RULES.items()
        for node, what in look(tree)
    )


def line_of(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 0))


def enclosing(tree: ast.Module) -> dict[ast.AST, str]:
    """Return node -> the name of the function or class that it stands in, itself included."""
    found: dict[ast.AST, str] = {}

    def visit(node: ast.AST, name: str) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{name}.{node.name}" if name else node.name
        found[node] = name
        for child in ast.iter_child_nodes(node):
            visit(child, name)

    visit(tree, "")
    return found


def name_of(node: ast.AST | None) -> str:
    """Return the last part of a name: `book` for `book`, for `self.book` and for `book[int]`."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return node.attr
        case ast.Subscript():
            return name_of(node.value)
        case ast.Constant(value=str() as text):  # an annotation in quotes
            return text.partition("[")[0].rpartition(".")[2]
        case _:
            return ""


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


# --- numbers --------------------------------------------------------------------------------------


def floats(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield what makes a number that other machines may round differently."""
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=float() | complex()):
                yield node, "floats round differently"
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                yield node, "`/` makes a float: `//`"
            case ast.BinOp(op=ast.Pow(), right=ast.UnaryOp(op=ast.USub())):
                yield node, "a negative power makes a float"
            case ast.Name(id="float" | "complex", ctx=ast.Load()):
                yield node, "floats round differently"
            case _:
                pass


# --- the world ------------------------------------------------------------------------------------

IMPORTS = {  # all that the pure rings may import from outside; each computes, and asks nobody
    "abc",
    "base64",
    "binascii",
    "bisect",
    "collections",
    "contextlib",
    "cryptography",
    "dataclasses",
    "enum",
    "functools",
    "google_crc32c",
    "hashlib",
    "hmac",
    "itertools",
    "json",
    "msgspec",
    "nacl",
    "operator",
    "re",
    "struct",
    "types",
    "typing",
    "zlib",  # whose output may differ: nothing depends on more than what it inflates to
    "consensus",
    "contracts",
    "ledger",
}
WORLD = {
    "breakpoint": "stops",
    "compile": "makes code of text",
    "delattr": "changes what others see",
    "dir": "differs from version to version",
    "eval": "runs text",
    "exec": "runs text",
    "globals": "sees what is no argument",
    "hash": "differs from process to process",
    "id": "differs from process to process",
    "input": "asks the world",
    "locals": "differs from version to version",
    "open": "opens a file",
    "print": "writes to the world",
    "__import__": "loads what it likes",
}
SENSES = {
    "environ": "what stands in the environment",
    "getenv": "what stands in the environment",
    "getrandbits": "chance",
    "now": "the clock",
    "perf_counter": "the clock",
    "monotonic": "the clock",
    "randint": "chance",
    "time_ns": "the clock",
    "today": "the clock",
    "token_bytes": "chance",
    "token_hex": "chance",
    "urandom": "chance",
    "utcnow": "the clock",
    "uuid4": "chance",
}


def world(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield what asks the world: the clock, chance, the environment, a process' own addresses."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                modules = [alias.name for alias in node.names]
            case ast.ImportFrom():
                modules = [node.module or ""]
            case ast.Name(id=name, ctx=ast.Load()) if name in WORLD:
                yield node, f"{name}: {WORLD[name]}"
                continue
            case ast.Attribute(attr=name, ctx=ast.Load()) if name in SENSES:
                yield node, f"{name}: {SENSES[name]}"
                continue
            case ast.Global() | ast.Nonlocal():
                yield node, "what a call leaves behind is read by the next one"
                continue
            case ast.FunctionDef(name="__hash__" | "__del__"):
                yield node, f"{node.name} runs when it likes"
                continue
            case _:
                continue
        for module in modules:
            if module.partition(".")[0] not in IMPORTS:
                yield node, f"{module} may ask the world"


UNICODE = {
    "capitalize",
    "casefold",
    "isalnum",
    "isalpha",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "lower",
    "swapcase",
    "title",
    "upper",
}


def letters(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield what asks a table of Unicode, whose version is that of the Python."""
    for call in calls(tree):
        match call.func:
            case ast.Attribute(value=receiver, attr=name) if name in UNICODE:
                if name_of(receiver) not in {"name", "__name__"}:  # those are our own words
                    yield call, f".{name}() asks a table that other Pythons have otherwise"
            case ast.Attribute(value=ast.Name(id="re"), attr="compile" | "fullmatch" | "match"):
                if "ASCII" not in ast.unparse(call) and _has_classes(call):
                    yield call, "classes of letters and digits need re.ASCII"
            case _:
                pass


def _has_classes(call: ast.Call) -> bool:
    match call.args:
        case [ast.Constant(value=str() as pattern), *_]:
            return any(each in pattern for each in (r"\d", r"\w", r"\s", r"\b"))
        case _:
            return True


# --- order ----------------------------------------------------------------------------------------

ORDER_IS_LOST = {"all", "any", "bool", "frozenset", "len", "max", "min", "set", "sorted", "sum"}
ORDER_IS_KEPT = {
    "enumerate",
    "chain",
    "deque",
    "dict",
    "encode",
    "filter",
    "from_iterable",
    "fromkeys",
    "islice",
    "iter",
    "join",
    "list",
    "map",
    "next",
    "repr",
    "reversed",
    "str",
    "tuple",
    "zip",
}
SETS = {"set", "frozenset", "AbstractSet", "Set", "MutableSet", "KeysView", "ItemsView"}
VIEWS = {"keys", "items"}
OF_SETS = {"union", "intersection", "difference", "symmetric_difference"}
OPERATORS = ast.BitOr | ast.BitAnd | ast.Sub | ast.BitXor


class Sets:
    """What in a file is a set, by what the file says."""

    def __init__(self, tree: ast.Module) -> None:
        self._names: set[str] = set()
        self._makers = {  # functions and properties that return one
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and name_of(node.returns) in SETS
        }
        before = -1
        while before < len(self._names):  # what is given from name to name
            before = len(self._names)
            self._gather(tree)

    def _gather(self, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            match node:
                case ast.AnnAssign() if name_of(node.annotation) in SETS:
                    self._names.add(name_of(node.target))
                case ast.AnnAssign(annotation=ast.Subscript()) if self.holds_sets(node.annotation):
                    self._names.add(name_of(node.target) + "[]")
                case ast.arg() if name_of(node.annotation) in SETS:
                    self._names.add(node.arg)
                case ast.Assign() if self.is_set(node.value):
                    self._names.update(filter(None, map(name_of, node.targets)))
                case ast.AnnAssign(value=ast.expr() as value) if self.is_set(value):
                    self._names.add(name_of(node.target))
                case ast.NamedExpr() if self.is_set(node.value):
                    self._names.add(name_of(node.target))
                case _:
                    pass

    @staticmethod
    def holds_sets(annotation: ast.expr) -> bool:
        """Return whether the values of such a dict, or items of such a list, are sets."""
        match annotation:
            case ast.Subscript(slice=ast.Tuple(elts=[*_, last])):
                return name_of(last) in SETS
            case ast.Subscript(slice=inner):
                return name_of(inner) in SETS
            case _:
                return False

    def is_set(self, node: ast.AST | None) -> bool:
        """Return whether an expression is a set."""
        match node:
            case ast.Set() | ast.SetComp():
                return True
            case ast.Call(func=func):
                name = name_of(func)
                if name in {"set", "frozenset"} or name in self._makers:
                    return True
                return (
                    name in OF_SETS and isinstance(func, ast.Attribute) and self.is_set(func.value)
                )
            case ast.Name() | ast.Attribute():
                name = name_of(node)
                return name in self._names or (
                    isinstance(node, ast.Attribute) and name in self._makers
                )
            case ast.Subscript():
                return name_of(node.value) + "[]" in self._names
            case ast.BinOp(left=left, op=op, right=right) if isinstance(op, OPERATORS):
                return any(self.is_set(each) or _is_view(each) for each in (left, right))
            case ast.IfExp(body=body, orelse=other):
                return self.is_set(body) or self.is_set(other)
            case ast.NamedExpr(value=value):
                return self.is_set(value)
            case _:
                return False


def _is_view(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and not node.args and name_of(node.func) in VIEWS


def order(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield where the order of a set can show."""
    sets = Sets(tree)
    blind = {  # what is drawn from it is put in order, or counted, all the same
        argument
        for call in calls(tree)
        if name_of(call.func) in ORDER_IS_LOST and not call.keywords
        for argument in call.args
    }
    for node in ast.walk(tree):
        match node:
            case ast.For() | ast.AsyncFor() if sets.is_set(node.iter):
                yield node, "a set has no order to walk in: sort it"
            case ast.ListComp() | ast.GeneratorExp() | ast.DictComp() if node not in blind:
                if any(sets.is_set(each.iter) for each in node.generators):
                    yield node, "a set has no order to walk in: sort it"
            case ast.Call() if node not in blind:
                yield from ((node, what) for what in _given_a_set(node, sets))
            case ast.Starred(value=value) | ast.YieldFrom(value=value) if sets.is_set(value):
                yield node, "a set has no order to unpack in: sort it"
            case ast.Assign(targets=[ast.Tuple() | ast.List()], value=value):
                if sets.is_set(value):
                    yield node, "a set has no order to unpack in: sort it"
            case ast.FormattedValue(value=value) if sets.is_set(value):
                yield node, "a set has no order to be said in: sort it"
            case ast.ClassDef() if any(name_of(base) == "Struct" for base in node.bases):
                for field in node.body:
                    if isinstance(field, ast.AnnAssign) and _mentions_set(field.annotation):
                        yield field, "a set has no order to be encoded in"
            case _:
                pass


def _mentions_set(annotation: ast.expr) -> bool:
    return any(name_of(node) in SETS for node in ast.walk(annotation))


def _given_a_set(call: ast.Call, sets: Sets) -> Iterator[str]:
    name, given = name_of(call.func), [each for each in call.args if sets.is_set(each)]
    if given and name in ORDER_IS_KEPT:
        yield f"{name}() takes over an order, and a set has none: sort it"
    if given and call.keywords and name in {"sorted", "min", "max"}:
        yield "equal keys stay in the order of the set"
    match call.func:
        case ast.Attribute(value=value, attr="pop") if sets.is_set(value) and not call.args:
            yield "pop() takes whichever comes first"
        case _:
            pass


# --- bounds ---------------------------------------------------------------------------------------


def recursion(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield the functions that may come to call themselves."""
    graph = call_graph(tree)
    for function in graph:
        if function in _reach(graph, function):
            yield function, "calls itself: how deep?"


def call_graph(tree: ast.Module) -> dict[Function, set[Function]]:
    """Return function -> those of this file that it may call."""
    names = _Names(tree)
    return {function: set(names.called_by(function)) for function in names.owners}


BUILT_IN = {name for each in (bytes, dict, int, list, set, str, tuple) for name in dir(each)}


class _Names:
    """What the names of a file stand for."""

    def __init__(self, tree: ast.Module) -> None:
        self.owners: dict[Function, ast.ClassDef | None] = {}
        self._functions: dict[str, list[Function]] = {}
        self._methods: dict[str, list[tuple[str, Function]]] = {}  # with their class
        self._bases: dict[str, set[str]] = {}
        self._modules: set[str] = set()
        self._gather(tree, None)
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._modules |= {(each.asname or each.name).split(".")[0] for each in node.names}

    def _gather(self, node: ast.AST, owner: ast.ClassDef | None) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                self.owners[child] = owner
                if owner is None:
                    self._functions.setdefault(child.name, []).append(child)
                else:
                    self._methods.setdefault(child.name, []).append((owner.name, child))
                    if child.name in {"__init__", "__post_init__"}:
                        self._functions.setdefault(owner.name, []).append(child)
                self._gather(child, owner)
            elif isinstance(child, ast.ClassDef):
                self._bases[child.name] = set(map(name_of, child.bases))
                self._gather(child, child)
            else:
                self._gather(child, owner)

    def called_by(self, function: Function) -> Iterator[Function]:
        """Yield what a function may call.

        `self.name` is a method of its class, or of one that it is made of or that is made of it.
        What is annotated with a class has the methods of that class. Of all else a call of `.name`
        may be that of any method of that name here, unless built-in types have one too.
        """
        types = _annotated(function)
        own = self.owners[function]
        bound = set(_bound(function))
        called = {id(call.func) for call in calls(function)}
        for node in ast.walk(function):
            match node:
                case ast.Name(id=name, ctx=ast.Load()) if name not in bound:
                    yield from self._functions.get(name, ())
                case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name) if own is not None:
                    yield from self._of(own.name, name)
                case ast.Attribute(value=ast.Name(id=receiver), attr=name) if receiver in types:
                    yield from self._of(types[receiver], name)
                case ast.Attribute(value=ast.Name(id=receiver)) if receiver in self._modules:
                    pass
                case ast.Attribute(value=ast.Call(func=ast.Name(id="super"))):
                    pass  # of another class, which knows nothing of this one
                case ast.Attribute(attr=name) if id(node) in called and name not in BUILT_IN:
                    yield from (method for _, method in self._methods.get(name, ()))
                case _:
                    pass

    def _of(self, class_: str, name: str) -> Iterator[Function]:
        for owner, method in self._methods.get(name, ()):
            if owner == class_ or self._is_kin(owner, class_) or self._is_kin(class_, owner):
                yield method

    def _is_kin(self, class_: str, base: str) -> bool:
        return base in self._bases.get(class_, ())


def _annotated(function: Function) -> dict[str, str]:
    """Return the names in a function that are annotated -> the first name of the annotation."""
    found: dict[str, str] = {}
    for node in ast.walk(function):
        match node:
            case ast.arg(arg=name, annotation=ast.expr() as annotation) if name != "self":
                found[name] = name_of(annotation)
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                found[name] = name_of(annotation)
            case _:
                pass
    return found


def _bound(function: Function) -> Iterator[str]:
    """Yield the names that are a function's own: its parameters, and what it gives a value."""
    for node in ast.walk(function):
        match node:
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                yield name
            case _:
                pass


def _reach(graph: dict[Function, set[Function]], start: Function) -> set[Function]:
    """Return all that `start` may come to call."""
    found: set[Function] = set()
    waiting = [start]
    while waiting:
        for each in graph[waiting.pop()] - found:
            found.add(each)
            waiting.append(each)
    return found


ENDLESS = {"count", "cycle", "repeat"}


def loops(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield every `while`, and every walk that has no end of its own."""
    for node in ast.walk(tree):
        match node:
            case ast.While():
                yield node, "`while`: how often?"
            case ast.Call(func=ast.Name() | ast.Attribute() as func) if (
                name_of(func) in ENDLESS and len(node.args) < 2
            ):
                if isinstance(func, ast.Name) or name_of(func.value) == "itertools":
                    yield node, f"{name_of(func)}() has no end"
            case ast.Call(func=ast.Name(id="iter"), args=[_, _]):
                yield node, "iter() until a value comes: how often?"
            case _:
                pass


def scans(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield every scan of the state whose limit is no constant and no parameter."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        arguments = function.args
        parameters = {
            each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
        }
        for call in calls(function):
            if not (isinstance(call.func, ast.Attribute) and call.func.attr == "scan"):
                continue
            limits = call.args[1:2] + [each.value for each in call.keywords if each.arg == "limit"]
            if not limits or not _is_limit(limits[0], parameters):
                yield call, "scan() needs a limit that is a constant or a parameter"


def _is_limit(node: ast.expr, parameters: set[str]) -> bool:
    match node:
        case ast.Constant(value=int()):
            return True
        case ast.Name(id=name):
            return name in parameters or name.isupper()
        case ast.Attribute(attr=name):
            return name.isupper() or name.startswith(("max_", "MAX_"))
        case ast.Call(func=ast.Name(id="len")):
            return True  # of what is in memory already
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult(), right=right):
            return _is_limit(left, parameters) and _is_limit(right, parameters)
        case _:
            return False


# --- what vanishes --------------------------------------------------------------------------------

CHANGES = {"add", "append", "clear", "delete", "extend", "next", "pop", "put", "remove", "update"}
DEPTHS = {"MemoryError", "RecursionError", "BaseException", "Exception"}


def asserts(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield every assert that does something, which it would not under -O."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            for inner in ast.walk(node):
                if isinstance(inner, ast.NamedExpr) or (
                    isinstance(inner, ast.Call) and name_of(inner.func) in CHANGES
                ):
                    yield node, "under -O this is not done"
        elif isinstance(node, ast.Name) and node.id == "__debug__":
            yield node, "another rule under -O"


def catches(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield where a rule would go on after what happens on one machine and not on another."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            for each in caught:
                if each is None or name_of(each) in DEPTHS:
                    yield node, "memory and depth end where the machine says"


RULES: dict[str, Rule] = {
    "float": floats,
    "world": world,
    "letters": letters,
    "order": order,
    "recursion": recursion,
    "loop": loops,
    "scan": scans,
    "assert": asserts,
    "catch": catches,
}
