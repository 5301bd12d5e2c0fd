"""Keys as people have them: made here, made by Guandata, by Java or by OpenSSL; and what is none."""

from __future__ import annotations

import base64
import subprocess
import textwrap

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.clients import guandata_sso
from integrations.clients.guandata_sso import Flaw, KeyRefused
from tests.programs import needs

PEM = guandata_sso.generate()
LINE = "".join(PEM.splitlines()[1:-1])
KEY = guandata_sso.load(PEM)


def private(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, form: serialization.PrivateFormat) -> str:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def test_a_generated_key_is_pkcs8_with_as_many_bits_as_guandata_asks_for() -> None:
    assert PEM.startswith("-----BEGIN PRIVATE KEY-----\n")
    assert KEY.key_size == 1024
    assert KEY.public_key().public_numbers().e == 65537
    assert guandata_sso.generate() != PEM


@pytest.mark.parametrize(
    "text",
    [PEM, f"\n  {PEM}\n", PEM.replace("\n", "\r\n"), LINE, f" {LINE}\n", "\n".join(textwrap.wrap(LINE, 76)),
     private(KEY, serialization.PrivateFormat.TraditionalOpenSSL)],
)  # fmt: skip
def test_a_key_is_read_as_pem_or_as_its_base64_alone(text: str) -> None:
    assert guandata_sso.pem_of(guandata_sso.load(text)) == PEM


def test_the_public_half_is_given_as_pem_and_as_one_line() -> None:
    pem = guandata_sso.public_pem(KEY)

    assert pem.startswith("-----BEGIN PUBLIC KEY-----\n")
    assert base64.b64decode(guandata_sso.public_line(KEY)) == KEY.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert "\n" not in guandata_sso.public_line(KEY)
    assert guandata_sso.public_line(KEY) == "".join(pem.splitlines()[1:-1])


ENCRYPTED = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
).decode()


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("", Flaw.UNREADABLE),
        ("not a key", Flaw.UNREADABLE),
        (LINE[:-8], Flaw.UNREADABLE),
        (PEM.replace(LINE[70:100], ""), Flaw.UNREADABLE),
        (guandata_sso.public_pem(KEY), Flaw.PUBLIC),
        (guandata_sso.public_line(KEY), Flaw.PUBLIC),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", Flaw.PUBLIC),
        (ENCRYPTED, Flaw.ENCRYPTED),
        ("".join(ENCRYPTED.splitlines()[1:-1]), Flaw.ENCRYPTED),
        (private(ec.generate_private_key(ec.SECP256R1()), serialization.PrivateFormat.PKCS8), Flaw.NOT_RSA),
        ("A" * 20_000, Flaw.LONG),
    ],
)
def test_what_is_no_private_key_is_refused_by_its_flaw(text: str, flaw: Flaw) -> None:
    with pytest.raises(KeyRefused) as refusal:
        guandata_sso.load(text)

    assert refusal.value.flaw is flaw
    assert str(refusal.value) == flaw.value


@needs("openssl")
@pytest.mark.parametrize(("bits", "flaw"), [(768, Flaw.SHORT), (2048, Flaw.LONG)])
def test_a_key_shorter_than_documented_or_too_long_is_refused(
    bits: int, flaw: Flaw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guandata_sso, "BITS_AT_MOST", 1536)  # a key of 4096 bits takes seconds to make
    command = ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}"]
    text = subprocess.run(command, capture_output=True, check=True, text=True).stdout

    with pytest.raises(KeyRefused) as refusal:
        guandata_sso.load(text)

    assert refusal.value.flaw is flaw


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda noise: base64.b64encode(noise).decode()))
def test_no_text_breaks_the_reading(text: str) -> None:
    with pytest.raises(KeyRefused):
        guandata_sso.load(text)
