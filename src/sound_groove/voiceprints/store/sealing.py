"""Encryption of what a store keeps of voices, by a key from the environment: AES-256-GCM.

Each embedding and each recording is sealed by itself under a random nonce of 96 bits (NIST SP 800-38D; 2^32 of them
under one key are allowed, far more than a store has). What it belongs to is authenticated with it, so that a sealed
value put in another row, or changed, is not opened. Marks of whole rows (`marks`) are HMAC-SHA256 under a key of their
own, derived from the store's key and the store's id (HKDF, RFC 5869): what fits into one store does not fit into
another.
"""

import hashlib
import hmac
import os
from typing import Protocol

from sound_groove.errors import StoreError, UsageError, require_extra

KEY_VARIABLE = "SOUND_GROOVE_STORE_KEY"
KEY_BYTES = 32
NONCE_BYTES = 12
MARKS = b"sound-groove voiceprints: marks of rows"  # what the derived key is for
CHECK = b"sound-groove voiceprints"  # sealed into a new store, to tell a wrong key from damage
_HOW = "64 hexadecimal digits, such as 'openssl rand -hex 32' prints"


class Sealer(Protocol):
    """Turns bytes into what is stored, and back.

    Attributes:
        encrypts: what is stored cannot be read without a key.
    """

    encrypts: bool

    def seal(self, plain: bytes, owner: str) -> bytes:
        """What is stored of `plain`, which belongs to `owner`."""
        ...

    def unseal(self, sealed: bytes, owner: str) -> bytes:
        """The bytes that were sealed for this owner.

        Raises:
            StoreError: they were sealed with another key, for another owner, or changed.
        """
        ...

    def of_store(self, store_id: bytes) -> "Sealer":
        """The same, whose marks are those of one store."""
        ...

    def mark(self, content: bytes) -> bytes:
        """32 bytes that fit this content alone."""
        ...


class PlainSealer:
    """Stores bytes as they are."""

    encrypts = False

    def seal(self, plain: bytes, owner: str) -> bytes:
        """The bytes themselves."""
        return plain

    def unseal(self, sealed: bytes, owner: str) -> bytes:
        """The bytes themselves."""
        return sealed

    def of_store(self, store_id: bytes) -> "PlainSealer":
        """The same: a checksum is the same in every store."""
        return self

    def mark(self, content: bytes) -> bytes:
        """A checksum (SHA-256), which anybody can make."""
        return hashlib.sha256(content).digest()


class AesSealer:
    """Encrypts and authenticates.

    Args:
        key: 32 bytes.
        store_id: of the store whose marks it makes; any bytes.
    """

    encrypts = True

    def __init__(self, key: bytes, store_id: bytes = b"") -> None:
        require_extra("An encrypted store", "encryption", "cryptography")
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        self._key = key
        self._cipher = AESGCM(key)
        self._mark_key = HKDF(SHA256(), length=KEY_BYTES, salt=store_id, info=MARKS).derive(key)

    def seal(self, plain: bytes, owner: str) -> bytes:
        """Nonce (12 bytes), then ciphertext and tag (16 bytes)."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, owner.encode())

    def unseal(self, sealed: bytes, owner: str) -> bytes:
        """The bytes that were sealed."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], owner.encode())
        except (InvalidTag, ValueError):
            raise StoreError(
                f"what the store keeps for {owner} cannot be decrypted: it was sealed with another key than that in "
                f"{KEY_VARIABLE}, or changed"
            ) from None

    def of_store(self, store_id: bytes) -> "AesSealer":
        """The same key, for one store."""
        return AesSealer(self._key, store_id)

    def mark(self, content: bytes) -> bytes:
        """HMAC-SHA256, which nobody can make without the key."""
        return hmac.digest(self._mark_key, content, "sha256")


def sealer_from_environment() -> Sealer:
    """What the environment variable SOUND_GROOVE_STORE_KEY asks for; nothing is encrypted without it.

    Raises:
        MissingExtraError: there is a key, and the package cryptography is not installed.
        UsageError: the key is not one.
    """
    text = os.environ.get(KEY_VARIABLE, "").strip()
    if not text:
        return PlainSealer()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise UsageError(f"the key in {KEY_VARIABLE} must be {_HOW}")
    return AesSealer(key)


def seal_check(sealer: Sealer) -> bytes:
    """What a new store remembers of its key; nothing for one that is not encrypted."""
    return sealer.seal(CHECK, "the key") if sealer.encrypts else b""


def verify_check(sealer: Sealer, check: bytes, location: str) -> None:
    """Refuse a key that is not the store's, a missing one, and one too many.

    Raises:
        StoreError: the store needs another key, a key, or none.
    """
    if check and not sealer.encrypts:
        raise StoreError(f"{location}: is encrypted; give its key in {KEY_VARIABLE}")
    if not check and sealer.encrypts:
        raise StoreError(
            f"{location}: is not encrypted, but there is a key in {KEY_VARIABLE}; unset that, or export the speakers "
            "without it and import them into a new store with it"
        )
    if check:
        try:
            sealer.unseal(check, "the key")
        except StoreError:
            raise StoreError(f"{location}: is encrypted with another key than that in {KEY_VARIABLE}") from None
