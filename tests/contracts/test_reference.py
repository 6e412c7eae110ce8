"""Reference tables are named on the chain by a number and a hash: neither may ever change."""

from contracts.reference import TableKind, table_hash

NUMBERS = {
    1: "optics-codes",
    2: "optics-categories",
    3: "optics-renewal",
    4: "optics-prescriptions",
}


def test_the_numbers_of_tables_are_those_of_the_record() -> None:
    assert {kind.value: kind.subject for kind in TableKind} == NUMBERS


def test_a_table_is_named_by_the_plain_digest_of_its_file() -> None:
    # FIPS 180-4, the example of one block
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert table_hash(b"abc").hex() == expected
