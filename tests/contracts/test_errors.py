"""Refusals: the numbers stand in the record, so none may ever change."""

from contracts import errors
from contracts.errors import Inadmissible, Refusal, Refused

NUMBERS = {
    1: "SENDER_NOT_ELIGIBLE",
    2: "TOO_EARLY",
    3: "TOO_LATE",
    10: "PRESCRIPTION_ALREADY_COMMITTED",
    11: "PRESCRIPTION_NOT_IN_FORCE",
    20: "MARK_ALREADY_LOCKED",
    21: "MARK_NOT_LOCKED",
    22: "MARK_LOCKED_TOO_LATE",
    23: "MARK_ALREADY_USED",
    30: "PAYER_UNKNOWN",
    31: "PAYER_NOT_ELIGIBLE",
    32: "PRESCRIPTION_NOT_COMMITTED",
    33: "AMOUNT_NOT_A_POINT",
    34: "AUTHORISATION_UNKNOWN",
    35: "PRIOR_CLAIM_UNKNOWN",
    36: "CLAIM_UNKNOWN",
    37: "CLAIM_NOT_YOURS",
    38: "CLAIM_IN_WRONG_STATE",
    40: "BENEFICIARY_UNKNOWN",
    41: "CLAIM_LISTED_TWICE",
    42: "CLAIM_NOT_SETTLEABLE",
    43: "SETTLEMENT_UNKNOWN",
    44: "SETTLEMENT_NOT_YOURS",
    45: "SETTLEMENT_IN_WRONG_STATE",
    50: "CHANGE_UNDER_WAY",
    51: "CHANGE_NOT_YOURS",
    54: "NO_VALIDATOR",
    55: "ALREADY_VALIDATOR",
    56: "TOO_FEW_VALIDATORS",
    57: "TOO_MANY_VALIDATORS",
    58: "FAMILY_WOULD_DECIDE",
    60: "KEYS_UNCHANGED",
    61: "KEYS_CHANGED_LATELY",
    62: "KEY_UNUSABLE",
    63: "KEY_TAKEN",
    64: "BLOCK_NOT_RECENT",
    65: "POSSESSION_NOT_PROVED",
    100: "AUTHORISATION_NOT_YOURS",
    101: "AUTHORISATION_IN_WRONG_STATE",
    102: "AUTHORISATION_DIFFERS",
    103: "TOO_MANY_QUESTIONS",
    104: "VALIDITY_NOT_POSSIBLE",
    105: "DECIDED_BY_A_PERSON",
    106: "PERSON_NEEDED",
    107: "OTHER_PERSON_NEEDED",
    130: "PRIOR_CLAIM_IN_WRONG_STATE",
    131: "PRIOR_CLAIM_DIFFERS",
    132: "DISPUTED_BEFORE",
    133: "GROUND_NOT_FITTING",
    134: "AMOUNT_NOT_WANTED",
    135: "DOCUMENT_UNCHANGED",
    200: "NEW_KEY_UNUSABLE",
    201: "NEW_KEY_TAKEN",
    202: "NEW_KEY_NOT_PROVED",
    203: "KEY_NEVER_IN_FORCE",
    204: "TOO_MANY_KEYS",
    205: "KEY_UNKNOWN",
    206: "KEY_ENDED",
    207: "KEY_OF_VALIDATOR",
    208: "KEY_OF_ANOTHER_ROLE",
    209: "LAST_KEY",
    210: "DELEGATE_IS_SENDER",
    211: "DELEGATE_UNKNOWN",
    212: "DELEGATION_NOT_IN_TIME",
    213: "DELEGATION_UNKNOWN",
    215: "KEY_NOT_BINDABLE",
    216: "CERTIFICATE_NOT_PROVED",
    220: "NOT_GOVERNING",
    221: "PROPOSAL_UNKNOWN",
    222: "PROPOSAL_NOT_YOURS",
    223: "PROPOSAL_IN_WRONG_STATE",
    224: "ALREADY_VOTED",
    225: "DEADLINE_OUT_OF_BOUNDS",
    226: "EFFECT_TOO_NEAR",
    227: "EFFECT_TOO_FAR",
    228: "TOO_MANY_OPEN",
    229: "ALREADY_PROPOSED",
    230: "AGENDA_FULL",
    231: "MEMBER_UNKNOWN",
    232: "ALREADY_MEMBER",
    233: "MEMBER_STANDS_OTHERWISE",
    234: "MEMBER_VALIDATES",
    235: "NOTHING_WOULD_CHANGE",
    236: "VERSION_CANNOT_FOLLOW",
    237: "COUNTRY_NOT_IN_EEA",
    238: "PROPOSAL_OF_ANOTHER_CHANGE",
    239: "NOT_IN_EFFECT_YET",
    240: "NOBODY_COULD_DECIDE",
    170: "CLAIM_OF_OTHERS",
    171: "CLAIM_NOT_IN_SETTLEMENT",
    172: "SETTLEMENT_FULL",
    173: "SETTLEMENT_EMPTY",
    174: "SUM_DIFFERS",
    180: "COUNTERPART_UNKNOWN",
    181: "COUNTERPART_IS_SENDER",
    182: "COMMITMENT_STANDS",
    183: "ERASURE_UNKNOWN",
    184: "ERASURE_NOT_YOURS",
    185: "ERASURE_IN_WRONG_STATE",
}


def test_the_numbers_of_refusals_are_those_of_the_record() -> None:
    assert {refusal.value: refusal.name for refusal in Refusal} == NUMBERS


def test_every_refusal_says_why_in_one_sentence() -> None:
    for refusal in Refusal:
        assert refusal.text.endswith(".")
        assert refusal.text[0].isupper()


def test_a_refusal_is_found_by_its_number() -> None:
    assert Refusal(23) is Refusal.MARK_ALREADY_USED


def test_every_inadmissible_has_a_name_of_its_own() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = [kind.code for kind in kinds if issubclass(kind, Inadmissible)]
    assert len(set(codes)) == len(codes)


def test_evidence_is_plain_numbers() -> None:
    refused = Refused(Refusal.CLAIM_IN_WRONG_STATE, Refusal.CLAIM_UNKNOWN)
    assert [type(number) for number in refused.evidence] == [int]
