"""A sign-in with WeCom carries no rights that reach beyond its company, unless a superuser allowed it there."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.authentication.admin_rights import METHOD_KEY, SignInMethod
from accounts.models import User
from accounts.roles import Role
from integrations.models import Corp
from tests.accounts.conftest import DESKTOP, IPHONE_WECOM, Visitor, make_person, visitor
from tests.accounts.people import signed_in, with_role
from tests.accounts.wecom import WeCom

LOGIN = "/admin/login/"
PASSWORD = "right-password-1"
# Of each kind of page of the administration one, with what it needs.
PAGES = ["/admin/", "/admin/accounts/user/", "/admin/notifications/apitoken/", "/admin/integrations/corp/add/"]


def through_wecom(corp: Corp, wecom: WeCom, userid: str, *, user_agent: str = IPHONE_WECOM) -> Visitor:
    browser = visitor(user_agent)
    state = browser.begin(corp)
    wecom.gives("code", userid=userid)
    browser.arrive(corp, code="code", state=state)
    assert browser.user_id is not None
    return browser


@pytest.fixture
def boss(corp: Corp) -> User:
    """A superuser with an account of `corp`, whose switch is off."""
    user = make_person("boss", corp, "Boss", name="老板", is_staff=True, is_superuser=True)
    user.set_password(PASSWORD)
    user.save()
    return user


def chief(corp: Corp, *managed: Corp) -> User:
    """A system administrator of some companies, or of all, with an account of `corp`."""
    person = with_role("chief", Role.SYSTEM_ADMINISTRATOR, *managed)
    person.wecom_accounts.create(corp=corp, userid="Chief")
    return person


class TestWhereTheSwitchIsOff:
    @pytest.mark.parametrize("target", PAGES)
    def test_a_superuser_is_asked_for_the_password_and_led_on(
        self, boss: User, corp: Corp, wecom: WeCom, target: str
    ) -> None:
        phone = through_wecom(corp, wecom, "Boss")

        sent_away = phone.client.get(target)
        assert sent_away.headers["Location"] == f"{LOGIN}?next={target}"
        asked = phone.client.get(sent_away.headers["Location"]).content.decode()
        assert "您已通过企业微信以老板的身份登录" in asked
        assert "/start/" not in asked
        sent = phone.client.post(LOGIN, {"username": "boss", "password": PASSWORD, "next": target})
        assert sent.headers["Location"] == target
        assert phone.client.get(target).status_code == 200

    def test_nothing_is_done_by_what_is_posted(self, boss: User, corp: Corp, wecom: WeCom) -> None:
        phone = through_wecom(corp, wecom, "Boss")

        answer = phone.client.post(f"/admin/integrations/corp/{corp.pk}/disable/")

        assert answer.headers["Location"].startswith(LOGIN)
        assert Corp.objects.get().is_enabled

    def test_the_right_password_of_somebody_without_rights_leads_to_the_refusal(
        self, boss: User, person: User, corp: Corp, wecom: WeCom
    ) -> None:
        person.set_password(PASSWORD)
        person.save()
        phone = through_wecom(corp, wecom, "Boss")

        sent = phone.client.post(LOGIN, {"username": "lilei", "password": PASSWORD, "next": "/admin/"}, follow=True)

        assert sent.status_code == 403

    def test_the_employees_pages_offer_the_administration_and_nothing_of_it(
        self, boss: User, corp: Corp, wecom: WeCom
    ) -> None:
        text = through_wecom(corp, wecom, "Boss").get("/").content.decode()

        assert 'href="/admin/"' in text
        assert "/admin/notifications/" not in text

    @pytest.mark.parametrize("reach", ["all companies", "another one, too", "another one only"])
    def test_administrators_of_more_than_this_company_are_employees(
        self, corp: Corp, other_corp: Corp, wecom: WeCom, reach: str
    ) -> None:
        chief(corp, *{"all companies": (), "another one, too": (corp, other_corp)}.get(reach, (other_corp,)))

        assert through_wecom(corp, wecom, "Chief").get("/admin/").status_code == 302

    def test_administrators_of_this_company_alone_keep_their_rights(
        self, corp: Corp, other_corp: Corp, wecom: WeCom
    ) -> None:
        chief(corp, corp)

        browser = through_wecom(corp, wecom, "Chief")

        assert browser.get("/admin/").status_code == 200
        assert browser.get(f"/admin/integrations/corp/{other_corp.pk}/change/").status_code == 302
        assert browser.get(f"/admin/integrations/corp/{corp.pk}/change/").status_code == 200

    def test_a_session_over_which_wecom_signs_in_again_loses_the_rights(
        self, boss: User, corp: Corp, wecom: WeCom
    ) -> None:
        browser = Visitor(signed_in(boss))
        assert browser.get("/admin/").status_code == 200

        state = browser.begin(corp)
        wecom.gives("code", userid="Boss")
        browser.arrive(corp, code="code", state=state)

        assert browser.get("/admin/").status_code == 302

    def test_the_switch_counts_at_the_next_click(self, boss: User, corp: Corp, wecom: WeCom) -> None:
        phone = through_wecom(corp, wecom, "Boss")

        found = []
        for is_on in (True, False):
            Corp.objects.update(admin_rights_enabled=is_on)
            found.append(phone.get("/admin/").status_code)

        assert found == [200, 302]


def test_where_passwords_are_switched_off_the_page_says_who_helps(boss: User, corp: Corp, wecom: WeCom) -> None:
    from_password = signed_in(boss)
    Corp.objects.update(admin_rights_enabled=True)
    phone = through_wecom(corp, wecom, "Boss")
    from_password.get("/admin/accounts/signinpolicy/")
    assert from_password.post("/admin/accounts/signinpolicy/1/change/", {}).status_code == 302
    Corp.objects.update(admin_rights_enabled=False)  # past the page, which refuses it

    text = phone.get(LOGIN).content.decode()

    assert "密码登录已关闭。请联系服务器的运维人员重新打开。" in text
    assert 'type="password"' not in text


@pytest.mark.parametrize(
    ("user_agent", "method"), [(IPHONE_WECOM, SignInMethod.WECOM_SILENT), (DESKTOP, SignInMethod.WECOM_QR)]
)
def test_a_session_knows_by_which_way_it_was_opened(
    boss: User, corp: Corp, wecom: WeCom, user_agent: str, method: SignInMethod
) -> None:
    browser = through_wecom(corp, wecom, "Boss", user_agent=user_agent)
    assert browser.client.session[METHOD_KEY] == method

    browser.client.post(LOGIN, {"username": "boss", "password": PASSWORD})

    assert browser.client.session[METHOD_KEY] == SignInMethod.PASSWORD


class TestWithheldRights:
    """The person as the rest of the program sees them in such a session."""

    @pytest.fixture
    def withheld(self, boss: User, corp: Corp) -> User:
        boss.managed_corps.add(corp)
        boss.manages_all_corps = True
        boss.save()
        person = User.objects.get(pk=boss.pk)
        person.withhold_rights()
        return person

    def test_are_nobodys(self, withheld: User) -> None:
        assert not withheld.has_perm("integrations.view_corp")
        assert not withheld.has_module_perms("integrations")
        assert withheld.get_all_permissions() == set()
        assert not Corp.objects.visible_to(withheld).exists()

    @pytest.mark.parametrize("values", [{}, {"update_fields": ["name", "is_staff", "is_superuser"]}])
    def test_are_never_saved(self, withheld: User, values: dict[str, Any]) -> None:
        withheld.name = "新名字"
        withheld.save(**values)

        stored = User.objects.get(pk=withheld.pk)
        assert stored.name == "新名字"
        assert (stored.is_staff, stored.is_superuser, stored.manages_all_corps) == (True, True, True)

    def test_do_not_come_back_by_reading_again(self, withheld: User) -> None:
        withheld.refresh_from_db()

        assert not withheld.is_superuser
        assert not withheld.is_staff
