"""WeCom's side of a callback address. It seals with wechatpy, an independent program."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import xmltodict
from django.test import Client
from wechatpy.enterprise.crypto import WeChatCrypto

from integrations.models import Corp

# Worked vectors, computed with two releases of wechatpy and with @wecom/crypto 1.0.1.
CORPID, AGENTID = "ww1a2b3c4d5e6f7a8b", 1000002
TOKEN, AES_KEY = "QDG6eKtestToken01", "XJkoxTakYd9Lo1Z2tTHEcHZsMSiWYhpx6jtYQGd8CqM"
OTHER_AES_KEY = "kWxPEV2UEDyxWpmPdKC3F4dgPDmOvfKX1HGnEUDS1aR"
ECHO = {
    "msg_signature": "dc59760b5216500cc86d0252d42d9083c05ea70b",
    "timestamp": "1764000000",
    "nonce": "1372623149",
    "echostr": "vZC6GH1Cr36u7AwCiDFSvBYNc0Yes8hu9q28mBkrFbVNad6nsUhswAY+mLCA2ZUwBl5casKYteG3ehhZ9Eqtlw==",
}
ECHO_ANSWER = b"6482197350126648931"
EVENT_QUERY = {
    "msg_signature": "40486680a03444f07cdff5e16908de8a0b3c5142",
    "timestamp": "1764000001",
    "nonce": "998877",
}
EVENT_ENCRYPTED = (
    "LLZRqfoQUMUHn57OL1yN/JE5PHqwyghLVWulGZEbD4hE02l8fh+kNHFezx2kZ5EskuLG+UC/9OP6NkEIVGZgS/TIXzwIsEQ/qfN0FVsaUEWRpgWN"
    "EmLpVm8WEZtGPGYB+yk208GGFthRyc9iNNaRzMVVjo2o00dc++uD31dPWLhnat/b4IhTm2v0EYS5DLSJQ/CmNysXCXU9OrvYMudOtt0b5No4Aa9Z"
    "G5A02AOCFj3Kw6D7ZjrtY4ojq/HW+gVzvSIivxj2Vk1cjxdBprvoBhOn3KVF3gGxkE/240zoG+c4RcKqGZ6hfVBknOfL3LZ16KMNKUNeGjuVjM0v"
    "icrp73lM70ehAYsyC9FI1rtFJFpgneD0pO5uxf4V+s12lIcxw+ivB0o0zVi/IoxJT7W6qhQCI3RoL0cNQvATM3NTfDTwpB5Zb5aIM/EfAkI3/4qr"
    "58FJyppGJsfUkkjvT2+YxdG526AUVTsogMGFobWuUbhORaWe3XQ5Ns5f5HZ9rVY/cou7w0FW+aGQ5Te28neZvmYK7pIwrt3vZ2gN9wpmixbg5Mfg"
    "B/tx1qoUdonJxLLaxs1mjZ9FYh6m2DuaQ38U8EocKVDAuxnLvMpMY9GDJ/HiUMDgkTkCG8cIUHZ0FaQq"
)
EVENT_PLAINTEXT = (
    "<xml><ToUserName><![CDATA[ww1a2b3c4d5e6f7a8b]]></ToUserName><FromUserName><![CDATA[lilei]]></FromUserName>"
    "<CreateTime>1764000001</CreateTime><MsgType><![CDATA[event]]></MsgType><Event><![CDATA[template_card_event]]></Event>"
    "<EventKey><![CDATA[approve]]></EventKey><TaskId><![CDATA[task-0001]]></TaskId>"
    "<CardType><![CDATA[button_interaction]]></CardType><ResponseCode><![CDATA[RC_0001]]></ResponseCode>"
    "<AgentID>1000002</AgentID></xml>"
)


def envelope(encrypted: str, *, corpid: str = CORPID, agentid: str = "1000002") -> bytes:
    return (
        f"<xml><ToUserName><![CDATA[{corpid}]]></ToUserName><AgentID><![CDATA[{agentid}]]></AgentID>"
        f"<Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>"
    ).encode()


EVENT_BODY = envelope(EVENT_ENCRYPTED)


def event_xml(
    *, corpid: str = CORPID, name: str = "change_contact", created_at: int = 1764000010, **elements: object
) -> str:
    more = "".join(f"<{element}>{value}</{element}>" for element, value in elements.items())
    return (
        f"<xml><ToUserName><![CDATA[{corpid}]]></ToUserName><FromUserName><![CDATA[sys]]></FromUserName>"
        f"<CreateTime>{created_at}</CreateTime><MsgType><![CDATA[event]]></MsgType><Event>{name}</Event>{more}</xml>"
    )


@dataclass
class Sender:
    """Posts to an address as WeCom does. `receiveid` is the company that the plaintext names as its receiver."""

    path: str
    token: str = TOKEN
    aes_key: str = AES_KEY
    receiveid: str = CORPID
    nonce: int = 100

    def sealed(self, plaintext: str, **outer: str) -> tuple[dict[str, str], bytes]:
        """Return query and body of one delivery. Every call gives another ciphertext, as WeCom's repeats do."""
        self.nonce += 1
        crypto = WeChatCrypto(self.token, self.aes_key, self.receiveid)
        sealed = xmltodict.parse(crypto.encrypt_message(plaintext, str(self.nonce), "1764000020"))["xml"]
        query = {"msg_signature": sealed["MsgSignature"], "timestamp": "1764000020", "nonce": str(self.nonce)}
        return query, envelope(sealed["Encrypt"], **{"corpid": self.receiveid, **outer})

    def post(self, plaintext: str, **outer: str) -> Any:
        query, body = self.sealed(plaintext, **outer)
        return post(self.path, body, query)


def post(path: str, body: bytes, query: dict[str, str], client: Client | None = None) -> Any:
    """Post without cookies and CSRF token; the CSRF check is on and would refuse that."""
    client = client or Client(enforce_csrf_checks=True)
    return client.post(f"{path}?{urlencode(query)}", data=body, content_type="text/xml")


def with_keys(corp: Corp, **changes: object) -> Corp:
    """Make `corp` the company of the vectors, with their keys at its app's address."""
    values = {"corpid": CORPID, "agentid": AGENTID, "callback_token": TOKEN, "callback_aes_key": AES_KEY, **changes}
    for name, value in values.items():
        setattr(corp, name, value)
    corp.save()
    return corp
