"""Callback cryptography against vectors on which two independent programs agreed."""

from __future__ import annotations

import pytest
from wecom_sandbox.api.token import signature
from wecom_sandbox.callbacks.courier import BadCallback, aes_key, check_signature, decrypt, encrypt, sign

TOKEN, CORPID = "QDG6eKtestToken01", "ww1a2b3c4d5e6f7a8b"
KEY = aes_key("XJkoxTakYd9Lo1Z2tTHEcHZsMSiWYhpx6jtYQGd8CqM")
REPLY = (
    "<xml><ToUserName><![CDATA[lilei]]></ToUserName><FromUserName><![CDATA[ww1a2b3c4d5e6f7a8b]]></FromUserName>"
    "<CreateTime>1764000002</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[已收到]]></Content></xml>"
)
VECTORS = [
    (
        "aaaabbbbccccdddd",
        "6482197350126648931",
        "1764000000",
        "1372623149",
        "vZC6GH1Cr36u7AwCiDFSvBYNc0Yes8hu9q28mBkrFbVNad6nsUhswAY+mLCA2ZUwBl5casKYteG3ehhZ9Eqtlw==",
        "dc59760b5216500cc86d0252d42d9083c05ea70b",
    ),
    (
        "fedcba9876543210",
        REPLY,
        "1764000002",
        "998877",
        "srNzGIomvKIGwIZEJmlmxbaaBsUDmRlgz/Czu+vC1U1Gm7RprWg0TKFA4GPTxNG5zEDsq/3jdwUsWqOc6+VGa9k/F4pNtMjFbo4a0RmAap6cDcH1"
        "MMC6eaf6hP+YglFAeNciN4xUx7aic+IHICiguAqYdtTqV4KqLhRuhhj23WszSpTZAUFy5vAOrUWftHrcQxxbJg2/0yDLurNIN3LBvwR+wSCnVOnh"
        "XxweHBoG+vjkYqp/UxVYDjJ0hzXm6def21079piKkB7iisv9j2lu+Cbj+sZV452Id26vLEhYxJF9hzGAdL+LBbU4hKu9pVdYWfbvjMAmwzDpJOfM"
        "nkMBG6JZgVlz24dzBw3qxkTRcLiEJAiMfe4z8o665V/35nwp",
        "dcaf12b2fa0d76cdd52577997bd13ce9c30292dd",
    ),
    (
        "0000000000000000",
        "pad-boundaryxxxxxxxxxxxxxx",
        "1764000003",
        "1",
        "rnWDZTXKknEbPewHBDrelZ9pyP6x8zOKWNZcN5y2RxAUt0gNOfS1s1ZBNCFPwVxjMEYZMWo5QxVETiB0TBz0Vmvv5XRPfpef7ZSiY1xH4VpYfm2h"
        "Znn2qS7D0uKNc6Ms",
        "0640c697ac4102dcab12356559485af0e29593a2",
    ),
]


@pytest.mark.parametrize(("random", "message", "timestamp", "nonce", "encrypted", "signed"), VECTORS)
def test_vectors(random: str, message: str, timestamp: str, nonce: str, encrypted: str, signed: str) -> None:
    assert encrypt(message.encode(), key=KEY, receiveid=CORPID, random=random.encode()) == encrypted
    assert sign(TOKEN, timestamp, nonce, encrypted) == signed
    assert decrypt(encrypted, key=KEY, receiveid=CORPID) == message.encode()


def test_the_two_spare_bits_of_a_key_do_not_matter_and_bad_keys_are_told() -> None:
    for last in "QRST":
        assert aes_key(f"kWxPEV2UEDyxWpmPdKC3F4dgPDmOvfKX1HGnEUDS1a{last}").hex().endswith("40d2d5a4")
    for encoded in ("", "x" * 42, "!" * 43):
        with pytest.raises(ValueError, match="EncodingAESKey"):
            aes_key(encoded)


@pytest.mark.parametrize("encrypted", ["", "====", "AAAA", "A" * 64, VECTORS[0][4][:-4]])
def test_garbage_is_refused(encrypted: str) -> None:
    with pytest.raises(BadCallback):
        decrypt(encrypted, key=KEY, receiveid=CORPID)


def test_another_receiver_and_another_signature_are_refused() -> None:
    with pytest.raises(BadCallback):
        decrypt(VECTORS[0][4], key=KEY, receiveid="ww0000000000000000")
    with pytest.raises(BadCallback):
        check_signature("0" * 40, token=TOKEN, timestamp="1764000000", nonce="1372623149", encrypted=VECTORS[0][4])


def test_js_sdk_signature() -> None:
    signed = signature(
        "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_simticket",
        noncestr="Wm3WZYTPz0wzccnW",
        timestamp="1764000004",
        url="https://portal.example.com/m/home?from=wecom#top",
    )

    assert signed == "2985067f6f9de7927858a101be4d0160f69cd6f6"
