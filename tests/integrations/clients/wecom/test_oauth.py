"""Links of sign-in: what they carry (their whole form: tests/integrations/companies)."""

from urllib.parse import parse_qsl, urlsplit

import pytest

from integrations.companies import links
from integrations.models import Corp


@pytest.mark.parametrize(
    ("domain_id", "inner_path"),
    [("", ""), ("d", ""), ("", "/page/7?a=1&b=2#top"), ("中 文", "报表/日报?名=值&x=%20")],
)
def test_what_went_in_comes_out_at_the_callback(corp: Corp, domain_id: str, inner_path: str) -> None:
    corp.domain_id = domain_id
    link = links.build_home_page_link(corp, inner_path)

    redirect_uri = dict(parse_qsl(urlsplit(link).query))["redirect_uri"]
    arrived = dict(parse_qsl(urlsplit(redirect_uri).query, keep_blank_values=True))
    assert redirect_uri.partition("?")[0] == links.build_sign_in_callback_url(corp)
    assert arrived == {name: value for name, value in (("domain", domain_id), ("path_url", inner_path)) if value}
