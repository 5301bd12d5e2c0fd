"""The cryptography of callbacks, as the contract describes it: AES-256-CBC, 32-byte padding, SHA-1 signature."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_BLOCK = 32
_RANDOM_BYTES = 16


class BadCallback(Exception):
    """A signature, a ciphertext or a receiver that is not right."""


def aes_key(encoded: str) -> bytes:
    """32 bytes of an EncodingAESKey (43 characters; its two spare bits are not looked at). Raises ValueError."""
    if len(encoded) != 43:
        raise ValueError("EncodingAESKey must have 43 characters")
    try:
        return base64.b64decode(encoded + "=", validate=True)
    except binascii.Error as error:
        raise ValueError("EncodingAESKey must be letters and digits") from error


def sign(token: str, timestamp: str, nonce: str, encrypted: str) -> str:
    """The msg_signature of a callback: SHA-1 of the sorted parts, in hex. Source: document/path/90968."""
    joined = b"".join(sorted(part.encode() for part in (token, timestamp, nonce, encrypted)))
    return hashlib.sha1(joined, usedforsecurity=False).hexdigest()


def encrypt(message: bytes, *, key: bytes, receiveid: str, random: bytes | None = None) -> str:
    """Base64 of random, length in bytes, message and receiver, padded to 32. `random`: 16 bytes, for test vectors."""
    start = secrets.token_bytes(_RANDOM_BYTES) if random is None else random
    plain = start + struct.pack(">I", len(message)) + message + receiveid.encode()
    padding = _BLOCK - len(plain) % _BLOCK
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(encryptor.update(plain + bytes([padding]) * padding) + encryptor.finalize()).decode()


def decrypt(encrypted: str, *, key: bytes, receiveid: str) -> bytes:
    """The message. Raises BadCallback."""
    try:
        cipher = base64.b64decode(encrypted, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadCallback("not base64") from error
    if not cipher or len(cipher) % 16:
        raise BadCallback("not whole blocks")
    decryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
    padded = decryptor.update(cipher) + decryptor.finalize()
    padding = padded[-1]
    if not 1 <= padding <= _BLOCK or padded[-padding:] != bytes([padding]) * padding:
        raise BadCallback("wrong padding")
    plain = padded[_RANDOM_BYTES:-padding]
    if len(plain) < 4:
        raise BadCallback("too short")
    length = struct.unpack(">I", plain[:4])[0]
    message, receiver = plain[4 : 4 + length], plain[4 + length :]
    if len(message) != length or receiver != receiveid.encode():
        raise BadCallback("wrong length or receiver")
    return message


def check_signature(signature: str, *, token: str, timestamp: str, nonce: str, encrypted: str) -> None:
    """Raises BadCallback."""
    if not hmac.compare_digest(sign(token, timestamp, nonce, encrypted).encode(), signature.encode()):
        raise BadCallback("wrong signature")
