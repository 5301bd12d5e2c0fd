"""Links derived from the site address: home page, OAuth and QR links.

One address, so trusted domain, callback domain and home page link cannot differ (docs/decisions/0002).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.shortcuts import resolve_url

from integrations import bi
from integrations.clients.wecom import oauth
from integrations.core.csp import origin_of
from integrations.core.safe_urls import rooted
from integrations.models import SiteAddress

if TYPE_CHECKING:
    from integrations.models import Corp

# The path of the callback. The higher app that answers it puts this route into its own urls.
CALLBACK_ROUTE = "wecom/<int:corp_id>/callback/"


def site_address_for(corp: Corp) -> SiteAddress:
    """The corp's own site address, else the default one."""
    url: str | None = getattr(corp, "site_url", None)  # of Corp.objects.to_begin_sign_in(): nothing is left to look up
    return SiteAddress(url=url) if url else corp.site_address or SiteAddress.objects.default()


def callback_url(corp: Corp) -> str:
    """Where WeCom sends a browser back to, with its code."""
    return site_address_for(corp).absolute("/" + CALLBACK_ROUTE.replace("<int:corp_id>", str(corp.pk)))


def trusted_domain(corp: Corp) -> str:
    """What WeCom's console takes as trusted domain and as authorisation callback domain: no scheme, no slash."""
    return site_address_for(corp).domain


def plain_login_url(corp: Corp) -> str:
    """The login page, for a home page that signs nobody in by itself."""
    return site_address_for(corp).absolute(resolve_url(settings.LOGIN_URL))


def home_page_link(corp: Corp, path_url: str = "") -> str:
    """What WeCom's console takes as the app's home page; `path_url` is the page to land on, else the usual one.

    The link is static and carries no state, so its code is never used as it comes (docs/decisions/0003).
    """
    if not corp.sign_in_enabled:
        return plain_login_url(corp)
    return oauth.home_page_link(
        corpid=corp.corpid,
        agentid=corp.agentid,
        callback_url=callback_url(corp),
        domain_id=corp.domain_id,
        inner_path=path_url,
        base_url=corp.authorize_base_url,
    )


def deep_link(corp: Corp, path: str) -> str:
    """A link that leads to `path` (see own_pages.inner_page_from), signing in on the way where the corp allows that."""
    if corp.sign_in_enabled:
        return home_page_link(corp, path)
    return site_address_for(corp).absolute(bi.landing_of(rooted(path))) if path else plain_login_url(corp)


def authorize_link(corp: Corp, state: str) -> str:
    """Where a browser inside WeCom is sent to be signed in silently. `state`: letters and digits, at most 128."""
    return oauth.authorize_url(
        corpid=corp.corpid,
        agentid=corp.agentid,
        redirect_uri=callback_url(corp),
        state=state,
        base_url=corp.authorize_base_url,
    )


def qr_link(corp: Corp, state: str, language: str = "zh") -> str:
    """The page with the QR code, for an ordinary browser. `language`: zh or en."""
    return oauth.wwlogin_url(
        corpid=corp.corpid,
        agentid=corp.agentid,
        redirect_uri=callback_url(corp),
        state=state,
        lang=language,
        base_url=corp.qr_base_url,
    )


def has_official_panel(corp: Corp) -> bool:
    """WeCom's own component frames this one host alone (read in @wecom/jssdk 2.4.4); others get a plain frame."""
    return origin_of(corp.qr_base_url) == oauth.WWLOGIN_BASE_URL


def panel_params(corp: Corp, state: str, language: str = "zh") -> dict[str, str]:
    """`params` of WeCom's component `createWWLoginPanel`. The whole page goes on with the code, not the frame alone.

    Source: developer.work.weixin.qq.com/document/path/98174 and the types of @wecom/jssdk 2.4.4.
    """
    return {
        "login_type": "CorpApp",
        "appid": corp.corpid,
        "agentid": str(corp.agentid),
        "redirect_uri": callback_url(corp),
        "state": state,
        "redirect_type": "top",
        "lang": language,
        "color_scheme": "auto",
    }


def panel_page(corp: Corp, state: str, language: str = "zh") -> str:
    """The same as a page for a frame, where the QR page lies on another host than WeCom's own."""
    return f"{qr_link(corp, state, language)}&redirect_type=top&color_scheme=auto"
