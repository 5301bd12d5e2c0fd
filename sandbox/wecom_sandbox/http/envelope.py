"""Answers of WeCom's API as bytes: HTTP 200, errcode and errmsg, hint id, error headers."""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

JSON_TYPE = "application/json; charset=UTF-8"
_MORE_INFO = "more info at https://open.work.weixin.qq.com/devtool/query?e="
# These errors have no hint id.
_WITHOUT_HINT = frozenset({42001})
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_serial = itertools.count(secrets.randbelow(10**9))


@dataclass(slots=True)
class Reply:
    """An answer before it is sent. `errcode` is for the call log; 0 also for binary answers."""

    body: bytes
    errcode: int = 0
    status: int = 200
    content_type: str = JSON_TYPE
    headers: dict[str, str] = field(default_factory=dict)


def encode_json(document: Mapping[str, object]) -> bytes:
    """Encode JSON as WeCom does: UTF-8, without needless escapes."""
    return _ENCODER.encode(document).encode()


def make_hint_id(now: float) -> str:
    """Make a hint id of 25 digits: unix seconds and 15 more."""
    return f"{int(now):010d}{next(_serial) * 7919 % 10**15:015d}"


def make_error_text(code: int, text: str, *, ip: str, now: float) -> str:
    """Write errmsg as WeCom does, with a hint and the caller's `ip`, except for 42001."""
    if code in _WITHOUT_HINT:
        return f"{text}, {_MORE_INFO}{code}"
    return f"{text}, hint: [{make_hint_id(now)}], from ip: {ip}, {_MORE_INFO}{code}"


def make_success(fields: Mapping[str, object], *, warning: str = "") -> Reply:
    """Make an answer with errcode 0. `warning`: "", or WeCom's text about a body that was not clean JSON."""
    document: dict[str, object] = {"errcode": 0, "errmsg": "ok", **fields}
    if warning:
        document["errmsg"] = f"{document['errmsg']}. {warning}"
    return Reply(encode_json(document))


def make_failure(
    code: int, text: str, *, ip: str, now: float, fields: Mapping[str, object] | None = None, warning: str = ""
) -> Reply:
    """Make an error: the same data in the body and in the headers Error-Code and Error-Msg; HTTP status 200."""
    message = make_error_text(code, f"{warning}{text}", ip=ip, now=now)
    document: dict[str, object] = {"errcode": code, "errmsg": message, **(fields or {})}
    header = message.encode("ascii", "replace").decode()
    headers = {"Error-Code": str(code), "Error-Msg": header.replace("\r", " ").replace("\n", " ")}
    return Reply(encode_json(document), errcode=code, headers=headers)
