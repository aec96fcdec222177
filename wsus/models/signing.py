"""Who stands behind a published model: Ed25519 signatures (RFC 8032) of a version's name and digest, by keys that people keep.

    openssl genpkey -algorithm ed25519 -out model-key.pem          # stays with whoever signs
    openssl pkey -in model-key.pem -pubout -out model-keys.pem     # goes to whoever serves; a file may hold several

A version's signature lies at models/<name>/signatures/<version>.json. It covers the bundle's digest, so each byte of it, and its
name, so that no model passes for another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from wsus.errors import BundleError, ConfigError
from wsus.storage import Store

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SCHEMA_VERSION = 1
_PEM_BLOCK = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)


def signature_key(name: str, version: int) -> str:
    """Where a version's signature lies in its store."""
    return f"models/{name}/signatures/{version}.json"


def sign_model(store: Store, name: str, version: int, digest: str, key: Ed25519PrivateKey) -> str:
    """Sign a version, replacing an older signature; returns the key's fingerprint."""
    by = fingerprint(key.public_key())
    signature = base64.b64encode(key.sign(_signed(name, digest))).decode()
    at = datetime.now(UTC).isoformat(timespec="seconds")
    document = {"schema_version": SCHEMA_VERSION, "digest": digest, "key": by, "signature": signature, "signed_at": at}
    store.write_json(signature_key(name, version), document)
    return by


def verify_model(store: Store, name: str, version: int, digest: str, trusted: tuple[Ed25519PublicKey, ...]) -> str:
    """The fingerprint of the trusted key that signed a version.

    Args:
        digest: of the bundle as it was fetched.
    Raises:
        BundleError: it is not signed, by none of these keys, or for another digest or name.
    """
    from cryptography.exceptions import InvalidSignature

    place = signature_key(name, version)
    if not store.exists(place):
        raise BundleError(f"{name} {version}: not signed, and this place takes signed models alone; run `wsus models sign`")
    document = store.read_json(place)
    try:
        signature = base64.b64decode(document["signature"], validate=True)
    except (TypeError, KeyError, ValueError, binascii.Error):
        raise BundleError(f"{store.url(place)}: not a signature as `wsus models sign` writes it") from None
    for key in trusted:
        try:
            key.verify(signature, _signed(name, digest))
        except InvalidSignature:
            continue
        return fingerprint(key)
    known = ", ".join(fingerprint(key) for key in trusted)
    raise BundleError(
        f"{name} {version}: its signature is by no trusted key ({known}), or of another model than {digest[:12]}; do not use it"
    )


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """A private key of a PEM file. Raises ConfigError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_content(path), password=None)
    except (ValueError, TypeError) as error:  # TypeError: it is encrypted
        raise ConfigError(f"{path}: not a private key in PEM without a password ({error}); see docs/models.md") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path}: expected an Ed25519 key; found a {type(key).__name__}")
    return key


def read_public_keys(path: Path) -> tuple[Ed25519PublicKey, ...]:
    """The public keys of a PEM file. Raises ConfigError where there is none, or one of another kind."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    found = []
    for block in _PEM_BLOCK.findall(_content(path)):
        try:
            key = load_pem_public_key(block)
        except ValueError as error:
            raise ConfigError(f"{path}: a public key in it cannot be read ({error})") from error
        if not isinstance(key, Ed25519PublicKey):
            raise ConfigError(f"{path}: expected Ed25519 keys; found a {type(key).__name__}")
        found.append(key)
    if not found:
        raise ConfigError(f"{path}: holds no public key; make it with `openssl pkey -in KEY -pubout`")
    return tuple(found)


def fingerprint(key: Ed25519PublicKey) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the key's 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def _signed(name: str, digest: str) -> bytes:
    return f"wsus model {SCHEMA_VERSION}\n{name}\n{digest}\n".encode()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from error
