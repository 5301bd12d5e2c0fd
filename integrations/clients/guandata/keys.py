"""The RSA key pair of single sign-on; the public key is pasted into the BI."""

from __future__ import annotations

import base64
import binascii
import re
from enum import StrEnum

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

# What Guandata's documentation asks for. Whether longer keys work depends on its version.
DOCUMENTED_BITS = 1024
BITS_AT_MOST = 4096
_TEXT_CHARACTERS_AT_MOST = 16_384
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")


class Flaw(StrEnum):
    """Why a text is no private key for single sign-on."""

    PUBLIC = "public"
    ENCRYPTED = "encrypted"
    UNREADABLE = "unreadable"
    NOT_RSA = "not-rsa"
    SHORT = "short"
    LONG = "long"


class KeyRefused(ValueError):
    """The text is no private key that can be used. Holds nothing of the text."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__(flaw.value)
        self.flaw = flaw


def generate(bits: int = DOCUMENTED_BITS) -> str:
    """A new private key as PKCS#8 in PEM."""
    return pem_of(rsa.generate_private_key(public_exponent=65537, key_size=bits))


def load(text: str) -> rsa.RSAPrivateKey:
    """The key of a text: PKCS#8 in PEM, or its base64 alone, as Java programs keep it. Raises KeyRefused."""
    if len(text) > _TEXT_CHARACTERS_AT_MOST:
        raise KeyRefused(Flaw.LONG)
    begin = _PEM.search(text)
    if begin is not None and ("PUBLIC" in begin[1] or "CERTIFICATE" in begin[1]):
        raise KeyRefused(Flaw.PUBLIC)
    key = _loaded(text.strip().encode(), is_pem=begin is not None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise KeyRefused(Flaw.NOT_RSA)
    if key.key_size < DOCUMENTED_BITS:
        raise KeyRefused(Flaw.SHORT)
    if key.key_size > BITS_AT_MOST:
        raise KeyRefused(Flaw.LONG)
    return key


def pem_of(key: rsa.RSAPrivateKey) -> str:
    """The key as PKCS#8 in PEM, in which it is kept."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_pem(key: rsa.RSAPrivateKey) -> str:
    """The public half as PEM (SubjectPublicKeyInfo)."""
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def public_line(key: rsa.RSAPrivateKey) -> str:
    """The same as one line of base64 without its frame, as Java programs take it."""
    return "".join(line for line in public_pem(key).splitlines() if not line.startswith("-----"))


def _loaded(text: bytes, *, is_pem: bool) -> object:
    try:
        if is_pem:
            return serialization.load_pem_private_key(text, password=None)
        der = base64.b64decode(b"".join(text.split()), validate=True)
    except TypeError:  # a password would be needed
        raise KeyRefused(Flaw.ENCRYPTED) from None
    except (ValueError, UnsupportedAlgorithm, binascii.Error):
        raise KeyRefused(Flaw.UNREADABLE) from None
    return _of_der(der)


def _of_der(der: bytes) -> object:
    try:
        return serialization.load_der_private_key(der, password=None)
    except TypeError:
        raise KeyRefused(Flaw.ENCRYPTED) from None
    except (ValueError, UnsupportedAlgorithm):
        pass
    try:
        serialization.load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyRefused(Flaw.UNREADABLE) from None
    raise KeyRefused(Flaw.PUBLIC)
