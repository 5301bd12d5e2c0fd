"""The page that was asked for, in the form for the device, with the query that came and no stranger's token."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, unquote, urljoin, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.clients.guandata_sso import PageForms, entrance, is_template, page_for

FORMS = PageForms()


@pytest.mark.parametrize(
    ("asked", "query", "desktop", "phone"),
    [
        ("", "", "/", "/"),
        ("", "a=1", "/?a=1", "/?a=1"),
        ("page/p1", "", "/page/p1", "/m/page/p1?pageRenderType=phoneView"),
        ("page/p1/", "", "/page/p1", "/m/page/p1?pageRenderType=phoneView"),
        ("page/p1", "from=menu", "/page/p1?from=menu", "/m/page/p1?pageRenderType=phoneView&from=menu"),
        ("m/page/p1", "", "/page/p1", "/m/page/p1?pageRenderType=phoneView"),
        ("m/page/p1", "pageRenderType=other", "/page/p1?pageRenderType=other", "/m/page/p1?pageRenderType=other"),
        ("page/a b", "", "/page/a%20b", "/m/page/a%20b?pageRenderType=phoneView"),
        ("card/c1", "ps=embed", "/card/c1?ps=embed", "/card/c1?ps=embed"),
        ("app/7/报表", "q=%E6%8A%A5", "/app/7/%E6%8A%A5%E8%A1%A8?q=%E6%8A%A5", "/app/7/%E6%8A%A5%E8%A1%A8?q=%E6%8A%A5"),
        ("what?x#y", "", "/what%3Fx%23y", "/what%3Fx%23y"),
        ("survey-engine", "", "/?path_url=survey-engine", "/?path_url=survey-engine"),
        (
            "survey-engine/m/survey/4b",
            "a=1&b=%20",
            "/?path_url=survey-engine%2Fm%2Fsurvey%2F4b%3Fa%3D1%26b%3D%2520",
            "/?path_url=survey-engine%2Fm%2Fsurvey%2F4b%3Fa%3D1%26b%3D%2520",
        ),
        ("survey-engines", "", "/survey-engines", "/survey-engines"),
    ],
)
def test_a_page_has_a_form_for_each_device(asked: str, query: str, desktop: str, phone: str) -> None:
    assert page_for(asked, query, forms=FORMS, on_phone=False) == desktop
    assert page_for(asked, query, forms=FORMS, on_phone=True) == phone


def test_other_forms_can_be_set() -> None:
    forms = PageForms("/p/{id}/view", "/mobile/{id}", desktop_home="/home", phone_home="/m/home?v=2", routed=())

    assert page_for("p/7/view", "a=1", forms=forms, on_phone=True) == "/mobile/7?a=1"
    assert page_for("mobile/7", "", forms=forms, on_phone=False) == "/p/7/view"
    assert page_for("", "", forms=forms, on_phone=True) == "/m/home?v=2"
    assert page_for("", "a=1", forms=forms, on_phone=True) == "/m/home?v=2&a=1"
    assert page_for("survey-engine", "", forms=forms, on_phone=False) == "/survey-engine"


def test_a_phone_without_a_form_of_its_own_gets_the_desktop_s() -> None:
    assert page_for("page/7", "", forms=PageForms(phone=""), on_phone=True) == "/page/7"


STRANGERS = [
    "ssoToken=evil", "provider=evil", "ssotoken=evil", "SSOTOKEN=evil", "%73soToken=evil", "sso%54oken=evil",
    "%2573soToken=evil", "ssoToken", "ssoToken=", "+ssoToken=evil", "%20ssoToken=evil", "a=1;ssoToken=evil",
    "a=1%26ssoToken=evil", "a=%26provider%3Devil", "a?ssoToken=evil", "x%23ssoToken=evil",
    "ssoToken[]=evil", "ssoToken%5B%5D=evil", "ssoToken[0]=evil", "ssoToken[a][b]=evil", "[ssoToken]=evil",
    "a[ssoToken]=evil", "ssoToken.0=evil", "user.ssoToken=evil", "ssoToken%00=evil", "ssoToken%00[]=evil",
    "sso_token=evil", "sso-token=evil", "SSO%20Token=evil", "sso%E2%80%8BToken=evil", "%u0073soToken=evil",
    "sso%C5%BFtoken=evil;%C5%BFsoToken=evil", "ssoTo%E2%84%AAen=evil", "%EF%BD%93soToken=evil", "%C1%B3soToken=evil",
    "provider[]=evil", "Provider%5b0%5d=evil", "amp;ssoToken=evil", "path_url=page/p1?ssoToken=evil",
]  # fmt: skip


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("asked", ["", "page/p1", "card/c1", "survey-engine/m/1"])
def test_a_stranger_s_token_is_left_out(asked: str, stranger: str) -> None:
    for on_phone in (False, True):
        page = page_for(asked, f"a=1&{stranger}&b=2", forms=FORMS, on_phone=on_phone)

        assert page == page_for(asked, "a=1&b=2", forms=FORMS, on_phone=on_phone)


@pytest.mark.parametrize(
    "query", ["q=ssoToken", "ssoTokens=1", "providers[]=1", "data-provider=x", "q=%B1%A8", "a[]=1"]
)
def test_what_only_resembles_it_stays(query: str) -> None:
    assert page_for("page/p1", query, forms=FORMS, on_phone=False) == f"/page/p1?{query}"


@pytest.mark.parametrize("stranger", ["ssoToken=evil", "ssoToken[]=evil", "%73soToken=evil"])
def test_a_stranger_s_token_in_a_saved_form_is_left_out(stranger: str) -> None:
    forms = PageForms("/page/{id}?a=1&" + stranger, desktop_home=f"/?{stranger}&a=1")

    assert page_for("", "b=2", forms=forms, on_phone=False) == "/?a=1&b=2"
    assert page_for("page/7", "b=2", forms=forms, on_phone=False) == "/page/7?a=1&b=2"
    assert page_for("survey-engine", "", forms=forms, on_phone=False) == "/?a=1&path_url=survey-engine"


def test_a_token_inside_the_path_of_a_form_stays_part_of_its_path() -> None:
    page = page_for("survey-engine/x?ssoToken=evil", "", forms=FORMS, on_phone=False)

    assert page == "/?path_url=survey-engine%2Fx%253FssoToken%3Devil"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("/page/{id}", True),
        ("/m/page/{id}?pageRenderType=phoneView", True),
        ("/{id}", True),
        ("/x/{id}/view", True),
        ("", False),
        ("page/{id}", False),
        ("/page/", False),
        ("/page/x{id}", False),
        ("/page/{id}/{id}", False),
        ("/page/{name}", False),
        ("/page?id={id}", False),
        ("//evil.example/{id}", False),
        ("https://evil.example/{id}", False),
        ("/page/{id}#x", False),
        ("/page/{id}?ssoToken=evil", False),
        ("/page/{id}?a=1&provider=evil", False),
        ("/page/{id}?ssoToken[]=evil", False),
        ("/page/{id};ssoToken=evil", False),
    ],
)
def test_a_template_has_the_id_as_a_whole_part_of_its_path(text: str, is_one: bool) -> None:
    assert is_template(text) is is_one


trickery = st.text(max_size=40) | st.text(alphabet="/\\%2fFcC5.:@?#&=;\r\n\t {}-", max_size=30)


@settings(max_examples=200, deadline=None)
@given(asked=trickery, query=trickery.map(lambda text: quote(text, safe="/?&=;%")), on_phone=st.booleans())
def test_whatever_is_asked_for_the_landing_is_the_bi_with_our_token_alone(
    asked: str, query: str, on_phone: bool
) -> None:
    page = page_for(asked, query, forms=FORMS, on_phone=on_phone)
    address = entrance(base_url="https://bi.example.com", page=page, provider="guanbi", token="ab12")

    assert page.startswith("/")
    arrived = urlsplit(urljoin("https://site.example/", address))
    assert (arrived.scheme, arrived.netloc) == ("https", "bi.example.com")
    assert urlsplit(unquote(address).replace("\\", "/")).netloc == "bi.example.com"
    pairs = [(name, value) for name, value in parse_qsl(arrived.query) if name.lower() in {"ssotoken", "provider"}]
    assert pairs == [("provider", "guanbi"), ("ssoToken", "ab12")]
