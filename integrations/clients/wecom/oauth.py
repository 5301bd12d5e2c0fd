"""OAuth links and JS-SDK signatures. Pure. Source: developer.work.weixin.qq.com/document/path/90506."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote

from integrations.clients.wecom.builders import MessageError, check_link


def sign(*, ticket: str, nonce: str, timestamp: int, url: str) -> str:
    """Return the signature of the page at `url`, the browser's address with its query; the fragment is left out.

    `timestamp`: Unix seconds. Nothing is encoded. The company's and the application's ticket sign alike.
    """
    page = url.partition("#")[0]
    signed = f"jsapi_ticket={ticket}&noncestr={nonce}&timestamp={timestamp}&url={page}"
    return hashlib.sha1(signed.encode(), usedforsecurity=False).hexdigest()


# --- Links for signing in with WeCom ---

AUTHORIZE_BASE_URL = "https://open.weixin.qq.com"
WWLOGIN_BASE_URL = "https://login.work.weixin.qq.com"
_STATE = re.compile(r"[A-Za-z0-9]{0,128}")


def authorize_url(
    *,
    corpid: str,
    agentid: int,
    redirect_uri: str,
    state: str = "",
    base_url: str = AUTHORIZE_BASE_URL,
) -> str:
    """Return the link that signs a browser inside WeCom in without a password.

    `redirect_uri`: not encoded; its host and port must be the trusted domain. `state`: `[A-Za-z0-9]`, at most 128.
    An empty state is left out. Raises MessageError.
    """
    stated = f"&state={_check_state(state)}" if state else ""
    return (
        f"{_check_base(base_url)}/connect/oauth2/authorize?appid={_quote_value('corpid', corpid)}"
        f"&redirect_uri={_encode_page(redirect_uri)}&response_type=code&scope=snsapi_base{stated}"
        f"&agentid={agentid}#wechat_redirect"
    )


def wwlogin_url(
    *,
    corpid: str,
    agentid: int,
    redirect_uri: str,
    state: str = "",
    lang: str = "zh",
    base_url: str = WWLOGIN_BASE_URL,
) -> str:
    """Return the page with the QR code, for an ordinary browser. Raises MessageError.

    Values as in `authorize_url`; `lang`: zh or en.
    """
    if lang not in ("zh", "en"):
        raise MessageError("lang", "zh or en")
    stated = f"&state={_check_state(state)}" if state else ""
    return (
        f"{_check_base(base_url)}/wwlogin/sso/login?login_type=CorpApp&appid={_quote_value('corpid', corpid)}"
        f"&agentid={agentid}&redirect_uri={_encode_page(redirect_uri)}{stated}&lang={lang}"
    )


def encode_callback_query(*, domain_id: str, inner_path: str) -> str:
    """Return the query of our callback: the corp's `domain_id` and the page to land on. Raises MessageError."""
    pairs = [("domain", domain_id), ("path_url", inner_path)]
    return "&".join(f"{name}={_quote_value(name, value, safe='/')}" for name, value in pairs if value)


def _check_state(state: str) -> str:
    if not _STATE.fullmatch(state):
        raise MessageError("state", "letters and digits, at most 128")
    return state


def _check_base(base_url: str) -> str:
    check_link("base_url", base_url)
    if not base_url.isascii() or not base_url.isprintable() or not {" ", "?", "#"}.isdisjoint(base_url):
        raise MessageError("base_url", "plain characters without spaces and a query")
    return base_url.rstrip("/")


def _encode_page(url: str) -> str:
    check_link("redirect_uri", url)
    if "#" in url:
        raise MessageError("redirect_uri", "no fragment: WeCom appends the code to the query")
    return _quote_value("redirect_uri", url)


def _quote_value(field: str, value: str, *, safe: str = "") -> str:
    try:
        return quote(value, safe=safe)
    except UnicodeEncodeError:
        raise MessageError(field, "holds half of a surrogate pair") from None
