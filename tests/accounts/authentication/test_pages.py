"""Login page, choice of company, sign-out, and the frame around them."""

import gzip
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import global_settings
from django.contrib.staticfiles import finders

from accounts.authentication.flow import Cause
from accounts.explanations import GUIDES
from accounts.models import User
from accounts.views import errors
from accounts.views.errors import ErrorDetails, unseal_details
from integrations.models import Corp
from integrations.models.fields import get_cipher
from tests.accounts.arriving import seal_details
from tests.accounts.conftest import DESKTOP, PASSWORD, Visitor, make_corp, make_person, query_of, visitor
from tests.accounts.people import HOST
from tests.accounts.wecom import WeCom


def weight_of(page: bytes) -> int:
    names = re.findall(r'(?:src|rel="stylesheet" href)="/static/([^"]+)"', page.decode())
    assert names
    sizes = [len(gzip.compress(page))]
    for name in names:
        path = finders.find(name)
        assert isinstance(path, str)
        sizes.append(len(gzip.compress(Path(path).read_bytes())))
    return sum(sizes)


def text_of(visitor: Visitor, path: str, **query: str) -> str:
    response = visitor.get(path, **query)
    assert response.status_code == 200
    assert "no-store" in response.headers["Cache-Control"]
    return response.content.decode()


class TestLoginPage:
    def test_has_password_and_wecom_side_by_side_and_is_light_enough_for_a_slow_line(
        self, corp: Corp, desktop: Visitor
    ) -> None:
        """Count the page, its styles and scripts, compressed as WhiteNoise does; it has no pictures."""
        response: Any = desktop.get("/login/", next="/messages/7/")
        text = response.content.decode()

        assert 'name="password"' in text
        assert f'href="/wecom/{corp.pk}/start/?next=%2Fmessages%2F7%2F"' in text
        assert f'data-url="/wecom/{corp.pk}/panel/" data-next="/messages/7/"' in text
        assert 'accounts/wecom-jssdk-2.4.4/wecom.global.prod.js" defer></script>' in text
        assert "frame-src https://login.work.weixin.qq.com" in response.headers["Content-Security-Policy"]
        tick = text.split('<div class="tick">')[1].split("</div>")[0]
        assert "记住登录" in tick
        assert "checked" not in tick
        assert weight_of(response.content) < 60_000

    def test_has_no_wecom_while_no_company_is_enabled(self, corp: Corp, desktop: Visitor) -> None:
        Corp.objects.update(is_enabled=False)

        text = text_of(desktop, "/login/")

        assert "/wecom/" not in text
        assert "/login/company/" not in text

    def test_shows_no_panel_for_the_administration_and_under_an_address_to_which_wecom_does_not_return(
        self, corp: Corp
    ) -> None:
        for host, path in (("localhost", "/login/"), (HOST, "/admin/login/")):
            response = visitor(DESKTOP, host=host).get(path)

            assert "data-panel" not in response.content.decode()
            assert f'href="/wecom/{corp.pk}/start/?next=' in response.content.decode()
            assert "frame-src" not in response.headers["Content-Security-Policy"]

    def test_with_several_companies_asks_which(self, corp: Corp, other_corp: Corp, desktop: Visitor) -> None:
        text = text_of(desktop, "/login/", next="/m/")

        assert 'href="/login/company/?next=%2Fm%2F"' in text
        assert "/wecom/" not in text

    def test_offers_the_company_of_last_time(
        self, corp: Corp, other_corp: Corp, person: User, desktop: Visitor, wecom: WeCom
    ) -> None:
        desktop.sign_in(corp, wecom, "lilei")
        desktop.client.post("/logout/")

        text = text_of(desktop, "/login/")

        assert f"企业微信登录 · {corp.name}" in text
        assert f"/wecom/{corp.pk}/start/" in text
        assert "/login/company/" in text

    def test_explains_what_wecom_shows_before_anybody_comes_here(self, corp: Corp, desktop: Visitor) -> None:
        """Explain each of WeCom's own sentences in a section that unfolds without a script."""
        text = text_of(desktop, "/login/", stay="1")

        block = text.split('<details class="details">')[1].split("</details>")[0]
        assert "<summary>" in block
        for words, advice in (
            ("你暂无权限登陆此应用", "可见范围"),
            ("not allow to access from your ip", "企业可信IP"),
            ("请在企业微信客户端打开链接", "企业微信工作台"),
            ("redirect_uri 参数错误", "可信域名"),
        ):
            [entry] = [one for one in block.split("<div>") if words in one]
            assert advice in entry.split("<dd>")[1]

    @pytest.mark.parametrize(("more", "seconds"), [({}, ""), ({"remember": "on"}, 30 * 24 * 3600)])
    def test_signs_in_by_password_and_goes_on_for_as_long_as_one_asks_for(
        self, clerk: User, desktop: Visitor, more: dict[str, str], seconds: object
    ) -> None:
        form = {"username": "clerk", "password": PASSWORD, "next": "/messages/7/", **more}

        response = desktop.client.post("/login/", form)

        assert (response.status_code, response.headers["Location"]) == (302, "/messages/7/")
        assert desktop.user_id == clerk.pk
        assert response.cookies["sessionid"]["max-age"] == seconds

    def test_wecom_after_a_remembered_password_lasts_as_wecom_does_and_the_next_password_unties_it_again(
        self, corp: Corp, desktop: Visitor, wecom: WeCom
    ) -> None:
        """Untie the session from the company. Django keeps the same person's session and its length.

        A session still tied to the company would end when the company is disabled, and its links would count as
        signed in.
        """
        person = make_person("lilei", corp, "LiLei", password=PASSWORD)
        form = {"username": person.username, "password": PASSWORD, "remember": "on"}
        desktop.client.post("/login/", form)
        desktop.sign_in(corp, wecom, "lilei")

        assert desktop.user_id == person.pk
        assert desktop.client.session["corp_id"] == corp.pk
        assert desktop.client.session.get_expiry_age() == global_settings.SESSION_COOKIE_AGE
        desktop.client.post("/login/", form)
        assert desktop.user_id == person.pk
        assert "corp_id" not in desktop.client.session

    def test_says_that_a_password_is_wrong(self, clerk: User, desktop: Visitor) -> None:
        response = desktop.client.post("/login/", {"username": "clerk", "password": "wrong", "next": "/m/"})

        assert response.status_code == 200
        assert 'role="alert"' in response.content.decode()
        assert "用户名或密码不正确" in response.content.decode()
        assert '<section class="card first-on-phones" aria-labelledby="password">' in response.content.decode()
        assert '<input type="hidden" name="next" value="/m/">' in response.content.decode()
        assert desktop.user_id is None

    def test_asks_who_is_signed_in_to_continue(self, clerk: User, corp: Corp, desktop: Visitor) -> None:
        desktop.client.force_login(clerk, backend="django.contrib.auth.backends.ModelBackend")

        text = text_of(desktop, "/login/", next="/m/")

        assert "您已登录：王芳" in text
        assert '<a class="button" href="/m/">' in text
        assert '<form action="/logout/" method="post">' in text
        assert 'name="password"' not in text


class TestInsideWeCom:
    def test_the_company_asked_for_needs_no_choice(self, corp: Corp, other_corp: Corp, phone: Visitor) -> None:
        response = phone.get("/login/", next="/m/", corp=str(other_corp.pk))

        assert response.headers["Location"] == f"/wecom/{other_corp.pk}/start/?next=%2Fm%2F"

    def test_an_invented_company_is_no_company(
        self, corp: Corp, other_corp: Corp, phone: Visitor, desktop: Visitor
    ) -> None:
        for requested in ("x", "", "-1", "١", "9" * 5000):
            assert phone.get("/login/", corp=requested).headers["Location"] == "/login/company/?next=%2F"
            assert "data-panel" not in text_of(desktop, "/login/", corp=requested)
        assert "guanwecom-company" not in desktop.client.cookies

    def test_the_company_of_last_time_needs_no_choice_unless_it_refused(
        self, corp: Corp, other_corp: Corp, person: User, phone: Visitor, wecom: WeCom
    ) -> None:
        phone.sign_in(corp, wecom, "stranger")
        assert phone.get("/login/").headers["Location"] == "/login/company/?next=%2F"

        phone.sign_in(corp, wecom, "lilei", code="ANOTHER")
        del phone.client.cookies["sessionid"]

        assert phone.get("/login/").headers["Location"] == f"/wecom/{corp.pk}/start/?next=%2F"
        assert 'name="password"' in text_of(phone, "/login/", stay="1")

    def test_without_any_company_the_password_is_left(self, phone: Visitor) -> None:
        location = phone.get("/login/").headers["Location"]

        assert location == "/login/?next=%2F&stay=1"
        assert 'name="password"' in text_of(phone, location)
        assert "还没有公司开通企业微信登录" in text_of(phone, "/login/company/")


class TestChoice:
    def test_lists_the_companies_that_sign_in(
        self, corp: Corp, other_corp: Corp, desktop: Visitor, phone: Visitor
    ) -> None:
        make_corp("停用公司", 8, is_enabled=False)
        make_corp("仅推送公司", 9, sign_in_enabled=False)

        text = text_of(desktop, "/login/company/", next="/m/")

        assert re.findall(r'<span class="cell-main">(.*?)</span>', text) == sorted([corp.name, other_corp.name])
        assert f'href="/login/?corp={other_corp.pk}&amp;next=%2Fm%2F"' in text
        assert 'type="search"' not in text
        assert f'href="/wecom/{other_corp.pk}/start/?next=%2Fm%2F"' in text_of(phone, "/login/company/", next="/m/")

    def test_is_remembered_in_this_browser(self, corp: Corp, other_corp: Corp, desktop: Visitor) -> None:
        chosen = text_of(desktop, "/login/", corp=str(other_corp.pk))

        assert f'data-url="/wecom/{other_corp.pk}/panel/"' in chosen
        assert f'data-url="/wecom/{other_corp.pk}/panel/"' in text_of(desktop, "/login/")
        choice = text_of(desktop, "/login/company/")
        assert re.findall(r'<span class="cell-main">(.*?)</span>', choice)[0] == "南湖贸易"
        assert choice.count("上次使用") == 1

    def test_a_single_company_needs_none(self, corp: Corp, desktop: Visitor) -> None:
        response = desktop.get("/login/company/", next="/m/")

        assert response.headers["Location"] == f"/wecom/{corp.pk}/start/?next=%2Fm%2F"

    def test_past_ten_the_list_can_be_searched(self, desktop: Visitor) -> None:
        for number in range(11):
            make_corp(f"公司{number:02d}", number + 10)

        text = text_of(desktop, "/login/company/", next="/m/", q="公司07")

        assert 'type="search"' in text
        assert re.findall(r'<span class="cell-main">(.*?)</span>', text) == ["公司07"]
        assert "没有名称包含" in text_of(desktop, "/login/company/", q="<b>无</b>")
        assert "<b>无</b>" not in text_of(desktop, "/login/company/", q="<b>无</b>")


class TestSignOut:
    def test_ends_the_session_and_stays_out_inside_wecom(
        self, corp: Corp, person: User, phone: Visitor, wecom: WeCom
    ) -> None:
        phone.sign_in(corp, wecom, "lilei")

        location = phone.client.post("/logout/").headers["Location"]

        assert location == "/login/?stay=1&left=1"
        assert phone.user_id is None
        assert "您已退出登录" in text_of(phone, location)


class TestErrorPages:
    @pytest.mark.parametrize("cause", list(Cause))
    @pytest.mark.parametrize("language", ["zh-hans", "en"])
    def test_each_has_its_words_in_both_languages(
        self, corp: Corp, desktop: Visitor, cause: Cause, language: str
    ) -> None:
        known: Any = {"corp_id": corp.pk, "corp_name": corp.name, "missing": corp.name, "where": corp.name}
        sealed = seal_details(ErrorDetails(cause, target="/m/", errcode=7, caller_ip="::1", **known))

        response = desktop.client.get("/login/trouble/", {"t": sealed}, headers={"accept-language": language})
        text = response.content.decode()

        assert response.status_code == GUIDES[cause].status
        assert f'<html lang="{language}">' in text
        # A link to sign in again does not help somebody who is signed in and lacks something.
        assert (f'href="/wecom/{corp.pk}/start/?next=%2Fm%2F"' in text) is not GUIDES[cause].is_signed_in
        assert ('href="/login/?next=%2Fm%2F&amp;stay=1"' in text) is not GUIDES[cause].is_signed_in
        assert ('href="/"' in text.split("<article")[1]) is GUIDES[cause].is_signed_in
        assert "%(" not in text
        assert "no-store" in response.headers["Cache-Control"]
        # WeCom's own words are quoted literally.
        said = text.split("<article")[1].replace(corp.name, "").replace("你暂无权限登陆此应用", "")
        has_chinese = re.search(r"[\u4e00-\u9fff]", said.split("<details")[0])
        assert bool(has_chinese) == (language == "zh-hans")

    def test_whom_one_company_refuses_for_good_can_choose_another(self, corp: Corp, desktop: Visitor) -> None:
        def offers_choice(cause: str) -> bool:
            sealed = seal_details(ErrorDetails(Cause(cause), corp_id=corp.pk, corp_name=corp.name, target="/m/"))
            page = desktop.get("/login/trouble/", t=sealed).content.decode()
            return '<a class="button" href="/login/company/?next=%2Fm%2F' in page

        causes = ("unknown-company", "company-disabled", "not-a-member", "other-company", "not-linked")
        assert not offers_choice(causes[0])
        make_corp("另一家", 2)
        assert [offers_choice(cause) for cause in causes] == [True, True, True, True, False]

    def test_what_was_sealed_for_something_else_leads_to_the_login_page(self, desktop: Visitor) -> None:
        for text in (
            *("AUTHORIZATION-CODE", "[]", "7", "{}", '{"cause": "not-linked", "corp_id": 1}'),
            '["another-purpose", {"cause": "not-linked"}]',
            '["sign-in-trouble", 0, {"cause": "not-linked"}]',
            '["sign-in-trouble", {"cause": "no-such-cause"}]',
            '["sign-in-trouble", {"cause": "not-linked", "no_such_field": 1}]',
            *('["sign-in-trouble", {}]', '["sign-in-trouble", []]'),
        ):
            assert unseal_details(get_cipher().encrypt(text.encode()).decode()) is None
        assert desktop.get("/login/trouble/", t="gAAAAABinvented").headers["Location"] == "/login/"

    @pytest.mark.parametrize(("length", "is_kept"), [(1000, True), (1001, False), (3000, False)])
    def test_their_address_fits_into_a_request_line(self, corp: Corp, length: int, is_kept: bool) -> None:
        target = "/m/?q=".ljust(length, "x")
        longest = ErrorDetails(
            Cause.NOT_LINKED,
            corp_id=corp.pk,
            target=target,
            corp_name="企" * 64,
            userid="业" * 64,
            hint="1" * 64,
            operation="auth_getuserinfo",
        )

        address = errors.redirect_to_error(longest).headers["Location"]

        assert len(f"GET {address} HTTP/1.1\r\n") < 4094
        shown = unseal_details(parse_qs(urlsplit(address).query)["t"][0])
        assert shown == replace(longest, target=target if is_kept else "")


def test_pages_hold_no_inline_style_or_script(corp: Corp, other_corp: Corp, desktop: Visitor) -> None:
    sealed = seal_details(ErrorDetails(Cause.NOT_LINKED, corp_id=corp.pk, corp_name="x", userid="y"))

    for path, query in (("/login/", {}), ("/login/company/", {}), ("/login/trouble/", {"t": sealed})):
        text = visitor("").get(path, **query).content.decode()
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", text)
        assert not re.search(r"(src|href)=\"(https?:)?//", text)


def test_the_language_can_be_changed(corp: Corp, desktop: Visitor) -> None:
    response = desktop.client.post("/i18n/setlang/", {"language": "en", "next": "/login/?next=%2Fm%2F"})

    assert response.headers["Location"] == "/login/?next=%2Fm%2F"
    assert "Sign in with a password" in text_of(desktop, "/login/")
    assert query_of(response.headers["Location"]) == {"next": "/m/"}
