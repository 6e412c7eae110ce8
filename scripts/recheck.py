#!/usr/bin/env python3
"""The second opinion: verify a chain, receipt, proof, evidence or snapshot by docs/format.md alone.

It imports none of the node's code and none of the libraries by which the node judges, so that a
fault shared by node and auditor still shows. It does not execute calls: outcomes are taken as the
quorum signed them, and the state digest is checked at genesis and of snapshots only.

    recheck.py chain EXPORT --genesis GENESIS.json [--header HEX] [--json] [--jobs N]
    recheck.py receipt RECEIPT.json|TEXT --genesis GENESIS.json [--changes FILE] [--json]
    recheck.py proof PROOF.json --genesis GENESIS.json [--json]
    recheck.py checkpoint NOTE --decided DECIDED.json --genesis GENESIS.json [--json]
    recheck.py evidence EVIDENCE.json --genesis GENESIS.json [--json]
    recheck.py snapshot FOLDER --genesis GENESIS.json [--json]

Exit 0: every fact checked is true. Exit 4: the first false fact is named. Needs msgpack and ecdsa.
"""

import argparse
import base64
import hashlib
import heapq
import json
import multiprocessing
import os
import re
import sys
import time
import zlib
from collections import deque, namedtuple
from itertools import pairwise

import msgpack
from ecdsa import NIST256p
from ecdsa.eddsa import curve_ed25519 as CURVE  # noqa: N812
from ecdsa.eddsa import generator_ed25519 as BASE  # noqa: N812
from ecdsa.ellipticcurve import INFINITY, PointEdwards, PointJacobi


class FalseFact(Exception):
    """What is not so: which field, what should be there, what is, and where."""

    def __init__(self, field, expected, found, where=""):
        super().__init__(field, expected, found, where)
        self.field, self.expected, self.found, self.where = field, expected, found, where

    @property
    def height(self):
        """The block that holds it, None where it is before the first."""
        words = self.where.replace(",", "").split()
        return int(words[1]) if words[:1] == ["block"] else None

    def within(self, place):
        """Return this fact, said to be within `place`."""
        self.where = f"{place}, {self.where}" if self.where else place
        return self


def need(field, expected, found):
    """Refuse unless two values are equal."""
    if expected != found:
        raise FalseFact(field, expected, found)


def shown(value):
    """Return a value as people read it: bytes in hexadecimal."""
    return value.hex() if isinstance(value, bytes) else value


# --- Encoding (format.md, section 2): shapes, and the one encoding of each value ------------------


def u(high, low=0):
    """An integer in [low, high]; true and false are none."""

    def parse(value, path):
        if type(value) is not int or not low <= value <= high:
            raise FalseFact(path, f"an integer from {low} to {high}", value)
        return value

    return parse


def b(low, high=None):
    """A byte string of `low` bytes, or of `low` to `high`."""

    def parse(value, path):
        if type(value) is not bytes or not low <= len(value) <= (high or low):
            raise FalseFact(path, f"{low} to {high or low} bytes", value)
        return value

    return parse


def flag(value, path):
    """True or false."""
    if type(value) is not bool:
        raise FalseFact(path, "true or false", value)
    return value


def maybe(kind):
    """Nil, or `kind`."""
    return lambda value, path: None if value is None else kind(value, path)


def seq(kind, low, high):
    """An array of `low` to `high` of `kind`."""

    def parse(value, path):
        if type(value) is not list or not low <= len(value) <= high:
            raise FalseFact(path, f"an array of {low} to {high}", value)
        return tuple(kind(item, f"{path}[{index}]") for index, item in enumerate(value))

    return parse


def struct(name, **fields):
    """An array of exactly these fields, in this order; in JSON, an object that has them all."""
    type_ = namedtuple(name, fields)

    def parse(value, path):
        if type(value) is dict and set(value) == set(fields):  # decode refuses maps, JSON has them
            value = [value[field] for field in fields]
        if type(value) is not list or len(value) != len(fields):
            raise FalseFact(path, f"the {len(fields)} fields of a {name}", value)
        items = zip(fields.items(), value, strict=True)
        return type_(*(kind(item, f"{path}.{field}") for (field, kind), item in items))

    parse.type = type_
    return parse


def one_of(kinds, name):
    """One of several structs, told apart by the tag that is their first field."""

    def parse(value, path):
        tag = value[0] if type(value) is list and value else None
        if type(tag) is not int or tag not in kinds:
            raise FalseFact(path, f"a kind of {name}", tag)
        return kinds[tag](value, path)

    return parse


def decode(data, kind, path):
    """Return the value of `kind` whose one encoding is `data`."""
    try:
        value = msgpack.unpackb(data, object_pairs_hook=list)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise FalseFact(path, "MessagePack", f"{type(error).__name__} {error}") from None
    parsed = kind(value, path)
    need(f"encoding of {path}", encode(parsed), data)
    return parsed


def encode(value):
    """Return the encoding of a value (a struct is a tuple, and so an array)."""
    return msgpack.packb(value)


def read_json(path):
    """Return what a JSON file says; objects have each name once, numbers are integers."""

    def refuse(text):
        raise FalseFact("JSON", "integers", text)

    def pairs(found):
        need("names in an object", len(dict(found)), len(found))
        return dict(found)

    try:
        with open(path, "rb") as file:
            text = file.read((64 << 20) + 1)
        value = json.loads(text, object_pairs_hook=pairs, parse_float=refuse, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise FalseFact("JSON", "a JSON document", str(error)) from None
    if type(value) is not dict:
        raise FalseFact("JSON", "an object", type(value).__name__)
    return value


def from_hex(value, path="hexadecimal"):
    """Return the bytes that lower-case hexadecimal digits stand for."""
    try:
        found = bytes.fromhex(value) if type(value) is str else None
    except ValueError:
        found = None
    if found is None or found.hex() != value:
        raise FalseFact(path, "lower-case hexadecimal digits", value)
    return found


def all_from_hex(value, depth=0):
    """Return JSON with every string taken for hexadecimal digits."""
    if depth > 32:
        raise FalseFact("JSON", "at most 32 values inside one another", depth)
    if type(value) is dict:
        return {name: all_from_hex(item, depth + 1) for name, item in value.items()}
    if type(value) is list:
        return [all_from_hex(item, depth + 1) for item in value]
    return from_hex(value) if type(value) is str else value


# --- Structures (format.md, sections 5 to 14) -----------------------------------------------------

U32, U63 = (1 << 32) - 1, (1 << 63) - 1
ZEROS = bytes(32)
EVERYONE = b"*" + bytes(15)
MAGIC = b"depoli/export/1\n"
KEPT_PROPOSAL = b"\x96\x01"  # begins a record that is no block: it proves nothing of the chain
MAX_RECORD = (16 << 20) - 1
VERSIONS = (1,)  # of the rules, that this program knows

seal = struct("seal", validator=u(99), signature=b(64))
certificate = struct(
    "certificate", height=u(U63, 1), round=u(U32), block_id=b(32), seals=seq(seal, 0, 100)
)
header = struct(
    "header",
    version=u(0xFFFF, 1), chain_id=b(32), height=u(U63), time=u(U63), parent=b(32),
    transactions_root=b(32), log_size=u(U63), log_root=b(32), heads_root=b(32),
    state_digest=b(32), validators_hash=b(32), next_validators_hash=b(32), proposer=b(16),
    built_round=u(U32), parent_commit_hash=b(32), evidence_root=b(32),
)  # fmt: skip
body = struct(
    "body",
    parent_commit=maybe(certificate),
    evidence=seq(b(1, 65_536), 0, 16),
    transactions=seq(b(1, 65_536), 0, 4096),
)
block = struct("block", header=header, body=body)
outcome = struct("outcome", code=u(0xFFFF), evidence=seq(u(U63), 0, 4))
committed_block = struct(
    "record", block=block, certificate=certificate, outcomes=seq(outcome, 0, MAX_RECORD)
)
wire = struct("transaction", unsigned=b(1, 65_536), signature=b(64))
unsigned = struct(
    "unsigned",
    version=u(1, 1), chain_id=b(32), sender=b(16), key_id=b(8), valid_until=u(U63), nonce=b(16),
    calls=seq(b(1, 16_384), 1, 256),
)  # fmt: skip
entry = struct(
    "entry",
    height=u(U63, 1), index=u(U32), time=u(U63), sender=b(16), transaction=b(32),
    position=u(255), call=b(1, 16_384), outcome=outcome,
)  # fmt: skip
validator = struct(
    "validator", member=b(16), consensus_key=b(32), checkpoint_key=b(32), node_key=b(32)
)
validator_set = struct("validator_set", members=seq(validator, 1, 100))

PARAMETERS = {
    "min_interval_ms": u(3_600_000),
    "base_timeout_ms": u(3_600_000, 100),
    "clock_precision_ms": u(3_600_000, 1),
    "message_delay_ms": u(3_600_000, 1),
    "max_block_bytes": u(4_194_304, 65_536),
    "max_block_transactions": u(4_096, 1),
    "max_block_calls": u(65_536, 256),
    "max_block_cost": u(1_048_576, 16_384),
    "max_expired_removals": u(65_536, 1),
    "dispute_window_s": u(315_360_000),
    "decision_due_s": u(315_360_000),
    "answer_due_s": u(315_360_000),
    "settlement_due_s": u(315_360_000),
    "authorisation_validity_s": u(315_360_000),
    "confirmation_due_s": u(315_360_000),
    "notice_blocks": u(1_048_576, 2),
    "snapshot_blocks": u(16_777_216),
    "retention_blocks": u(4_294_967_296),
    "least_free_mb": u(16_384),
}
parameters_ = struct("parameters", **PARAMETERS)

mark = struct("mark", part=u(1), mark=b(32))
validator_keys = struct("validator_keys", consensus=b(32), checkpoint=b(32), node=b(32))
voted = {"proposal": b(32)}
joining = struct("joining", number=u(50, 50), member=b(16), keys=validator_keys, **voted)
leaving = struct("leaving", number=u(51, 51), member=b(16), **voted)
replacing = struct(
    "replacing", number=u(52, 52), leaving=b(16), member=b(16), keys=validator_keys, **voted
)
rotating = struct("rotating", number=u(53, 53), member=b(16), keys=validator_keys)
ROLE = u(6, 1)
scope = u(15, 1)
possession = struct(
    "possession",
    height=u(U63), block_id=b(32), consensus=b(64), checkpoint=b(64), node=b(64),
)  # fmt: skip
new_key = struct("new_key", algorithm=u(2, 1), public=b(32, 33))
SUBJECTS = {
    1: struct(
        "admit_member",
        number=u(1, 1), family=u(5, 1), country=b(2), key=new_key, sealing=maybe(b(32)),
        certificate=maybe(b(32)),
    ),
    2: struct("suspend_member", number=u(2, 2), member=b(16)),
    3: struct("reinstate_member", number=u(3, 3), member=b(16)),
    4: struct("remove_member", number=u(4, 4), member=b(16)),
    5: struct("rekey_member", number=u(5, 5), member=b(16), key=new_key),
    6: struct("join_validators", number=u(6, 6), member=b(16)),
    7: struct("leave_validators", number=u(7, 7), member=b(16)),
    8: struct("replace_validator", number=u(8, 8), leaving=b(16), member=b(16)),
    9: struct("replace_table", number=u(9, 9), kind=u(4, 1), hash=b(32)),
    10: struct("set_parameters", number=u(10, 10), parameters=parameters_),
    11: struct("schedule_version", number=u(11, 11), version=u(0xFFFF, 1)),
}  # fmt: skip
CALLS = {
    10: struct("prescription_commit", commitment=b(32)),
    11: struct("prescription_supersede", commitment=b(32), successor=b(32)),
    12: struct("prescription_revoke", commitment=b(32)),
    20: struct("mark_lock", lock=b(32)),
    30: struct(
        "claim_submit",
        payer=b(16), leg=u(1), prescription=b(32), document=b(32), amount=b(32),
        marks=seq(mark, 1, 2), authorisation=maybe(b(32)), prior=maybe(b(32)),
    ),
    31: struct("claim_accept", claim=b(32), amount=maybe(b(32))),
    32: struct("claim_reject", claim=b(32), reason=u(15, 1), automatic=flag),
    33: struct("claim_cancel", claim=b(32)),
    41: struct("settlement_confirm", settlement=b(32)),
    50: struct("validator_join", change=joining, possession=possession),
    51: struct("validator_leave", change=leaving),
    52: struct("validator_replace", change=replacing, possession=possession),
    53: struct("validator_rotate", change=rotating, possession=possession),
    100: struct(
        "authorisation_request",
        payer=b(16), leg=u(1), prescription=b(32), document=b(32), amount=b(32),
        marks=seq(mark, 1, 2),
    ),
    101: struct("authorisation_ask", authorisation=b(32), question=b(32)),
    102: struct("authorisation_answer", authorisation=b(32), answer=b(32)),
    103: struct(
        "authorisation_grant", authorisation=b(32), amount=maybe(b(32)), valid_until=u(U63)
    ),
    104: struct("authorisation_refuse", authorisation=b(32), reason=u(15, 1), automatic=flag),
    105: struct("authorisation_cancel", authorisation=b(32)),
    106: struct("authorisation_review", authorisation=b(32)),
    130: struct("claim_abandon", claim=b(32)),
    131: struct("claim_reverse", claim=b(32)),
    132: struct("claim_recover", claim=b(32), reason=u(15, 1)),
    133: struct("claim_concede", claim=b(32)),
    134: struct("claim_dispute", claim=b(32), ground=u(5, 1)),
    135: struct("claim_uphold", claim=b(32)),
    136: struct("claim_overturn", claim=b(32), amount=maybe(b(32))),
    137: struct("claim_withdraw", claim=b(32)),
    138: struct("claim_close", claim=b(32)),
    139: struct("claim_supersede", claim=b(32), document=b(32)),
    170: struct("settlement_open", beneficiary=b(16), direction=u(1)),
    171: struct("settlement_add", settlement=b(32), claims=seq(b(32), 1, 256)),
    172: struct("settlement_remove", settlement=b(32), claims=seq(b(32), 1, 256)),
    173: struct("settlement_announce", settlement=b(32), sum=b(32), payment=maybe(b(32))),
    174: struct("settlement_dispute", settlement=b(32), ground=u(7, 1)),
    175: struct("settlement_insist", settlement=b(32)),
    176: struct("settlement_withdraw", settlement=b(32)),
    177: struct("settlement_cancel", settlement=b(32)),
    180: struct("disclosure_acknowledge", counterpart=b(16), commitment=b(32)),
    181: struct("erasure_request", recipient=b(16), commitment=b(32)),
    182: struct("erasure_statement", request=b(32), outcome=u(3, 1)),
    200: struct(
        "key_add",
        role=ROLE, algorithm=u(2, 1), public=b(32, 33), from_height=u(U63),
        until_height=maybe(u(U63)), possession=b(64),
    ),
    201: struct("key_revoke", key_id=b(8), height=u(U63)),
    202: struct(
        "key_rotate",
        key_id=b(8), role=ROLE, algorithm=u(2, 1), public=b(32, 33), height=u(U63),
        possession=b(64),
    ),
    203: struct("delegation_grant", delegate=b(16), scope=scope, until=u(U63)),
    204: struct("delegation_withdraw", delegate=b(16)),
    205: struct(
        "certificate_bind",
        key_id=b(8), certificate=b(32), public=b(33, 512), signature=b(64, 512),
    ),
    220: struct(
        "propose", subject=one_of(SUBJECTS, "subject"), deadline=u(U63), effect=u(U63, 1)
    ),
    221: struct("vote", proposal=b(32), agrees=flag),
    222: struct("withdraw", proposal=b(32)),
    240: struct("ready_signal", version=u(0xFFFF, 1)),
}  # fmt: skip


COSTS = {
    10: 2, 20: 2, 32: 2, 33: 4, 41: 2,
    170: 2, 173: 2, 174: 2, 175: 2, 176: 2, 177: 2,
    180: 2, 181: 3, 182: 3,
    200: 58, 201: 40, 202: 58, 203: 3, 204: 2,
    50: 118, 51: 64, 52: 118, 53: 118,
    220: 64, 221: 256, 222: 64, 240: 2,
}  # fmt: skip
COSTS |= {11: 4, 12: 2, 32: 6}
COSTS |= dict.fromkeys((101, 102, 104, 106, 134, 135, 137), 6)
COSTS |= {105: 4, 130: 4, 131: 5, 132: 3, 133: 5, 138: 3, 139: 2}


def cost_of(number, *fields):
    """Return what a call costs a block (format.md, section 6)."""
    match number:
        case 30 | 100:
            return 4 + 2 * len(fields[5])
        case 31:
            return 2 if fields[1] is None else 5
        case 103:
            return 6 if fields[1] is None else 9
        case 136:
            return 4 if fields[1] is None else 7
        case 171 | 172:
            return 2 + 7 * len(fields[1])
        case 205:
            return 22 if len(fields[2]) == 33 else 76
        case _:
            return COSTS[number]


def check_parameters(found):
    """Refuse parameters that contradict one another."""
    if found.base_timeout_ms <= found.min_interval_ms:
        raise FalseFact("base_timeout_ms", f"above {found.min_interval_ms}", found.base_timeout_ms)
    most = 1_000 * found.base_timeout_ms
    if found.max_block_cost > most:
        raise FalseFact("max_block_cost", f"at most {most}", found.max_block_cost)
    notice_ms = found.notice_blocks * found.min_interval_ms
    if notice_ms > 30 * 86_400_000:
        raise FalseFact("notice_blocks", "at most 30 days at min_interval_ms", notice_ms)
    if 0 < found.snapshot_blocks < 100:
        raise FalseFact("snapshot_blocks", "0, or at least 100", found.snapshot_blocks)
    if 0 < found.retention_blocks < 1_000:
        raise FalseFact("retention_blocks", "0, or at least 1,000", found.retention_blocks)


def call(value, path):
    """A call: its number and its fields; return both."""
    number = value[0] if type(value) is list and value else None
    if type(number) is not int or number not in CALLS:
        raise FalseFact(path, "a call of this version", number)
    found = CALLS[number](value[1:], path)
    if number in (30, 100) and len(found.marks) == 2:
        first, second = found.marks
        if first.part >= second.part or first.mark == second.mark:
            raise FalseFact(f"{path}.marks", "two marks, of ascending parts", "others")
    if number == 220 and found.subject.number == 10:
        check_parameters(found.subject.parameters)
    if number in (50, 52, 53) and len(set(found.change.keys)) < 3:
        raise FalseFact(f"{path}.change.keys", "three keys", "one twice")
    if number in (200, 202) and found.role in (2, 3):
        raise FalseFact(f"{path}.role", "one of 1, 4, 5, 6", found.role)
    if number == 205:
        size = len(found.public)
        fits = size == 33 or (size in (256, 384, 512) and found.public[0] >= 128)
        if not fits or len(found.signature) != (64 if size == 33 else size):
            raise FalseFact(f"{path}.public", "P-256, or RSA of 2048, 3072 or 4096 bits", size)
    return (number, *found)


# --- Hashes and trees (format.md, sections 3, 8, 9) -----------------------------------------------


def tagged(domain, *parts):
    """Return SHA-256 in a domain."""
    return hashlib.sha256(b"depoli/" + domain + b"/1\0" + b"".join(parts)).digest()


def leaf_hash(data):
    """Return the hash of an RFC 6962 leaf."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left, right):
    """Return the hash of an RFC 6962 node."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Log:
    """An RFC 6962 tree that grows: the perfect subtrees along its right edge, as (level, hash)."""

    def __init__(self):
        self.size, self.peaks = 0, []

    def append(self, leaf):
        """Add a leaf hash; two perfect subtrees of one size join."""
        level = 0
        while self.peaks and self.peaks[-1][0] == level:
            leaf, level = node_hash(self.peaks.pop()[1], leaf), level + 1
        self.peaks.append((level, leaf))
        self.size += 1

    def root(self):
        """Return the tree's root: the subtrees joined from the right."""
        if not self.peaks:
            return hashlib.sha256(b"").digest()
        *others, (_, root) = self.peaks
        for _, peak in reversed(others):
            root = node_hash(peak, root)
        return root


def root_of(items):
    """Return the RFC 6962 root over byte strings."""
    log = Log()
    for item in items:
        log.append(leaf_hash(item))
    return log.root()


def check_inclusion(root, size, index, leaf, proof):
    """Refuse unless the leaf hash is number `index` of the tree (RFC 9162, 2.1.3.2)."""
    need("root that the proof leads to", root, included_root(size, index, leaf, proof))


def included_root(size, index, leaf, proof):
    """Return the root of a tree whose leaf hash number `index` is this one, by its proof."""
    if not 0 <= index < size:
        raise FalseFact("log_index", f"below {size}", index)
    need_hashes(leaf, *proof)
    node, last = index, size - 1
    for sibling in proof:
        if last == 0:
            raise FalseFact("proof", "no more hashes than are used", len(proof))
        if node & 1 or node == last:
            leaf = node_hash(sibling, leaf)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            leaf = node_hash(leaf, sibling)
        node, last = node >> 1, last >> 1
    need("hashes missing from the proof", 0, last)
    return leaf


def check_consistency(old_root, old, new_root, new, proof):
    """Refuse unless the log of `old` entries begins that of `new` (RFC 9162, 2.1.4.2)."""
    if not 0 <= old <= new:
        raise FalseFact("log_size", f"at least {old}", new)
    need_hashes(old_root, new_root, *proof)
    if old in (0, new):
        need("hashes in the proof", 0, len(proof))
        need("log_root", new_root if old else root_of(()), old_root)
        return
    path = [old_root, *proof] if old & (old - 1) == 0 else [*proof]
    if not path:
        raise FalseFact("proof", "a hash at least", 0)
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise FalseFact("proof", "no more hashes than are used", len(proof))
        if node & 1 or node == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            after = node_hash(after, sibling)
        node, last = node >> 1, last >> 1
    need("hashes missing from the proof", 0, last)
    need("earlier root that the proof leads to", old_root, before)
    need("later root that the proof leads to", new_root, after)


def need_hashes(*values):
    """Refuse what has not the length of a hash."""
    for value in values:
        need("bytes of a hash", 32, len(value))


class Heads:
    """The heads map: member -> (count, head), and its root, a sparse tree over the id's bits."""

    def __init__(self):
        self.heads, self.nodes, self.touched = {}, {}, set()

    def extend(self, member, leaf):
        """Add an entry that concerns a member to its chain."""
        count, head = self.heads.get(member, (0, ZEROS))
        self.heads[member] = count + 1, tagged(b"head", head, leaf)
        self.touched.add(int.from_bytes(member, "big"))

    def root(self):
        """Return the hash that headers carry."""
        for path in self.touched:  # what was known of the nodes above it no longer holds
            for depth in range(129):
                self.nodes.pop((depth, path >> 128 - depth), None)
        self.touched.clear()
        return self._root(0, 0, sorted(self.heads))

    def _root(self, depth, prefix, members):
        if not members:
            return ZEROS
        if (depth, prefix) not in self.nodes:
            if len(members) == 1:
                count, head = self.heads[members[0]]
                found = tagged(b"heads/leaf", members[0], count.to_bytes(8, "big"), head)
            else:
                bit = 1 << 127 - depth
                ones = [one for one in members if int.from_bytes(one, "big") & bit]
                zeros = members[: len(members) - len(ones)]
                left = self._root(depth + 1, prefix << 1, zeros)
                right = self._root(depth + 1, prefix << 1 | 1, ones)
                found = tagged(b"heads/node", left, right)
            self.nodes[depth, prefix] = found
        return self.nodes[depth, prefix]


class Turns:
    """Whose turn it is to propose: who missed turns, and until when each is passed over."""

    def __init__(self, count):
        self.count, self.absent = count, {}  # index -> (misses in a row, height)

    def leader(self, height, round_):
        """Return the index of the validator that leads this round."""
        waiting = [index for index, (_, until) in self.absent.items() if height < until]
        waiting.sort(key=lambda index: (-self.absent[index][0], index))
        over = waiting[: (self.count - 1) // 3]
        leaders = [index for index in range(self.count) if index not in over]
        return leaders[(height + round_) % len(leaders)]

    def record(self, height, built_round):
        """Learn that the block of this height was built in this round."""
        # At most the whole circle of them missed, each one turn, whatever the round says.
        missed = {self.leader(height, round_) for round_ in range(min(built_round, self.count))}
        builder = self.leader(height, built_round)
        for index in missed - {builder}:
            misses = min(10, self.absent.get(index, (0, 0))[0] + 1)
            until = height + 1 + min(self.count * 2**misses, 1024)
            self.absent[index] = misses, until
        self.absent.pop(builder, None)


# --- Signatures (format.md, section 4) ------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
# The y of the points of small order, and other ways to write two; the sign is not looked at.
Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SMALL_ORDER = {0, 1, Y8, P - Y8, P - 1, P, P + 1}
_points, _uses = {}, {}
MANY = 6  # products of one point take as long as a table of it, by which the next take a quarter


def times(key, number):
    """Return a multiple of a public key; one that is asked for often gets a table."""
    found = point(key)
    _uses[key] = _uses.get(key, 0) + 1
    if _uses[key] == MANY:
        x, y = found.x(), found.y()
        _points[key] = PointEdwards(CURVE, x, y, 1, x * y % P, L, generator=True)
    return _points[key] * number


def point(key):
    """Return a public key as a point of the prime-order subgroup."""
    if key not in _points:
        y = int.from_bytes(key, "little") & ((1 << 255) - 1)
        try:
            if y >= P or y in SMALL_ORDER:
                raise ValueError(key)
            found = PointEdwards.from_bytes(CURVE, key)
        except (ValueError, AssertionError, ArithmeticError):
            raise FalseFact("public key", "a point of the prime-order subgroup", key) from None
        if found * 8 * pow(8, -1, L) != found:  # 8·A has no part of small order; A may have
            raise FalseFact("public key", "a point of the prime-order subgroup", key)
        _points[key] = found
    return _points[key]


P256, P256_ORDER = NIST256p.curve, NIST256p.order


def p256_point(key):
    """Return a compressed P-256 key as a point, ready for many products."""
    if key not in _points:
        try:
            if len(key) != 33 or int.from_bytes(key[1:], "big") >= P256.p():
                raise ValueError(key)
            found = PointJacobi.from_bytes(P256, key, valid_encodings=("compressed",))
        except (ValueError, AssertionError, ArithmeticError):
            raise FalseFact("public key", "a compressed point of P-256", key) from None
        _points[key] = PointJacobi(P256, found.x(), found.y(), 1, P256_ORDER, generator=True)
    return _points[key]


def is_signed(key, message, signature):
    """Return whether `signature` is of `message` under `key`; its length tells the algorithm."""
    return (is_signed_p256 if len(key) == 33 else is_signed_ed25519)(key, message, signature)


def is_signed_p256(key, message, signature):
    """Return whether `signature` is ECDSA of `message` under `key`, with the lower s."""
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    if len(signature) != 64 or not 0 < r < P256_ORDER or not 0 < s <= P256_ORDER // 2:
        return False
    inverse = pow(s, -1, P256_ORDER)
    e = int.from_bytes(hashlib.sha256(message).digest(), "big")
    try:
        total = p256_point(key).mul_add(
            r * inverse % P256_ORDER, NIST256p.generator, e * inverse % P256_ORDER
        )
    except FalseFact:
        return False
    return total != INFINITY and total.x() % P256_ORDER == r


def is_signed_ed25519(key, message, signature):
    """Return whether `signature` is Ed25519 of `message` under `key`: without the cofactor."""
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if s >= L or int.from_bytes(r, "little") & ((1 << 255) - 1) in SMALL_ORDER:
        return False
    k = int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L
    try:
        parts = [part for part in (BASE * s, times(key, -k % L)) if part != INFINITY]
    except FalseFact:
        return False
    total = parts[0] + parts[1] if len(parts) == 2 else parts[0]
    return total != INFINITY and bytes(total.to_bytes()) == r


def first_bad(jobs):
    """Return the index of the first (key, message, signature) that does not verify, or None."""
    for index, (key, message, signature) in enumerate(jobs):
        if not is_signed(key, message, signature):
            return index
    return None


class Signatures:
    """Signatures to verify, over all cores, in the order of the chain."""

    BATCH = 64

    def __init__(self, workers):
        self.pool = multiprocessing.Pool(workers) if workers > 1 else None
        self.workers, self.count = max(workers, 1), 0
        self.waiting, self.running = [], deque()
        self.recent = deque(maxlen=512)  # a certificate stands beside its block and in the next

    def add(self, key, message, signature, where):
        """Queue one signature, found at `where`; refuse the first one queued before that fails."""
        job = key, message, signature
        if job in self.recent:
            return
        self.recent.append(job)
        self.waiting.append((job, where))
        self.count += 1
        if len(self.waiting) == self.BATCH:
            self._start()

    def drain(self):
        """Refuse the first signature queued that fails."""
        self._start()
        while self.running:
            self._finish()

    def close(self):
        """Stop the workers."""
        if self.pool:
            self.pool.terminate()
            self.pool.join()

    def _start(self):
        queued, self.waiting = self.waiting, []
        jobs = [job for job, _ in queued]
        result = self.pool.apply_async(first_bad, (jobs,)) if self.pool else None
        self.running.append((result, queued))
        while len(self.running) > 4 * self.workers:
            self._finish()

    def _finish(self):
        result, queued = self.running.popleft()
        bad = result.get() if result else first_bad([job for job, _ in queued])
        if bad is not None:
            (_, _, signature), where = queued[bad]
            raise FalseFact("signature", "one that verifies", signature, where)


def is_vouched(public, message, signature):
    """Return whether the key of a certificate signed: P-256 in 33 bytes, or an RSA modulus."""
    if len(public) == 33:
        return is_signed(public, message, signature)
    size, n, s = (len(public), *(int.from_bytes(one, "big") for one in (public, signature)))
    info = bytes.fromhex("3031300d060960864801650304020105000420")
    info += hashlib.sha256(message).digest()
    padded = b"\x00\x01" + b"\xff" * (size - len(info) - 3) + b"\x00" + info
    return s < n and pow(s, 65_537, n) == int.from_bytes(padded, "big")


# --- Genesis (format.md, section 14) --------------------------------------------------------------

ROLES = {"transaction": 1, "consensus": 2, "checkpoint": 3, "sealing": 4, "tls": 5, "human": 6}
SIGNING = (ROLES["transaction"], ROLES["human"])
ALGORITHMS = {"ed25519": 1, "p256": 2}
COUNTRIES = re.findall("..", "ATBEBGCYCZDEDKEEESFIFRGRHRHUIEITLTLULVMTNLPLPTROSESISKISLINO")
FAMILIES = {"optician": 1, "operator": 2, "insurer": 3, "auditor": 4, "prescriber": 5}
TABLES = {
    "optics-codes": 1,
    "optics-categories": 2,
    "optics-renewal": 3,
    "optics-prescriptions": 4,
}


def quorum(n):
    """Return how many of n validators decide."""
    return (n + (n - 1) // 3) // 2 + 1


def state_digest(pairs):
    """Return the digest of a state (format.md, section 10)."""
    lanes = [0] * 1024
    for key, value in pairs:
        tag = b"depoli/state/element/1\0" + len(key).to_bytes(4, "big") + key + value
        element = hashlib.shake_128(tag).digest(2048)
        for lane in range(1024):
            lanes[lane] += int.from_bytes(element[2 * lane : 2 * lane + 2], "little")
    total = b"".join((lane & 0xFFFF).to_bytes(2, "little") for lane in lanes)
    return tagged(b"state/digest", total)


def check_key(role, algorithm, public):
    """Refuse a public key that may not be registered for this role."""
    if algorithm == 2 and role in SIGNING:
        p256_point(public)
    else:
        need("algorithm of the key", 1, algorithm)
        need("bytes of the key", 32, len(public))
        point(public)


def key_id_of(role, algorithm, public):
    """Return the id by which transactions name a key."""
    return tagged(b"key", bytes((role, algorithm)), public)[:8]


class Founding:
    """A genesis document, checked and its signatures verified, and what follows from it."""

    def __init__(self, found):
        need("format", "depoli/genesis/1", found["format"])
        self.rules = {
            name: kind(found["parameters"][name], name) for name, kind in PARAMETERS.items()
        }
        check_parameters(parameters_.type(**self.rules))
        self.time, rules = u(U63)(found["time"], "time"), tuple(self.rules.values())
        self.members, self.labels = [], {}
        pairs = [(b"g", encode(rules)), (b"e", self.time.to_bytes(8, "big"))]
        self.owners = owners = {}  # of every key, by label
        self.key_ids = set()
        for number, one in enumerate(found["members"]):
            try:
                self._add_member(one, pairs, owners)
            except FalseFact as fact:
                raise fact.within(f"member {number}") from None
        names = [one["label"] for one in found["members"]]
        for name in (found["network"], *names):
            if not re.fullmatch("(?=.{1,32}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?", name, re.ASCII):
                raise FalseFact("name", "1 to 32 of a-z, 0-9 and inner hyphens", name)
        need("labels used once", len(names), len(set(names)))
        turns = tuple(names.index(label) for label in found["validators"])
        need("validators named once", len(turns), len(set(turns)))
        self.validators = [self._validator(self.members[turn]) for turn in turns]
        for family in FAMILIES.values():
            votes = sum(self.members[turn][2] == family for turn in turns)
            if len(turns) >= 4 and votes >= quorum(len(turns)):
                raise FalseFact("votes of one family", f"below {quorum(len(turns))}", votes)
        content = (1, found["network"].encode(), self.time, rules)
        self.tables = {
            TABLES[subject]: b(32)(from_hex(digest), "table")
            for subject, digest in found["tables"].items()
        }
        need("kinds of tables, ascending", sorted(self.tables), list(self.tables))
        content += (tuple(one[1:] for one in self.members), turns, tuple(self.tables.items()))
        pairs += [
            (b"f" + bytes((kind,)) + bytes(8), digest) for kind, digest in self.tables.items()
        ]
        self.chain_id = tagged(b"genesis", encode(content))
        need("chain_id", from_hex(found["chain_id"]), self.chain_id)
        self._check_signatures(found["signatures"])
        made = tuple(
            (from_hex(s["validator"]), from_hex(s["signature"])) for s in found["signatures"]
        )
        self.record = encode((content, made))
        validators_hash = tagged(b"validators", encode((tuple(self.validators),)))
        pairs.append((b"v" + bytes(4), encode((0, 0, (tuple(self.validators),)))))
        pairs.append((b"n", bytes(4)))
        empty = root_of([])
        self.header = header.type(
            1, self.chain_id, 0, self.time, ZEROS, empty, 0, empty, ZEROS, state_digest(pairs),
            validators_hash, validators_hash, bytes(16), 0, ZEROS, empty,
        )  # fmt: skip
        self.header_id = tagged(b"header", encode(self.header))

    def _add_member(self, one, pairs, owners):
        keys = []
        for key in one["keys"]:
            public, role = from_hex(key["public"]), ROLES[key["role"]]
            algorithm = ALGORITHMS[key["algorithm"]]
            check_key(role, algorithm, public)
            if public in owners:
                raise FalseFact("public key", "one that is registered once", public)
            owners[public] = one["label"]
            keys.append((role, algorithm, public))
        first = next((public for role, _, public in keys if role == 1), None)
        if first is None:
            raise FalseFact("keys", "a transaction key", "none")
        id_ = tagged(b"member", first)[:16]
        need("id", from_hex(one["id"]), id_)
        if id_ in self.labels:
            raise FalseFact("id", "one that is another's", id_)
        family, country = FAMILIES[one["family"]], one["country"].encode()
        if one["country"] not in COUNTRIES:
            raise FalseFact("country", "one of the European Economic Area", one["country"])
        self.members.append((id_, one["label"].encode(), family, country, tuple(keys)))
        self.labels[id_] = one["label"]
        pairs.append((b"m" + id_, encode((family, country, 1, 0, 0))))
        pairs.append((b"m" + id_ + bytes(4), encode((0, 1))))
        ids = [key_id_of(*key) for key in keys]
        pairs.append((b"i" + id_, b"".join(ids)))
        for key_id, (role, algorithm, public) in zip(ids, keys, strict=True):
            if key_id in self.key_ids:
                raise FalseFact("key id", "one that is no other key's", key_id)
            self.key_ids.add(key_id)
            pairs.append((b"k" + id_ + key_id, encode((role, algorithm, public, 0, None))))
            pairs += [(b"u" + public, id_), (b"i" + key_id, id_)]

    def _validator(self, member):
        id_, *_, keys = member
        found = [[public for role, _, public in keys if role == wanted] for wanted in (2, 3, 5)]
        need(f"keys to vote of {self.labels[id_]}", [1, 1, 1], [len(one) for one in found])
        return validator.type(id_, *(one[0] for one in found))

    def _check_signatures(self, found):
        signers = [from_hex(one["validator"]) for one in found]
        need("signers", [one.member for one in self.validators], signers)
        for one, voter in zip(found, self.validators, strict=True):
            signature = b(64)(from_hex(one["signature"]), "signature")
            message = b"depoli/sign/genesis/1\0" + self.chain_id
            if not is_signed(voter.consensus_key, message, signature):
                place = f"signature of {self.labels[voter.member]}"
                raise FalseFact("signature", "one that verifies", signature, place)


def read_genesis(path):
    """Return the founding that a signed genesis document describes."""
    try:
        return Founding(read_json(path))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        why = f"{type(error).__name__}: {error}"
        raise FalseFact("document", "the fields of a signed genesis", why, "genesis") from None
    except FalseFact as fact:
        raise fact.within("genesis") from None


# --- Evidence (format.md, section 15) -------------------------------------------------------------


PREPARE, COMMIT, ROUND_CHANGE, PROPOSAL = 2, 3, 4, 7
signed = {"signer": u(99), "signature": b(64)}
prepared_certificate = struct(
    "prepared_certificate", height=u(U63, 1), round=u(U32), block_id=b(32), seals=seq(seal, 0, 100)
)
STATEMENTS = {
    PREPARE: struct(
        "prepare", tag=u(2, 2), height=u(U63, 1), round=u(U32), block_id=b(32), **signed
    ),
    COMMIT: struct("commit", tag=u(3, 3), height=u(U63, 1), round=u(U32), block_id=b(32), **signed),
    ROUND_CHANGE: struct(
        "round_change",
        tag=u(4, 4), height=u(U63, 1), round=u(U32, 1), prepared_round=u(U32, -1),
        prepared_id=b(32), certificate=maybe(prepared_certificate), **signed,
    ),
    PROPOSAL: struct(
        "bare_proposal",
        tag=u(7, 7), height=u(U63, 1), round=u(U32), block_id=b(32), outline_hash=b(32),
        justification_hash=b(32), **signed,
    ),
}  # fmt: skip
statement = one_of(STATEMENTS, "statement")
justification = struct(
    "justification",
    round_changes=seq(STATEMENTS[ROUND_CHANGE], 1, 100),
    prepared=maybe(prepared_certificate),
)
DOUBLE_VOTE, AMNESIA, CROSS_VOTE, BAD_PROPOSAL = 1, 2, 3, 4
evidence = one_of(
    {
        DOUBLE_VOTE: struct("double_vote", tag=u(1, 1), first=statement, second=statement),
        AMNESIA: struct(
            "amnesia",
            tag=u(2, 2), first=STATEMENTS[COMMIT], second=STATEMENTS[ROUND_CHANGE],
        ),
        CROSS_VOTE: struct(
            "cross_vote", tag=u(3, 3), first=STATEMENTS[PREPARE], second=STATEMENTS[COMMIT]
        ),
        BAD_PROPOSAL: struct(
            "bad_proposal",
            tag=u(4, 4), header=header, round=u(U32), outline_hash=b(32),
            justification=maybe(justification), **signed,
        ),
    },
    "evidence",
)  # fmt: skip


def content_of(said):
    """Return what the signed bytes of a statement hold after the round."""
    if said.tag == ROUND_CHANGE:
        return said.prepared_round.to_bytes(8, "big", signed=True) + said.prepared_id
    if said.tag == PROPOSAL:
        return said.block_id + said.outline_hash + said.justification_hash
    return said.block_id


def is_said(said, chain_id, voters):
    """Return whether a statement is signed by the validator that it names."""
    kind = {2: b"prepare", 3: b"commit", 4: b"round-change", 7: b"proposal"}[said.tag]
    message = b"depoli/consensus/1/" + kind + b"\0" + chain_id
    message += said.height.to_bytes(8, "big") + said.round.to_bytes(4, "big") + content_of(said)
    key = voters[said.signer].consensus_key if said.signer < len(voters) else None
    return key is not None and is_signed(key, message, said.signature)


def contradicts(found):
    """Return whether two statements cannot both be of an honest validator."""
    one, other = found.first, found.second
    if (one.height, one.signer) != (other.height, other.signer):
        return False
    if any(said.tag == ROUND_CHANGE and said.certificate is not None for said in (one, other)):
        return False
    if found.tag == AMNESIA:
        forgets = other.prepared_round < one.round
        differs = other.prepared_round == one.round and other.prepared_id != one.block_id
        return other.round > one.round and (forgets or differs)
    if one.round != other.round or content_of(one) == content_of(other):
        return False
    return found.tag == CROSS_VOTE or (one.tag == other.tag and encode(one) < encode(other))


def is_justified(found, block_id, chain_id, voters):
    """Return whether the signer may propose this header, were it its turn."""
    head, why = found.header, found.justification
    if head.chain_id != chain_id:
        return False
    if head.validators_hash != tagged(b"validators", encode((tuple(voters),))):
        return False
    is_fresh = (head.built_round, head.proposer) == (found.round, voters[found.signer].member)
    if found.round == 0:
        empty = root_of([])
        is_empty = head.transactions_root == empty == head.evidence_root
        return why is None and is_fresh and not is_empty
    if why is None or len(why.round_changes) < quorum(len(voters)):
        return False
    last = -1
    for one in why.round_changes:
        if not last < one.signer < len(voters) or one.certificate is not None:
            return False
        if (one.height, one.round) != (head.height, found.round):
            return False
        if one.prepared_round >= one.round or (one.prepared_round < 0 and one.prepared_id != ZEROS):
            return False
        last = one.signer
    top = max(one.prepared_round for one in why.round_changes)
    if top < 0:
        return is_fresh and why.prepared is None
    claimed = next(one for one in why.round_changes if one.prepared_round == top).prepared_id
    proof = why.prepared
    if block_id != claimed or proof is None:
        return False
    signers = [one.validator for one in proof.seals]
    return (
        (proof.height, proof.round, proof.block_id) == (head.height, top, claimed)
        and signers == sorted(set(signers))
        and len(signers) >= quorum(len(voters))
        and signers[-1] < len(voters)
    )


def embedded(why):
    """Yield every statement in a justification."""
    if why is None:
        return
    yield from why.round_changes
    proof = why.prepared
    for one in () if proof is None else proof.seals:
        made = (PREPARE, proof.height, proof.round, proof.block_id, one.validator, one.signature)
        yield STATEMENTS[PREPARE].type(*made)


def check_evidence(data, chain_id, voters_at):
    """Refuse evidence that convicts nobody; return the offence, its height and the member."""
    found = decode(data, evidence, "evidence")
    is_proposal = found.tag == BAD_PROPOSAL
    said = (proposed(found),) if is_proposal else (found.first, found.second)
    height = said[0].height
    voters = voters_at(height)
    if voters is None:
        raise FalseFact("height of the evidence", "from 1 to the block's", height)
    for one in said:
        if not is_said(one, chain_id, voters):
            expected = f"a statement that validator {one.signer} signed"
            raise FalseFact("evidence", expected, "another")
    if is_proposal:
        honest = is_justified(found, said[0].block_id, chain_id, voters) and all(
            is_said(one, chain_id, voters) for one in embedded(found.justification)
        )
    else:
        honest = not contradicts(found)
    if honest:
        raise FalseFact("evidence", "what an honest validator cannot have signed", "what it can")
    # The commit of 2 and of 3, the first of 1 (both are of one kind), the proposal of 4.
    accused = said[-1] if found.tag == CROSS_VOTE else said[0]
    deed = bytes((found.tag, accused.tag, accused.signer)) + height.to_bytes(8, "big")
    return tagged(b"offence", deed), height, voters[accused.signer].member


def proposed(found):
    """Return the statement that the signer of a proposal signed."""
    head, why = found.header, tagged(b"justification", encode(found.justification))
    id_ = tagged(b"header", encode(head))
    made = PROPOSAL, head.height, found.round, id_, found.outline_hash, why
    return STATEMENTS[PROPOSAL].type(*made, found.signer, found.signature)


# --- Keys, and who votes (format.md, sections 4, 5, 11 and 18) ------------------------------------


# By the number of a call, in which scopes a delegate may make it.
SCOPES = {
    **dict.fromkeys((10, 11, 12, 20, 30, 31, 32, 33, 130, 131, 132, 133, 138, 139), 1),
    **dict.fromkeys((180, 181, 182), 1),
    **dict.fromkeys(range(100, 107), 2), 41: 4, **dict.fromkeys((134, 135, 136, 137, 174, 176), 8),
}  # fmt: skip


def require(fact, why):
    """Refuse an applied call of which a guard does not hold."""
    if not fact:
        raise FalseFact("outcome", f"a refusal: {why}", "applied")


ADMITTED, SUSPENDED, REMOVED = 1, 2, 3


class Registry:
    """Who is a member, with which key from when until when, and who may act for whom."""

    def __init__(self, founding):
        self.chain_id = founding.chain_id
        self.members = {id_: [family, ADMITTED] for id_, _, family, *_ in founding.members}
        self.keys = {}  # (member, key id) -> [role, algorithm, public, first height, end or None]
        self.owners, self.taken = {}, set()  # by key id; every public key that ever was
        self.delegations = {}  # (principal, delegate) -> scope, until
        for member, *_, keys in founding.members:
            for role, algorithm, public in keys:
                self.add(member, role, algorithm, public, 0)

    def is_admitted(self, member):
        """Return whether a member is in good standing."""
        return member in self.members and self.members[member][1] == ADMITTED

    def is_able(self, voters, without=None):
        """Return whether those of these validators who are admitted could reinstate the others."""
        owners = [voter.member for voter in voters if voter.member != without]
        families = [self.members[one][0] for one in owners if self.is_admitted(one)]
        is_enough = len(families) >= len(voters) // 2 + 1
        return is_enough and (len(voters) < 4 or len(set(families)) >= 2)

    def require_admitted(self, sender):
        """Refuse a transaction of one that may send none."""
        if not self.is_admitted(sender):
            raise FalseFact("sender", "a member that is admitted", sender)

    def add(self, member, role, algorithm, public, first, end=None):
        """Register a key."""
        id_ = key_id_of(role, algorithm, public)
        self.keys[member, id_] = [role, algorithm, public, first, end]
        self.owners[id_] = member
        self.taken.add(public)

    def end(self, member, id_, height):
        """End a key at a height, or leave it to end sooner."""
        key = self.keys[member, id_]
        key[4] = height if key[4] is None else min(height, key[4])

    def end_all(self, member, height, roles=range(1, 7)):
        """End the keys of a member, those of some roles."""
        for (owner, id_), (role, *_) in self.keys.items():
            if owner == member and role in roles:
                self.end(member, id_, height)

    def is_new(self, role, algorithm, public):
        """Return whether nobody has or had this key, nor one of its id."""
        return public not in self.taken and key_id_of(role, algorithm, public) not in self.owners

    def holds(self, member, role, public):
        """Return whether this is a key of a member, of this role, that is not to end."""
        key = self.keys.get((member, key_id_of(role, 1, public)))
        return key is not None and key[4] is None

    def in_force(self, member, id_, height, roles=SIGNING):
        """Return the public part of a key of a member, None unless it is good at a height."""
        role, _, public, first, end = self.keys.get((member, id_), (None,) * 5)
        is_good = role in roles and first <= height and (end is None or height < end)
        return public if is_good else None

    def signer(self, sender, id_, head):
        """Return by which key a transaction is signed and in which scope, None if it is in all."""
        owner = self.owners.get(id_)
        if owner is None or owner == sender:
            return self.in_force(sender, id_, head.height), None
        scope_, until = self.delegations.get((sender, owner), (0, -1))
        if head.time > until or not self.is_admitted(owner):
            return None, None
        return self.in_force(owner, id_, head.height, SIGNING[:1]), scope_

    def change(self, head, sender, number, call_, node_keys):
        """Make a change that a block says it made; refuse where a guard does not hold."""
        match number:
            case 200:
                first = max(call_.from_height, head.height + 1)
                end = call_.until_height
                require(end is None or end > first, "the key is never in force")
                self._require_new(sender, call_)
                self.add(sender, call_.role, call_.algorithm, call_.public, first, end)
            case 201:
                end = max(call_.height, head.height + 1)
                role = self._endable(sender, call_.key_id, end, node_keys)
                others = (
                    key for (member, id_), key in self.keys.items()
                    if member == sender and id_ != call_.key_id
                )  # fmt: skip
                lasting = any(key[0] == 1 and key[3] <= end and key[4] is None for key in others)
                require(role != 1 or lasting, "it is the last transaction key")
                self.end(sender, call_.key_id, end)
            case 202:
                end = max(call_.height, head.height + 1)
                role = self._endable(sender, call_.key_id, end, node_keys)
                require(role == call_.role, "it is of another role")
                self._require_new(sender, call_)
                self.end(sender, call_.key_id, end)
                self.add(sender, call_.role, call_.algorithm, call_.public, end)
            case 203:
                ahead = call_.until - head.time
                require(0 <= ahead <= 63_158_400, "its time is over, or too far ahead")
                require(call_.delegate != sender, "the sender delegates to itself")
                self.delegations[sender, call_.delegate] = call_.scope, call_.until
            case 204:
                _, until = self.delegations.pop((sender, call_.delegate), (0, -1))
                require(head.time <= until, "nothing is delegated")
            case _:
                public = self.in_force(sender, call_.key_id, head.height, SIGNING[:1])
                require(public is not None, "it is no transaction key of the sender")
                message = b"depoli/sign/certificate/1\0" + self.chain_id + sender
                message += call_.certificate + bytes((1 + (len(public) == 33),)) + public
                good = is_vouched(call_.public, message, call_.signature)
                require(good, "the key of the certificate did not sign")

    def _require_new(self, sender, call_):
        role, algorithm, public = call_.role, call_.algorithm, call_.public
        check_key(role, algorithm, public)
        require(self.is_new(role, algorithm, public), "the key is somebody's")
        message = b"depoli/sign/key/1\0" + self.chain_id + sender + bytes((role, algorithm))
        require(is_signed(public, message + public, call_.possession), "the key did not sign")

    def _endable(self, sender, id_, height, node_keys):
        """Return the role of a key that may end at a height."""
        role, _, public, _, end = self.keys.get((sender, id_), (None,) * 5)
        require(role in (1, 4, 5, 6), "the sender has no such key")
        require(end is None or end > height, "the key has ended by then")
        require(public not in node_keys, "a validator runs with it")
        return role


class Council:
    """Who runs a validator at which height, with which keys, and how that may change."""

    def __init__(self, founding, registry):
        self.chain_id, self.registry = founding.chain_id, registry
        self.eras = [(0, tuple(founding.validators))]  # from which height on who votes
        self.rotated = {}
        self.recent = {}  # height mod 32 -> height and block id

    def at(self, height):
        """Return who votes at a height, as far as the blocks until now tell."""
        return next(voters for first, voters in reversed(self.eras) if first <= height)

    def note(self, height, block_id):
        """Remember the block below the one that is looked at."""
        self.recent[height % 32] = height, block_id

    def change(self, head, sender, number, change, *rest):
        """Make a change that a block says it made; refuse where a guard does not hold."""
        first, voters = self.eras[-1]
        require(first != head.height + 2, "another change in this block")
        places = {voter.member: place for place, voter in enumerate(voters)}
        allowed = sender in places if number == 51 else sender == change.member
        require(allowed, "the sender may not make it")
        out = change.leaving if number == 52 else change.member
        place = places.get(out, len(voters))
        require(number == 50 or out in places, "there is no such validator")
        if number == 50 or (number == 52 and out != change.member):
            require(change.member not in places, "it is a validator already")
        new = () if number == 51 else (validator.type(change.member, *change.keys),)
        after = voters[:place] + new + voters[place + 1 :]
        require(len(after) <= 100, "there are too many")
        require(after and not len(after) < 4 <= len(voters), "too few would be left")
        if number != 53:
            families = [self.registry.members[voter.member][0] for voter in after]
            most = max(map(families.count, families))
            require(len(after) < 4 or most < quorum(len(after)), "a family would decide alone")
            require(self.registry.is_able(after), "too many of them are suspended")
        before = voters[place][1:] if number != 50 else ()
        if number != 51:
            self._require_keys(head, change, before if number == 53 else None)
        if number != 51:
            self._require_possession(change, rest[-1])
        stays = change.keys if number != 51 and out == change.member else ()
        for role, key in zip((2, 3, 5), before, strict=bool(before)):
            if key not in stays and (role != 5 or stays):  # who goes keeps its node
                self.registry.end(out, key_id_of(role, 1, key), head.height + 2)
        for role, key in zip((2, 3, 5), () if number == 51 else change.keys, strict=number != 51):
            if key not in self.registry.taken:
                self.registry.add(change.member, role, 1, key, head.height + 2)
        self.eras.append((head.height + 2, after))

    def _require_keys(self, head, change, before):
        """Refuse keys that are not new; `before` are those that a rotation changes."""
        member, keys = change.member, tuple(change.keys)
        node = keys[2] if self.registry.holds(member, 5, keys[2]) else None
        stays = before or (None, None, node)
        if before:
            require(keys != before, "no key changes")
            since = self.rotated.get(member)
            require(since is None or head.time >= since + 86_400, "it changed its keys lately")
            self.rotated[member] = head.time
        for role, key, stay in zip((2, 3, 5), keys, stays, strict=True):
            if key != stay:
                point(key)
                require(self.registry.is_new(role, 1, key), "a key is somebody's")

    def _require_possession(self, change, proof):
        known = self.recent.get(proof.height % 32)
        require(known == (proof.height, proof.block_id), "the block that it names is not recent")
        message = b"depoli/sign/possession/1\0" + self._id(change)
        message += proof.height.to_bytes(8, "big") + proof.block_id
        for key, signature in zip(change.keys, proof[2:], strict=True):
            require(is_signed(key, message, signature), "a key did not sign")

    def _id(self, change):
        return tagged(b"change", self.chain_id, encode(change))


class Versions:
    """Which version of the rules is in force, which is to follow, and who is ready for it."""

    def __init__(self, council):
        self.council, self.ready = council, {}  # member -> the version it signalled last
        self.in_force, self.scheduled = 1, None  # (version, not before, from which height or None)

    def signal(self, member, version):
        """Note which version a validator's member says its node knows."""
        voters = [voter.member for voter in self.council.eras[-1][1]]
        require(member in voters, "the sender runs no validator")
        self.ready[member] = version

    def schedule(self, version, height):
        """Schedule a version as a vote does; nothing changes where another one is announced."""
        if version >= self.in_force and (self.scheduled is None or self.scheduled[2] is None):
            self.scheduled = None if version == self.in_force else (version, height, None)

    def step(self, height):
        """Begin a block; return the version in force there."""
        if self.scheduled is None:
            return self.in_force
        version, not_before, first = self.scheduled
        if first is None:
            voters = self.council.at(height + 1)
            ready = sum(self.ready.get(voter.member, 0) >= version for voter in voters)
            if height >= not_before and ready >= quorum(len(voters)):
                self.scheduled = version, not_before, height + 2
        elif height >= first:
            self.in_force, self.scheduled = version, None
        return self.in_force


OPEN, PASSED, FAILED, WITHDRAWN, ENACTED = 1, 2, 3, 4, 5
SEATS = (6, 7, 8)  # changes that calls of their own make, once they passed
# Where a member must stand, by the number of the change.
STANDING_BEFORE = {2: (1,), 3: (2,), 4: (1, 2), 5: (1, 2), 6: (1,), 7: (1, 2), 8: (1,)}
BY_MAJORITY = (1, 2, 3)  # to admit, suspend, reinstate a member: all else takes a quorum


class Proposal:
    """A change that somebody proposed, and who agreed to it."""

    def __init__(self, number, sender, subject, deadline, effect):
        self.number, self.proposer, self.subject = number, sender, subject
        self.deadline, self.effect = deadline, effect
        self.state, self.votes = OPEN, {}


class Assembly:
    """What those who run validators propose and vote, and what takes effect when."""

    def __init__(self, founding, registry, council, versions):
        self.registry, self.council, self.versions = registry, council, versions
        self.rules, self.tables = dict(founding.rules), dict(founding.tables)
        self.proposals, self.agenda = {}, {}  # by id; by height, in their order

    def propose(self, head, sender, id_, subject, deadline, effect):
        """Make a proposal."""
        electors = self._electors(head.height)
        require(sender in electors, "the sender runs no validator")
        require(0 <= deadline - head.time <= 90 * 86_400, "the deadline is over, or too far ahead")
        earliest = head.height + self.rules["notice_blocks"]
        require(earliest <= effect <= head.height + (1 << 24), "no notice, or too far ahead")
        require(not self._obstacle(subject, head.height), "the change cannot be made")
        open_ = [one for one in self.proposals.values() if self._is_open(one, head)]
        require(len(open_) < 128, "too many are open")
        own = [one for one in open_ if one.proposer == sender]
        require(len(own) < min(8, 128 // len(electors)), "too many of the sender's are")
        require(all(one.subject != subject for one in own), "another one of it says the same")
        number = len(self.proposals)
        self.proposals[id_] = Proposal(number, sender, subject, deadline, effect)

    def vote(self, head, sender, id_, agrees):
        """Count a vote; return what its entry must say."""
        found = self._known(id_)
        require(self._is_open(found, head), "the proposal is not open")
        require(sender in self._electors(head.height), "the sender runs no validator")
        require(sender not in found.votes, "it voted before")
        found.votes[sender] = agrees
        yes, needed, found.state = self._tally(found, head.height)
        if found.state == PASSED and found.subject.number not in SEATS:
            due = self.agenda.setdefault(found.effect, [])
            require(len(due) < 16, "too much takes effect at that height")
            due.append(found)
        return found.state, yes, needed

    def use_up(self, head, number, change):
        """Refuse a change of validators unless it was voted; it cannot be made again."""
        found = self._known(change.proposal)
        require(found.state == PASSED, "it has not passed, or was made")
        require(found.effect <= head.height, "its height has not come")
        require(head.time <= found.deadline, "its time is over")
        voted = {50: (6, change.member), 51: (7, change.member)}.get(number)
        voted = voted or (8, change.leaving, change.member)
        require(tuple(found.subject) == voted, "another change was voted")
        found.state = ENACTED

    def withdraw(self, sender, id_):
        """Take a proposal back."""
        found = self._known(id_)
        require(found.proposer == sender, "it is not the sender's")
        require(found.state == OPEN, "it is not open")
        found.state = WITHDRAWN

    def carry_out(self, height):
        """Make what is due at a height, if it can be made."""
        due = self.agenda.pop(height, [])
        for subject in (one.subject for one in sorted(due, key=lambda one: one.number)):
            if not self._obstacle(subject, height):
                self._make(subject, height)

    def _known(self, id_):
        require(id_ in self.proposals, "there is no such proposal")
        return self.proposals[id_]

    def _electors(self, height):
        return [voter.member for voter in self.council.at(height)]

    def _is_open(self, found, head):
        has_notice = head.height + self.rules["notice_blocks"] <= found.effect
        return found.state == OPEN and head.time <= found.deadline and has_notice

    def _tally(self, found, height):
        electors, members = self._electors(height), self.registry.members
        says = {one: found.votes.get(one) for one in electors if self.registry.is_admitted(one)}
        yes = [one for one in electors if says.get(one) is True]
        may = [one for one in electors if says.get(one) is not False]
        n = len(electors)
        needed = n // 2 + 1 if found.subject.number in BY_MAJORITY else quorum(n)

        def is_enough(those):
            families = {members[one][0] for one in those}
            return len(those) >= needed and (n < 4 or len(families) >= 2)

        state = PASSED if is_enough(yes) else OPEN if is_enough(may) else FAILED
        return len(yes), needed, state

    def _obstacle(self, subject, height):
        """Return whether a change could do nothing, or must not be made."""
        new, number = self._is_usable, subject.number
        if number == 1:
            sealing = subject.sealing is None or new(ROLES["sealing"], 1, subject.sealing)
            known = tagged(b"member", subject.key.public)[:16] in self.registry.members
            abroad = subject.country.decode("latin-1") not in COUNTRIES
            return abroad or known or not sealing or not new(ROLES["transaction"], *subject.key)
        if number == 9:
            return self.tables.get(subject.kind) == subject.hash
        if number == 10:
            return tuple(self.rules.values()) == tuple(subject.parameters)
        if number == 11:
            now, next_ = self.versions.in_force, self.versions.scheduled
            announced = next_ is not None and next_[2] is not None
            is_same = subject.version == now and next_ is None
            return subject.version < now or announced or is_same
        member = subject.member
        status = self.registry.members.get(member, (0, None))[1]
        if status not in STANDING_BEFORE[number]:
            return True
        if number == 5:
            return not new(ROLES["transaction"], *subject.key)
        voters = (*self.council.at(height), *self.council.eras[-1][1])
        last = self.council.eras[-1][1]
        if number == 2 and member in [voter.member for voter in last]:
            return not self.registry.is_able(last, member)
        return number == 4 and member in [voter.member for voter in voters]

    def _is_usable(self, role, algorithm, public):
        """Return whether a key may be registered."""
        try:
            check_key(role, algorithm, public)
        except FalseFact:
            return False
        return self.registry.is_new(role, algorithm, public)

    def _make(self, subject, height):
        members, number = self.registry.members, subject.number
        if number == 1:
            member = tagged(b"member", subject.key.public)[:16]
            members[member] = [subject.family, ADMITTED]
            self.registry.add(member, ROLES["transaction"], *subject.key, height)
            if subject.sealing is not None:
                self.registry.add(member, ROLES["sealing"], 1, subject.sealing, height)
        elif number in (2, 3, 4):
            members[subject.member][1] = {2: SUSPENDED, 3: ADMITTED, 4: REMOVED}[number]
            if number == 4:
                self.registry.end_all(subject.member, height)
        elif number == 5:
            self.registry.end_all(subject.member, height, SIGNING)
            self.registry.add(subject.member, ROLES["transaction"], *subject.key, height)
        elif number == 9:
            self.tables[subject.kind] = subject.hash
        elif number == 10:
            self.rules = dict(zip(self.rules, subject.parameters, strict=True))
        else:
            self.versions.schedule(subject.version, height)


# --- Sums of settlements (format.md, section 16) --------------------------------------------------


class Sums:
    """What is due of each claim, and which claims are in each settlement: in one, each way."""

    def __init__(self):
        self.claimed, self.due = {}, {}  # claim -> commitment
        self.batches = {}  # settlement -> (0, or 1 for a repayment; claims)
        self.closed = set()  # settlements that were confirmed or cancelled
        self.inside = set()  # (0 or 1, claim): in a settlement that was not cancelled
        self.grounds = {}  # claim -> of its last dispute

    def apply(self, made, number, subject, *fields):
        """Follow an applied call; refuse one that pays a claim twice, or announces another sum."""
        if subject in self.closed and number in (41, 171, 172, 173, 174, 175, 176, 177):
            raise FalseFact("outcome", "a refusal: that settlement is closed", "applied")
        if number == 30:
            self.claimed[made] = self.due[made] = fields[3]
        elif number == 31 and fields[0] is not None:
            self.due[subject] = fields[0]
        elif number == 134:
            self.grounds[subject] = fields[0]
        elif number == 136 and self.grounds.get(subject) in (1, 2):  # the rejection, the amount
            self.due[subject] = fields[0] or self.claimed[subject]
        elif number == 170:
            self.batches[made] = fields[0], set()
        elif number in (171, 172):
            way, claims = self.batches[subject]
            for claim in fields[0]:
                is_free = (way, claim) not in self.inside
                fits = claim in self.due and (not way or (0, claim) in self.inside)
                if not (is_free and fits if number == 171 else claim in claims):
                    raise FalseFact("outcome", "a refusal: that claim cannot be moved", "applied")
                claims ^= {claim}
                self.inside ^= {(way, claim)}
        elif number in (41, 177):
            self.closed.add(subject)
            if number == 177:
                way, claims = self.batches[subject]
                self.inside -= {(way, claim) for claim in claims}
        elif number == 173:
            total = PointEdwards(CURVE, 0, 1, 1, 0)
            for claim in self.batches[subject][1]:
                total += PointEdwards.from_bytes(CURVE, self.due[claim])
            need("sum of the settlement", bytes(total.to_bytes()), fields[0])


ERASED, HELD_BY_LAW = 1, 2


class Disclosures:
    """What was acknowledged and asked to be erased, and what was said to that."""

    def __init__(self, registry):
        self.registry = registry
        self.commitments = set()  # (member, commitment) that stand
        self.erasures = {}  # id -> [who asked, who was asked, outcome]

    def apply(self, sender, created, number, subject, value):
        """Follow an applied call; refuse one that a guard would have refused."""
        if number == 182:
            require(subject in self.erasures, "nobody asked for that erasure")
            found = self.erasures[subject]
            require(found[1] == sender, "another one was asked to erase")
            is_later = found[2] == HELD_BY_LAW and value == ERASED
            require(found[2] is None or is_later, "that was said before")
            found[2] = value
            return
        require(subject != sender and self.registry.is_admitted(subject), "no other member")
        require((sender, value) not in self.commitments, "that commitment stands")
        self.commitments.add((sender, value))
        if number == 181:
            self.erasures[created] = [sender, subject, None]


# --- The chain (format.md, sections 5 to 13) ------------------------------------------------------


def check_certificate(found, height, block_id, chain_id, voters, signatures, place):
    """Refuse a certificate that is not of a quorum for this block; its signatures are queued."""
    need("height of the certificate", height, found.height)
    need("block of the certificate", block_id, found.block_id)
    last = -1
    for one in found.seals:
        if not last < one.validator < len(voters):
            bound = f"above {last} and below {len(voters)}"
            raise FalseFact("index of a signer", bound, one.validator)
        last = one.validator
    if len(found.seals) < quorum(len(voters)):
        raise FalseFact("signers", f"at least {quorum(len(voters))}", len(found.seals))
    message = b"depoli/consensus/1/commit\0" + chain_id + height.to_bytes(8, "big")
    message += found.round.to_bytes(4, "big") + block_id
    for one in found.seals:
        key = voters[one.validator].consensus_key
        signatures.add(key, message, one.signature, f"{place}, validator {one.validator}")


class Chain:
    """What is known after the last block verified, and the rules for the next one."""

    def __init__(self, founding, signatures):
        self.founding, self.signatures = founding, signatures
        self.log, self.heads = Log(), Heads()
        self.turns = Turns(len(founding.validators))
        self.parties = {}  # claim or settlement -> the two members it concerns
        self.seen, self.expiring = set(), []  # ids that might come again, and until when
        self.last, self.id = founding.header, founding.header_id
        self.registry = Registry(founding)
        self.council = Council(founding, self.registry)
        self.versions = Versions(self.council)
        self.assembly = Assembly(founding, self.registry, self.council, self.versions)
        self.offences, self.sums = set(), Sums()
        self.disclosures = Disclosures(self.registry)
        counted = ("transactions", "applied", "refused", "offences", "kept_proposals")
        self.counts = dict.fromkeys(counted, 0)

    def next(self, file):
        """Return the record of the next block, None at the end of the file."""
        while True:
            try:
                record = read_record(file)
            except FalseFact as fact:
                raise fact.within(f"block {self.last.height + 1}") from None
            if record is None or not record.startswith(KEPT_PROPOSAL):
                return record
            self.counts["kept_proposals"] += 1

    def add(self, record):
        """Refuse the next block for its first false fact; its signatures are queued."""
        where = f"block {self.last.height + 1}"
        self.council.note(self.last.height, self.id)
        due = self.versions.step(self.last.height + 1)
        try:
            if due not in VERSIONS:
                raise FalseFact("version of the rules", f"one known here: {VERSIONS}", due)
            committed = decode(record, committed_block, "record")
            head, body_ = committed.block.header, committed.block.body
            self._check_header(head, body_)
            self._check_body(head, body_, where)
            self._check_entries(head, body_, committed.outcomes, where)
            block_id = tagged(b"header", encode(head))
            place = f"{where}, certificate"
            self._check_certificate(committed.certificate, head.height, block_id, place)
        except FalseFact as fact:
            raise fact.within(where) from None
        if head.next_validators_hash == head.validators_hash:
            self.turns.record(head.height, head.built_round)
        else:
            self.turns = Turns(len(self.council.at(head.height + 1)))
        self.assembly.carry_out(head.height + 1)
        self.last, self.id = head, block_id

    def _check_header(self, head, body_):
        last, founding = self.last, self.founding
        need("chain_id", founding.chain_id, head.chain_id)
        need("height", last.height + 1, head.height)
        need("version", self.versions.in_force, head.version)
        if head.time < last.time:
            raise FalseFact("time", f"at least {last.time}", head.time)
        need("parent", self.id, head.parent)
        need("validators_hash", last.next_validators_hash, head.validators_hash)
        following = tagged(b"validators", encode((self.council.at(head.height + 1),)))
        need("next_validators_hash", following, head.next_validators_hash)
        leader = self.turns.leader(head.height, head.built_round)
        need("proposer", self.council.at(head.height)[leader].member, head.proposer)
        if head.built_round == 0 and not body_.transactions and not body_.evidence:
            raise FalseFact("body", "a transaction or evidence, in round 0", "nothing")

    def _check_body(self, head, body_, where):
        parent = body_.parent_commit
        if head.height == 1:
            need("parent_commit", None, parent)
        elif parent is None:
            raise FalseFact("parent_commit", "a certificate", None)
        else:
            place = f"{where}, certificate of the parent"
            self._check_certificate(parent, self.last.height, self.id, place)
        found = ZEROS if parent is None else tagged(b"certificate", encode(parent))
        need("parent_commit_hash", found, head.parent_commit_hash)
        need("evidence_root", root_of(body_.evidence), head.evidence_root)
        need("transactions_root", root_of(body_.transactions), head.transactions_root)

        for number, data in enumerate(body_.evidence):
            try:
                self._convict(data, head.height)
            except FalseFact as fact:
                raise fact.within(f"evidence {number}") from None

    def _convict(self, data, height):
        """Record an offence; refuse evidence of none, and of one that is recorded."""
        offence, *_ = check_evidence(
            data,
            self.founding.chain_id,
            lambda wanted: self.council.at(wanted) if 1 <= wanted <= height else None,
        )
        if offence in self.offences:
            raise FalseFact("evidence", "of an offence that is not recorded", offence)
        self.offences.add(offence)
        self.counts["offences"] += 1

    def _check_certificate(self, found, height, block_id, place):
        voters = self.council.at(height)
        check_certificate(
            found, height, block_id, self.founding.chain_id, voters, self.signatures, place
        )

    def _check_entries(self, head, body_, outcomes, where):
        self._forget(head.time)
        index = cost = 0
        for number, raw in enumerate(body_.transactions):
            place = f"transaction {number}"
            try:
                id_, content = self._check_transaction(head, raw, f"{where}, {place}")
                for position, encoded in enumerate(content.calls):
                    parsed = decode(encoded, call, f"call {position}")
                    cost += cost_of(*parsed)
                    if index == len(outcomes):
                        raise FalseFact("outcomes", "one per call", len(outcomes))
                    result = outcomes[index]
                    made = (head.height, index, head.time, content.sender, id_, position, encoded)
                    leaf = leaf_hash(encode((*made, result)))
                    self.log.append(leaf)
                    if result.code == 0:
                        created = tagged(b"call", id_, position.to_bytes(4, "big"))
                        says = self._follow(head, content.sender, created, *parsed)
                        need("evidence of an applied call", says, result.evidence)
                    for member in self._concerned(content.sender, parsed, id_, position, result):
                        self.heads.extend(member, leaf)
                    self.counts["applied" if result.code == 0 else "refused"] += 1
                    index += 1
            except FalseFact as fact:
                raise fact.within(place) from None
        need("outcomes", index, len(outcomes))
        rules = self.assembly.rules
        for name, found in (
            ("max_block_bytes", sum(map(len, body_.transactions))),
            ("max_block_transactions", len(body_.transactions)),
            ("max_block_calls", index),
            ("max_block_cost", cost),
        ):
            if found > rules[name]:
                raise FalseFact(name, f"at most {rules[name]}", found)
        need("log_size", self.log.size, head.log_size)
        need("log_root", self.log.root(), head.log_root)
        need("heads_root", self.heads.root(), head.heads_root)
        self.counts["transactions"] += len(body_.transactions)

    def _follow(self, head, sender, created, number, *fields):
        """Follow what an applied call does to members, validators and rules; return what it says.

        Refuse where a guard does not hold.
        """
        match number:
            case 50 | 51 | 52 | 53:
                if number != 53:
                    self.assembly.use_up(head, number, fields[0])
                self.council.change(head, sender, number, *fields)
            case 220:
                self.assembly.propose(head, sender, created, *fields)
            case 221:
                return self.assembly.vote(head, sender, *fields)
            case 222:
                self.assembly.withdraw(sender, *fields)
            case 180 | 181 | 182:
                self.disclosures.apply(sender, created, number, *fields)
            case 240:
                self.versions.signal(sender, *fields)
            case _ if 200 <= number < 220:
                self._change_registry(head, sender, number, *fields)
            case _:
                pass
        return ()

    def _check_transaction(self, head, raw, where):
        both = decode(raw, wire, "transaction")
        content = decode(both.unsigned, unsigned, "transaction")
        need("chain_id", self.founding.chain_id, content.chain_id)
        self.registry.require_admitted(content.sender)
        key, allowed = self.registry.signer(content.sender, content.key_id, head)
        if key is None:
            raise FalseFact("key_id", "a transaction key of the sender", content.key_id)
        for position, encoded in enumerate(content.calls if allowed is not None else ()):
            number = decode(encoded, call, f"call {position}")[0]
            if not allowed & SCOPES.get(number, 0):
                raise FalseFact("call of a delegate", f"one in the scope {allowed}", number)
        if not head.time <= content.valid_until <= head.time + 86_400:
            raise FalseFact("valid_until", f"up to a day after {head.time}", content.valid_until)
        id_ = tagged(b"transaction", both.unsigned)
        if id_ in self.seen:
            raise FalseFact("transaction", "one that is not in the chain", id_)
        self.seen.add(id_)
        heapq.heappush(self.expiring, (content.valid_until, id_))
        message = b"depoli/sign/transaction/1\0" + id_
        self.signatures.add(key, message, both.signature, where)
        return id_, content

    def _change_registry(self, head, sender, number, *fields):
        voters = (*self.council.at(head.height), *self.council.eras[-1][1])
        nodes = {voter.node_key for voter in voters}
        self.registry.change(head, sender, number, CALLS[number].type(*fields), nodes)

    def _forget(self, time_):
        while self.expiring and self.expiring[0][0] < time_:
            self.seen.discard(heapq.heappop(self.expiring)[1])

    def _concerned(self, sender, parsed, id_, position, result):
        """Return whom an entry concerns: its sender, and if it was applied others."""
        if result.code:
            return {sender}
        number, subject, *_ = parsed
        made = tagged(b"call", id_, position.to_bytes(4, "big"))
        if number in (180, 181, 203, 204):
            return {sender, subject}
        if number == 182:
            return set(self.disclosures.erasures[subject][:2])
        if number in (50, 51, 52, 53, 220, 221, 222, 240):
            gone = {51: "member", 52: "leaving"}.get(number)
            return {sender, EVERYONE, *([getattr(subject, gone)] if gone else [])}
        if number < 30 or number >= 200:
            return {sender}
        if number in (30, 100, 170):  # payer, beneficiary
            self.parties[made] = {sender, subject}
        elif sender not in self.parties.get(subject, ()):  # an agreement, a claim, a settlement
            raise FalseFact("outcome", "a refusal: the sender has no part in it", "applied")
        self.sums.apply(made, *parsed)
        return self.parties.get(made) or self.parties[subject]


def crc_of_byte(value):
    """Return one step of CRC-32C (Castagnoli, reflected)."""
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value


CRC_STEPS = [crc_of_byte(value) for value in range(256)]


def crc32c(data):
    """Return the CRC-32C of `data`."""
    crc = U32
    for byte in data:
        crc = CRC_STEPS[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ U32


def read_record(file):
    """Return the payload of the next record of an export, None at the end of the file."""
    head = file.read(8)
    if not head:
        return None
    length = int.from_bytes(head[:4], "big")
    if len(head) < 8 or not 1 <= length <= MAX_RECORD:
        raise FalseFact("length of the record", f"1 to {MAX_RECORD} in 4 of 8 bytes", head)
    payload = file.read(length)
    need("bytes in the record", length, len(payload))
    need("checksum of the record", crc32c(payload), int.from_bytes(head[4:], "big"))
    return payload


# --- Receipts (format.md, section 17) -------------------------------------------------------------

change = struct("change", header=header, certificate=certificate, validators=validator_set)
receipt = struct(
    "receipt",
    entry=entry, log_index=u(U63), proof=seq(b(32), 0, 63), header=header,
    certificate=certificate, changes=seq(change, 0, 1024),
)  # fmt: skip


class Voters:
    """Who votes, followed from genesis on through the blocks after which others do."""

    def __init__(self, founding):
        self.chain_id, self.height = founding.chain_id, 0
        self.members, self.hash = founding.validators, founding.header.validators_hash

    def check(self, head, proof):
        """Refuse unless a quorum of them signed this block, which is above the last change."""
        place, signatures = f"block {head.height}", Signatures(1)
        try:
            need("chain_id", self.chain_id, head.chain_id)
            need("validators_hash", self.hash, head.validators_hash)
            if head.height <= self.height:
                raise FalseFact("height", f"above {self.height}", head.height)
            block_id = tagged(b"header", encode(head))
            check_certificate(
                proof, head.height, block_id, self.chain_id, self.members, signatures, place
            )
            signatures.drain()
        except FalseFact as fact:
            raise fact if fact.where.startswith(place) else fact.within(place) from None

    def follow(self, change):
        """Let those vote whom this block announces."""
        self.check(change.header, change.certificate)
        self.hash = tagged(b"validators", encode(change.validators))
        need("next_validators_hash", self.hash, change.header.next_validators_hash)
        self.height, self.members = change.header.height, change.validators.members


short_receipt = struct(
    "short_receipt",
    chain=b(4), voters=b(4), version=u(0xFFFF, 1), height=u(U63), time=u(U63), parent=b(32),
    transactions_root=b(32), log_size=u(U63), heads_root=b(32), state_digest=b(32),
    next_validators_hash=maybe(b(32)), proposer=u(99), built_round=u(U32),
    parent_commit_hash=b(32), evidence_root=maybe(b(32)), round=u(U32),
    signers=seq(u(99), 0, 100), signatures=b(0, 6_400),
    older=maybe(struct("older", height=u(U63, 1), time=u(U63))), index=u(U32), sender=b(16),
    transaction=b(32), position=u(255), call=b(1, 16_384), outcome=outcome, log_index=u(U63),
    proof=b(0, 2_016),
)  # fmt: skip
PREFIX, DIGITS = b"DEPOLI1:", (0, 3, 5, 8, 10, 13, 15, 17)  # that hold 0 to 7 bytes


def read_digits(text):
    """Return the bytes that the text of a short form stands for."""
    digits, found = text.translate(None, b" \t\r\n").removeprefix(PREFIX), b""
    if not digits.isdigit():
        raise FalseFact("short form", "decimal digits", digits)
    for at in range(0, len(digits), 17):
        group = digits[at : at + 17]
        size = DIGITS.index(len(group)) if len(group) in DIGITS else 0
        if not size or int(group) >= 256**size:
            raise FalseFact("short form", "digits that stand for bytes", group)
        found += int(group).to_bytes(size, "big")
    return found


def parts(data, size, path):
    """Return joined byte strings of one size, apart."""
    need(f"bytes after the last of {path}", 0, len(data) % size)
    return tuple(data[at : at + size] for at in range(0, len(data), size))


def expand(short, founding, changes):
    """Return the receipt that a short form stands for, made from what is known beside it."""
    changes = tuple(one for one in changes if one.header.height < short.height)
    voters = changes[-1].validators.members if changes else founding.validators
    known = tagged(b"validators", encode((voters,)))
    need("how the chain id begins", founding.chain_id[:4], short.chain)
    need("how the hash of the validators begins, after their changes", known[:4], short.voters)
    if short.proposer >= len(voters):
        raise FalseFact("proposer", f"below {len(voters)}", short.proposer)
    empty = root_of(())
    if short.next_validators_hash == known or short.evidence_root == empty:
        raise FalseFact("short form", "nil for what follows from the rest", known)
    own = (short.height, short.time)
    if short.older == own:
        raise FalseFact("older", "nil", own)
    height, time_ = short.older or own
    inner = entry.type(
        height, short.index, time_, short.sender, short.transaction, short.position, short.call,
        short.outcome,
    )  # fmt: skip
    proof = parts(short.proof, 32, "the proof")
    leaf = leaf_hash(encode(inner))
    head = header.type(
        short.version, founding.chain_id, *own, short.parent, short.transactions_root,
        short.log_size, included_root(short.log_size, short.log_index, leaf, proof),
        short.heads_root, short.state_digest, known, short.next_validators_hash or known,
        voters[short.proposer].member, short.built_round, short.parent_commit_hash,
        short.evidence_root or empty,
    )  # fmt: skip
    signatures = parts(short.signatures, 64, "the signatures")
    need("signatures", len(short.signers), len(signatures))
    seals = tuple(map(seal.type, short.signers, signatures))
    block_id = tagged(b"header", encode(head))
    signed = certificate.type(short.height, short.round, block_id, seals)
    return receipt.type(inner, short.log_index, proof, head, signed, changes)


def read_receipt(options, founding):
    """Return the receipt in a file of either form; the short one goes with changes from another."""
    with open(options.file, "rb") as file:
        text = file.read(1 << 16)
    if text.lstrip().startswith(PREFIX):
        known = {} if options.changes is None else read_json(options.changes)
        changes = seq(change, 0, 1024)(all_from_hex(known.get("changes", [])), "changes")
        return expand(decode(read_digits(text), short_receipt, "short form"), founding, changes)
    value = read_json(options.file)
    need("format", "depoli/receipt/1", value.pop("format", None))
    return receipt(all_from_hex(value), "receipt")


def check_receipt(options):
    """Verify a receipt; return what it proves."""
    founding = read_genesis(options.genesis)
    found = read_receipt(options, founding)
    voters = Voters(founding)
    for one in found.changes:
        voters.follow(one)
    voters.check(found.header, found.certificate)
    if found.entry.height > found.header.height:
        raise FalseFact("height of the entry", f"at most {found.header.height}", found.entry.height)
    if found.entry.height == found.header.height:
        need("time of the entry", found.header.time, found.entry.time)
    leaf = leaf_hash(encode(found.entry))
    head = found.header
    check_inclusion(head.log_root, head.log_size, found.log_index, leaf, found.proof)
    code = found.entry.outcome.code
    return {
        "chain_id": founding.chain_id,
        "transaction": found.entry.transaction,
        "position": found.entry.position,
        "sender": found.entry.sender,
        "height": found.entry.height,
        "time": found.entry.time,
        "outcome": "applied" if code == 0 else f"refused, code {code}",
        "proved_by": f"block {head.height}, {len(found.certificate.seals)} signatures",
    }


# --- Proofs between two blocks (format.md, section 17) --------------------------------------------

certified = struct("certified", header=header, certificate=certificate)
consistency = struct(
    "consistency",
    first=certified, second=certified, proof=seq(b(32), 0, 64), changes=seq(change, 0, 1024),
)  # fmt: skip
head_leaf = struct("head_leaf", member=b(16), head=struct("head", count=u(U63, 1), hash=b(32)))
head_proof = struct("head_proof", found=maybe(head_leaf), siblings=seq(b(32), 0, 128))
standing_of = struct("standing_of", header=header, certificate=certificate, proof=head_proof)
history = struct(
    "history",
    member=b(16), start=maybe(standing_of), end=standing_of, entries=seq(entry, 0, 65_536),
    changes=seq(change, 0, 1024),
)  # fmt: skip
decided = struct("decided", header=header, certificate=certificate, changes=seq(change, 0, 1024))
split_view = struct(
    "split_view", first=decided, second=decided, root=b(32), proof=seq(b(32), 0, 64)
)


def check_both(founding, first, second, changes):
    """Refuse unless a quorum signed both blocks, the second above the first if there is one."""
    voters, below = Voters(founding), 0
    if first is not None:
        while below < len(changes) and changes[below].header.height < first.header.height:
            voters.follow(changes[below])
            below += 1
        voters.check(first.header, first.certificate)
        if second.header.height <= first.header.height:
            found = second.header.height
            raise FalseFact("height of the second", f"above {first.header.height}", found)
    for one in changes[below:]:
        voters.follow(one)
    voters.check(second.header, second.certificate)


def check_log_grew(found, founding):
    """Refuse unless the log of the first block begins that of the second."""
    first, second = found.first.header, found.second.header
    check_both(founding, found.first, found.second, found.changes)
    check_consistency(first.log_root, first.log_size, second.log_root, second.log_size, found.proof)
    return {
        "log_size_from": first.log_size,
        "log_size": second.log_size,
        "proved_by": f"blocks {first.height} and {second.height}",
    }


def head_under(root, member, proof):
    """Return (count, head) of a member under a root, None where it has none (section 9)."""
    path, depth = int.from_bytes(member, "big"), len(proof.siblings)
    if depth and proof.siblings[-1] == ZEROS:
        raise FalseFact("siblings", "none of zeros at the end", ZEROS)
    found, node = proof.found, ZEROS
    if found is not None:
        other = int.from_bytes(found.member, "big")
        need("first bits of the member at the end of the path", path >> 128 - depth,
             other >> 128 - depth)  # fmt: skip
        node = tagged(b"heads/leaf", found.member, found.head.count.to_bytes(8, "big"),
                      found.head.hash)  # fmt: skip
    for level in reversed(range(depth)):
        pair = (node, proof.siblings[level])
        node = tagged(b"heads/node", *(pair[::-1] if path >> 127 - level & 1 else pair))
    need("heads_root", root, node)
    return tuple(found.head) if found is not None and found.member == member else None


def check_history(found, founding):
    """Refuse unless these are all entries that concern the member between the two blocks."""
    check_both(founding, found.start, found.end, found.changes)
    start, end = found.start, found.end
    before = start and head_under(start.header.heads_root, found.member, start.proof)
    after = head_under(end.header.heads_root, found.member, end.proof)
    count, head = before or (0, ZEROS)
    for one in found.entries:
        count, head = count + 1, tagged(b"head", head, leaf_hash(encode(one)))
    need("number and head after the entries", after or (0, ZEROS), (count, head))
    begins = 0 if start is None else start.header.height
    return {
        "member": founding.labels.get(found.member, found.member),
        "entries": len(found.entries),
        "proved_by": f"blocks {begins} and {end.header.height}",
    }


def check_decided(found, founding):
    """Refuse unless a quorum signed the block."""
    check_both(founding, None, found, found.changes)
    head = found.header
    return {"height": head.height, "header": tagged(b"header", encode(head)),
            "log_size": head.log_size, "log_root": head.log_root}  # fmt: skip


def check_split(found, founding):
    """Refuse unless quorums signed two blocks of which one contradicts the other."""
    for one in (found.first, found.second):
        check_decided(one, founding)
    first, second = found.first.header, found.second.header
    if second.height < first.height:
        raise FalseFact("height of the second", f"at least {first.height}", second.height)
    same = encode(first) == encode(second)
    if second.height > first.height and second.log_size >= first.log_size:
        check_consistency(found.root, first.log_size, second.log_root, second.log_size, found.proof)
        same = found.root == first.log_root
    need("the second continues the first", same, False)  # noqa: FBT003
    return {"proved_by": f"blocks {first.height} and {second.height}, which contradict each other"}


PROOFS = {
    "depoli/consistency/1": (consistency, check_log_grew),
    "depoli/history/1": (history, check_history),
    "depoli/decided/1": (decided, check_decided),
    "depoli/split-view/1": (split_view, check_split),
}


def check_proof(options):
    """Verify a proof of any kind but a receipt; return what it proves."""
    founding = read_genesis(options.genesis)
    value = read_json(options.file)
    format_ = value.pop("format", None)
    if type(format_) is not str or format_ not in PROOFS:
        raise FalseFact("format", " or ".join(PROOFS), format_)
    kind, check = PROOFS[format_]
    return {"chain_id": founding.chain_id, **check(kind(all_from_hex(value), "proof"), founding)}


# --- Snapshots (format.md, section 19) ------------------------------------------------------------

MEBIBYTE = 1 << 20
pair = struct("pair", key=b(0, MEBIBYTE), value=b(0, MEBIBYTE))
manifest = struct(
    "manifest",
    format=u(1, 1), header=header, peaks=seq(b(32), 0, 63), heads=seq(head_leaf, 0, 65_536),
    state_sum=b(2_048), pairs=u(U63, 1), chunks=seq(b(32), 1, 65_536),
)  # fmt: skip


era = struct("era", number=u(0xFFFFFFFF), from_height=u(U63), validators=validator_set)


def read_part(folder, name, most):
    """Return what a file of a snapshot holds."""
    with open(f"{folder}/{name}", "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise FalseFact(f"bytes of {name}", f"at most {most}", "more")
    return content


def inflated(content, name):
    """Return the chunk that is in a file."""
    need(f"checksum of {name}", crc32c(content[4:]), int.from_bytes(content[:4], "big"))
    inflating = zlib.decompressobj()
    try:
        found = inflating.decompress(content[4:], MEBIBYTE + 1)
    except zlib.error as error:
        raise FalseFact(name, "a zlib stream", str(error)) from None
    if len(found) > MEBIBYTE or not inflating.eof or inflating.unused_data:
        raise FalseFact(name, f"one zlib stream of at most {MEBIBYTE} bytes", "another")
    return found


def pairs_of(folder, found):
    """Yield the pairs of the state, each chunk checked against its hash and the one before."""
    last, before, count = None, 0, 0
    for number, hash_ in enumerate(found.chunks):
        name = f"{number:06}.chunk"
        data = inflated(read_part(folder, name, MEBIBYTE + 4_096), name)
        need(f"SHA-256 of {name}", hash_, hashlib.sha256(data).digest())
        weights = []
        for one in decode(data, seq(pair, 1, MEBIBYTE), name):
            if last is not None and one.key <= last:
                raise FalseFact(f"key in {name}", f"above {last.hex()}", one.key)
            last, count = one.key, count + 1
            weights.append(16 + len(one.key) + len(one.value))
            yield one
        need(f"{name} takes no more than fits", True, sum(weights) <= MEBIBYTE or not weights[1:])  # noqa: FBT003
        need(f"{name} begins where one had to", True, not number or before + weights[0] > MEBIBYTE)  # noqa: FBT003
        before = sum(weights)
    need("pairs", found.pairs, count)


def check_snapshot(options):
    """Verify a snapshot; return of which block it is."""
    founding, folder = read_genesis(options.genesis), options.file
    vouched = decode(read_part(folder, "decided", 32 << 20), decided, "decided")
    found = decode(read_part(folder, "manifest", 7 << 20), manifest, "manifest")
    result, head = check_decided(vouched, founding), found.header
    need("header in the manifest", vouched.header, head)
    log, heads = Log(), Heads()
    log.peaks = [(None, peak) for peak in found.peaks]
    need("number of peaks", head.log_size.bit_count(), len(found.peaks))
    need("log_root", head.log_root, log.root())
    members = [one.member for one in found.heads]
    need("members of the heads, each once, ascending", sorted(set(members)), members)
    heads.heads = {one.member: tuple(one.head) for one in found.heads}
    need("heads_root", head.heads_root, heads.root())
    need("state_sum", head.state_digest, tagged(b"state/digest", found.state_sum))
    names = {"manifest", "decided", *(f"{n:06}.chunk" for n in range(len(found.chunks)))}
    need("files", sorted(names), sorted(entry.name for entry in os.scandir(folder)))
    need("state_digest", head.state_digest, state_digest(pairs_of(folder, found)))
    values = [one.value for one in pairs_of(folder, found) if one.key[:1] == b"v"]  # true by now
    eras = [decode(value, era, "era") for value in values]
    changes = [
        (after.from_height - 1, after.validators)
        for before, after in pairwise(eras)
        if after.from_height <= head.height and after.validators != before.validators
    ]
    told = [(one.header.height, one.validators) for one in vouched.changes]
    need("blocks of the changes of validators", [n for n, _ in changes], [n for n, _ in told])
    need("changes of validators are those of the state", True, changes == told)  # noqa: FBT003
    return {"chain_id": founding.chain_id, **result, "pairs": found.pairs,
            "state_digest": head.state_digest}  # fmt: skip


def note_key_id(name, key):
    """Return how signature lines of an Ed25519 key begin (c2sp.org/signed-note)."""
    return hashlib.sha256(name + b"\n\x01" + key).digest()[:4]


def check_checkpoint(options):
    """Verify a checkpoint beside the decided block that it is of; return who signed it."""
    founding = read_genesis(options.genesis)
    value = read_json(options.decided)
    need("format of the decided block", "depoli/decided/1", value.pop("format", None))
    found = decided(all_from_hex(value), "decided")
    told, head = check_decided(found, founding), found.header
    with open(options.file, "rb") as file:
        text, _, lines = file.read(1 << 16).rpartition(b"\n\n")
    name = b"depoli/" + founding.chain_id.hex().encode()
    wanted = (
        name, b"%d" % head.log_size, base64.b64encode(head.log_root),
        b"block %d %s" % (head.height, told["header"].hex().encode()),
    )  # fmt: skip
    need("text of the checkpoint", b"\n".join(wanted), text)
    voters = found.changes[-1].validators.members if found.changes else founding.validators
    known = {note_key_id(name, one.checkpoint_key): one for one in voters}
    signers = []
    for line in lines.splitlines():
        dash, signer, encoded, *_ = (*line.split(b" "), b"", b"")
        try:
            data = base64.b64decode(encoded, validate=True)
        except ValueError:
            raise FalseFact("line of a signature", "a name and base64", line) from None
        one = known.get(data[:4])
        if dash != "—".encode() or signer != name or one is None:
            continue  # a witness's, or of somebody that is not known here
        if len(data) != 68 or not is_signed(one.checkpoint_key, text + b"\n", data[4:]):
            raise FalseFact("signature of the checkpoint", "one that verifies", data[4:])
        signers.append(founding.labels.get(one.member, one.member.hex()))
    if not signers:
        raise FalseFact("signers", "a checkpoint key of a validator at least", 0)
    return {**told, "signed_by": ", ".join(signers)}


# --- Files of evidence (format.md, section 19) ----------------------------------------------------

decision = struct("decision", header=header, certificate=certificate)
standing = struct("standing", block=decision, index=u(15), count=u(16, 1), proof=seq(b(32), 0, 4))
conviction = struct(
    "conviction",
    evidence=b(1, 65_536), member=b(16), witness=decision, standing=maybe(standing),
    changes=seq(change, 0, 1024),
)  # fmt: skip


def check_conviction(options):
    """Verify a file of evidence; return whom it convicts."""
    founding = read_genesis(options.genesis)
    value = read_json(options.file)
    need("format", "depoli/evidence/1", value.pop("format", None))
    organisation = value.pop("organisation", None)
    found = conviction(all_from_hex(value), "conviction")
    witness, held = found.witness, found.standing
    height, judges, voters = witness.header.height, None, Voters(founding)
    for one in found.changes:
        if judges is None and one.header.height >= height:
            judges = voters.members
            voters.check(witness.header, witness.certificate)
        voters.follow(one)
    if judges is None:
        judges = voters.members
        voters.check(witness.header, witness.certificate)
    if held is not None:
        head = held.block.header
        voters.height = max(voters.height, height - 1)
        voters.check(head, held.block.certificate)
        leaf = leaf_hash(found.evidence)
        check_inclusion(head.evidence_root, held.count, held.index, leaf, held.proof)
    offence, at, member = check_evidence(
        found.evidence, founding.chain_id, lambda asked: judges if asked == height else None
    )
    need("member", member, found.member)
    need("organisation", founding.labels.get(member, member.hex()), organisation)
    return {
        "chain_id": founding.chain_id,
        "offence": offence,
        "organisation": organisation,
        "member": member,
        "height": at,
        "stands_in": "no block" if held is None else f"block {held.block.header.height}",
    }


def check_chain(options):
    """Verify an export; return what it holds."""
    founding = read_genesis(options.genesis)
    wanted = None if options.header is None else from_hex(options.header, "--header")
    workers = options.jobs or os.cpu_count() or 1
    signatures, begun, shown = Signatures(workers), time.monotonic(), 0.0
    try:
        chain = Chain(founding, signatures)
        found = wanted in (None, chain.id)
        with open(options.file, "rb") as file:
            try:
                need("first line", MAGIC, file.read(len(MAGIC)))
                need("genesis in the export", founding.record, read_record(file))
                while (record := chain.next(file)) is not None:
                    chain.add(record)
                    found = found or chain.id == wanted
                    if sys.stderr.isatty() and time.monotonic() - shown > 0.5:
                        shown = time.monotonic()
                        rate = signatures.count / (shown - begun)
                        print(f"\r\x1b[Kblock {chain.last.height}, {rate:.0f} signatures/s",
                              end="", file=sys.stderr)  # fmt: skip
            except FalseFact:
                signatures.drain()  # a signature before it may be false too, and came first
                raise
        signatures.drain()
    finally:
        signatures.close()
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr)
    if not found:
        raise FalseFact("last block", f"one with block {options.header} before it", chain.id)
    return {
        "chain_id": founding.chain_id,
        "height": chain.last.height,
        "header": chain.id,
        "time": chain.last.time,
        "log_size": chain.log.size,
        "log_root": chain.log.root(),
        **chain.counts,
        "signatures": signatures.count + len(founding.validators),
        "seconds": round(time.monotonic() - begun, 3),
        "not_checked": "outcomes and the state digest: they need execution (depoli audit verify)",
    }


def main():
    """Read the command line, verify, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, check in (
        ("chain", check_chain), ("receipt", check_receipt), ("proof", check_proof),
        ("checkpoint", check_checkpoint), ("evidence", check_conviction),
        ("snapshot", check_snapshot),
    ):  # fmt: skip
        one = commands.add_parser(name)
        one.add_argument("file")
        one.add_argument(
            "--genesis", required=True, help="the signed genesis that you hold yourself"
        )
        one.add_argument("--json", action="store_true", help="print the result as one JSON object")
        one.set_defaults(check=check)
        if name == "receipt":
            one.add_argument("--changes", help="a later document, for a short form's validators")
        if name == "checkpoint":
            one.add_argument("--decided", required=True, help="the decided block that it is of")
        if name == "chain":
            one.add_argument("--header", help="a block id you know, which must be in the export")
            one.add_argument("--jobs", type=int, help="processes; as many as cores if not said")
    options = parser.parse_args()
    text = ""
    try:
        result, code = {"verified": True, **options.check(options)}, 0
    except FalseFact as fact:
        place = fact.where or "file"
        result = {
            "verified": False,
            "height": fact.height,
            "place": place,
            "field": fact.field,
            "expected": fact.expected,
            "found": fact.found,
        }
        text = f"{place}: {fact.field}: expected {shown(fact.expected)}, found {shown(fact.found)}"
        code = 4
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(result, indent=2, default=shown))
    elif code == 0:
        for name, value in result.items():
            print(f"{name:13} {shown(value)}")
    else:
        print(f"error: {text}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
