"""A version is signed by a key that its publisher keeps, and nothing but what was signed passes."""

import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from wsus.errors import BundleError, ConfigError
from wsus.models.signing import fingerprint, read_private_key, read_public_keys, sign_model, signature_key, verify_model
from wsus.storage import Store, open_store

DIGEST = "a" * 64


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A key as docs/models.md says how to make one."""
    openssl("genpkey", "-algorithm", "ed25519", "-out", tmp_path / "key.pem")
    return tmp_path / "key.pem"


@pytest.fixture
def public(private: Path, tmp_path: Path) -> Path:
    openssl("pkey", "-in", private, "-pubout", "-out", tmp_path / "keys.pem")
    return tmp_path / "keys.pem"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def others() -> tuple[Ed25519PublicKey, ...]:
    return (Ed25519PrivateKey.generate().public_key(),)


def test_what_was_signed_passes_by_any_of_the_trusted_keys(store: Store, private: Path, public: Path) -> None:
    by = sign_model(store, "tiny", 1, DIGEST, read_private_key(private))
    trusted = read_public_keys(public)
    assert by == fingerprint(trusted[0]) == verify_model(store, "tiny", 1, DIGEST, others() + trusted)


def test_openssl_finds_the_signature_good(store: Store, private: Path, public: Path, tmp_path: Path) -> None:
    import base64

    sign_model(store, "tiny", 1, DIGEST, read_private_key(private))
    (tmp_path / "signature").write_bytes(base64.b64decode(store.read_json(signature_key("tiny", 1))["signature"]))
    (tmp_path / "message").write_text(f"wsus model 1\ntiny\n{DIGEST}\n")
    message = ("-rawin", "-in", tmp_path / "message", "-sigfile", tmp_path / "signature")
    openssl("pkeyutl", "-verify", "-pubin", "-inkey", public, *message)


def test_another_key_name_or_digest_does_not(store: Store, private: Path, public: Path) -> None:
    sign_model(store, "tiny", 1, DIGEST, read_private_key(private))
    store.write_bytes(signature_key("other", 1), store.read_bytes(signature_key("tiny", 1)))
    trusted = read_public_keys(public)
    for name, digest, keys in (("tiny", DIGEST, others()), ("other", DIGEST, trusted), ("tiny", "b" * 64, trusted)):
        with pytest.raises(BundleError, match="its signature is by no trusted key"):
            verify_model(store, name, 1, digest, keys)
    with pytest.raises(BundleError, match="tiny 2: not signed"):
        verify_model(store, "tiny", 2, DIGEST, trusted)


@pytest.mark.parametrize("damage", [{"signature": "%%"}, {"signature": None}, {"signature": 7}, []])
def test_a_damaged_signature_is_refused(store: Store, private: Path, public: Path, damage: object) -> None:
    sign_model(store, "tiny", 1, DIGEST, read_private_key(private))
    store.write_bytes(signature_key("tiny", 1), json.dumps(damage).encode())
    with pytest.raises(BundleError, match="not a signature as"):
        verify_model(store, "tiny", 1, DIGEST, read_public_keys(public))


def test_files_that_hold_no_such_key_are_named(private: Path, public: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as to

    for path in (public, tmp_path / "none.pem"):
        with pytest.raises(ConfigError, match=r"not a private key in PEM|cannot be read"):
            read_private_key(path)
    with pytest.raises(ConfigError, match="holds no public key"):
        read_public_keys(private)
    rsa = generate_private_key(65537, 2048)
    (tmp_path / "rsa.pem").write_bytes(
        rsa.public_key().public_bytes(to.Encoding.PEM, to.PublicFormat.SubjectPublicKeyInfo)
        + rsa.private_bytes(to.Encoding.PEM, to.PrivateFormat.PKCS8, to.NoEncryption())
    )
    with pytest.raises(ConfigError, match="expected Ed25519 keys; found"):
        read_public_keys(tmp_path / "rsa.pem")
    with pytest.raises(ConfigError, match="expected an Ed25519 key; found"):
        read_private_key(tmp_path / "rsa.pem")
    locked = Ed25519PrivateKey.generate().private_bytes(
        to.Encoding.PEM, to.PrivateFormat.PKCS8, to.BestAvailableEncryption(b"secret")
    )
    (tmp_path / "locked.pem").write_bytes(locked)
    with pytest.raises(ConfigError, match="without a password"):
        read_private_key(tmp_path / "locked.pem")
