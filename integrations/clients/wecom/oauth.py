"""OAuth links and JS-SDK signatures. Pure. Source: developer.work.weixin.qq.com/document/path/90506."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlsplit


@dataclass(frozen=True, slots=True)
class Signature:
    """What `getConfigSignature` returns to the page."""

    timestamp: int
    nonce: str
    signature: str


def sign(*, ticket: str, nonce: str, timestamp: int, url: str) -> Signature:
    """The signature of the page at `url`: as the browser shows it, with its query; its fragment is left out.

    `timestamp`: Unix seconds. Nothing is encoded. The same for the company's and the application's ticket.
    """
    page = url.partition("#")[0]
    signed = f"jsapi_ticket={ticket}&noncestr={nonce}&timestamp={timestamp}&url={page}"
    digest = hashlib.sha1(signed.encode(), usedforsecurity=False).hexdigest()
    return Signature(timestamp, nonce, digest)


# --- The links of signing in with WeCom. Pure: values in, a link out ---

AUTHORIZE_BASE_URL = "https://open.weixin.qq.com"
WWLOGIN_BASE_URL = "https://login.work.weixin.qq.com"
SCOPES = ("snsapi_base", "snsapi_privateinfo")
_STATE = re.compile(r"[A-Za-z0-9]{0,128}")


class LinkError(ValueError):
    """A value that WeCom would refuse in a link; `field` names it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def authorize_url(
    *,
    corpid: str,
    agentid: int,
    redirect_uri: str,
    state: str = "",
    scope: str = "snsapi_base",
    base_url: str = AUTHORIZE_BASE_URL,
) -> str:
    """Where a browser inside WeCom is sent to be signed in without a password.

    `redirect_uri`: not encoded; its host and port must be the trusted domain. `state`: `[A-Za-z0-9]`, at most 128.
    An empty state is left out. Raises LinkError.
    """
    if scope not in SCOPES:
        raise LinkError("scope", f"one of {', '.join(SCOPES)}")
    stated = f"&state={_checked_state(state)}" if state else ""
    return (
        f"{_checked_base(base_url)}/connect/oauth2/authorize?appid={_quoted('corpid', corpid)}"
        f"&redirect_uri={_encoded_page(redirect_uri)}&response_type=code&scope={scope}{stated}"
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
    """The page with the QR code, for an ordinary browser. Values as in `authorize_url`; `lang`: zh or en. Raises
    LinkError.
    """
    if lang not in ("zh", "en"):
        raise LinkError("lang", "zh or en")
    stated = f"&state={_checked_state(state)}" if state else ""
    return (
        f"{_checked_base(base_url)}/wwlogin/sso/login?login_type=CorpApp&appid={_quoted('corpid', corpid)}"
        f"&agentid={agentid}&redirect_uri={_encoded_page(redirect_uri)}{stated}&lang={lang}"
    )


def home_page_link(
    *,
    corpid: str,
    agentid: int,
    callback_url: str,
    domain_id: str = "",
    inner_path: str = "",
    base_url: str = AUTHORIZE_BASE_URL,
) -> str:
    """The link for "应用主页" in WeCom's console.

    Whoever opens it comes to `callback_url` with `domain=<domain_id>` (left out when empty) and
    `path_url=<inner_path>` in its own query; the whole of it is encoded once, as the specification asks. The link is
    static, so it carries no state: what arrives with its code must be checked anew.
    """
    return authorize_url(
        corpid=corpid,
        agentid=agentid,
        redirect_uri=host_url(callback_url=callback_url, domain_id=domain_id, inner_path=inner_path),
        base_url=base_url,
    )


def host_url(*, callback_url: str, domain_id: str = "", inner_path: str = "") -> str:
    """The callback address with `domain` and `path_url` in its query, each encoded once, and not yet encoded for the
    link around it. Raises LinkError.
    """
    pairs = [("domain", domain_id), ("path_url", inner_path)]
    query = "&".join(f"{name}={_quoted(name, value, safe='/')}" for name, value in pairs if value)
    if not query:
        return callback_url
    return f"{callback_url}{'&' if '?' in callback_url else '?'}{query}"


def _checked_state(state: str) -> str:
    if not _STATE.fullmatch(state):
        raise LinkError("state", "letters and digits, at most 128")
    return state


def _checked_base(base_url: str) -> str:
    parts = _split("base_url", base_url)
    if not base_url.isascii() or not base_url.isprintable() or " " in base_url:
        raise LinkError("base_url", "plain characters without spaces")
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise LinkError("base_url", "an address with http or https and without a query")
    return base_url.rstrip("/")


def _encoded_page(url: str) -> str:
    parts = _split("redirect_uri", url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise LinkError("redirect_uri", "a full address with http or https")
    if parts.fragment:
        raise LinkError("redirect_uri", "no fragment: WeCom appends the code to the query")
    return _quoted("redirect_uri", url)


def _split(field: str, url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise LinkError(field, "not an address") from None


def _quoted(field: str, value: str, *, safe: str = "") -> str:
    try:
        return quote(value, safe=safe)
    except UnicodeEncodeError:
        raise LinkError(field, "holds half of a surrogate pair") from None
