"""Wrong passwords: they lock out the place they come from, not the right person, and only for a while."""

import ipaddress
import re
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import call_command
from django.db import connection, connections
from django.db.models.signals import pre_delete
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.authentication import passwords
from accounts.authentication.sessions import PASSWORD_BACKEND
from accounts.models import AuditEntry, Lockout, User
from accounts.tasks import purge_old_records
from accounts.users.roles import Role
from integrations.models import Corp
from tests.accounts.conftest import Visitor, make_person, state_in
from tests.accounts.people import HOST, signed_in, with_role
from tests.accounts.wecom import WeCom
from tests.audit import clear_trail
from tests.between import just_before

RIGHT, WRONG = "right-password-1", "wrong-password"
HERE, THERE = "203.0.113.5", "198.51.100.7"


@pytest.fixture(autouse=True)
def _limits(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.LOCKOUT_TRIES, settings.LOCKOUT_MINUTES = 3, 15
    monkeypatch.setattr("accounts.authentication.passwords.TRIES_ANYWHERE", 6)


@pytest.fixture
def person(corp: Corp) -> User:
    clear_trail()
    return make_person("lilei", corp, "LiLei", name="李雷", password=RIGHT)


def browser(address: str = HERE, language: str = "zh-hans", **headers: str) -> Client:
    headers = {"host": HOST, "accept-language": language, **headers}
    return Client(headers=headers, SERVER_NAME=HOST, REMOTE_ADDR=address)


def sign_in(client: Client, password: str, username: str = "lilei", page: str = "/login/", **more: str) -> Any:
    return client.post(page, {"username": username, "password": password, **more})


def fail(client: Client, times: int, **options: str) -> list[int]:
    return [sign_in(client, WRONG, **options).status_code for _ in range(times)]


def later(minutes: float) -> None:
    """Let time pass by making the counted failures older."""
    for row in Lockout.objects.all():
        Lockout.objects.filter(pk=row.pk).update(attempt_time=row.attempt_time - timedelta(minutes=minutes))


def is_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


class TestOneAddress:
    def test_is_locked_out_for_this_username_after_a_few_and_no_other_address_or_username(self, person: User) -> None:
        make_person("hanmeimei", password=RIGHT)
        client, other = browser(), browser(THERE)

        assert fail(client, 5) == [200, 200, 429, 429, 429]
        assert sign_in(client, RIGHT).status_code == 429
        assert not is_in(client)
        assert sign_in(other, RIGHT).status_code == 302
        assert is_in(other)
        assert sign_in(client, WRONG, username="hanmeimei").status_code == 200

    def test_the_lock_ends_and_is_not_prolonged_by_trying(self, person: User) -> None:
        client = browser()
        fail(client, 3)
        later(10)
        assert fail(client, 4) == [429] * 4
        later(5.1)

        assert sign_in(client, RIGHT).status_code == 302
        assert not Lockout.objects.exists()

    def test_the_right_password_forgets_the_wrong_ones(self, person: User) -> None:
        client = browser()
        fail(client, 2)
        sign_in(client, RIGHT)

        assert fail(browser(), 2) == [200, 200]

    def test_is_the_same_with_another_user_agent_or_from_a_neighbour_in_its_ipv6_network(self, person: User) -> None:
        found = [
            sign_in(browser(f"2001:db8:1:{number}::1", **{"user-agent": f"agent {number}"}), WRONG).status_code
            for number in range(4)
        ]

        assert found == [200, 200, 429, 429]
        assert sign_in(browser("2001:db8:2:2::1"), RIGHT).status_code == 302

    def test_ipv4_callers_of_a_server_that_listens_on_ipv6_are_told_apart(self, person: User) -> None:
        fail(browser(f"::ffff:{HERE}"), 3)

        assert Lockout.objects.get().ip_address == HERE
        assert sign_in(browser(f"::ffff:{THERE}"), RIGHT).status_code == 302

    def test_both_login_pages_count_together(self, person: User) -> None:
        client = browser()

        assert fail(client, 2, page="/admin/login/") == [200, 200]
        assert fail(client, 1) == [429]
        assert fail(client, 1, page="/admin/login/") == [429]


@pytest.mark.django_db(transaction=True)
class TestManyAtOneMoment:
    """Simultaneous tries, each counted before its password is checked: the limit also bounds the checks."""

    @staticmethod
    def at_once(times: int, username: str = "lilei") -> list[int]:
        def attempt(number: int) -> int:
            try:
                return int(sign_in(browser(), WRONG, username=username.format(number)).status_code)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(times) as threads:
            return list(threads.map(attempt, range(times)))

    def tried_count(self) -> int:
        return AuditEntry.objects.filter(action__in=["sign-in-failed", "locked-out"]).count()

    def test_for_one_username(self, person: User) -> None:
        self.at_once(20)

        assert self.tried_count() <= 3  # none if all are counted before any reads the count
        fail(browser(), 3)
        assert Lockout.objects.get().failures_since_start == self.tried_count() == 3

    def test_for_many_usernames_from_one_address(
        self, person: User, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("accounts.authentication.passwords.TRIES_ADDRESS", 5)

        self.at_once(20, username="p{}")

        assert self.tried_count() <= 5
        for number in range(5):
            fail(browser(), 1, username=f"q{number}")
        assert Lockout.objects.count() == self.tried_count() == 5

    @pytest.mark.parametrize("is_old", [False, True])
    def test_one_counted_while_another_is_taken_back_or_forgotten_stays(self, person: User, is_old: bool) -> None:
        """Delete under a lock: Django reads the rows and deletes them by key, and lost a try counted in between."""
        fail(browser(), 1)
        row = Lockout.objects.get()
        counting: list[Future[list[int]]] = []

        def count_another(**_of_signal: Any) -> None:
            if not counting:
                counting.append(other.submit(count))
                wait(counting, timeout=0.5)  # if nothing holds the row, it is counted by now

        def count() -> list[int]:
            try:
                return fail(browser(), 1)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(1) as other:
            pre_delete.connect(count_another, sender=Lockout)
            try:
                if is_old:
                    passwords.delete_old_tries(now=row.attempt_time + timedelta(minutes=15))
                else:
                    passwords._take_back_try(row.pk)
            finally:
                pre_delete.disconnect(count_another, sender=Lockout)

        assert counting[0].result() == [200]
        assert Lockout.objects.get().failures_since_start == 1


class TestOldPassword:
    """The page that changes the password, on which a stranger at an open browser guesses the old one."""

    @staticmethod
    def change(client: Client, old: str) -> Any:
        new = "a-new-password-2"
        fields = {"old_password": old, "new_password1": new, "new_password2": new}
        return client.post("/admin/password_change/", fields, headers={"host": HOST, "accept-language": "en"})

    @pytest.fixture
    def clerk(self, person: User) -> User:
        person.is_staff = True
        person.save()
        return person

    def test_is_counted_as_at_sign_in_and_not_looked_at_while_locked(self, clerk: User) -> None:
        client = browser(language="en")
        client.force_login(clerk, backend=PASSWORD_BACKEND)

        pages = [self.change(client, WRONG).content.decode() for _ in range(3)]

        assert ["Your old password was entered incorrectly." in page for page in pages] == [True, True, False]
        assert "Too many wrong passwords. Try again in 15 minutes." in pages[-1]
        assert sign_in(browser(), RIGHT).status_code == 429
        assert Lockout.objects.get().failures_since_start == 3
        assert self.change(client, RIGHT).status_code == 200
        clerk.refresh_from_db()
        assert clerk.check_password(RIGHT)

    def test_is_saved_alone_and_forgets_the_wrong_ones_when_right(self, clerk: User) -> None:
        """Save only the password: Django's form saves the row as read before the hashing."""
        client = browser()
        client.force_login(clerk, backend=PASSWORD_BACKEND)
        self.change(client, WRONG)

        with just_before('UPDATE "accounts_user"', lambda: User.objects.filter(pk=clerk.pk).update(is_active=False)):
            assert self.change(client, RIGHT).status_code == 302

        clerk.refresh_from_db()
        assert (clerk.is_active, clerk.check_password("a-new-password-2")) == (False, True)
        assert not Lockout.objects.exists()


def test_people_behind_one_proxy_are_told_apart_and_no_client_s_own_word_is_believed(
    person: User, settings: Any
) -> None:
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("10.0.0.0/8")]

    def tries(address: str, forwarded: str) -> list[int]:
        clients = [browser(address, **{"x-forwarded-for": forwarded.format(number)}) for number in range(4)]
        return [sign_in(client, WRONG).status_code for client in clients]

    assert tries("10.0.0.1", f"192.0.2.{{}}, {HERE}") == [200, 200, 429, 429]
    assert Lockout.objects.get().ip_address == HERE
    assert sign_in(browser("10.0.0.1", **{"x-forwarded-for": THERE}), RIGHT).status_code == 302
    assert tries(THERE, "192.0.2.{}") == [200, 200, 429, 429]


def known_browser(username: str = "lilei") -> Client:
    """Return a browser that has signed in with this username before."""
    client = browser(HERE)
    sign_in(client, RIGHT, username=username)
    client.post("/logout/")
    return client


class TestManyAddresses:
    def attack(self) -> list[int]:
        return [sign_in(browser(f"192.0.2.{number}"), WRONG).status_code for number in range(8)]

    def from_anywhere(self, client: Client, times: int) -> list[int]:
        form = {"username": "lilei", "password": WRONG}
        return [client.post("/login/", form, REMOTE_ADDR=f"192.0.2.{n}").status_code for n in range(times)]

    def test_lock_the_username_for_browsers_that_nobody_knows(self, person: User) -> None:
        assert self.attack() == [200] * 5 + [429] * 3
        assert sign_in(browser(THERE), RIGHT).status_code == 429

    def test_do_not_lock_the_right_person_s_own_browser_anywhere(self, person: User) -> None:
        own = known_browser()
        for _ in range(3):
            self.attack()
            later(14)

        response = own.post("/login/", {"username": "lilei", "password": RIGHT}, REMOTE_ADDR=THERE)

        assert response.status_code == 302

    def test_attackers_at_the_same_address_do_not_either(self, person: User) -> None:
        own = known_browser()

        assert fail(browser(HERE), 4) == [200, 200, 429, 429]
        assert sign_in(own, RIGHT).status_code == 302

    def test_a_known_browser_is_limited_by_itself(self, person: User) -> None:
        assert self.from_anywhere(known_browser(), 4) == [200, 200, 429, 429]
        assert sign_in(browser(HERE), RIGHT).status_code == 302

    def test_two_first_wrong_passwords_of_a_known_browser_at_one_moment_are_both_counted(self, person: User) -> None:
        """Count both rows: known browsers have no address, so no constraint keeps the rows apart."""
        known = known_browser()
        fail(known, 1)
        twin = Lockout.objects.get()
        twin.pk = None
        twin.save(force_insert=True)

        assert fail(known, 2) == [429, 429]
        assert sorted(Lockout.objects.values_list("failures_since_start", flat=True)) == [1, 2]

    def test_a_known_browser_is_known_for_its_own_usernames_only(self, person: User) -> None:
        make_person("attacker", password=RIGHT)

        assert self.from_anywhere(known_browser("attacker"), 8) == [200] * 5 + [429] * 3

    def test_an_invented_cookie_makes_no_known_browser(self, person: User) -> None:
        self.attack()
        client = browser(THERE)
        client.cookies["guanwecom-known"] = '[["lilei","x"]]'

        assert sign_in(client, RIGHT).status_code == 429


class TestManyUsernames:
    """A common password, tried on many usernames from one address."""

    @pytest.fixture(autouse=True)
    def _address_limit(self, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("accounts.authentication.passwords.TRIES_ADDRESS", 5)

    def spray(self, times: int, address: str = HERE, first: int = 0) -> list[int]:
        numbers = range(first, first + times)
        return [sign_in(browser(address), WRONG, username=f"p{number}").status_code for number in numbers]

    def test_make_the_address_wait_for_every_username(self, person: User) -> None:
        own = known_browser()
        assert self.spray(7) == [200] * 4 + [429] * 3
        client = browser()

        page = sign_in(client, RIGHT)

        assert page.status_code == 429
        assert 0 < int(page.headers["Retry-After"]) <= 60
        assert "您所在的网络最近多次输错密码" in page.content.decode()
        assert not is_in(client)
        assert sign_in(browser(THERE), RIGHT).status_code == 302
        assert sign_in(own, RIGHT).status_code == 302

    def test_wait_a_minute_only_and_not_longer_by_trying(self, person: User) -> None:
        self.spray(5)
        later(0.9)
        assert self.spray(2, first=10) == [429, 429]
        later(0.11)

        assert sign_in(browser(), RIGHT).status_code == 302

    def test_get_one_try_a_minute_from_then_on(self, person: User) -> None:
        self.spray(5)
        found = []
        for number in range(3):
            later(1.01)
            found += self.spray(2, first=10 + 2 * number)

        assert found == [429] * 6
        assert Lockout.objects.count() == 5 + 3

    def test_are_not_forgotten_by_signing_in_as_oneself_between(self, person: User) -> None:
        self.spray(4)
        assert sign_in(browser(), RIGHT).status_code == 302

        assert self.spray(1, first=10) == [429]

    def test_tell_nothing_about_whether_a_username_exists(self, person: User) -> None:
        make_person("disabled", is_active=False)
        self.spray(4)
        sign_in(browser(THERE), WRONG, username="first")
        pages, counts = {}, {}
        for name in ("lilei", "nobody", "disabled"):
            with CaptureQueriesContext(connection) as queries:
                response = sign_in(browser(), WRONG, username=name)
            Lockout.objects.filter(username=name).delete()
            text = response.content.decode().replace(name, "USERNAME")
            text = re.sub(r'(csrfmiddlewaretoken" value=")[^"]+', r"\1", text)
            pages[name] = re.sub(r"<time[^>]*>[^<]*</time>", "", text)  # the end of the lock, by the minute
            counts[name] = len(queries)

        assert pages["lilei"] == pages["nobody"] == pages["disabled"]
        assert "您所在的网络最近多次输错密码" in pages["lilei"]
        assert counts["lilei"] == counts["nobody"] == counts["disabled"]

    def test_are_found_by_their_address_and_freed_in_the_administration(self, person: User) -> None:
        self.spray(5)
        fail(browser(THERE), 1)
        client = signed_in(with_role("chief", Role.SYSTEM_ADMINISTRATOR))

        shown = client.get("/admin/accounts/lockout/", {"q": HERE}).content.decode()
        rows = Lockout.objects.filter(ip_address=HERE).values_list("pk", flat=True)
        client.post("/admin/accounts/lockout/", {"action": "unlock", "_selected_action": list(rows)})

        assert shown.count("每次尝试后该地址需等待") == 5
        assert THERE not in shown
        assert sign_in(browser(), RIGHT).status_code == 302


class TestWhatIsShown:
    @pytest.mark.parametrize(
        ("language", "words"),
        [
            ("zh-hans", ["密码错误次数过多", "请 15 分钟后再试。", "锁定将于", "企业微信登录"]),
            ("en", ["Too many wrong passwords", "Try again in 15 minutes.", "The lock ends at", "Sign in with WeCom"]),
        ],
    )
    def test_for_how_long_and_which_way_stays_open(self, person: User, language: str, words: list[str]) -> None:
        client = browser(language=language)
        fail(client, 2)

        page = sign_in(client, WRONG, next="/messages/3/")

        text = page.content.decode()
        assert [word for word in words if word not in text] == []
        assert int(page.headers["Retry-After"]) == pytest.approx(900, abs=5)
        assert "no-cache" in page.headers["Cache-Control"]
        assert "next=%2Fmessages%2F3%2F" in text

    def test_the_minutes_that_are_left(self, person: User) -> None:
        client = browser()
        fail(client, 3)
        later(12.5)

        assert "请 3 分钟后再试。" in sign_in(client, WRONG).content.decode()


class TestWeCom:
    def test_is_not_counted_and_ends_no_lock(self, person: User, corp: Corp, phone: Visitor, wecom: WeCom) -> None:
        for number in range(4):
            wecom.gives(f"code-{number}", userid="nobody-here")
            phone.arrive(corp, code=f"code-{number}", state=phone.begin(corp))
        fail(browser("127.0.0.1"), 4)
        assert Lockout.objects.get().username == "lilei"
        wecom.gives("code", userid="LiLei")

        response = phone.arrive(corp, code="code", state=state_in(phone.get(f"/wecom/{corp.pk}/start/", next="/")))

        assert response.status_code == 302
        assert phone.user_id == person.pk
        assert sign_in(browser("127.0.0.1"), RIGHT).status_code == 429


class TestUnlocking:
    def test_by_command(self, person: User, capsys: pytest.CaptureFixture[str]) -> None:
        fail(browser(), 3)

        call_command("unlock_sign_in", "lilei")

        assert capsys.readouterr().out == "已清除 lilei 的 3 次密码错误。\n"
        assert sign_in(browser(), RIGHT).status_code == 302
        assert AuditEntry.objects.filter(action="unlocked", object_id=person.pk).count() == 1

    def test_in_the_administration(self, person: User, corp: Corp) -> None:
        fail(browser(), 3)
        chief = with_role("chief", Role.SYSTEM_ADMINISTRATOR, corp)
        row = Lockout.objects.get()
        client = signed_in(chief)

        shown = client.get("/admin/accounts/lockout/").content.decode()
        client.post("/admin/accounts/lockout/", {"action": "unlock", "_selected_action": [row.pk]})

        assert "lilei" in shown
        assert "已锁定" in shown
        assert not Lockout.objects.exists()
        entry = AuditEntry.objects.get(action="unlocked")
        assert (entry.actor_name, entry.subject, entry.corp_id) == ("chief", str(person), corp.pk)


class TestTrail:
    def test_failures_and_the_lock_are_recorded_once(self, person: User, corp: Corp) -> None:
        fail(browser(), 6)

        entries = AuditEntry.objects.order_by("pk")
        expected = [("sign-in-failed", str(person))] * 2 + [("locked-out", str(person))]
        assert list(entries.values_list("action", "subject")) == expected
        assert set(entries.values_list("ip", "actor_name", "corp")) == {(HERE, "", corp.pk)}

    def test_an_unknown_username_is_not_written_down_nor_when_its_row_is_deleted(self, person: User) -> None:
        fail(browser(), 1, username="my-secret-password")
        entry = AuditEntry.objects.get()
        client = signed_in(with_role("chief", Role.SYSTEM_ADMINISTRATOR))

        client.post(f"/admin/accounts/lockout/{Lockout.objects.get().pk}/delete/", {"post": "yes"})

        assert (entry.subject, entry.object_id, entry.note, entry.changes) == ("", None, "", [])
        assert not Lockout.objects.exists()
        assert AuditEntry.objects.filter(action="unlocked").count() == 1
        assert "my-secret-password" not in str([*AuditEntry.objects.values(), *LogEntry.objects.values()])

    def test_no_password_is_kept(self, person: User) -> None:
        fail(browser(), 4)

        row = Lockout.objects.values().get()
        assert WRONG not in str(row)
        assert (row["get_data"], row["post_data"], row["user_agent"]) == ("", "", "")

    def test_old_rows_go_with_the_next_wrong_password(self, person: User) -> None:
        fail(browser(), 1, username="somebody-else")
        later(16)

        fail(browser(), 1)

        assert [row.username for row in Lockout.objects.all()] == ["lilei"]

    def test_old_rows_go_once_a_day_where_nobody_gets_one_wrong(self, person: User) -> None:
        fail(browser(), 1, username="my-secret-password")
        later(14)
        fail(browser(), 1)
        later(2)

        purge_old_records.delay().get()

        assert [row.username for row in Lockout.objects.all()] == ["lilei"]


def test_authenticating_without_a_request_is_neither_counted_nor_an_error(person: User) -> None:
    client = Client()

    assert not client.login(username="lilei", password=WRONG)
    assert client.login(username="lilei", password=RIGHT)
