"""The way into the BI: who is passed on, as whom, to which page, and who is told why not."""

import logging
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.authentication.flow import find_requested_page
from accounts.models import Attribute, User, WeComAccount
from accounts.users import attributes
from integrations.bi import find_landing_page
from integrations.core.http import choose_safe_path
from integrations.models import BiConnection, Corp
from tests.accounts.conftest import DESKTOP, Visitor, make_corp, make_person, with_session
from tests.accounts.people import HOST
from tests.accounts.wecom import WeCom
from tests.bi import BI, make_bi, read_claims, read_page_path


@pytest.fixture
def bi(db: None) -> BiConnection:
    return make_bi()


class TestPassedOn:
    def test_the_person_with_a_token_of_this_moment_that_nothing_keeps(
        self, bi: BiConnection, person: User, corp: Corp
    ) -> None:
        before, browser = int(timezone.now().timestamp()), with_session(person, corp, DESKTOP)

        response = browser.get("/bi/page/p1")

        assert (response.status_code, response.content) == (302, b"")
        location = response.headers["Location"]
        claims = read_claims(location)
        assert before <= claims.pop("timestamp") <= int(timezone.now().timestamp())
        assert claims == {"externalUserId": "lilei", "expiredTimeSeconds": 60}
        assert location.startswith(f"{BI}/page/p1?provider=guanbi&ssoToken=")
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert "no-store" in response.headers["Cache-Control"]
        token = location.rpartition("ssoToken=")[2]
        assert token not in str([dict(browser.client.session.items()), *BiConnection.objects.values()])

    def test_each_click_has_a_token_of_its_own_time_and_settings(
        self, bi: BiConnection, person: User, corp: Corp
    ) -> None:
        make_bi(token_seconds=15, domain_id="abc", provider="Abc")

        location = with_session(person, corp).get("/bi/").headers["Location"]

        assert read_claims(location) | {"timestamp": 0} == {
            "domainId": "abc",
            "externalUserId": "lilei",
            "timestamp": 0,
            "expiredTimeSeconds": 15,
        }
        assert "provider=Abc&" in location

    @pytest.mark.parametrize(
        ("path", "desktop", "phone"),
        [
            ("/bi/", "/", "/"),
            ("/bi/page/p1", "/page/p1", "/m/page/p1?pageRenderType=phoneView"),
            ("/bi/m/page/p1", "/page/p1", "/m/page/p1?pageRenderType=phoneView"),
            ("/bi/page/p1?a=1&b=%E6%8A%A5", "/page/p1?a=1&b=%E6%8A%A5",
             "/m/page/p1?pageRenderType=phoneView&a=1&b=%E6%8A%A5"),
            ("/bi/card/c1?ps=embed", "/card/c1?ps=embed", "/card/c1?ps=embed"),
            ("/bi/survey-engine/m/survey/4b?x=1", "/?path_url=survey-engine%2Fm%2Fsurvey%2F4b%3Fx%3D1",
             "/?path_url=survey-engine%2Fm%2Fsurvey%2F4b%3Fx%3D1"),
            ("/bi/%E6%8A%A5%E8%A1%A8", "/%E6%8A%A5%E8%A1%A8", "/%E6%8A%A5%E8%A1%A8"),
            ("/bi/page/p1?back=https%3A%2F%2Fx.example%2F", "/page/p1?back=https%3A%2F%2Fx.example%2F",
             "/m/page/p1?pageRenderType=phoneView&back=https%3A%2F%2Fx.example%2F"),
        ],
    )  # fmt: skip
    def test_the_page_comes_along_in_the_form_for_the_device(
        self, bi: BiConnection, person: User, corp: Corp, path: str, desktop: str, phone: str
    ) -> None:
        assert read_page_path(with_session(person, corp, DESKTOP).get(path).headers["Location"]) == desktop
        assert read_page_path(with_session(person, corp).get(path).headers["Location"]) == phone

    def test_a_stranger_s_token_in_a_link_signs_nobody_in(self, bi: BiConnection, person: User, corp: Corp) -> None:
        browser = with_session(person, corp)
        for query in ("ssoToken=evil", "provider=evil", "%73soToken=evil", "a=1;ssotoken=evil"):
            location = browser.get(f"/bi/page/p1?{query}").headers["Location"]

            assert read_claims(location)["externalUserId"] == "lilei"
            assert "evil" not in location
        for path in (
            *("card/c1;ssoToken=evil", "x/%73soToken=1;provider=evil/y", "survey-engine/x%253FssoToken=evil"),
            "card/c1%3BssoToken%5B%5D=evil",
        ):
            response: Any = browser.client.get(f"/bi/{path}")
            assert (response.status_code, response.context["error"].cause) == (404, "bi-no-page")
            assert "Location" not in response.headers

    def test_only_a_click_does_it(self, bi: BiConnection, person: User, corp: Corp) -> None:
        client = with_session(person, corp).client
        for method in ("post", "put", "delete", "head", "options"):
            response = getattr(client, method)("/bi/page/p1")

            assert response.status_code == 405
            assert "Location" not in response.headers


def read_refusal(response: Any) -> tuple[int, str]:
    assert "Location" not in response.headers
    assert b"ssoToken" not in response.content
    return response.status_code, response.context["error"].cause.value


class TestRefused:
    def test_everybody_while_no_bi_is_connected_and_who_asked_for_no_page_of_it_can_begin_at_its_first(
        self, person: User, corp: Corp
    ) -> None:
        first, browser = b'<a class="button" href="/bi/">', with_session(person, corp)

        assert read_refusal(browser.get("/bi/page/p1")) == (404, "bi-off")
        make_bi(is_enabled=False)
        off = browser.get("/bi/page/p1")
        assert (read_refusal(off), first in off.content) == ((404, "bi-off"), False)
        make_bi()
        assert first in browser.get("/bi/page/a%2F..%2Fb").content

    def test_everybody_while_something_is_missing(self, person: User, corp: Corp) -> None:
        browser = with_session(person, corp)
        for broken in ({"base_url": ""}, {"key_saved_at": None}, {"private_key": "no key"}):
            bi = make_bi(**broken)
            assert read_refusal(browser.get("/bi/page/p1")) == (502, "bi-unusable")
            bi.delete()
        bi = make_bi()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE integrations_biconnection SET private_key = 'gAAAAA-of-another-key'")
        assert read_refusal(browser.get("/bi/page/p1")) == (502, "bi-unusable")

    def test_people_of_a_company_that_may_not_although_another_may(
        self, bi: BiConnection, person: User, corp: Corp, other_corp: Corp
    ) -> None:
        WeComAccount.objects.create(user=person, corp=other_corp, userid="lilei", is_primary=False)
        Corp.objects.filter(pk=corp.pk).update(bi_sign_in_enabled=False)

        assert read_refusal(with_session(person, corp).get("/bi/")) == (403, "bi-not-allowed")
        assert with_session(person, other_corp).get("/bi/").status_code == 302

    def test_after_a_password_who_has_no_account_of_a_company_that_may(
        self, bi: BiConnection, person: User, corp: Corp
    ) -> None:
        stranger = make_person("stranger")
        half = make_person("half", corp, "")
        disabled = make_person("of-disabled", make_corp("停用", 9, is_enabled=False), "x")

        for user in (stranger, half, disabled):
            assert read_refusal(with_session(user).get("/bi/")) == (403, "bi-not-allowed")
        assert read_claims(with_session(person).get("/bi/").headers["Location"])["externalUserId"] == "lilei"

    @pytest.mark.parametrize("language", ["zh-hans", "en"])
    def test_a_person_without_the_value_reads_what_is_missing_and_who_sets_it(
        self, person: User, corp: Corp, language: str
    ) -> None:
        make_bi(external_id_source="bi_login_id")

        response: Any = with_session(person, corp).client.get("/bi/page/p1", headers={"accept-language": language})

        assert read_refusal(response) == (403, "bi-no-external-id")
        text = response.content.decode()
        assert "BI loginId" in text
        assert "lilei" in text
        assert ("An administrator of all companies" in text) is (language == "en")
        assert "%(" not in text


class TestAsWhom:
    def test_by_e_mail_that_nobody_else_has(self, person: User, corp: Corp) -> None:
        make_bi(external_id_source="email")
        User.objects.filter(pk=person.pk).update(email="boss@example.com")
        browser = with_session(person, corp)
        assert read_claims(browser.get("/bi/").headers["Location"])["externalUserId"] == "boss@example.com"

        make_person("boss", corp, "boss", email="Boss@Example.com")

        assert read_refusal(browser.get("/bi/")) == (403, "bi-no-external-id")

    def test_two_user_names_that_differ_in_case_alone_let_neither_in(self, person: User, corp: Corp) -> None:
        make_bi()
        twin = make_person("LiLei", corp, "twin")

        assert read_refusal(with_session(person, corp).get("/bi/")) == (403, "bi-no-external-id")
        assert read_refusal(with_session(twin, corp).get("/bi/")) == (403, "bi-no-external-id")

    def test_by_the_attribute_that_is_marked_for_it(self, person: User, corp: Corp) -> None:
        make_bi(external_id_source="bi_login_id")
        attribute, browser = Attribute.objects.bi_login_ids().get(), with_session(person, corp)
        attributes.set_values(attribute=attribute, values={person.pk: ["LL-0042"]})

        assert read_claims(browser.get("/bi/").headers["Location"])["externalUserId"] == "LL-0042"
        Attribute.objects.update(is_bi_login_id=False)
        assert read_refusal(browser.get("/bi/")) == (502, "bi-unusable")

    def test_two_people_in_one_browser_after_each_other(self, bi: BiConnection, person: User, corp: Corp) -> None:
        other = make_person("hanmeimei", corp, "HanMeimei")
        browser = with_session(person, corp)
        browser.client.force_login(other, backend="django.contrib.auth.backends.ModelBackend")

        assert read_claims(browser.get("/bi/").headers["Location"])["externalUserId"] == "hanmeimei"


def test_the_log_names_ids_and_no_token_and_no_address(
    bi: BiConnection, person: User, corp: Corp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    browser = with_session(person, corp)

    location = browser.get("/bi/page/secret-page?a=1").headers["Location"]
    make_bi(external_id_source="email")
    browser.get("/bi/page/secret-page")

    token = location.rpartition("ssoToken=")[2]
    assert [record.getMessage() for record in caplog.records if record.name == "accounts.views.bi"] == [
        f"bi sign-in corp={corp.pk} user={person.pk} outcome=passed-on",
        f"bi sign-in user={person.pk} outcome=bi-no-external-id",
    ]
    for record in caplog.records:
        assert token not in record.getMessage()
        assert "ssoToken" not in record.getMessage()


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ("path_url=survey-engine", "/bi/survey-engine"),
        ("path_url=survey-engine&formId=7&x=%E6%8A%A5", "/bi/survey-engine?formId=7&x=%E6%8A%A5"),
        ("path_url=page%2Fp1%3Ftab%3D2", "/bi/page/p1?tab=2"),
        ("path_url=m%2Fpage%2Fp1", "/bi/m/page/p1"),
        ("path_url=bi%2Fpage%2Fp1", "/bi/page/p1"),
        ("path_url=bi%2F", "/bi/"),
        # Pages of this site stay here: WeCom already holds links to them.
        ("path_url=m%2F00000000000000000000000000000000%2F", "/m/00000000000000000000000000000000/"),
        ("path_url=m%2F00000000000000000000000000000000", "/m/00000000000000000000000000000000"),
        ("path_url=admin%2F", "/admin/"),
        ("", "/"),
        ("path_url=https%3A%2F%2Fevil.example", "/"),
        ("path_url=%2F%2Fevil.example", "/"),
        ("path_url=" + "a" * 2046, "/"),
    ],
)
def test_home_page_links_lead_to_the_bi_where_this_site_has_no_such_page(
    bi: BiConnection, query: str, page: str
) -> None:
    """`path_url` of the specification's home page link, once a BI is connected."""
    assert choose_safe_path(find_landing_page(find_requested_page(query))) == page


def test_the_home_page_is_ours_without_a_bi_and_has_a_button_into_an_open_one(
    corp: Corp, person: User, phone: Visitor, wecom: WeCom
) -> None:
    Corp.objects.filter(pk=corp.pk).update(home_page="bi", home_bi_page="page/p1")

    assert phone.sign_in(corp, wecom, "lilei").headers["Location"] == "/"
    for is_enabled, count in ((True, 1), (False, 0)):
        make_bi(is_enabled=is_enabled)
        page = phone.get("/")
        assert (page.status_code, page.content.decode().count('href="/bi/"')) == (200, count)


@pytest.mark.parametrize(
    "path",
    [
        "/bi//evil.example", "/bi///evil.example", "/bi/%2fevil.example", "/bi/%5cevil.example", "/bi/a%5c..%5cb",
        "/bi/%0d%0aLocation:%20https://evil.example", "/bi/a%00b", "/bi/../x", "/bi/a/../../x", "/bi/%2e%2e/x",
        "/bi/%252e%252e/x", "/bi/%E2%80%AEx", "/bi/a%09b", "/bi/" + "a" * 2100, "/bi/%25252525252525252fx",
    ],
)  # fmt: skip
def test_what_browsers_and_servers_read_in_different_ways_is_no_page(
    bi: BiConnection, person: User, corp: Corp, path: str
) -> None:
    """Answer by our 404 page, or by Django's own for a line break, which matches no route of ours."""
    response = with_session(person, corp).client.get(path)

    assert response.status_code == 404
    assert "Location" not in response.headers
    assert b"ssoToken" not in response.content


def test_a_query_that_no_browser_sends_is_no_page(bi: BiConnection, person: User, corp: Corp) -> None:
    browser = with_session(person, corp)
    for query in ("a=b\r\nSet-Cookie:x=1", "a=\\evil", "a=b c", "a=\x00"):
        assert read_refusal(browser.client.get("/bi/page/p1", QUERY_STRING=query)) == (404, "bi-no-page")


def test_one_click_costs_few_queries(
    bi: BiConnection, person: User, corp: Corp, django_assert_max_num_queries: Any
) -> None:
    browser = with_session(person, corp)
    browser.get("/bi/")

    # The session, the person, the session's validity, the company, the connection and its key.
    with django_assert_max_num_queries(8):
        browser.get("/bi/page/p1")


def test_a_password_sign_in_may_end_in_the_bi_under_the_pages_policy(bi: BiConnection, client: Client) -> None:
    """Check form-action, which Chromium applies to the redirects after a form's POST."""
    response = client.get("/login/", headers={"host": HOST})

    policy = response.headers["Content-Security-Policy"]
    assert BI in next(part for part in policy.split(";") if part.strip().startswith("form-action")).split()
