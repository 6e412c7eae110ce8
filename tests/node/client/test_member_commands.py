"""Members at their commands: keys, who acts for whom, and certificates."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from contracts import certificates, registry
from ledger.keys import Role
from node.cli.person import Person
from node.client import refusals, x509
from node.errors import Exit
from tests.authority import NOW, anchor, pem, private, text
from tests.contracts.world import id_of
from tests.node.client.desk import MemoryNode, example
from tests.node.client.test_commands import Town

ROOT = anchor()
KEY = private("optician")
LEAF = ROOT.issue("Optique Durand", KEY)
AT = ("--at", f"{NOW:%Y-%m-%d}")


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    node = MemoryNode()
    monkeypatch.setattr(Person, "node", lambda _person: node)
    return Town(tmp_path, node)


def keys_of(town: Town, name: str, *args: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = town.does(name, "member", "keys", *args)["keys"]
    return found


def use(town: Town, name: str, key: Path) -> None:
    """Name another transaction key in a home."""
    path = town.folder / name / "client.toml"
    path.write_text(path.read_text().replace('key_file = "key"', f'key_file = "{key}"'))


def test_a_member_looks_at_itself_and_at_others(town: Town) -> None:
    shown = town.does("shop", "member", "show")
    assert (shown["label"], shown["family"], shown["country"]) == ("shop", "optician", "FR")
    assert shown["history"] == [{"from_height": 0, "status": "admitted"}]
    assert town.does("shop", "member", "show", "insurer")["id"] == id_of("insurer").hex()
    assert [key["role"] for key in keys_of(town, "shop")] == ["transaction"]
    roles = [key["role"] for key in keys_of(town, "shop", "insurer")]
    assert sorted(roles) == ["checkpoint", "consensus", "human", "human", "tls", "transaction"]
    town.refuses(Exit.NOT_FOUND, "shop", "member", "show", "nobody")


@pytest.mark.parametrize("role", ["transaction", "human", "sealing", "node"])
def test_a_key_is_added_and_ended(town: Town, role: str) -> None:
    made = town.once("shop", "member", "add-key", "new.seed", "--role", role)
    assert made["from_height"] == made["block"] + 1
    (key,) = [each for each in keys_of(town, "shop") if each["public"] == made["public"]]
    assert key["role"] == ("tls" if role == "node" else role)
    said = town.refuses(Exit.REJECTED, "shop", "member", "add-key", "new.seed", "--role", role)
    assert "NEW_KEY_TAKEN" in said
    ended = town.once("shop", "member", "revoke-key", key["id"][:6], "--height", "50")
    assert ended["until_height"] == 50
    town.refuses(Exit.NOT_FOUND, "shop", "member", "revoke-key", "ffff")
    Path("new.seed").unlink()


def test_a_key_that_cannot_be_made_is_told_before_anything_is_written(town: Town) -> None:
    for role in ("sealing", "node"):
        args = ("member", "add-key", "new.seed", "--role", role, "--algorithm", "p256")
        said = town.refuses(Exit.USAGE, "shop", *args)
        assert f"a key for {role} is Ed25519" in said
    assert not Path("new.seed").exists()
    said = town.refuses(Exit.NOT_INITIALISED, "shop", "member", "add-key", "none/new.seed")
    assert "none does not exist" in said
    assert "make that folder first" in said


def test_what_is_wrong_with_a_change_of_keys_is_told_with_what_to_do(town: Town) -> None:
    said = town.refuses(Exit.NOT_FOUND, "shop", "member", "revoke-key", "")
    assert "'' is the id of no key of this member" in said
    said = town.refuses(Exit.REJECTED, "shop", "member", "add-key", "new.seed", "--until", "1")
    assert "KEY_NEVER_IN_FORCE" in said
    assert "give an --until above" in said
    said = town.refuses(Exit.REJECTED, "shop", "member", "delegate", "shop", "--scope", "claims")
    assert "name another member" in said
    said = town.refuses(Exit.REJECTED, "shop", "member", "withdraw", "rival")
    assert "depoli member show lists" in said


@pytest.mark.parametrize(
    ("role", "setting"),
    [("human", "human_key_file"), ("sealing", "sealing_key_file"), ("transaction", "key_file")],
)
def test_who_changes_a_key_is_told_which_setting_names_it(
    town: Town, role: str, setting: str
) -> None:
    made = town.once("shop", "member", "add-key", "old.seed", "--role", role)
    (key,) = [each for each in keys_of(town, "shop") if each["public"] == made["public"]]
    town.node.world.block()
    done = town.call("shop", "member", "rotate-key", "new.seed", "--key", key["id"])
    assert f"the one that {setting} of client.toml names" in done.stderr


def test_no_reason_has_two_hints() -> None:
    """A second one would take the place of the first, and be read where it means nothing."""
    (table,) = [
        node.value
        for node in ast.walk(ast.parse(Path(refusals.__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HINTS"
    ]
    assert isinstance(table, ast.Dict)
    names = [ast.unparse(key) for key in table.keys if key is not None]
    assert len(names) == len(set(names)) > 20


@pytest.fixture(autouse=True)
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_last_key_is_not_ended(town: Town) -> None:
    (key,) = keys_of(town, "shop")
    said = town.refuses(Exit.REJECTED, "shop", "member", "revoke-key", key["id"])
    assert "LAST_KEY" in said
    assert "add-key" in said


@pytest.mark.parametrize("algorithm", ["ed25519", "p256"])
def test_a_shop_changes_its_key_and_its_payer_still_reads_what_it_signs(
    town: Town, algorithm: str, tmp_path: Path
) -> None:
    new = tmp_path / "new.seed"
    result = town.once("shop", "member", "rotate-key", new, "--algorithm", algorithm)
    assert len(result["public"]) == (66 if algorithm == "p256" else 64)
    assert "not in force" in town.call("shop", "member", "keys").stdout
    use(town, "shop", new)
    town.does("shop", "claim", "submit", town.file("c.json", example()))
    disclosure = tmp_path / "d.json"
    town.once("shop", "disclosure", "make", "F2025-0003", "--output", disclosure)
    (seen,) = town.does("insurer", "disclosure", "verify", disclosure)
    assert seen["kind"] == "disclosure"


def test_files_are_sealed_to_a_key_that_was_added(town: Town, tmp_path: Path) -> None:
    town.does("shop", "claim", "submit", town.file("c.json", example()))
    plain, sealed = tmp_path / "plain.json", tmp_path / "sealed.json"
    town.once("shop", "disclosure", "make", "F2025-0003", "--output", plain)
    assert "claim_document" in json.loads(plain.read_text())
    town.once("insurer", "member", "add-key", tmp_path / "s.seed", "--role", "sealing")
    town.node.world.block()  # it is good from the next one on
    town.once("shop", "disclosure", "make", "F2025-0003", "--output", sealed)
    assert json.loads(sealed.read_text())["recipient"] == id_of("insurer").hex()
    said = town.refuses(Exit.VERIFICATION_FAILED, "insurer", "disclosure", "verify", sealed)
    assert "there is no sealing key here" in said
    home = town.folder / "insurer" / "client.toml"
    home.write_text(home.read_text() + f'sealing_key_file = "{tmp_path / "s.seed"}"\n')
    (seen,) = town.does("insurer", "disclosure", "verify", sealed)
    assert seen["kind"] == "disclosure"


def test_another_member_acts_for_a_shop_until_it_may_no_more(town: Town, tmp_path: Path) -> None:
    granted = town.once(
        "shop", "member", "delegate", "rival", "--scope", "claims", "--scope", "disputes"
    )
    assert granted["scope"] == ["claims", "disputes"]
    (given,) = town.does("shop", "member", "show")["delegations"]
    assert (given["delegate"], given["in_force"]) == (id_of("rival").hex(), True)
    assert "rival" in town.call("shop", "member", "show").stdout
    use(town, "shop", tmp_path / "rival" / "key")  # the rival's people work in the shop's home
    town.does("shop", "claim", "submit", town.file("c.json", example()))
    use_own = tmp_path / "shop" / "client.toml"
    use_own.write_text(use_own.read_text().replace(str(tmp_path / "rival" / "key"), "key"))
    town.once("shop", "member", "withdraw", "rival")
    assert not town.does("shop", "member", "show")["delegations"][0]["in_force"]
    said = town.refuses(Exit.REJECTED, "shop", "member", "withdraw", "rival")
    assert "DELEGATION_UNKNOWN" in said


def test_a_payer_takes_the_documents_of_a_delegate_that_signed_the_claim(
    town: Town, tmp_path: Path
) -> None:
    town.once("shop", "member", "delegate", "rival", "--scope", "claims")
    use(town, "shop", tmp_path / "rival" / "key")
    town.does("shop", "claim", "submit", town.file("c.json", example()))
    disclosure = tmp_path / "d.json"
    town.once("shop", "disclosure", "make", "F2025-0003", "--output", disclosure)
    (seen,) = town.does("insurer", "disclosure", "verify", disclosure)
    assert seen["kind"] == "disclosure"


def bound(town: Town, *how: str | Path) -> Any:  # noqa: ANN401
    (town.folder / "leaf.pem").write_bytes(text(LEAF))
    (town.folder / "root.pem").write_bytes(text(ROOT.certificate))
    secret = town.folder / "key.pem"
    if not secret.exists():
        secret.touch(0o600)
        secret.write_bytes(pem(KEY))
    return town.once("shop", "member", "bind-certificate", town.folder / "leaf.pem", *how)


def test_a_certificate_is_bound_and_verified_by_others(town: Town) -> None:
    made = bound(town, "--private-key", town.folder / "key.pem")
    found = certificates.binding(town.node.world.state, id_of("shop"), bytes.fromhex(made["key"]))
    assert found is not None
    assert found.certificate == x509.fingerprint(LEAF)
    args = ("member", "verify-certificate", "shop", "leaf.pem", "--anchor", "root.pem", *AT)
    told = town.does("insurer", *args)
    assert (told["organisation"], told["identifier"]) == ("Optique Durand", "NTRFR-123456789")
    assert not told["revocation_checked"]
    Path("crl.pem").write_bytes(text(ROOT.revoking(9)))
    assert town.does("insurer", *args, "--crl", "crl.pem")["revocation_checked"]
    Path("crl.pem").write_bytes(text(ROOT.revoking(7)))
    said = town.refuses(Exit.VERIFICATION_FAILED, "insurer", *args, "--crl", "crl.pem")
    assert "was revoked" in said
    Path("other.pem").write_bytes(text(ROOT.issue("Optique Durand", private("another"))))
    other = [each if each != "leaf.pem" else "other.pem" for each in args]
    said = town.refuses(Exit.VERIFICATION_FAILED, "insurer", *other)
    assert "no key of shop is bound" in said


def test_who_is_no_member_yet_shows_who_it_is_by_a_file(town: Town, tmp_path: Path) -> None:
    out = tmp_path / "attestation.json"
    bound(town, "--private-key", town.folder / "key.pem", "-o", out)
    shop, rival = id_of("shop").hex(), id_of("rival").hex()
    assert certificates.binding(town.node.world.state, id_of("shop"), bytes(8)) is None
    args = ("verify-certificate", shop, "leaf.pem", "--anchor", "root.pem", "--binding", out, *AT)
    told = town.does("insurer", "member", *args)
    assert (told["member"], told["organisation"]) == (shop, "Optique Durand")
    value = json.loads(out.read_text())
    assert told["keys"] == [key["id"] for key in keys_of(town, "shop")]
    for field, changed, said in (
        ("member", rival, "the file says"),
        ("chain_id", "00" * 32, "the file says"),
        ("certificate", "00" * 32, "the file says"),
        ("public", "02" + "11" * 32, "the file says"),
        ("key", "00" * 32, "its id is not that of the key"),
        ("signature", "00" * 64, "not by the key in the certificate"),
    ):
        out.write_text(json.dumps(value | {field: changed}))
        assert said in town.refuses(Exit.VERIFICATION_FAILED, "insurer", "member", *args)
    for wrong in ("", "[]", *(json.dumps(value | more) for more in ({"more": 1}, {"format": "x"}))):
        out.write_text(wrong)
        assert "attestation.json" in town.refuses(Exit.USAGE, "insurer", "member", *args)


def test_a_card_or_a_module_signs_apart(town: Town, tmp_path: Path) -> None:
    message = tmp_path / "to-sign"
    bound(town, "--message", message)
    signed = tmp_path / "signature"
    signed.write_bytes(x509.sign(pem(KEY), "it", message.read_bytes()))
    assert bound(town, "--signature", signed)["certificate"] == x509.fingerprint(LEAF).hex()
    key = rsa.generate_private_key(65_537, 2_048)
    (tmp_path / "rsa.pem").write_bytes(text(ROOT.issue("Optique Durand", key)))
    secret = tmp_path / "rsa.key"
    secret.touch(0o600)
    secret.write_bytes(pem(key))
    args = ("member", "bind-certificate", tmp_path / "rsa.pem", "--private-key", secret)
    assert town.once("shop", *args)["key"]
    said = town.refuses(Exit.USAGE, "shop", *args, "--message", tmp_path / "m")
    assert "give one of" in said
    other = ("member", "bind-certificate", "leaf.pem", "--private-key", secret)
    said = town.refuses(Exit.VERIFICATION_FAILED, "shop", *other)
    assert "not by the key in the certificate" in said


def test_json_of_a_member_is_whole(town: Town) -> None:
    result = town.call("shop", "member", "show", "--json")
    assert {"keys", "delegations", "history"} <= json.loads(result.stdout).keys()
    state = town.node.world.state
    assert registry.members(state)[0][1].country == b"FR"
    assert {key.role for _, key in registry.keys_of(state, id_of("insurer"))} > {Role.TLS}
