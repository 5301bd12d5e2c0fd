"""Links of sign-in: what they carry (their whole form: tests/integrations/companies)."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from integrations.clients.wecom.oauth import authorize_url, encode_callback_query

CORPID = "ww1a2b3c4d5e6f7a8b"
OFFICIAL = "https://open.weixin.qq.com"
CALLBACK = "https://portal.example.com/wecom/callback/"


@pytest.mark.parametrize(
    ("domain_id", "inner_path"),
    [("", ""), ("d", ""), ("", "/page/7?a=1&b=2#top"), ("中 文", "报表/日报?名=值&x=%20")],
)
def test_what_went_in_comes_out_at_the_callback(domain_id: str, inner_path: str) -> None:
    query = encode_callback_query(domain_id=domain_id, inner_path=inner_path)
    link = authorize_url(base_url=OFFICIAL, corpid=CORPID, agentid=1, redirect_uri=f"{CALLBACK}?{query}")

    redirect_uri = dict(parse_qsl(urlsplit(link).query))["redirect_uri"]
    arrived = dict(parse_qsl(urlsplit(redirect_uri).query, keep_blank_values=True))
    assert redirect_uri.partition("?")[0] == CALLBACK
    assert arrived == {name: value for name, value in (("domain", domain_id), ("path_url", inner_path)) if value}
