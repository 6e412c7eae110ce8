"""Calls: their bytes, their bounds, and what no decoder accepts."""

from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import calls
from contracts.calls import (
    MAX_LISTED,
    AdmitMember,
    AuthorisationAnswer,
    AuthorisationAsk,
    AuthorisationCancel,
    AuthorisationGrant,
    AuthorisationRefuse,
    AuthorisationRequest,
    AuthorisationReview,
    Call,
    CertificateBind,
    ClaimAbandon,
    ClaimAccept,
    ClaimCancel,
    ClaimClose,
    ClaimConcede,
    ClaimDispute,
    ClaimGround,
    ClaimOverturn,
    ClaimRecover,
    ClaimReject,
    ClaimReverse,
    ClaimSubmit,
    ClaimSupersede,
    ClaimUphold,
    ClaimWithdraw,
    DelegationGrant,
    DelegationWithdraw,
    Direction,
    DisclosureAcknowledge,
    ErasureOutcome,
    ErasureRequest,
    ErasureStatement,
    Ground,
    Joining,
    JoinValidators,
    KeyAdd,
    KeyRevoke,
    KeyRotate,
    LeaveValidators,
    Leaving,
    Leg,
    Mark,
    MarkLock,
    NewKey,
    Part,
    Possession,
    PrescriptionCommit,
    PrescriptionRevoke,
    PrescriptionSupersede,
    Propose,
    ReadySignal,
    Reason,
    ReinstateMember,
    RekeyMember,
    RemoveMember,
    ReplaceTable,
    ReplaceValidator,
    Replacing,
    Rotating,
    ScheduleVersion,
    SetParameters,
    SettlementAdd,
    SettlementAnnounce,
    SettlementCancel,
    SettlementConfirm,
    SettlementDispute,
    SettlementInsist,
    SettlementOpen,
    SettlementRemove,
    SettlementWithdraw,
    SuspendMember,
    ValidatorJoin,
    ValidatorKeys,
    ValidatorLeave,
    ValidatorReplace,
    ValidatorRotate,
    Vote,
    Withdraw,
    encode_call,
    parse_call,
)
from contracts.parameters import Parameters
from contracts.reference import TableKind
from contracts.registry import Family
from ledger.encoding import U16_MAX, U63_MAX, encode
from ledger.errors import Malformed
from ledger.keys import Algorithm, Role
from ledger.transaction import MAX_CALL_BYTES

A, B = bytes(range(32)), bytes(range(1, 33))
PAYER = bytes(range(16))

bytes32 = st.binary(min_size=32, max_size=32)
bytes16 = st.binary(min_size=16, max_size=16)
marks = st.one_of(
    st.tuples(st.builds(Mark, st.sampled_from(Part), bytes32)),
    st.tuples(bytes32, bytes32)
    .filter(lambda pair: pair[0] != pair[1])
    .map(lambda pair: (Mark(Part.LENSES, pair[0]), Mark(Part.FRAME, pair[1]))),
)
bytes64 = st.binary(min_size=64, max_size=64)
times = st.integers(0, U63_MAX)
keys = st.lists(bytes32, min_size=3, max_size=3, unique=True).map(lambda k: ValidatorKeys(*k))
possessions = st.builds(Possession, times, bytes32, bytes64, bytes64, bytes64)
bytes8 = st.binary(min_size=8, max_size=8)
publics = st.binary(min_size=32, max_size=33)
own_roles = st.sampled_from([Role.TRANSACTION, Role.TLS, Role.HUMAN])
algorithms = st.sampled_from(Algorithm)
new_keys = st.one_of(
    st.builds(NewKey, st.just(Algorithm.ED25519), bytes32),
    st.builds(NewKey, st.just(Algorithm.P256), st.binary(min_size=33, max_size=33)),
)
subjects = st.one_of(
    st.builds(
        AdmitMember,
        st.sampled_from(Family),
        st.binary(min_size=2, max_size=2),
        new_keys,
        st.none() | bytes32,
        st.none() | bytes32,
    ),
    *(
        st.builds(kind, bytes16)
        for kind in (
            SuspendMember,
            ReinstateMember,
            RemoveMember,
            JoinValidators,
            LeaveValidators,
        )
    ),
    st.builds(ReplaceValidator, bytes16, bytes16),
    st.builds(RekeyMember, bytes16, new_keys),
    st.builds(ReplaceTable, st.sampled_from(TableKind), bytes32),
    st.builds(SetParameters, st.builds(Parameters, notice_blocks=st.integers(2, 99))),
    st.builds(ScheduleVersion, st.integers(1, U16_MAX)),
)
every_call: st.SearchStrategy[Call] = st.one_of(
    st.builds(PrescriptionCommit, bytes32),
    st.builds(MarkLock, bytes32),
    st.builds(
        ClaimSubmit,
        bytes16,
        st.sampled_from(Leg),
        bytes32,
        bytes32,
        bytes32,
        marks,
        st.none() | bytes32,
        st.none() | bytes32,
    ),
    st.builds(ClaimAccept, bytes32, st.none() | bytes32),
    st.builds(ClaimReject, bytes32, st.sampled_from(Reason), st.booleans()),
    st.builds(ClaimCancel, bytes32),
    st.builds(PrescriptionSupersede, bytes32, bytes32),
    st.builds(PrescriptionRevoke, bytes32),
    st.builds(
        AuthorisationRequest,
        bytes16,
        st.sampled_from(Leg),
        bytes32,
        bytes32,
        bytes32,
        marks,
    ),
    st.builds(AuthorisationAsk, bytes32, bytes32),
    st.builds(AuthorisationAnswer, bytes32, bytes32),
    st.builds(AuthorisationGrant, bytes32, st.none() | bytes32, times),
    st.builds(AuthorisationRefuse, bytes32, st.sampled_from(Reason), st.booleans()),
    st.builds(AuthorisationCancel, bytes32),
    st.builds(AuthorisationReview, bytes32),
    st.builds(ClaimAbandon, bytes32),
    st.builds(ClaimReverse, bytes32),
    st.builds(ClaimRecover, bytes32, st.sampled_from(Reason)),
    st.builds(ClaimConcede, bytes32),
    st.builds(ClaimDispute, bytes32, st.sampled_from(ClaimGround)),
    st.builds(ClaimUphold, bytes32),
    st.builds(ClaimOverturn, bytes32, st.none() | bytes32),
    st.builds(ClaimWithdraw, bytes32),
    st.builds(ClaimClose, bytes32),
    st.builds(ClaimSupersede, bytes32, bytes32),
    st.builds(SettlementOpen, bytes16, st.sampled_from(Direction)),
    *(
        st.builds(kind, bytes32, st.lists(bytes32, min_size=1, max_size=20).map(tuple))
        for kind in (SettlementAdd, SettlementRemove)
    ),
    st.builds(SettlementAnnounce, bytes32, bytes32, st.none() | bytes32),
    st.builds(SettlementDispute, bytes32, st.sampled_from(Ground)),
    *(
        st.builds(kind, bytes32)
        for kind in (SettlementConfirm, SettlementInsist, SettlementWithdraw, SettlementCancel)
    ),
    st.builds(ValidatorJoin, st.builds(Joining, bytes16, keys, bytes32), possessions),
    st.builds(ValidatorLeave, st.builds(Leaving, bytes16, bytes32)),
    st.builds(ValidatorReplace, st.builds(Replacing, bytes16, bytes16, keys, bytes32), possessions),
    st.builds(ValidatorRotate, st.builds(Rotating, bytes16, keys), possessions),
    st.builds(KeyAdd, own_roles, algorithms, publics, times, st.none() | times, bytes64),
    st.builds(KeyRevoke, bytes8, times),
    st.builds(KeyRotate, bytes8, own_roles, algorithms, publics, times, bytes64),
    st.builds(DelegationGrant, bytes16, st.integers(1, 15), times),
    st.builds(DelegationWithdraw, bytes16),
    st.builds(CertificateBind, bytes8, bytes32, st.binary(min_size=33, max_size=33), bytes64),
    st.builds(CertificateBind, bytes8, bytes32, st.just(b"\xff" * 256), st.just(b"\x01" * 256)),
    st.builds(DisclosureAcknowledge, bytes16, bytes32),
    st.builds(ErasureRequest, bytes16, bytes32),
    st.builds(ErasureStatement, bytes32, st.sampled_from(ErasureOutcome)),
    st.builds(ReadySignal, st.integers(1, U16_MAX)),
    st.builds(Propose, subjects, times, st.integers(1, U63_MAX)),
    st.builds(Vote, bytes32, st.booleans()),
    st.builds(Withdraw, bytes32),
)


@given(every_call)
def test_what_is_encoded_is_parsed_to_the_same_call(call: Call) -> None:
    data = encode_call(call)
    assert parse_call(data) == call
    assert type(parse_call(data)) is type(call)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_call_or_malformed(data: bytes) -> None:
    try:
        call = parse_call(data)
    except Malformed:
        return
    assert encode_call(call) == data


@given(every_call, st.data())
def test_a_changed_byte_gives_another_call_or_none(call: Call, data: st.DataObject) -> None:
    encoded = bytearray(encode_call(call))
    index = data.draw(st.integers(0, len(encoded) - 1))
    encoded[index] ^= data.draw(st.integers(1, 255))
    try:
        other = parse_call(bytes(encoded))
    except Malformed:
        return
    assert other != call
    assert encode_call(other) == bytes(encoded)


@pytest.mark.parametrize(
    ("call", "head"),
    [
        (PrescriptionCommit(A), "920ac420"),
        (MarkLock(A), "9214c420"),
        (ClaimAccept(A, None), "931fc420"),
        (ClaimReject(A, Reason.DUPLICATE, automatic=True), "9420c420"),
        (ClaimCancel(A), "9221c420"),
        (SettlementOpen(PAYER, Direction.REPAYMENT), "93ccaac410"),
        (SettlementAdd(A, (B,)), "93ccabc420"),
        (SettlementRemove(A, (B,)), "93ccacc420"),
        (SettlementAnnounce(A, B, None), "94ccadc420"),
        (SettlementDispute(A, Ground.SUM_WRONG), "93ccaec420"),
        (SettlementInsist(A), "92ccafc420"),
        (SettlementWithdraw(A), "92ccb0c420"),
        (SettlementCancel(A), "92ccb1c420"),
        (SettlementConfirm(A), "9229c420"),
        (DisclosureAcknowledge(PAYER, A), "93ccb4c410"),
        (ErasureRequest(PAYER, A), "93ccb5c410"),
        (ErasureStatement(A, ErasureOutcome.ERASED), "93ccb6c420"),
        (
            ClaimSubmit(PAYER, Leg.BASE, A, A, A, (Mark(Part.LENSES, A),), None, None),
            "991ec410",
        ),
    ],
)
def test_a_call_is_the_array_of_its_number_and_its_fields(call: Call, head: str) -> None:
    data = encode_call(call)
    assert data.startswith(bytes.fromhex(head))
    assert msgspec.msgpack.decode(data)[0] == type(call).KIND


def test_a_claim_is_encoded_as_written() -> None:
    call = ClaimSubmit(
        PAYER, Leg.COMPLEMENTARY, A, B, A, (Mark(Part.LENSES, A), Mark(Part.FRAME, B)), None, B
    )
    expected = (
        bytes.fromhex("991ec410") + PAYER + b"\x01"
        + b"\xc4\x20" + A + b"\xc4\x20" + B + b"\xc4\x20" + A
        + b"\x92\x92\x00\xc4\x20" + A + b"\x92\x01\xc4\x20" + B
        + b"\xc0\xc4\x20" + B
    )  # fmt: skip
    assert encode_call(call) == expected


@dataclass(frozen=True)
class Bad:
    what: str
    value: object


CLAIM = [30, PAYER, 1, A, A, A, [[0, A]], None, None]


def _claim(index: int, value: object) -> list[object]:
    changed: list[object] = list(CLAIM)
    changed[index] = value
    return changed


@pytest.mark.parametrize(
    "bad",
    [
        Bad("an unknown kind", [19, A]),
        Bad("no kind", [A]),
        Bad("nothing", []),
        Bad("a kind that is true", [True, A]),
        Bad("a commitment too short", [10, A[:31]]),
        Bad("a commitment too long", [10, A + b"\x00"]),
        Bad("text for bytes", [10, "a" * 32]),
        Bad("a field too many", [10, A, None]),
        Bad("a field too few", [31, A]),
        Bad("a payer of 17 bytes", _claim(1, PAYER + b"\x00")),
        Bad("a third leg", _claim(2, 2)),
        Bad("a leg below", _claim(2, -1)),
        Bad("a leg that is true", _claim(2, True)),  # noqa: FBT003
        Bad("a leg that is a float", _claim(2, 1.0)),
        Bad("no mark", _claim(6, [])),
        Bad("three marks", _claim(6, [[0, A], [1, B], [1, PAYER * 2]])),
        Bad("one part twice", _claim(6, [[0, A], [0, B]])),
        Bad("parts in the wrong order", _claim(6, [[1, A], [0, B]])),
        Bad("one mark twice", _claim(6, [[0, A], [1, A]])),
        Bad("a third part", _claim(6, [[2, A]])),
        Bad("a reason of 0", [32, A, 0, False]),
        Bad("a reason of 16", [32, A, 16, False]),
        Bad("automatic as a number", [32, A, 1, 0]),
        Bad("a ground of 0", [134, A, 0]),
        Bad("a ground of 6", [134, A, 6]),
        Bad("a request that marks a part twice", [100, PAYER, 1, A, A, A, [[0, A], [0, B]]]),
        Bad("a request without marks", [100, PAYER, 1, A, A, A, []]),
        Bad("a grant until before time began", [103, A, None, -1]),
        Bad("a settlement of nothing", [40, PAYER, [], None]),
        Bad("a settlement of 257", [40, PAYER, [A] * 257, None]),
        Bad("a settlement of no direction", [170, PAYER, 2]),
        Bad("nothing put in", [171, A, []]),
        Bad("257 put in", [171, A, [A] * 257]),
        Bad("nothing taken out", [172, A, []]),
        Bad("257 taken out", [172, A, [A] * 257]),
        Bad("a dispute on no ground", [174, A, 0]),
        Bad("a dispute on a ground that there is not", [174, A, 8]),
        Bad("a statement of no outcome", [182, A, 0]),
        Bad("a statement of a fourth outcome", [182, A, 4]),
        Bad("a map", {"kind": 10}),
        Bad("a consensus key of one's own", [200, 2, 1, A, 0, None, A + A]),
        Bad("a sealing key that does not sign", [200, 4, 1, A, 0, None, None]),
        Bad("a key that does not sign", [200, 1, 1, A, 0, None, None]),
        Bad("a role of 7", [200, 7, 1, A, 0, None, A + A]),
        Bad("a third algorithm", [200, 1, 3, A, 0, None, A + A]),
        Bad("an empty delegation", [203, PAYER, 0, 9]),
        Bad("a delegation of everything and more", [203, PAYER, 16, 9]),
        Bad("a key of 1024 bits", [205, A[:8], A, b"\xff" * 128, b"\xff" * 128]),
    ],
    ids=lambda bad: bad.what,
)
def test_no_call_is(bad: Bad) -> None:
    with pytest.raises(Malformed):
        parse_call(msgspec.msgpack.encode(bad.value))


def test_bytes_after_a_call_are_refused() -> None:
    with pytest.raises(Malformed):
        parse_call(encode_call(PrescriptionCommit(A)) + b"\xc0")


def test_a_longer_form_of_a_number_is_refused() -> None:
    assert encode_call(MarkLock(A)) == encode((20, A))
    with pytest.raises(Malformed):
        parse_call(b"\x92\xcc\x14\xc4\x20" + A)


def test_the_largest_call_fits_in_a_transaction() -> None:
    largest = SettlementAdd(A, tuple(n.to_bytes(32) for n in range(MAX_LISTED)))
    assert len(encode_call(largest)) <= MAX_CALL_BYTES


@given(every_call)
def test_every_call_costs_something(call: Call) -> None:
    assert call.cost >= 1


def test_a_settlement_costs_by_its_claims() -> None:
    one, many = (SettlementAdd(A, (A,) * n) for n in (1, 100))
    assert many.cost > 50 * one.cost


def test_the_kinds_are_those_of_the_record() -> None:
    kinds = {kind.__name__: kind.KIND for kind in calls.Call.__args__}
    assert kinds == {
        "PrescriptionCommit": 10,
        "PrescriptionSupersede": 11,
        "PrescriptionRevoke": 12,
        "MarkLock": 20,
        "ClaimSubmit": 30,
        "ClaimAccept": 31,
        "ClaimReject": 32,
        "ClaimCancel": 33,
        "AuthorisationRequest": 100,
        "AuthorisationAsk": 101,
        "AuthorisationAnswer": 102,
        "AuthorisationGrant": 103,
        "AuthorisationRefuse": 104,
        "AuthorisationCancel": 105,
        "AuthorisationReview": 106,
        "ClaimAbandon": 130,
        "ClaimReverse": 131,
        "ClaimRecover": 132,
        "ClaimConcede": 133,
        "ClaimDispute": 134,
        "ClaimUphold": 135,
        "ClaimOverturn": 136,
        "ClaimWithdraw": 137,
        "ClaimClose": 138,
        "ClaimSupersede": 139,
        "SettlementConfirm": 41,
        "ValidatorJoin": 50,
        "ValidatorLeave": 51,
        "ValidatorReplace": 52,
        "ValidatorRotate": 53,
        "KeyAdd": 200,
        "KeyRevoke": 201,
        "KeyRotate": 202,
        "DelegationGrant": 203,
        "DelegationWithdraw": 204,
        "CertificateBind": 205,
        "SettlementOpen": 170,
        "SettlementAdd": 171,
        "SettlementRemove": 172,
        "SettlementAnnounce": 173,
        "SettlementDispute": 174,
        "SettlementInsist": 175,
        "SettlementWithdraw": 176,
        "SettlementCancel": 177,
        "DisclosureAcknowledge": 180,
        "ErasureRequest": 181,
        "ErasureStatement": 182,
        "ReadySignal": 240,
        "Propose": 220,
        "Vote": 221,
        "Withdraw": 222,
    }
