"""Rights after a sign-in with WeCom: none beyond its company, unless a superuser allowed them there."""

import base64
import hashlib
import time
from typing import Any

import pytest
from django.utils import timezone

from accounts.authentication.sessions import CORP_KEY, METHOD_KEY, SignInMethod
from accounts.authentication.totp import compute_hotp
from accounts.models import AuditEntry, SignInPolicy, TotpDevice, User
from accounts.users.roles import Role
from integrations.models import Corp
from tests.accounts.conftest import DESKTOP, IPHONE_WECOM, PASSWORD, Visitor, make_person, visitor
from tests.accounts.people import signed_in, with_role
from tests.accounts.wecom import WeCom
from tests.audit import clear_trail

LOGIN = "/admin/login/"
# One page of each kind in the administration, with what it needs.
PAGES = ["/admin/", "/admin/accounts/user/", "/admin/notifications/apitoken/", "/admin/integrations/corp/add/"]


def through_wecom(corp: Corp, wecom: WeCom, userid: str, *, user_agent: str = IPHONE_WECOM) -> Visitor:
    browser = visitor(user_agent)
    browser.sign_in(corp, wecom, userid)
    assert browser.user_id is not None
    return browser


@pytest.fixture
def boss(corp: Corp) -> User:
    """A superuser with an account of `corp`, which does not allow administrators their rights."""
    return make_person("boss", corp, "Boss", name="老板", is_staff=True, is_superuser=True, password=PASSWORD)


def chief(corp: Corp, *managed: Corp) -> User:
    """Make a system administrator of some companies, or of all, with an account of `corp`."""
    person = with_role("chief", Role.SYSTEM_ADMINISTRATOR, *managed)
    person.wecom_accounts.create(corp=corp, userid="Chief")
    return person


class TestWhereTheSwitchIsOff:
    def test_a_superuser_is_asked_for_the_password_and_led_on(self, boss: User, corp: Corp, wecom: WeCom) -> None:
        phone = through_wecom(corp, wecom, "Boss")

        for target in PAGES:
            assert phone.client.get(target).headers["Location"] == f"{LOGIN}?next={target}"
        page = phone.get(LOGIN, next=PAGES[1]).content.decode()
        assert "您已通过企业微信以老板的身份登录" in page
        assert "/start/" not in page
        sent = phone.client.post(LOGIN, {"username": "boss", "password": PASSWORD, "next": PAGES[1]})
        assert sent.headers["Location"] == PAGES[1]
        assert [phone.client.get(target).status_code for target in PAGES] == [200] * 4

    def test_nothing_of_the_administration_is_done_or_shown(self, boss: User, corp: Corp, wecom: WeCom) -> None:
        phone = through_wecom(corp, wecom, "Boss")

        answer = phone.client.post(f"/admin/integrations/corp/{corp.pk}/disable/")
        text = phone.get("/").content.decode()

        assert answer.headers["Location"].startswith(LOGIN)
        assert Corp.objects.get().is_enabled
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

        browser.sign_in(corp, wecom, "Boss")

        assert browser.get("/admin/").status_code == 302

    def test_the_switch_counts_at_the_next_click(self, boss: User, corp: Corp, wecom: WeCom) -> None:
        phone = through_wecom(corp, wecom, "Boss")

        found = []
        for is_on in (True, False):
            Corp.objects.update(admin_rights_enabled=is_on)
            found.append(phone.get("/admin/").status_code)

        assert found == [200, 302]


class TestByACode:
    """Codes of an authenticator app, where WeCom's sign-in gives no rights."""

    KEY = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    RECOVERY = "ABCD-EFGH-IJKL-MNOP"

    @pytest.fixture(autouse=True)
    def _limits(self, settings: Any) -> None:
        settings.LOCKOUT_TRIES, settings.LOCKOUT_MINUTES = 3, 15

    @pytest.fixture
    def device(self, boss: User) -> TotpDevice:
        return self.find_device(boss)

    def find_device(self, person: User, **values: Any) -> TotpDevice:
        digests = [hashlib.sha256(self.RECOVERY.replace("-", "").encode()).hexdigest()]
        known = {"key": self.KEY, "is_independent": True, "recovery_digests": digests, **values}
        return TotpDevice.objects.create(user=person, confirmed_at=timezone.now(), **known)

    @pytest.fixture
    def phone(self, boss: User, corp: Corp, wecom: WeCom) -> Visitor:
        """A browser signed in as the superuser, without rights."""
        return through_wecom(corp, wecom, "Boss")

    @staticmethod
    def enter(browser: Visitor, code: str, target: str = PAGES[1]) -> Any:
        return browser.client.post(LOGIN, {"code": code, "next": target})

    def code(self) -> str:
        return compute_hotp(base64.b32decode(self.KEY), int(time.time()) // 30)

    def test_the_session_becomes_a_full_one_and_no_other_by_the_same_code(
        self, device: TotpDevice, phone: Visitor, corp: Corp, wecom: WeCom
    ) -> None:
        text = phone.get(LOGIN, next=PAGES[1]).content.decode()
        assert 'name="code"' in text
        assert 'name="password"' in text
        assert text.count(f'<input type="hidden" name="next" value="{PAGES[1]}">') == 2
        before = phone.client.session
        clear_trail()
        code = self.code()

        answer = self.enter(phone, code)

        after = phone.client.session
        assert answer.headers["Location"] == PAGES[1]
        assert [phone.get(page).status_code for page in PAGES] == [200] * 4
        assert after.session_key != before.session_key
        assert (after[METHOD_KEY], after[CORP_KEY]) == (SignInMethod.WECOM_AND_CODE, corp.pk)
        entry = AuditEntry.objects.get(action="signed-in")
        assert (entry.actor_name, entry.object_id, entry.note) == ("老板 (boss)", device.user_id, "wecom-and-code")
        assert "验证码不正确" in self.enter(through_wecom(corp, wecom, "Boss"), code).content.decode()

    def test_wrong_ones_are_counted_until_none_is_looked_at(self, device: TotpDevice, phone: Visitor) -> None:
        words = [self.enter(phone, "000000").content.decode() for _time in range(3)]

        assert ["验证码不正确" in text for text in words] == [True, True, False]
        assert "请 15 分钟后再试" in self.enter(phone, self.code()).content.decode()
        assert phone.get("/admin/").status_code == 302
        assert AuditEntry.objects.filter(action="sign-in-failed").count() == 2
        assert AuditEntry.objects.filter(action="locked-out").count() == 1

    def test_it_opens_the_administration_where_passwords_are_switched_off(
        self, device: TotpDevice, phone: Visitor
    ) -> None:
        SignInPolicy.objects.update_or_create(pk=1, defaults={"password_enabled": False})

        text = phone.get(LOGIN).content.decode()

        assert 'type="password"' not in text
        assert "密码登录已关闭" not in text
        assert self.enter(phone, self.code()).status_code == 302
        assert phone.get("/admin/").status_code == 200

    @pytest.mark.parametrize("is_set_up", [False, True])
    def test_who_has_no_app_but_one_set_up_by_wecom_s_word_alone_needs_the_password(
        self, boss: User, phone: Visitor, is_set_up: bool
    ) -> None:
        if is_set_up:
            self.find_device(boss, is_independent=False)

        text = phone.get(LOGIN).content.decode()

        assert ('name="code"' in text, 'name="password"' in text) == (False, True)
        assert self.enter(phone, self.code()).status_code == 200
        assert phone.get("/admin/").status_code == 302
        assert not TotpDevice.objects.exclude(failed_count=0).exists(), "it was not even looked at"

    def test_somebody_else_s_app_opens_nothing(self, device: TotpDevice, phone: Visitor) -> None:
        self.find_device(make_person("other", is_staff=True, is_superuser=True), key="A" * 32)
        other_code = compute_hotp(base64.b32decode("A" * 32), int(time.time()) // 30)

        assert "验证码不正确" in self.enter(phone, other_code).content.decode()
        assert phone.get("/admin/").status_code == 302

    def test_nobody_is_let_in_who_is_not_signed_in(self, device: TotpDevice) -> None:
        stranger = visitor(DESKTOP)

        answer = stranger.client.post(LOGIN, {"username": "boss", "code": self.code()})

        assert (answer.status_code, stranger.user_id) == (200, None)
        assert TotpDevice.objects.get().last_counter == 0

    def test_an_old_session_begins_anew_also_where_everybody_needs_a_second_factor(
        self, device: TotpDevice, phone: Visitor, settings: Any
    ) -> None:
        """Renew a session that is too old for an administrator, though not for an employee."""
        settings.STAFF_TOTP_REQUIRED = True
        session = phone.client.session
        session["opened_at"] -= (settings.STAFF_SESSION_HOURS + 1) * 3600
        session.save()

        self.enter(phone, self.code())

        assert phone.get("/admin/").status_code == 200


def test_where_passwords_are_switched_off_the_page_says_who_helps(boss: User, corp: Corp, wecom: WeCom) -> None:
    phone = through_wecom(corp, wecom, "Boss")
    SignInPolicy.objects.update_or_create(pk=1, defaults={"password_enabled": False})

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

    def test_are_nobodys_also_once_read_again(self, withheld: User) -> None:
        withheld.refresh_from_db()

        assert not withheld.has_perm("integrations.view_corp")
        assert not withheld.has_module_perms("integrations")
        assert withheld.get_all_permissions() == set()
        assert not Corp.objects.visible_to(withheld).exists()
        assert not withheld.is_superuser
        assert not withheld.is_staff

    @pytest.mark.parametrize("values", [{}, {"update_fields": ["name", "is_staff", "is_superuser"]}])
    def test_are_never_saved(self, withheld: User, values: dict[str, Any]) -> None:
        withheld.name = "新名字"
        withheld.save(**values)

        stored = User.objects.get(pk=withheld.pk)
        assert stored.name == "新名字"
        assert (stored.is_staff, stored.is_superuser, stored.manages_all_corps) == (True, True, True)
