"""Tables of claims as shops' programs export them: read in every usual writing, or refused."""

import contextlib
import csv
import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.nomenclature.correction import Correction, Prism
from node.client import headings, sheets
from node.client.errors import ClientError, ManyRefused, NotReadable, SocialSecurityNumber
from node.client.importing import (
    MAX_IMPORT_BYTES,
    Entry,
    read_entries,
    read_prescriptions,
    read_requests,
    whole,
)
from node.client.request import ClaimRequest

TODAY = "2026-11-23"
FRENCH = {
    "N° facture": "F2025-0001",
    "Payeur": "insurer-a",
    "Part": "complémentaire",
    "Date facture": "09/05/2025",
    "N° adhérent": "ADH-404724",
    "N° PEC": "PEC-06184",
    "Ordonnance": "ORD-2025-17",
    "Date ordonnance": "02/01/2025",
    "N° RPPS": "10 00000000 9",
    "Sphère OD": "-2,50",
    "Cylindre OD": "-1,75",
    "Axe OD": "165°",
    "Add OD": "2",
    "Prisme OD": "1,5",
    "Base OD": "interne",
    "Sphère œil gauche (D)": "+1,25",
    "Cylindre OG": "",
    "Axe OG": "0",
    "Addition OG": "2,00",
    "Code OD": "VM2",
    "Code OG": "vm1",
    "Code monture": "M03",
    "Suppléments": "SV4",
    "Montant verres (€)": "1 118,5",
    "Montant monture": "64,50 €",
    "Nom du client": "180127512345642",
    "Remarque": "cliente pressée",
}


def table(*rows: dict[str, str], delimiter: str = ";", heads: list[str] | None = None) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, heads or [*rows[0]], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def read(data: str | bytes) -> list[Entry[ClaimRequest]]:
    return read_entries(data if isinstance(data, bytes) else data.encode(), "t.csv", today=TODAY)


def faults(data: str | bytes) -> list[str]:
    """Return the faults of the only row."""
    (entry,) = read(data)
    assert entry.fault is not None
    found = entry.fault.faults if isinstance(entry.fault, ManyRefused) else (entry.fault,)
    return [str(fault) for fault in found]


def test_a_row_as_a_french_program_writes_it_is_a_claim() -> None:
    (entry,) = read(table(FRENCH))
    assert entry.place == "t.csv, row 2"
    claim = entry.found
    assert claim is not None
    assert claim.prescribed is not None
    held = claim.prescribed.prescription
    assert held.right == Correction(-425, 175, 75, 200, (Prism(150, "in"),))
    assert held.left == Correction(125, addition=200)
    assert (held.written, held.prescriber) == ("2025-01-02", "10000000009")
    assert (claim.reference, claim.prescription_reference) == ("F2025-0001", "ORD-2025-17")
    assert (claim.payer, claim.leg, claim.invoice_date) == ("insurer-a", 1, "2025-05-09")
    assert (claim.codes.right, claim.codes.left, claim.codes.frame) == ("VM2", "VM1", "M03")
    assert claim.codes.supplements == ("SV4",)
    assert (claim.lenses_cents, claim.frame_cents) == (111850, 6450)
    assert (claim.insured, claim.authorisation) == ("ADH-404724", "PEC-06184")
    assert entry.left_out == ('column "Nom du client"', 'column "Remarque"')


WRITTEN: dict[str, Callable[[str], bytes]] = {
    "utf-8": lambda text: text.encode(),
    "with a mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "cp1252": lambda text: text.encode("cp1252"),
    "utf-16": lambda text: text.encode("utf-16"),
    "by Excel": lambda text: b"sep=;\r\n" + text.encode("cp1252"),
    "by Linux": lambda text: text.replace("\r\n", "\n").encode(),
    "with empty rows": lambda text: text.replace("\r\n", "\n\n\n").encode(),
    "with tabs": lambda _: table(FRENCH, delimiter="\t").encode("cp1252"),
    "with commas": lambda _: table(FRENCH, delimiter=",").encode(),
    "backwards": lambda _: table(FRENCH, heads=[*reversed(FRENCH)]).encode(),
    "with ISO days": lambda text: text.replace("09/05/2025", "2025-05-09").encode(),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_however_it_is_written_it_is_the_same_claim(how: str) -> None:
    text = table(FRENCH)
    (entry,) = read(WRITTEN[how](text))
    assert entry.found == read(text)[0].found
    assert entry.found is not None


def test_headings_may_be_english_and_the_prescription_kept() -> None:
    row = {
        "invoice": "G-1",
        "insurer": "b",
        "leg": "base",
        "invoice date": "2025-05-09",
        "member number": "A-1",
        "prescription reference": "ORD-1",
        "right lens code": "V01",
        "lens amount right": "75",
    }
    (claim,) = read_requests(table(row, delimiter=",").encode(), "t.csv", today=TODAY)
    assert claim.prescribed is None
    assert (claim.prescription_reference, claim.lenses_cents) == ("ORD-1", 7500)
    assert claim.frame_cents is None


def test_all_faults_of_a_row_are_told_by_the_names_of_its_columns() -> None:
    row = FRENCH | {
        "Sphère OD": "-2,13",
        "Axe OD": "900",
        "Cylindre OG": "-0,5",
        "Axe OG": "",
        "N° RPPS": "10000000008",
        "Date facture": "09/05/25",
        "Code OG": "VX1",
        "Montant monture": "30,000",
    }
    assert faults(table(row)) == [
        'column "Date facture": write the year with four digits: 23/11/2026',
        'column "N° RPPS": the last digit of the RPPS number does not fit the others',
        'column "Sphère OD": -2.13 is no step of a quarter of a dioptre (0.25)',
        'column "Axe OD": 900 degrees; an axis lies between 1 and 180',
        'column "Axe OG": is missing, and a cylinder needs its axis',
        'column "Code OG": VX1 is no grouping code of optics',
        'column "Montant monture": must be an amount in euros, such as 118,00',
    ]


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("Sphère OD", "deux", "must be a number of dioptres, such as -2,25"),
        ("Axe OD", "90,5", "must be a whole number of degrees"),
        ("Base OD", "dehors", "must be haut, bas, interne or externe (up, down, in, out)"),
        ("Montant monture", "-5,00", "must be an amount in euros, such as 118,00"),
        ("Part", "tierce", "must be base (AMO) or complementary (AMC)"),
        ("Date facture", "31/02/2025", "must be a day such as 2026-11-23"),
        ("Date facture", "24/11/2026", "2026-11-24 is still to come"),
        ("Date facture", "01/01/2025", "is before the prescription, written 2025-01-02"),
        ("N° adhérent", "J. DUPONT", "must be 1 to 20 capital letters, digits and dashes"),
        ("Remarque", "x" * 1001, "has more than 1000 characters"),
    ],
)
def test_a_cell_that_cannot_be_is_refused(column: str, cell: str, reason: str) -> None:
    assert faults(table(FRENCH | {column: cell})) == [f'column "{column}": {reason}']


@pytest.mark.parametrize("number", ["180127512345642", "1 80 12 7512345642", "2 80 12 2A 123 456"])
@pytest.mark.parametrize("column", ["Remarque", "N° adhérent", "Sphère OD", "Ordonnance"])
def test_a_social_security_number_is_refused_wherever_it_must_not_be(
    number: str, column: str
) -> None:
    (entry,) = read(table(FRENCH | {column: number}))
    assert entry.fault is not None
    first = entry.fault.faults[0] if isinstance(entry.fault, ManyRefused) else entry.fault
    assert isinstance(first, SocialSecurityNumber)
    assert first.field == f'column "{column}"'
    assert number not in str(entry.fault)


def test_a_bad_row_does_not_hide_the_others() -> None:
    rows = [FRENCH | {"N° facture": name} for name in ("A-1", "A-2", "A-3", "A-2")]
    rows[0]["Payeur"] = "Mutuelle X"
    entries = read(table(*rows))
    assert [entry.found is None for entry in entries] == [True, False, False, True]
    with pytest.raises(ManyRefused) as refusal:
        whole(entries)
    assert [str(fault) for fault in refusal.value.faults] == [
        't.csv, row 2, column "Payeur": must be the payer\'s label, or its id of 32 digits',
        "t.csv, row 5, reference: A-2 stands twice, first in t.csv, row 3",
    ]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf \n", "is empty"),
        (b"PK\x03\x04rest", "is a workbook or an archive"),
        (b"%PDF-1.7", "is a PDF"),
        (b"\x1f\x8b\x08", "is compressed"),
        (b"<Bundle/>", "is XML"),
        (b"[]", "is a list of JSON"),
        (b"{", "is not a JSON file"),
        (b"\xff\xfea", "neither JSON nor"),
        (b"a;b\n1;2\n", "neither JSON nor a table with columns that are known"),
        (b"\x00;\x01", "is neither JSON nor a table of text"),
        (b"N\xb0 facture;Payeur\n", 'has no column "part", and none "date facture"'),
        (b"Payeur;Mutuelle;Part\n", 'two columns for one thing, the first is column "Payeur"'),
        (";".join(f"c{n}" for n in range(201)).encode(), "has 201 columns"),
        (b'Payeur;"Part', "line 1: not a table"),
    ],
)
def test_a_file_that_is_something_else_is_told_so(data: bytes, reason: str) -> None:
    with pytest.raises(NotReadable) as refusal:
        read(data)
    assert reason in str(refusal.value)


def test_a_row_with_more_cells_than_headings_is_not_guessed_at() -> None:
    text = table(FRENCH).replace("1 118,5", "1 118;5")
    with pytest.raises(NotReadable, match="row 2: there are more cells than headings"):
        read(text)


def test_a_table_without_rows_holds_none() -> None:
    with pytest.raises(NotReadable, match="holds none"):
        read(table(FRENCH).partition("\n")[0])


def test_a_million_rows_are_refused_before_they_are_read() -> None:
    with pytest.raises(NotReadable, match="is longer than"):
        read(bytes(MAX_IMPORT_BYTES + 1))
    short = "facture;payeur;part;date facture\n" + "a;b;c;d\n" * (sheets.MAX_ROWS + 1)
    with pytest.raises(NotReadable, match="more than 5000 rows"):
        read(short)


def test_prescriptions_come_as_a_table_too() -> None:
    wanted = ("Ordonnance", "Date ordonnance", "N° RPPS", "Sphère OD", "Cylindre OD", "Axe OD")
    row = {name: FRENCH[name] for name in wanted}
    late = row | {"Ordonnance": "ORD-2", "Date ordonnance": "24/11/2026"}
    none = row | {"Ordonnance": "ORD-3", "Sphère OD": "", "Cylindre OD": "", "Axe OD": ""}
    first, second, third = read_prescriptions(table(row, late, none).encode(), "o", today=TODAY)
    assert first.found is not None
    assert first.found.reference == "ORD-2025-17"
    assert first.found.prescription.right == Correction(-425, 175, 75)
    assert str(second.fault) == 'column "Date ordonnance": 2026-11-24 is still to come'
    assert str(third.fault) == "prescription.lensSpecification: there is no lens"


def test_no_heading_stands_for_two_things() -> None:
    assert all(headings.plain(name) == name for name in headings.FIELDS)
    assert not any(headings.is_of_a_person(name) for name in headings.FIELDS)
    for name in ("NIR", "N° sécurité sociale", "Nom", "Prénom du client", "Date de naissance"):
        assert headings.is_of_a_person(name)


@given(st.dictionaries(st.sampled_from([*FRENCH]), st.text(max_size=12)))
def test_any_cells_are_read_or_refused(cells: dict[str, str]) -> None:
    try:
        entries = read(table(FRENCH | cells))
    except NotReadable:
        return
    assert all((entry.found is None) is not (entry.fault is None) for entry in entries)


@given(st.binary(max_size=300) | st.text(alphabet='facture;payeur,part"\n\r\t', max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes | str) -> None:
    raw = data if isinstance(data, bytes) else data.encode()
    for reader in (read_entries, read_prescriptions):
        with contextlib.suppress(ClientError):
            reader(raw, "x", today=TODAY)


def test_an_object_without_anything_in_it_is_refused_as_what_it_should_be() -> None:
    assert faults("{}") == ["file.format: must be depoli/claim/1"]


EYE = st.builds(
    lambda sphere, lens, add: Correction(25 * sphere, lens[0], lens[1], add),
    st.integers(-80, 80),
    st.none().map(lambda _: (None, None))
    | st.tuples(st.integers(1, 24).map(lambda n: 25 * n), st.integers(1, 180)),
    st.none() | st.integers(1, 16).map(lambda n: 25 * n),
)


def as_typed(hundredths: int | None) -> str:
    return "" if hundredths is None else f"{hundredths / 100:+.2f}".replace(".", ",")


@given(EYE, EYE, st.integers(1, 10_000_00), st.integers(0, 10_000_00))
def test_whatever_is_typed_comes_out_as_it_was_typed(
    right: Correction, left: Correction, lenses: int, frame: int
) -> None:
    row = FRENCH | {"Prisme OD": "", "Base OD": "", "Code OD": "VU2", "Code OG": "VU2"}
    for side, eye in (("OD", right), ("OG", left)):
        sphere = "Sphère OD" if side == "OD" else "Sphère œil gauche (D)"
        add = "Add OD" if side == "OD" else "Addition OG"
        row |= {sphere: as_typed(eye.sphere), f"Cylindre {side}": as_typed(eye.cylinder)}
        row |= {f"Axe {side}": str(eye.axis or ""), add: as_typed(eye.addition)}
    row |= {"Montant verres (€)": as_typed(lenses)[1:], "Montant monture": f"{frame / 100:.2f}"}
    (entry,) = read(table(row))
    assert entry.found is not None, entry.fault
    assert entry.found.prescribed is not None
    held = entry.found.prescribed.prescription
    assert (held.right, held.left) == (right, left)
    assert (entry.found.lenses_cents, entry.found.frame_cents) == (lenses, frame)
