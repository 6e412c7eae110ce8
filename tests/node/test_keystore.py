"""Keys are read from 0600 files or systemd credentials, and never shown."""

from pathlib import Path

import pytest

from ledger.keys import Algorithm, Role, SigningKey
from node import files, keystore
from node.config import Mode

SEED = bytes(range(32))


def write(path: Path, text: bytes) -> Path:
    files.create(path, text, secret=True)
    return path


def test_made_keys_are_read_back(tmp_path: Path) -> None:
    made = keystore.create_keys(tmp_path / "keys", keystore.FILE_NAMES)
    assert len({key.public for key in made.values()}) == 6
    for path in (tmp_path / "keys").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    loaded = keystore.load_node_keys(tmp_path / "keys", Mode.VALIDATOR)
    assert loaded.consensus is not None
    assert loaded.checkpoint is not None
    assert loaded.consensus.public == made[Role.CONSENSUS].public
    assert loaded.checkpoint.public == made[Role.CHECKPOINT].public
    assert loaded.node.public == made[Role.TLS].public == SigningKey(loaded.node_seed).public


@pytest.mark.parametrize("algorithm", Algorithm)
def test_keys_that_sign_transactions_are_of_either_algorithm(
    algorithm: Algorithm, tmp_path: Path
) -> None:
    made = keystore.create_keys(tmp_path, keystore.FILE_NAMES, algorithm)
    for role, key in keystore.load_signers(tmp_path, keystore.FILE_NAMES).items():
        assert key.public == made[role].public
        assert key.algorithm is (algorithm if role.signs_transactions else Algorithm.ED25519)


def test_a_secret_of_p256_is_no_seed_of_a_node(tmp_path: Path) -> None:
    keystore.create_keys(tmp_path, [Role.TRANSACTION], Algorithm.P256)
    text = (tmp_path / "transaction.seed").read_bytes()
    write(tmp_path / "node.seed", text)
    with pytest.raises(keystore.BadSeed):
        keystore.load_seed(tmp_path, Role.TLS)
    for wrong in (b"p256:" + bytes(32).hex().encode(), b"p256:", b"P256:" + text[5:], text + text):
        path = write(tmp_path / f"{len(wrong)}{wrong[:1]!r}.seed", wrong)
        with pytest.raises((keystore.BadSeed, files.TooLong)):
            keystore.read_signer(path)


def test_an_observer_needs_only_its_node_key(tmp_path: Path) -> None:
    keystore.create_keys(tmp_path, [Role.TLS])
    assert keystore.load_node_keys(tmp_path, Mode.OBSERVER).consensus is None
    with pytest.raises(files.Missing):
        keystore.load_node_keys(tmp_path, Mode.VALIDATOR)


def test_no_key_is_written_where_one_of_them_exists(tmp_path: Path) -> None:
    write(tmp_path / "node.seed", SEED.hex().encode())
    with pytest.raises(files.AlreadyThere):
        keystore.create_keys(tmp_path, [Role.CONSENSUS, Role.TLS])
    assert [path.name for path in tmp_path.iterdir()] == ["node.seed"]


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_seed_is_64_digits(tmp_path: Path, end: bytes) -> None:
    assert keystore.read_seed(write(tmp_path / "a", SEED.hex().encode() + end)) == SEED


@pytest.mark.parametrize(
    "text",
    [b"", b"\n", SEED, SEED.hex().encode()[1:], SEED.hex().upper().encode(), b" " + b"0" * 64,
     b"0" * 62 + b"zz", b"0" * 64 + b"\n\n", b"0" * 66],
)  # fmt: skip
def test_anything_else_is_refused_without_being_shown(tmp_path: Path, text: bytes) -> None:
    with pytest.raises((keystore.BadSeed, files.TooLong)) as caught:
        keystore.read_seed(write(tmp_path / "a", text))
    assert SEED.hex()[4:] not in str(caught.value).lower()


def test_a_credential_comes_before_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials, folder = tmp_path / "credentials", tmp_path / "keys"
    credentials.mkdir()
    keystore.create_keys(folder, [Role.TLS, Role.CONSENSUS])
    write(credentials / "node.seed", SEED.hex().encode()).chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert keystore.load_seed(folder, Role.TLS) == SEED
    assert keystore.load_seed(folder, Role.CONSENSUS) == keystore.read_seed(
        folder / "consensus.seed"
    )


def test_a_seed_readable_by_others_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "node.seed", SEED.hex().encode()).chmod(0o644)
    with pytest.raises(files.Exposed) as caught:
        keystore.load_node_keys(tmp_path, Mode.OBSERVER)
    assert caught.value.exit_code == 11


def test_keys_do_not_print_themselves(tmp_path: Path) -> None:
    keystore.create_keys(tmp_path, keystore.FILE_NAMES)
    loaded = keystore.load_node_keys(tmp_path, Mode.VALIDATOR)
    shown = f"{loaded!r} {loaded}"
    assert loaded.node_seed.hex() not in shown
    assert repr(loaded.node_seed) not in shown
