"""Confirmation: whoever changes rights, secrets, addresses or tokens signed in or confirmed within 15 minutes."""

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.utils import timezone

from accounts.models import (
    Attribute,
    AuditEntry,
    DepartmentGroup,
    DirectoryPolicy,
    LinkConflict,
    PeopleImport,
    SignInPolicy,
    TotpDevice,
    User,
)
from integrations.core.admin_pages import ConfirmedChanges
from integrations.models import BiConnection, Corp, DataSource, Job, SiteAddress, SyncRun
from integrations.models.fields import EncryptedTextField
from notifications.models import ApiToken, InboundChannel, IncomingMessage, OperatorContacts, Robot
from tests.accounts.conftest import DESKTOP, PASSWORD, Visitor, by_password, make_person, state_in, visitor
from tests.accounts.wecom import WeCom

ADD, PAGE = "/admin/auth/group/add/", "/admin/confirm/"
CHANGES = {"name": "Controlling & <Sales>", "_save": "Save"}


@pytest.fixture(autouse=True)
def _minutes(settings: Any) -> None:
    settings.CONFIRMATION_MINUTES = 15


@pytest.fixture
def desk(chief: User) -> Visitor:
    return by_password("chief")


def later(browser: Visitor, minutes: float) -> None:
    session = browser.client.session
    session["confirmed_at"] -= minutes * 60
    session.save()


def typed_in(response: Any) -> str:
    found = re.search(r'name="_confirm-typed" value="([^"]+)"', response.content.decode())
    assert found is not None
    return found[1]


def asks(response: Any) -> bool:
    return "是您本人吗？" in response.content.decode()


def make_password_unusable(person: User) -> None:
    person.set_unusable_password()
    person.save()


def groups() -> list[str]:
    return [*Group.objects.filter(name=CHANGES["name"]).values_list("name", flat=True)]


class TestPassword:
    def test_at_sign_in_counts_for_the_minutes_of_the_setting(self, desk: Visitor, settings: Any) -> None:
        later(desk, 14.9)

        assert desk.client.post(ADD, CHANGES).status_code == 302
        assert groups() == [CHANGES["name"]]
        settings.CONFIRMATION_MINUTES = 5
        assert asks(desk.client.post(ADD, CHANGES))

    def test_is_asked_for_then_until_it_is_right_and_goes_on_with_what_was_typed(self, desk: Visitor) -> None:
        later(desk, 15)

        response = desk.client.post(ADD, CHANGES)
        wrong = desk.client.post(ADD, {"_confirm-typed": typed_in(response), "_confirm-password": "wrong"})

        assert (response.status_code, asks(response), groups()) == (200, True, [])
        assert "no-store" in response.headers["Cache-Control"]
        assert "Controlling" not in response.content.decode()
        assert "密码不正确" in wrong.content.decode()
        saved = desk.client.post(ADD, {"_confirm-typed": typed_in(wrong), "_confirm-password": PASSWORD})
        assert (saved.status_code, groups()) == (302, [CHANGES["name"]])
        assert desk.client.post(ADD, {"name": "Next", "_save": "Save"}).status_code == 302

    def test_is_limited_as_at_sign_in(self, desk: Visitor, settings: Any) -> None:
        settings.LOCKOUT_TRIES = 3
        later(desk, 15)
        for _time in range(3):
            desk.client.post(PAGE, {"_confirm-password": "wrong"})

        locked = desk.client.post(PAGE, {"_confirm-password": PASSWORD})

        assert "密码错误次数过多，请 15 分钟后再试。" in locked.content.decode()
        assert asks(desk.client.post(ADD, CHANGES))
        assert AuditEntry.objects.filter(action="locked-out").count() == 1

    def test_is_not_asked_for_while_passwords_sign_nobody_in(self, desk: Visitor) -> None:
        SignInPolicy.objects.update_or_create(pk=1, defaults={"password_enabled": False})
        later(desk, 15)

        response = desk.client.post(PAGE, {"_confirm-password": PASSWORD})

        assert 'type="password"' not in response.content.decode()
        assert asks(desk.client.post(ADD, CHANGES))

    def test_leaves_looking_alone(self, desk: Visitor) -> None:
        later(desk, 60)

        pages = ["/admin/auth/group/", ADD, f"/admin/accounts/user/{desk.user_id}/change/"]

        assert [desk.get(page).status_code for page in pages] == [200] * 3
        assert not any(asks(desk.get(page)) for page in pages)

    def test_is_asked_for_by_pages_beside_those_of_django(self, desk: Visitor) -> None:
        later(desk, 15)

        for page in (
            *("integrations/biconnection/key/generate/", "integrations/biconnection/key/paste/"),
            *("integrations/corp/1/enable/", "integrations/corp/1/disable/"),
            *("accounts/linkconflict/link/", "accounts/linkconflict/create/", "accounts/linkconflict/bulk/"),
            "accounts/peopleimport/1/answer/",
        ):
            assert asks(desk.client.post(f"/admin/{page}")), page


class TestTyped:
    """Input that waits sealed in the page and cannot be used elsewhere."""

    @pytest.fixture
    def sealed(self, desk: Visitor) -> str:
        later(desk, 15)
        return typed_in(desk.client.post(ADD, CHANGES))

    def test_by_somebody_else_is_refused(self, sealed: str) -> None:
        make_person("other", is_staff=True, is_superuser=True, password=PASSWORD)

        response = by_password("other").client.post(ADD, {"_confirm-typed": sealed})

        assert (response.status_code, response.headers["Location"], groups()) == (302, ADD, [])

    def test_that_was_changed_or_for_another_page_is_refused(self, desk: Visitor, sealed: str) -> None:
        for page, text in (
            (ADD, sealed[:-4]),
            (ADD, "x"),
            (ADD, "汉"),
            ("/admin/integrations/siteaddress/add/", sealed),
        ):
            response = desk.client.post(page, {"_confirm-typed": text, "_confirm-password": PASSWORD})

            assert (response.status_code, response.headers["Location"], groups()) == (302, page, [])


class TestOwnPage:
    def test_leads_to_where_it_was_asked_for_and_nowhere_else(self, desk: Visitor) -> None:
        later(desk, 15)
        page = f"{PAGE}?next={ADD}"

        shown, done = desk.get(page), desk.client.post(page, {"_confirm-password": PASSWORD})
        elsewhere = desk.client.post(f"{PAGE}?next=https://evil.example/", {"_confirm-password": PASSWORD})

        assert asks(shown)
        assert done.headers["Location"] == ADD
        assert elsewhere.status_code == 200

    def test_says_what_to_do_where_nothing_can_be_asked(self, corp: Corp) -> None:
        nobody = make_person("nobody", is_staff=True, is_superuser=True)
        make_password_unusable(nobody)
        browser = visitor(DESKTOP)
        browser.client.force_login(nobody, backend="django.contrib.auth.backends.ModelBackend")
        later(browser, 15)

        assert "请让超级用户为您设置密码" in browser.get(PAGE).content.decode()
        assert asks(browser.client.post(ADD, {**CHANGES, "_confirm-typed": "x"}, follow=True)) is False
        assert groups() == []


class TestWeCom:
    @pytest.fixture(autouse=True)
    def _carries_rights(self, corp: Corp) -> None:
        Corp.objects.update(admin_rights_enabled=True)

    def test_signing_in_silently_never_counts_and_a_confirmation_is_a_scan_also_inside_wecom(
        self, chief: User, corp: Corp, wecom: WeCom, phone: Visitor
    ) -> None:
        phone.sign_in(corp, wecom, "chief")

        assert phone.user_id == chief.pk
        assert asks(phone.client.post(ADD, CHANGES))
        start = phone.get(f"/wecom/{corp.pk}/start/", next=PAGE)
        assert start.headers["Location"].startswith("https://login.work.weixin.qq.com/wwlogin/sso/login?")

    @pytest.fixture
    def scanner(self, chief: User, corp: Corp, wecom: WeCom, desktop: Visitor) -> Visitor:
        """A browser in which a superuser without password and app has just signed in by a scan."""
        make_password_unusable(chief)
        desktop.sign_in(corp, wecom, "chief")
        return desktop

    def test_signing_in_by_a_scan_counts_for_people_without_password_and_app(self, scanner: Visitor) -> None:
        assert scanner.client.post(ADD, CHANGES).status_code == 302
        assert groups() == [CHANGES["name"]]

    def test_signing_in_by_a_scan_counts_while_passwords_are_off(
        self, chief: User, corp: Corp, wecom: WeCom, desktop: Visitor
    ) -> None:
        SignInPolicy.objects.update_or_create(pk=1, defaults={"password_enabled": False})

        desktop.sign_in(corp, wecom, "chief")

        assert desktop.client.post(ADD, CHANGES).status_code == 302
        assert groups() == [CHANGES["name"]]

    def test_a_stolen_code_of_a_silent_sign_in_with_a_qr_code_s_state_does_not_count(
        self, chief: User, corp: Corp, wecom: WeCom, phone: Visitor, desktop: Visitor
    ) -> None:
        """Sign the thief in, as WeCom says who it is, but change nothing: not even an app of the thief is set up."""
        phone.begin(corp)
        wecom.gives("STOLEN", userid="chief")  # on its way to the phone

        desktop.arrive(corp, code="STOLEN", state=desktop.begin(corp))
        page = desktop.client.post(ADD, CHANGES)

        assert desktop.user_id == chief.pk
        assert asks(page)
        assert f"/wecom/{corp.pk}/start/" not in page.content.decode()
        assert desktop.get("/admin/second-factor/").headers["Location"].startswith(PAGE)
        wecom.gives("STOLEN-TOO", userid="chief")
        desktop.arrive(corp, code="STOLEN-TOO", state=state_in(desktop.get(f"/wecom/{corp.pk}/start/", next=PAGE)))
        assert asks(desktop.client.post(ADD, {"_confirm-typed": typed_in(page)}))
        assert groups() == []
        saved = desktop.client.post(ADD, {"_confirm-typed": typed_in(page), "_confirm-password": PASSWORD})
        assert (saved.status_code, groups()) == (302, [CHANGES["name"]]), "the password of its owner would do"

    def test_a_scan_does_not_count_for_people_with_an_app(
        self, scanner: Visitor, chief: User, corp: Corp, wecom: WeCom
    ) -> None:
        TotpDevice.objects.create(user=chief, key="A" * 32, confirmed_at=timezone.now())
        later(scanner, 15)
        wecom.gives("D", userid="chief")

        scanner.arrive(corp, code="D", state=state_in(scanner.get(f"/wecom/{corp.pk}/start/", next=PAGE)))

        assert asks(scanner.client.post(ADD, CHANGES))

    def test_a_scan_in_another_tab_lets_what_was_typed_go_on(self, scanner: Visitor, corp: Corp, wecom: WeCom) -> None:
        desk = scanner
        later(desk, 15)
        page = desk.client.post(ADD, CHANGES)
        key = desk.client.session.session_key
        assert f'href="/wecom/{corp.pk}/start/?next=%2Fadmin%2Fconfirm%2F" target="_blank"' in page.content.decode()
        wecom.gives("D", userid="chief")

        landed = desk.arrive(corp, code="D", state=state_in(desk.get(f"/wecom/{corp.pk}/start/", next=PAGE)))
        saved = desk.client.post(ADD, {"_confirm-typed": typed_in(page)})

        assert landed.headers["Location"] == PAGE
        assert "请回到原来的标签页" in desk.get(PAGE).content.decode()
        assert (saved.status_code, groups()) == (302, [CHANGES["name"]])
        assert desk.client.session.session_key == key, "open forms keep their session and its CSRF token"

    def test_somebody_else_s_scan_confirms_nobody(
        self, chief: User, scanner: Visitor, corp: Corp, wecom: WeCom
    ) -> None:
        desk = scanner
        make_person("lilei", corp, "LiLei", name="李雷")
        later(desk, 15)
        wecom.gives("D", userid="lilei")

        desk.arrive(corp, code="D", state=state_in(desk.get(f"/wecom/{corp.pk}/start/", next=PAGE)))

        assert "扫码的是另一个人：李雷" in desk.get(PAGE).content.decode()
        assert desk.user_id == chief.pk
        assert asks(desk.client.post(ADD, CHANGES))

    def test_a_company_that_carries_no_rights_confirms_nobody(
        self, chief: User, desk: Visitor, corp: Corp, wecom: WeCom
    ) -> None:
        SignInPolicy.objects.update_or_create(pk=1, defaults={"password_enabled": False})
        Corp.objects.update(admin_rights_enabled=False)
        later(desk, 15)
        wecom.gives("C", userid="chief")
        start = desk.get(f"/wecom/{corp.pk}/start/", next=PAGE)

        desk.arrive(corp, code="C", state=state_in(start))

        page = desk.client.post(ADD, CHANGES)
        assert asks(page)
        assert f"/wecom/{corp.pk}/start/" not in page.content.decode()


# Models whose changes give rights, hold secrets, move addresses or make tokens.
CONFIRMED = {
    *(User, Group, SignInPolicy, DirectoryPolicy, LinkConflict, PeopleImport),
    *(Attribute, DepartmentGroup),  # which attribute names people in the BI; groups lend rights
    *(Corp, SiteAddress, BiConnection, DataSource, Robot, ApiToken, InboundChannel),
    OperatorContacts,  # who is warned when the program stands still
    SyncRun,  # the directory policy is set on the page that starts a synchronisation
}


def test_every_page_of_rights_secrets_addresses_and_tokens_asks() -> None:
    """Include every model with an encrypted field, also one added later."""
    registered = admin.site._registry
    with_secrets = {
        model for model in registered if any(isinstance(field, EncryptedTextField) for field in model._meta.fields)
    }

    confirmed = {model for model, pages in registered.items() if isinstance(pages, ConfirmedChanges)}

    # Messages and jobs are only read.
    assert with_secrets - {IncomingMessage, Job} <= CONFIRMED
    assert confirmed == CONFIRMED


def test_what_is_left_out_exists() -> None:
    for pages in admin.site._registry.values():
        if isinstance(pages, ConfirmedChanges):
            assert pages.unconfirmed_pages <= {pattern.name for pattern in pages.get_urls()}
