"""Callback cryptography against vectors on which two independent programs agreed."""

from __future__ import annotations

import pytest
from wecom_sandbox.callbacks.courier import BadCallback, aes_key, check_signature, decrypt, encrypt, sign

from tests.integrations.callback_sender import AES_KEY, CORPID, TOKEN
from tests.integrations.clients.wecom.test_callbacks import A_ECHO, VECTORS

KEY = aes_key(AES_KEY)


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name: str) -> None:
    message, random, timestamp, nonce, encrypted, signed = VECTORS[name]

    assert encrypt(message, key=KEY, receiveid=CORPID, random=random.encode()) == encrypted
    assert sign(TOKEN, timestamp, nonce, encrypted) == signed
    assert decrypt(encrypted, key=KEY, receiveid=CORPID) == message


def test_the_two_spare_bits_of_a_key_do_not_matter_and_bad_keys_are_told() -> None:
    for last in "QRST":
        assert aes_key(f"kWxPEV2UEDyxWpmPdKC3F4dgPDmOvfKX1HGnEUDS1a{last}").hex().endswith("40d2d5a4")
    for encoded in ("", "x" * 42, "!" * 43):
        with pytest.raises(ValueError, match="EncodingAESKey"):
            aes_key(encoded)


@pytest.mark.parametrize("encrypted", ["", "====", "AAAA", "A" * 64, A_ECHO[:-4]])
def test_garbage_another_receiver_and_another_signature_are_refused(encrypted: str) -> None:
    with pytest.raises(BadCallback):
        decrypt(encrypted, key=KEY, receiveid=CORPID)
    with pytest.raises(BadCallback):
        decrypt(A_ECHO, key=KEY, receiveid="ww0000000000000000")
    with pytest.raises(BadCallback):
        check_signature("0" * 40, token=TOKEN, timestamp="1764000000", nonce="1372623149", encrypted=A_ECHO)
