"""Links of sign-in: what they carry and what they refuse (their whole form: tests/integrations/companies)."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from integrations.clients.wecom.builders import MessageError
from integrations.clients.wecom.oauth import authorize_url, encode_callback_query, wwlogin_url

CORPID = "ww1a2b3c4d5e6f7a8b"
CALLBACK = "https://portal.example.com/wecom/callback/"


def test_the_login_page_has_no_other_language() -> None:
    with pytest.raises(MessageError, match="^lang: "):
        wwlogin_url(corpid=CORPID, agentid=1, redirect_uri=CALLBACK, lang="de")


@pytest.mark.parametrize(
    ("domain_id", "inner_path"),
    [("", ""), ("d", ""), ("", "/page/7?a=1&b=2#top"), ("中 文", "报表/日报?名=值&x=%20")],
)
def test_what_went_in_comes_out_at_the_callback(domain_id: str, inner_path: str) -> None:
    query = encode_callback_query(domain_id=domain_id, inner_path=inner_path)
    link = authorize_url(corpid=CORPID, agentid=1, redirect_uri=f"{CALLBACK}?{query}")

    redirect_uri = dict(parse_qsl(urlsplit(link).query))["redirect_uri"]
    arrived = dict(parse_qsl(urlsplit(redirect_uri).query, keep_blank_values=True))
    assert redirect_uri.partition("?")[0] == CALLBACK
    assert arrived == {name: value for name, value in (("domain", domain_id), ("path_url", inner_path)) if value}


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"redirect_uri": "portal.example.com/callback"}, "redirect_uri"),
        ({"redirect_uri": "javascript:alert(1)"}, "redirect_uri"),
        ({"redirect_uri": f"{CALLBACK}#inner"}, "redirect_uri"),
        ({"state": "a-b"}, "state"),
        ({"state": "a" * 129}, "state"),
        ({"state": "状态"}, "state"),
        ({"base_url": "open.weixin.qq.com"}, "base_url"),
        ({"base_url": "https://open.weixin.qq.com/?x"}, "base_url"),
    ],
)
def test_what_wecom_would_refuse_is_refused(changed: dict[str, str], field: str) -> None:
    values = {"corpid": CORPID, "redirect_uri": CALLBACK, **changed}

    with pytest.raises(MessageError) as caught:
        authorize_url(agentid=1, **values)

    assert caught.value.field == field
