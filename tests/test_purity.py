"""The rings that decide what is valid compute alike everywhere: what their syntax must not hold.

`scripts/determinism` tries the same from the outside, by executing chains under many conditions.
"""

import ast

import pytest

from tests.house import PURE_FILES, relative, told, tree_of
from tests.purity import RULES, findings

# (file, function, rule) -> why it is no fault, or the bound that is asked for.
EXCEPTIONS = {
    ("consensus/core.py", "Core.handle", "loop"): (
        "a rule that does something moves the round's step on, and there are few; tests count them"
    ),
    ("consensus/core.py", "Core.wants", "recursion"): "asks the book, which is of another file",
    ("consensus/justify.py", "Context.leader", "recursion"): "asks the turns, of another file",
    ("contracts/dispatch.py", "Code.apply", "recursion"): "asks a contract, of another file",
    ("contracts/eras.py", "at", "loop"): "halves what is left: the logarithm of the eras",
    ("contracts/sd_jwt.py", "Disclosure.digest", "recursion"): "the digest of a hash, not its own",
    ("contracts/state.py", "Overlay.scan", "recursion"): (
        "asks the state beneath, which is a store: overlays are one deep"
    ),
    ("contracts/strict_json.py", "parse", "catch"): (
        "what is nested so deep has no form that a reader of ours takes, wherever it is cut"
    ),
    ("ledger/checkpoint.py", "is_name", "letters"): (
        "names in checkpoints are their witnesses' own; no block depends on one"
    ),
    ("ledger/checkpoint.py", "parse_number", "letters"): "asked of what is ASCII alone",
    ("ledger/encoding.py", "decode", "catch"): (
        "our types are a few levels deep: what is nested deeper is refused in any case"
    ),
    ("ledger/encoding.py", "_name", "letters"): "our own types' names, for an error's text",
    ("ledger/heads.py", "Heads.items", "loop"): "each node of the tree once",
    ("ledger/heads.py", "Heads._walk", "loop"): "one step a bit of a member's id: 128",
    ("ledger/heads.py", "_put", "recursion"): "one call a bit of a member's id: 128",
    ("ledger/history.py", "Standing.head", "recursion"): "asks the proof, which is of another file",
    ("ledger/history.py", "History.verify", "recursion"): "of its proofs, not of itself",
    ("ledger/keys.py", "P256SigningKey.sign", "recursion"): "the library's key, not itself",
    ("ledger/log_proof.py", "LogProof.verify", "recursion"): "of the witnesses, not of itself",
    ("ledger/merkle.py", "Frontier.append", "loop"): "one step a level: 63 at most",
    ("ledger/merkle.py", "inclusion_proof", "loop"): "halves what is left: 63 levels at most",
    ("ledger/merkle.py", "consistency_proof", "loop"): "halves what is left: 63 levels at most",
    ("ledger/merkle.py", "included_root", "loop"): "one step a level: 63 at most",
    ("ledger/merkle.py", "verify_consistency", "loop"): "one step a level: 63 at most",
    ("ledger/merkle.py", "_range_root", "loop"): "one peak a bit of a size: 63 at most",
    ("ledger/plain.py", "plain", "recursion"): "as deep as our own types, four levels",
    ("ledger/plain.py", "_arrays", "recursion"): "as deep as our own types, four levels",
    ("ledger/plain.py", "load_json", "catch"): (
        "a file of an operator, no block: what is nested so deep has no form that is taken"
    ),
    ("ledger/split_view.py", "SplitView.verify", "recursion"): "of its two parts, not of itself",
    ("ledger/tiles.py", "Tile.path", "loop"): "three digits of a number a step: seven at most",
    ("ledger/transaction.py", "Transaction.__hash__", "world"): "from its id, alike everywhere",
}


def test_the_pure_rings_compute_alike_everywhere() -> None:
    found = [
        f"{relative(path)}:{each.line}: {each.where}: {each.rule}: {each.what}"
        for path in PURE_FILES
        for each in findings(tree_of(path))
        if (relative(path), each.where, each.rule) not in EXCEPTIONS
    ]
    assert not found, told([*found, "mend it, or say its bound or why it is no fault: EXCEPTIONS"])


def test_an_exception_has_a_reason_and_excuses_something() -> None:
    needed = {
        (relative(path), each.where, each.rule)
        for path in PURE_FILES
        for each in findings(tree_of(path))
    }
    assert set(EXCEPTIONS) <= needed
    assert all(len(reason.split()) >= 5 for reason in EXCEPTIONS.values())


BAD = {
    "float": [
        "x = 1.5",
        "x = 2j",
        "x = a / b",
        "x /= 2",
        "x = float(a)",
        "x = list(map(float, a))",
        "x = 2 ** -n",
    ],
    "world": [
        "import time",
        "import random",
        "from datetime import datetime",
        "import os.path",
        "def f():\n    import secrets",
        "import decimal",
        "x = hash(a)",
        "x = id(a)",
        "x = sorted(a, key=id)",
        "open('a')",
        "x = datetime.now()",
        "x = os.environ['A']",
        "x = eval('1')",
        "def f():\n    global x\n    x = 1",
        "class A:\n    def __hash__(self): return 1",
        "class A:\n    def __del__(self): pass",
    ],
    "letters": [
        "x = text.isdigit()",
        "x = text.casefold()",
        "x = found.text.upper()",
        "x = re.compile(r'\\d+')",
        "x = re.fullmatch(pattern, text)",
    ],
    "order": [
        "for x in {1, 2}: pass",
        "seen = set()\nfor x in seen: pass",
        "seen: set[int] = g()\nfor x in seen: pass",
        "def f(self):\n    self.seen: set[int] = g()\n    return list(self.seen)",
        "def f(a: frozenset[int]): return tuple(a)",
        "def f(a: 'set[int]'): return [x for x in a]",
        "def f() -> set[int]: ...\nfor x in f(): pass",
        "class A:\n    @property\n    def all(self) -> set[int]: ...\nx = list(a.all)",
        "a = {1}\nb = [x for x in a | c]",
        "a = {1}\nb = {x: 0 for x in a}",
        "a = {1}\nb = a\nc = tuple(b)",
        "a = {1}\nf(*a)",
        "a = {1}\nb = tuple(x for x in a)",
        "for x in a.keys() - b.keys(): pass",
        "for x in {1}.union(b): pass",
        "a = {1}\nx = a.pop()",
        "a = {1}\nx = next(iter(a))",
        "a = {1}\nx = ','.join(a)",
        "a = {1}\nx = f'{a}'",
        "a = {1}\nx, y = a",
        "a = {1}\nx = sorted(a, key=len)",
        "a = {1}\nx = max(a, key=len)",
        "a = {1}\nx = encode(a)",
        "a = {1}\ndef f(): yield from a",
        "a = {1}\nx = dict.fromkeys(a)",
        "a: dict[int, set[int]] = {}\nfor x in a[1]: pass",
        "for x in (y := {1}): pass",
        "for x in {1} if a else []: pass",
        "class A(Struct):\n    a: frozenset[int]",
        "class A(Struct):\n    a: Annotated[set[int] | None, 1]",
    ],
    "recursion": [
        "def f(n): return f(n - 1)",
        "def f(n): return g(n)\ndef g(n): return f(n)",
        "def f(n): return list(map(f, n))",
        "class A:\n    def f(self): return self.f()",
        "class A:\n    def f(self): return self.g()\n    def g(self): return self.f()",
        "class A:\n    def f(self, other: 'A'): return other.f()",
        "class A:\n    def f(self):\n        for each in self.children: each.f()",
        "class A:\n    @property\n    def f(self): return self.f",
        "class A:\n    def __init__(self): self.child = A()",
        "class A:\n    def f(self): self.g()\nclass B(A):\n    def g(self): self.f()",
        "def f():\n    def g(): g()\n    g()",
    ],
    "loop": [
        "while True: pass",
        "while x: pass",
        "for x in itertools.count(): pass",
        "for x in cycle(a): pass",
        "for x in iter(f, None): pass",
    ],
    "scan": [
        "def f(state): return state.scan(b'a')",
        "def f(state): return state.scan(b'a', 1 << n)",
        "def f(state): return state.scan(b'a', count(state))",
        "def f(state): return state.scan(b'a', limit=found)",
        "def f(state):\n    n = g()\n    return state.scan(b'a', n)",
    ],
    "assert": [
        "assert a.pop()",
        "assert (x := 1)",
        "assert state.put(a, b) is None",
        "if __debug__: x = 1",
    ],
    "catch": [
        "try: f()\nexcept RecursionError: pass",
        "try: f()\nexcept (ValueError, MemoryError): pass",
        "try: f()\nexcept Exception: pass",
        "try: f()\nexcept: pass",
    ],
}
GOOD = [
    "x = a // b",
    "x = 2 ** n",
    "import hashlib",
    "from ledger.encoding import encode",
    "x = self.hash(a)",
    "x = Algorithm.ED25519.name.lower()",
    "x = re.compile(r'[0-9]+')",
    "x = re.compile(r'\\d+', re.ASCII)",
    "a = {1}\nfor x in sorted(a): pass",
    "a = {1}\nb = any(x > 1 for x in a)",
    "a = {1}\nb = {x for x in a}",
    "a = {1}\nb = sorted(map(str, a))",
    "a = {1}\nb = x in a",
    "a = {1}\na.pop(1)",
    "a = [1]\nfor x in a: pass",
    "for x in {1: 2}: pass",
    "def f(n): return g(n)\ndef g(n): return n",
    "class A:\n    def get(self, key): return self.pairs.get(key)",
    "class A:\n    def f(self): return super().f()",
    "class A:\n    def f(self, other: B): return other.f()",
    "def f(g): return g()\ndef g(): return f(1)",
    "for x in repeat(a, 3): pass",
    "x = text.count('a')",
    "def f(state, limit): return state.scan(b'a', limit + 1)",
    "def f(state): return state.scan(b'a', MAX_KEYS)",
    "def f(state, old): return state.scan(b'a', 2 + len(old))",
    "def f(context): return context.state.scan(b'a', context.parameters.max_removals)",
    "assert len(a) == len(b)",
    "try: f()\nexcept ValueError: pass",
]


def test_every_rule_is_tried() -> None:
    assert set(BAD) == set(RULES)


@pytest.mark.parametrize(
    ("rule", "code"), [(rule, code) for rule, codes in BAD.items() for code in codes]
)
def test_what_may_not_be_is_found(rule: str, code: str) -> None:
    assert rule in {each.rule for each in findings(ast.parse(code))}


@pytest.mark.parametrize("code", GOOD)
def test_what_computes_alike_is_left_alone(code: str) -> None:
    assert findings(ast.parse(code)) == []


def test_a_violation_in_a_real_file_is_told_by_file_line_and_function() -> None:
    path = next(path for path in PURE_FILES if relative(path) == "contracts/seen.py")
    tree = ast.parse(
        path.read_text(encoding="utf-8") + "\n\ndef f(x: set[int]):\n    return list(x)\n"
    )
    (found,) = findings(tree)
    assert (found.where, found.rule) == ("f", "order")
    assert found.line > 60
