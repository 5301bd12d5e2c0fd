"""OAuth links and JS-SDK signatures. Pure. Source: developer.work.weixin.qq.com/document/path/90506."""

from __future__ import annotations

import hashlib
from urllib.parse import quote


def sign_page(*, ticket: str, nonce: str, timestamp: int, url: str) -> str:
    """Return the signature of the page at `url`, the browser's address with its query; the fragment is left out.

    `ticket`: of the company or of the application. `timestamp`: Unix seconds. No value is percent-encoded.
    """
    page = url.partition("#")[0]
    signed = f"jsapi_ticket={ticket}&noncestr={nonce}&timestamp={timestamp}&url={page}"
    return hashlib.sha1(signed.encode(), usedforsecurity=False).hexdigest()


# --- Links for signing in with WeCom. Their values come from models and settings, which validate them -----------------

WWLOGIN_BASE_URL = "https://login.work.weixin.qq.com"


def build_authorize_url(*, base_url: str, corpid: str, agentid: int, redirect_uri: str, state: str = "") -> str:
    """Return the link that signs a browser inside WeCom in without a password.

    `redirect_uri`: not encoded, without a fragment; its host and port must be the trusted domain. `state`:
    `[A-Za-z0-9]`, at most 128; an empty one is left out.
    """
    state_parameter = f"&state={state}" if state else ""
    return (
        f"{base_url}/connect/oauth2/authorize?appid={corpid}&redirect_uri={quote(redirect_uri, safe='')}"
        f"&response_type=code&scope=snsapi_base{state_parameter}&agentid={agentid}#wechat_redirect"
    )


def build_wwlogin_url(*, base_url: str, corpid: str, agentid: int, redirect_uri: str, state: str, lang: str) -> str:
    """Return the page with the QR code, for an ordinary browser. `lang`: zh or en; the rest as build_authorize_url."""
    return (
        f"{base_url}/wwlogin/sso/login?login_type=CorpApp&appid={corpid}&agentid={agentid}"
        f"&redirect_uri={quote(redirect_uri, safe='')}&state={state}&lang={lang}"
    )
