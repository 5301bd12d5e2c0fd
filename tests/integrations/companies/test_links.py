"""Links and addresses that follow from the site address."""

from urllib.parse import parse_qsl, urlsplit

import pytest

from integrations.companies import links
from integrations.models import Corp, SiteAddress

pytestmark = pytest.mark.usefixtures("at_home")
CALLBACK = "https%3A%2F%2Fbi.example.com%2Fwecom%2F{}%2Fcallback%2F"


def test_the_home_page_link_is_the_specification_s(corp: Corp) -> None:
    """Build also the link without domain and path, and without sign-in."""
    corp.domain_id = "guandata"

    assert links.build_home_page_link(corp, "survey-engine") == (
        f"https://open.weixin.qq.com/connect/oauth2/authorize?appid={corp.corpid}"
        f"&redirect_uri={CALLBACK.format(corp.pk)}%3Fdomain%3Dguandata%26path_url%3Dsurvey-engine"
        "&response_type=code&scope=snsapi_base&agentid=1000002#wechat_redirect"
    )


@pytest.mark.parametrize(
    ("domain_id", "inner_path"),
    [("", ""), ("d", ""), ("", "/page/7?a=1&b=2#top"), ("中 文", "报表/日报?名=值&x=%20")],
)
def test_what_went_in_comes_out_at_the_callback(corp: Corp, domain_id: str, inner_path: str) -> None:
    corp.domain_id = domain_id

    redirect_uri = dict(parse_qsl(urlsplit(links.build_home_page_link(corp, inner_path)).query))["redirect_uri"]
    arrived = dict(parse_qsl(urlsplit(redirect_uri).query, keep_blank_values=True))
    assert redirect_uri.partition("?")[0] == links.build_sign_in_callback_url(corp)
    assert arrived == {name: value for name, value in (("domain", domain_id), ("path_url", inner_path)) if value}


def test_sign_in_inside_wecom_and_by_qr_code_also_at_the_doors_of_a_sandbox(corp: Corp) -> None:
    assert links.build_authorize_link(corp, "abc123") == (
        f"https://open.weixin.qq.com/connect/oauth2/authorize?appid={corp.corpid}"
        f"&redirect_uri={CALLBACK.format(corp.pk)}&response_type=code&scope=snsapi_base&state=abc123"
        "&agentid=1000002#wechat_redirect"
    )
    assert links.build_qr_link(corp, "abc123", "en") == (
        f"https://login.work.weixin.qq.com/wwlogin/sso/login?login_type=CorpApp&appid={corp.corpid}"
        f"&agentid=1000002&redirect_uri={CALLBACK.format(corp.pk)}&state=abc123&lang=en"
    )
    corp.authorize_base_url = corp.qr_base_url = "http://127.0.0.1:3002"

    assert links.build_authorize_link(corp, "a").startswith("http://127.0.0.1:3002/connect/oauth2/authorize?")
    assert links.build_qr_link(corp, "a").startswith("http://127.0.0.1:3002/wwlogin/sso/login?")


def test_all_three_domains_are_one_and_a_company_may_have_its_own(corp: Corp, other_corp: Corp) -> None:
    SiteAddress.objects.filter(is_default=True).update(url="https://bi.example.com:8443/")
    other_corp.site_address = SiteAddress.objects.create(url="https://bi.subsidiary.example/")

    assert links.find_trusted_domain(corp) == "bi.example.com:8443"
    assert links.build_sign_in_callback_url(corp) == f"https://bi.example.com:8443/wecom/{corp.pk}/callback/"
    assert "redirect_uri=https%3A%2F%2Fbi.example.com%3A8443%2F" in links.build_home_page_link(corp)
    assert links.find_trusted_domain(other_corp) == "bi.subsidiary.example"


@pytest.mark.parametrize("is_there", [False, True])
def test_a_missing_default_address_is_the_initial_one_again(corp: Corp, is_there: bool) -> None:
    """Use a row that already holds the URL, if there is one."""
    SiteAddress.objects.all().delete()
    if is_there:
        SiteAddress.objects.create(url="http://localhost:3001/")

    assert corp.find_site_address().url == "http://localhost:3001/"
    assert SiteAddress.objects.get().is_default
