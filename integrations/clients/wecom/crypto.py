"""The cryptography of callbacks: verify, decrypt, encrypt. Pure.

AES-256-CBC over: 16 random bytes, the length of the message in 4 bytes, the message, the receiver; padded to 32 bytes.
Source: developer.work.weixin.qq.com/document/path/90968 ("加解密方案说明") and the official libraries.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import struct
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK_BYTES = 32
RANDOM_BYTES = 16
_LENGTH_BYTES = 4
CIPHERTEXT_CHARACTERS = 4 * 1024 * 1024
_AES_KEY = re.compile(r"[0-9A-Za-z+/]{43}")
_TOKEN = re.compile(r"[0-9A-Za-z]{1,32}")
_BASE64 = re.compile(r"[0-9A-Za-z+/]+={0,2}")


class CallbackError(Exception):
    """A callback that is not WeCom's, or not for us. `reason` is for the log; the sender learns nothing of it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Sealed:
    """An encrypted text and what goes with it into a reply."""

    encrypted: str
    signature: str
    timestamp: str
    nonce: str


@dataclass(frozen=True, slots=True)
class CallbackCrypto:
    """The token and the key of one callback address; `receiveid` is the corpid for a company's own application.

    Raises ValueError for a token or key that WeCom's console would not give.
    """

    token: str = field(repr=False)
    encoding_aes_key: str = field(repr=False)
    receiveid: str
    _key: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.token):
            raise ValueError("the token has 1 to 32 letters and digits")
        object.__setattr__(self, "_key", decode_key(self.encoding_aes_key))

    def opened(self, encrypted: str, *, signature: str, timestamp: str, nonce: str) -> bytes:
        """The message inside `encrypted`, after its signature was checked. Raises CallbackError."""
        expected = self.signature(encrypted, timestamp=timestamp, nonce=nonce)
        if not hmac.compare_digest(expected.encode(), signature.encode(errors="replace")):
            raise CallbackError("the signature is wrong")
        return self._decrypted(encrypted)

    def sealed(self, message: bytes, *, timestamp: str, nonce: str, random: bytes | None = None) -> Sealed:
        """`message` encrypted and signed, for a passive reply. `timestamp`: Unix seconds. `random`: only for tests."""
        random = secrets.token_bytes(RANDOM_BYTES) if random is None else random
        plain = random + struct.pack(">I", len(message)) + message + self.receiveid.encode()
        count = BLOCK_BYTES - len(plain) % BLOCK_BYTES
        encryptor = self._cipher().encryptor()
        encrypted = base64.b64encode(encryptor.update(plain + bytes([count]) * count) + encryptor.finalize()).decode()
        return Sealed(encrypted, self.signature(encrypted, timestamp=timestamp, nonce=nonce), timestamp, nonce)

    def signature(self, encrypted: str, *, timestamp: str, nonce: str) -> str:
        """SHA-1 over the four texts in bytewise order."""
        parts = sorted(part.encode(errors="replace") for part in (self.token, timestamp, nonce, encrypted))
        return hashlib.sha1(b"".join(parts), usedforsecurity=False).hexdigest()

    def _cipher(self) -> Cipher[modes.CBC]:
        return Cipher(algorithms.AES256(self._key), modes.CBC(self._key[:16]))

    def _decrypted(self, encrypted: str) -> bytes:
        if len(encrypted) > CIPHERTEXT_CHARACTERS or not _BASE64.fullmatch(encrypted):
            raise CallbackError("the ciphertext is not base64, or too long")
        try:
            ciphertext = base64.b64decode(encrypted)
        except binascii.Error:
            raise CallbackError("the ciphertext is not base64") from None
        if not ciphertext or len(ciphertext) % BLOCK_BYTES:
            raise CallbackError("the ciphertext is not made of whole blocks")
        decryptor = self._cipher().decryptor()
        return self._message(decryptor.update(ciphertext) + decryptor.finalize())

    def _message(self, padded: bytes) -> bytes:
        count = padded[-1]
        if not 1 <= count <= BLOCK_BYTES or padded[-count:] != bytes([count]) * count:
            raise CallbackError("the padding is wrong")
        plain = padded[:-count]
        start = RANDOM_BYTES + _LENGTH_BYTES
        if len(plain) < start:
            raise CallbackError("the plaintext is too short")
        (length,) = struct.unpack(">I", plain[RANDOM_BYTES:start])
        if length > len(plain) - start:
            raise CallbackError("the length is wrong")
        message, receiveid = plain[start : start + length], plain[start + length :]
        if not hmac.compare_digest(receiveid, self.receiveid.encode()):
            raise CallbackError("it is for another receiver")
        return message


def decode_key(encoding_aes_key: str) -> bytes:
    """The 32 bytes of an EncodingAESKey (43 characters). Raises ValueError.

    Lenient: 43 characters carry two bits more than 32 bytes need, and real keys have them set.
    """
    if not _AES_KEY.fullmatch(encoding_aes_key):
        raise ValueError("an EncodingAESKey has 43 letters and digits")
    return base64.b64decode(encoding_aes_key + "=")
