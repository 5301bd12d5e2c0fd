"""Authenticator apps of administrators: set-up, codes, recovery codes, and what a session without one may do."""

import base64
import hashlib
import html
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.utils import timezone

from accounts.authentication import totp
from accounts.authentication.passwords import LockedOut
from accounts.authentication.sessions import SessionStore
from accounts.authentication.totp import compute_hotp
from accounts.models import AuditEntry, TotpDevice, User
from integrations.models import Corp
from tests.accounts.conftest import PASSWORD, Visitor, by_password, make_person
from tests.accounts.wecom import WeCom

OWN, CODE, INDEX = "/admin/second-factor/", "/admin/second-factor/code/", "/admin/"
RFC_KEY = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


@pytest.fixture(autouse=True)
def _minutes(settings: Any) -> None:
    settings.CONFIRMATION_MINUTES, settings.LOCKOUT_TRIES, settings.LOCKOUT_MINUTES = 15, 3, 15


def code_now(key: str, *, later: int = 0) -> str:
    """Return the code `later` half minutes from now. The present code is still accepted in the next half minute."""
    return compute_hotp(base64.b32decode(key), int(time.time()) // 30 + later)


def sealed_in(page: str) -> str:
    found = re.search(r'name="key" value="([^"]+)"', page)
    assert found is not None
    return html.unescape(found[1])


def key_in(page: str) -> str:
    found = re.search(r"<code>([A-Z2-7 ]+)</code>", page)
    assert found is not None
    return found[1].replace(" ", "")


def set_up(browser: Visitor) -> tuple[str, list[str]]:
    page = browser.get(OWN).content.decode()
    key = key_in(page)
    done = browser.client.post(OWN, {"key": sealed_in(page), "code": code_now(key)}).content.decode()
    return key, re.findall(r"<code>([A-Z2-7-]{19})</code>", done)


class TestSettingUp:
    def test_shows_a_picture_and_a_key_and_keeps_nothing_until_the_first_right_code(self, chief: User) -> None:
        browser = by_password("chief")
        page = browser.get(OWN)

        text = page.content.decode()
        assert "<svg" in text
        assert len(key_in(text)) == 32
        assert "no-store" in page.headers["Cache-Control"]
        for code in ("000000", "", "12345", "abcdef"):
            again = browser.client.post(OWN, {"key": sealed_in(text), "code": code}).content.decode()
            assert "验证码不正确" in again
            assert key_in(again) == key_in(text)
        assert not TotpDevice.objects.exists()

    def test_ends_the_sessions_that_were_opened_without_a_code(self, chief: User) -> None:
        elsewhere, here = by_password("chief"), by_password("chief")

        key, codes = set_up(here)

        device = TotpDevice.objects.get()
        assert (device.user_id, device.key, device.is_independent) == (chief.pk, key, True)
        assert len(set(codes)) == totp.RECOVERY_CODES
        assert [entry.note for entry in AuditEntry.objects.filter(action="done")] == ["Authenticator app set up."]
        assert elsewhere.get(INDEX).headers["Location"].startswith("/admin/login/")
        assert here.get(INDEX).status_code == 200

    def test_leaves_key_and_recovery_codes_readable_nowhere(self, chief: User) -> None:
        key, codes = set_up(by_password("chief"))

        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM accounts_totpdevice")
            stored = str(cursor.fetchall())
        stored += str([*AuditEntry.objects.values()])
        assert [text for text in (key, *codes, codes[0].replace("-", "")) if text in stored] == []

    def test_takes_no_key_of_somebody_else(self, chief: User) -> None:
        other = make_person("other", is_staff=True, is_superuser=True, password=PASSWORD)
        page = by_password("chief").get(OWN).content.decode()

        response = by_password("other").client.post(OWN, {"key": sealed_in(page), "code": code_now(key_in(page))})

        assert response.headers["Location"] == OWN
        assert not TotpDevice.objects.filter(user=other).exists()

    def test_notes_that_wecom_alone_did(self, chief: User, corp: Corp, wecom: WeCom, desktop: Visitor) -> None:
        """Give no rights that WeCom's sign-in does not give: whoever controls WeCom could have set the app up."""
        Corp.objects.update(admin_rights_enabled=True)
        chief.set_unusable_password()
        chief.save()
        desktop.sign_in(corp, wecom, "chief")

        set_up(desktop)

        assert not TotpDevice.objects.get().is_independent

    def test_asks_first_whether_it_is_its_person(self, chief: User) -> None:
        """Stop a stranger at an open browser from setting up their own app."""
        browser = by_password("chief")
        session = browser.client.session
        session["confirmed_at"] -= 16 * 60
        session.save()

        assert browser.get(OWN).headers["Location"] == "/admin/confirm/?next=%2Fadmin%2Fsecond-factor%2F"
        assert browser.client.post(OWN, {"remove": ""}).status_code == 302


class TestSigningIn:
    @pytest.fixture
    def key(self, chief: User) -> str:
        return set_up(by_password("chief"))[0]

    def test_leads_to_the_code_and_then_on_with_another_key_for_the_session(self, key: str) -> None:
        browser = by_password("chief")
        before = browser.client.session.session_key

        sent_away = browser.get("/admin/accounts/user/")
        shown = browser.get(sent_away.headers["Location"])
        done = browser.client.post(sent_away.headers["Location"], {"code": code_now(key, later=1)})

        assert sent_away.headers["Location"] == f"{CODE}?next=%2Fadmin%2Faccounts%2Fuser%2F"
        assert "六位数字" in shown.content.decode()
        assert done.headers["Location"] == "/admin/accounts/user/"
        assert browser.get("/admin/accounts/user/").status_code == 200
        assert browser.client.session.session_key != before
        assert SessionStore(before).load() == {}

    def test_opens_nothing_of_the_administration_before_and_leaves_an_employee_s_pages_open(self, key: str) -> None:
        browser = by_password("chief")

        for page in (INDEX, OWN, "/admin/confirm/", "/admin/password_change/", "/admin/auth/group/add/"):
            for ask in (browser.client.get, browser.client.post):
                assert ask(page, {"remove": "", "name": "x"}).headers["Location"].startswith(f"{CODE}?next=")
        assert TotpDevice.objects.exists()
        assert browser.get("/account/").status_code == 200
        assert browser.client.post("/admin/logout/").status_code in {200, 302}

    def test_with_wecom_asks_as_well(self, key: str, chief: User, corp: Corp, wecom: WeCom, phone: Visitor) -> None:
        Corp.objects.update(admin_rights_enabled=True)
        phone.sign_in(corp, wecom, "chief")

        assert phone.get(INDEX).headers["Location"].startswith(CODE)

    def test_a_code_is_a_confirmation_too(self, key: str) -> None:
        browser = by_password("chief")
        browser.client.post(CODE, {"code": code_now(key, later=1)})
        session = browser.client.session
        session["confirmed_at"] -= 16 * 60
        session.save()
        TotpDevice.objects.update(last_counter=0)

        browser.client.post("/admin/confirm/", {"_confirm-code": code_now(key)})

        assert browser.client.session["confirmed_at"] > time.time() - 60


class TestCodes:
    @pytest.fixture
    def device(self, chief: User) -> TotpDevice:
        return TotpDevice.objects.create(user=chief, key=RFC_KEY, confirmed_at=timezone.now())

    def accepts(self, device: TotpDevice, code: str, at: int) -> bool:
        return totp.check_code(person=device.user, code=code, now=datetime.fromtimestamp(at, UTC))

    @pytest.mark.parametrize(("at", "code"), [(59, "287082"), (1111111109, "081804"), (1234567890, "005924")])
    def test_are_those_of_the_standard(self, device: TotpDevice, at: int, code: str) -> None:
        """Use RFC 6238, appendix B, the last six digits."""
        assert self.accepts(device, code, at)

    @pytest.mark.parametrize(
        ("seconds", "is_accepted"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)]
    )
    def test_may_be_half_a_minute_early_or_late(self, device: TotpDevice, seconds: int, is_accepted: bool) -> None:
        assert self.accepts(device, "005924", 1234567890 + seconds) is is_accepted

    def test_are_good_once(self, device: TotpDevice) -> None:
        assert self.accepts(device, "005924", 1234567890)
        assert not self.accepts(device, "005924", 1234567890)
        assert not self.accepts(device, "005924", 1234567900)

    def test_are_not_looked_at_after_some_wrong_ones(self, device: TotpDevice) -> None:
        now = timezone.now()
        assert [totp.check_code(person=device.user, code="000000", now=now) for _time in range(2)] == [False, False]
        with pytest.raises(LockedOut):
            totp.check_code(person=device.user, code="000000", now=now)

        right = compute_hotp(b"12345678901234567890", int(now.timestamp()) // 30)
        with pytest.raises(LockedOut):
            totp.check_code(person=device.user, code=right, now=now)
        TotpDevice.objects.update(failed_at=now - timedelta(minutes=15))

        assert totp.check_code(person=device.user, code=right, now=now)
        assert AuditEntry.objects.filter(action="locked-out").count() == 1

    def test_of_somebody_without_an_app_are_wrong(self, db: None) -> None:
        assert not totp.check_code(person=make_person("nobody"), code="000000", now=timezone.now())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("code", ["005924", "ABCD-EFGH-IJKL-MNOP"], ids=["of the app", "recovery"])
def test_of_many_with_one_code_at_one_moment_one_gets_in(chief: User, settings: Any, code: str) -> None:
    settings.LOCKOUT_TRIES = 100
    digests = [hashlib.sha256(b"ABCDEFGHIJKLMNOP").hexdigest()]
    TotpDevice.objects.create(user=chief, key=RFC_KEY, confirmed_at=timezone.now(), recovery_digests=digests)
    start = Barrier(8)

    def attempt(_number: int) -> bool:
        try:
            start.wait(60)
            return totp.check_code(person=chief, code=code, now=datetime.fromtimestamp(1234567890, UTC))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(attempt, range(8)))

    assert sorted(taken) == [False] * 7 + [True]
    assert TotpDevice.objects.get().failed_count == 7


class TestRecovery:
    def test_a_code_is_good_once_however_it_is_typed_until_there_are_new_ones(self, chief: User) -> None:
        here = by_password("chief")
        _key, codes = set_up(here)
        browser = by_password("chief")

        done = browser.client.post(CODE, {"code": codes[0].lower().replace("-", " ")})
        again = by_password("chief").client.post(CODE, {"code": codes[0]})

        assert done.headers["Location"] == INDEX
        assert "验证码不正确" in again.content.decode()
        assert len(TotpDevice.objects.get().recovery_digests) == totp.RECOVERY_CODES - 1
        assert codes[1] not in here.client.post(OWN, {"renew": ""}).content.decode()
        assert "验证码不正确" in by_password("chief").client.post(CODE, {"code": codes[1]}).content.decode()

    def test_is_what_is_left_where_no_key_opens_the_app_s(self, chief: User) -> None:
        _key, codes = set_up(by_password("chief"))
        with connection.cursor() as cursor:
            cursor.execute("UPDATE accounts_totpdevice SET key = 'gAAA'")
        browser = by_password("chief")

        refused = browser.client.post(CODE, {"code": "123456"})
        done = browser.client.post(CODE, {"code": codes[0]})

        assert "验证码不正确" in refused.content.decode()
        assert done.headers["Location"] == INDEX

    @pytest.mark.parametrize("by", ["its person", "the server"])
    def test_the_server_helps_who_has_lost_everything_and_its_person_can_remove_it(self, chief: User, by: str) -> None:
        browser = by_password("chief")
        set_up(browser)

        if by == "its person":
            browser.client.post(OWN, {"remove": ""})
        else:
            call_command("reset_second_factor", "chief", verbosity=0)

        assert not TotpDevice.objects.exists()
        assert by_password("chief").get(INDEX).status_code == 200
        assert AuditEntry.objects.filter(action="done", note="Authenticator app removed.").count() == 1

    def test_the_server_says_where_there_is_nothing_to_remove(self, chief: User) -> None:
        for username in ("chief", "nobody"):
            with pytest.raises(CommandError, match=username):
                call_command("reset_second_factor", username)


class TestRequired:
    @pytest.fixture(autouse=True)
    def _required(self, settings: Any) -> None:
        settings.STAFF_TOTP_REQUIRED = True

    def test_who_has_none_is_led_to_it_and_does_nothing_else(self, chief: User) -> None:
        browser = by_password("chief")

        for page in (INDEX, "/admin/auth/group/add/", CODE):
            assert browser.get(page).headers["Location"].startswith(f"{OWN}?next=")
        assert browser.client.post("/admin/auth/group/add/", {"name": "x"}).headers["Location"].startswith(OWN)
        assert browser.get(OWN).status_code == 200

    def test_setting_one_up_opens_the_administration_and_removing_it_closes_it_again(self, chief: User) -> None:
        browser = by_password("chief")
        set_up(browser)
        assert browser.get(INDEX).status_code == 200

        browser.client.post(OWN, {"remove": ""})

        assert browser.get(INDEX).headers["Location"].startswith(OWN)
