"""Callbacks sealed as WeCom seals them: every kind of event, varying spellings, and refusals."""

import base64

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from integrations.clients.wecom.callbacks import (
    Callback,
    CallbackCrypto,
    CallbackError,
    parse_callback,
    read_envelope,
)
from tests.integrations.callback_sender import (
    AES_KEY,
    CORPID,
    ECHO,
    ECHO_ANSWER,
    EVENT_ENCRYPTED,
    EVENT_PLAINTEXT,
    EVENT_QUERY,
    TOKEN,
)

CRYPTO = CallbackCrypto(TOKEN, AES_KEY, CORPID)
A_ECHO, A_SIGNATURE = ECHO["echostr"], ECHO["msg_signature"]
C_ENCRYPTED = (
    "srNzGIomvKIGwIZEJmlmxbaaBsUDmRlgz/Czu+vC1U1Gm7RprWg0TKFA4GPTxNG5zEDsq/3jdwUsWqOc6+VGa9k/F4pNtMjFbo4a0RmAap6cDcH1"
    "MMC6eaf6hP+YglFAeNciN4xUx7aic+IHICiguAqYdtTqV4KqLhRuhhj23WszSpTZAUFy5vAOrUWftHrcQxxbJg2/0yDLurNIN3LBvwR+wSCnVOnh"
    "XxweHBoG+vjkYqp/UxVYDjJ0hzXm6def21079piKkB7iisv9j2lu+Cbj+sZV452Id26vLEhYxJF9hzGAdL+LBbU4hKu9pVdYWfbvjMAmwzDpJOfM"
    "nkMBG6JZgVlz24dzBw3qxkTRcLiEJAiMfe4z8o665V/35nwp"
)
C_SIGNATURE = "dcaf12b2fa0d76cdd52577997bd13ce9c30292dd"
D_ENCRYPTED = (
    "rnWDZTXKknEbPewHBDrelZ9pyP6x8zOKWNZcN5y2RxAUt0gNOfS1s1ZBNCFPwVxjMEYZMWo5QxVETiB0TBz0Vmvv5XRPfpef7ZSiY1xH4VpYfm2h"
    "Znn2qS7D0uKNc6Ms"
)
D_SIGNATURE = "0640c697ac4102dcab12356559485af0e29593a2"


REPLY = (
    f"<xml><ToUserName><![CDATA[lilei]]></ToUserName><FromUserName><![CDATA[{CORPID}]]></FromUserName>"
    "<CreateTime>1764000002</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[已收到]]></Content></xml>"
).encode()
# Message, its random bytes, timestamp, nonce; its ciphertext and signature.
VECTORS = {
    "a check of an address": (ECHO_ANSWER, "aaaabbbbccccdddd", "1764000000", "1372623149", A_ECHO, A_SIGNATURE),
    "an event": (
        *(EVENT_PLAINTEXT.encode(), "0123456789abcdef", "1764000001", "998877"),
        *(EVENT_ENCRYPTED, EVENT_QUERY["msg_signature"]),
    ),
    "a length that counts bytes": (REPLY, "fedcba9876543210", "1764000002", "998877", C_ENCRYPTED, C_SIGNATURE),
    "a whole block of padding": (
        *(b"pad-boundaryxxxxxxxxxxxxxx", "0000000000000000", "1764000003", "1", D_ENCRYPTED, D_SIGNATURE),
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name: str) -> None:
    message, random, timestamp, nonce, encrypted, signature = VECTORS[name]

    assert CRYPTO.encrypt(message, timestamp=timestamp, nonce=nonce, random=random.encode()) == (encrypted, signature)
    assert CRYPTO.decrypt(encrypted, signature=signature, timestamp=timestamp, nonce=nonce) == message


@pytest.mark.parametrize("last", "QRST")
def test_spare_bits_of_a_key_count_for_nothing(last: str) -> None:
    """Read what was encrypted with the same 32 bytes, in another spelling of the key."""
    keys = [f"kWxPEV2UEDyxWpmPdKC3F4dgPDmOvfKX1HGnEUDS1a{one}" for one in ("Q", last)]
    ours, theirs = (CallbackCrypto(TOKEN, key, CORPID) for key in keys)
    encrypted, signature = theirs.encrypt(b"<xml/>", timestamp="1", nonce="2")

    assert ours.decrypt(encrypted, signature=signature, timestamp="1", nonce="2") == b"<xml/>"


@pytest.mark.parametrize("length", [0, 1, 11, 12, 31, 32, 33, 65, 70_000])
def test_every_length_comes_back(length: int) -> None:
    message = b"\xe4\xbd\xa0"[: length % 3] + b"x" * (length - length % 3)

    encrypted, signature = CRYPTO.encrypt(message, timestamp="1", nonce="2")

    assert len(base64.b64decode(encrypted)) % 32 == 0
    assert CRYPTO.decrypt(encrypted, signature=signature, timestamp="1", nonce="2") == message
    assert CRYPTO.encrypt(message, timestamp="1", nonce="2")[0] != encrypted


@pytest.mark.parametrize(
    ("signature", "timestamp", "nonce"),
    [
        ("", "1764000000", "1372623149"),
        (A_SIGNATURE.upper(), "1764000000", "1372623149"),
        (A_SIGNATURE[:-1] + "c", "1764000000", "1372623149"),
        (A_SIGNATURE, "1764000001", "1372623149"),
        (A_SIGNATURE, "1764000000", "1372623148"),
        ("签名", "1764000000", "1372623149"),
    ],
)
def test_a_wrong_signature_is_refused(signature: str, timestamp: str, nonce: str) -> None:
    with pytest.raises(CallbackError) as caught:
        CRYPTO.decrypt(A_ECHO, signature=signature, timestamp=timestamp, nonce=nonce)

    assert caught.value.reason == "the signature is wrong"


def _encrypted(plain: bytes) -> str:
    key = base64.b64decode(f"{AES_KEY}=")
    encryptor = Cipher(algorithms.AES256(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(encryptor.update(plain) + encryptor.finalize()).decode()


@pytest.mark.parametrize(
    ("encrypted", "reason"),
    [
        ("", "the ciphertext is not base64, or too long"),
        ("äöü=", "the ciphertext is not base64, or too long"),
        ("a" * 5_000_000, "the ciphertext is not base64, or too long"),
        ("abcde", "the ciphertext is not base64"),
        (base64.b64encode(b"x" * 16).decode(), "the ciphertext is not made of whole blocks"),
        (_encrypted(b"\x00" * 32), "the padding is wrong"),
        (_encrypted(b"x" * 31 + b"\x21"), "the padding is wrong"),
        (_encrypted(b"x" * 30 + b"\x01\x02"), "the padding is wrong"),
        (_encrypted(b"\x20" * 32), "the plaintext is too short"),
        (_encrypted(b"r" * 16 + b"\xff\xff\xff\xff" + b"\x0c" * 12), "the length is wrong"),
        (_encrypted(b"r" * 16 + b"\x00\x00\x00\x01m" + b"\x0b" * 11), "the message is for another receiver"),
    ],
)
def test_what_is_no_message_is_refused(encrypted: str, reason: str) -> None:
    signature = CRYPTO.sign(encrypted, timestamp="1", nonce="2")
    with pytest.raises(CallbackError) as caught:
        CRYPTO.decrypt(encrypted, signature=signature, timestamp="1", nonce="2")

    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("token", "key"),
    [
        *((TOKEN, key) for key in ("", AES_KEY[:-1], AES_KEY + "=", AES_KEY[:-1] + "_", AES_KEY[:-1] + "é")),
        *((token, AES_KEY) for token in ("", "a" * 33, "a b", "tök")),
    ],
)
def test_a_token_or_key_that_is_none_is_refused(token: str, key: str) -> None:
    with pytest.raises(ValueError, match="token" if key == AES_KEY else "EncodingAESKey"):
        CallbackCrypto(token, key, CORPID)


def test_neither_key_nor_token_is_shown() -> None:
    assert repr(CRYPTO) == "CallbackCrypto(receiveid='ww1a2b3c4d5e6f7a8b')"


HEAD = (
    "<ToUserName><![CDATA[ww1a2b3c4d5e6f7a8b]]></ToUserName><FromUserName><![CDATA[lilei]]></FromUserName>"
    "<CreateTime>1764000010</CreateTime>"
)


def event(inner: str, name: str = "click") -> bytes:
    return f"<xml>{HEAD}<MsgType><![CDATA[event]]></MsgType><Event>{name}</Event>{inner}</xml>".encode()


def test_an_event() -> None:
    callback = parse_callback(event("<EventKey><![CDATA[HELP]]></EventKey><AgentID>1000002</AgentID>"))

    assert callback == Callback(
        corpid="ww1a2b3c4d5e6f7a8b",
        userid="lilei",
        agentid=1000002,
        created_at=1764000010,
        is_event=True,
        kind="click",
        change="",
        dedupe_key=callback.dedupe_key,
        fields={
            "ToUserName": "ww1a2b3c4d5e6f7a8b",
            "FromUserName": "lilei",
            "CreateTime": "1764000010",
            "MsgType": "event",
            "Event": "click",
            "EventKey": "HELP",
            "AgentID": "1000002",
        },
    )
    assert callback.text("EventKey") == "HELP"
    assert callback.text("Nothing") == ""


def test_a_message() -> None:
    callback = parse_callback(
        f"<xml>{HEAD}<MsgType>text</MsgType><Content><![CDATA[退订 <b>&]]></Content>"
        "<MsgId>6054768590064713728</MsgId><AgentID>1</AgentID></xml>".encode()
    )

    assert (callback.is_event, callback.kind, callback.text("Content")) == (False, "text", "退订 <b>&")
    assert callback.dedupe_key == "msg:6054768590064713728"


def test_a_change_of_the_directory_has_no_application() -> None:
    callback = parse_callback(
        event("<ChangeType>update_user</ChangeType><UserID>lilei</UserID><AgentID></AgentID>", "change_contact")
    )

    assert (callback.kind, callback.change, callback.agentid) == ("change_contact", "update_user", None)
    assert callback.text("UserID") == "lilei"


@pytest.mark.parametrize("name", ["LOCATION", "<![CDATA[Location]]>", " location\n"])
def test_the_name_of_an_event_is_compared_without_case(name: str) -> None:
    assert parse_callback(event("", name)).kind == "location"


def test_elements_may_be_nested_and_repeated() -> None:
    callback = parse_callback(
        event("<SendPicsInfo><Count>2</Count><PicList><item><M>a</M></item></PicList><PicList/></SendPicsInfo>")
    )

    assert callback.fields["SendPicsInfo"] == {"Count": "2", "PicList": [{"item": {"M": "a"}}, ""]}


def test_an_envelope() -> None:
    body = b"<xml>\n <Encrypt><![CDATA[QUJD]]></Encrypt>\n <AgentID>1</AgentID><ToUserName>ww1</ToUserName></xml>"

    assert read_envelope(body) == ("ww1", "QUJD")
    assert read_envelope(b"<xml><Encrypt>QUJD</Encrypt></xml>") == ("", "QUJD")


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    b"<xml><Encrypt>&b;</Encrypt></xml>"
)
FILE = b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]><xml><Encrypt>&f;</Encrypt></xml>'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        b"<xml>",
        b"<xml/>",
        b"<xml>text</xml>",
        b"<xml><Encrypt></Encrypt></xml>",
        b"<xml><Encrypt><a>x</a></Encrypt></xml>",
        b"<xml><Encrypt>a</Encrypt><Encrypt>b</Encrypt></xml>",
        b"<xml>" * 5000,
        b"<a>" * 100 + b"</a>" * 100,
        b'<?xml version="1.0" encoding="no-such"?><xml><Encrypt>a</Encrypt></xml>',
        b"\xff\xfe<xml>",
        b"<xml><Encrypt>\x00</Encrypt></xml>",
        BOMB,
        FILE,
        b"<!DOCTYPE xml><xml><Encrypt>a</Encrypt></xml>",
        b"<xml><Encrypt>" + b"x" * 5_300_000 + b"</Encrypt></xml>",
    ],
    ids=range(17),
)
def test_a_body_that_is_no_envelope_is_refused(body: bytes) -> None:
    with pytest.raises(CallbackError):
        read_envelope(body)


@pytest.mark.parametrize(
    "message",
    [
        b"<xml><MsgType>text</MsgType></xml>",
        b"<xml><CreateTime>1</CreateTime></xml>",
        b"<xml><MsgType>event</MsgType><CreateTime>1</CreateTime></xml>",
        b"<xml><MsgType>text</MsgType><CreateTime>yesterday</CreateTime></xml>",
        b"<xml><MsgType>text</MsgType><CreateTime>1111111111111</CreateTime></xml>",
    ],
)
def test_a_plaintext_that_is_no_callback_is_refused(message: bytes) -> None:
    with pytest.raises(CallbackError):
        parse_callback(message)
