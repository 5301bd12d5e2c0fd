"""The audit trail: who changed what from where, without secrets, and nothing about other people's companies."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.audit import services as audit_services
from accounts.audit import signals
from accounts.models import AuditEntry, SignInPolicy, User, WeComAccount
from accounts.users import companies
from accounts.users.roles import Role
from integrations.companies import services
from integrations.companies.links import store_file
from integrations.models import Card, Corp, DataSource, SiteAddress
from notifications.models import AlertRule, Report, Subscription
from tests.accounts.conftest import DESKTOP, PASSWORD, make_person, visitor
from tests.accounts.people import HOST, LIST, sent_form, signed_in, with_role
from tests.audit import clear_trail, list_visible_entries
from tests.integrations.diagnosing import pass_checks

TRAIL = "/admin/accounts/auditentry/"
FILE = "WW_verify_0123456789abcdef.txt"
SECRETS = ("top-secret-1", "top-secret-2", "http://user:proxy-password@proxy.example:3128", "new-password-123")


@pytest.fixture
def browser(root: User, corp: Corp) -> Client:
    client = signed_in(root)
    clear_trail()
    return client


def trail(**conditions: Any) -> list[tuple[str, str, list[Any]]]:
    entries = AuditEntry.objects.filter(**conditions).order_by("pk")
    return [(entry.action, entry.subject, entry.changes) for entry in entries]


def changes_of(model: str) -> dict[str, list[Any]]:
    return {change[0]: change[1:] for entry in AuditEntry.objects.filter(model=model) for change in entry.changes}


class TestWhatIsRecorded:
    def test_a_changed_company_with_old_and_new_values_and_masked_secrets(self, browser: Client, corp: Corp) -> None:
        path = f"/admin/integrations/corp/{corp.pk}/change/"
        sent = sent_form(browser, path)

        changed = {"name": "北山新名", "new_secret": SECRETS[1], "new_proxy_url": SECRETS[2], "agentid": "1000077"}
        response = browser.post(path, {**sent, **changed}, REMOTE_ADDR="203.0.113.8")

        assert response.status_code == 302
        entry = AuditEntry.objects.get(model="integrations.corp", action="changed")
        assert {change[0]: change[1:] for change in entry.changes} == {
            "name": ["北山制造", "北山新名"],
            "agentid": [1000001, 1000077],
            "secret": [audit_services.MASK, audit_services.MASK],
            "proxy_url": ["", audit_services.MASK],
        }
        assert (entry.actor_name, entry.ip, entry.corp_id) == ("root", "203.0.113.8", corp.pk)

    def test_a_person_with_account_password_and_rights_that_are_given_and_taken_away(
        self, browser: Client, corp: Corp
    ) -> None:
        person = make_person("lilei", corp, "LiLei")
        clear_trail()
        path = f"{LIST}{person.pk}/change/"
        role = Group.objects.get(name=Role.READ_ONLY)

        changed = {"name": "李雷", "is_staff": "on", "roles": [role.pk], "managed_corps": [corp.pk]}
        browser.post(path, {**sent_form(browser, path), **changed, "wecom_accounts-0-userid": "Li.Lei"})
        passwords = {"password1": SECRETS[3], "password2": SECRETS[3], "usable_password": "true"}
        browser.post(f"{LIST}{person.pk}/password/", passwords)

        assert changes_of("accounts.user") == {
            "name": ["", "李雷"],
            "is_staff": [False, True],
            "groups": [None, [Role.READ_ONLY.value]],
            "managed_corps": [None, ["北山制造"]],
            "password": ["", audit_services.MASK],
        }
        assert changes_of("accounts.wecomaccount") == {"userid": ["LiLei", "Li.Lei"]}
        assert set(AuditEntry.objects.exclude(action="done").values_list("corp", flat=True)) == {corp.pk}
        clear_trail()
        browser.post(path, {**sent_form(browser, path), "roles": [], "managed_corps": []})
        assert changes_of("accounts.user") == {
            "groups": [[Role.READ_ONLY.value], None],
            "managed_corps": [["北山制造"], None],
        }

    @pytest.mark.parametrize("by", ["the list", "the page"])
    def test_deletion_keeps_what_was_deleted_once(self, browser: Client, corp: Corp, by: str) -> None:
        person = make_person("lilei", corp, "LiLei", name="李雷")
        clear_trail()

        if by == "the list":
            browser.post(LIST, {"action": "delete_selected", "_selected_action": [person.pk], "post": "yes"})
        else:
            browser.post(f"{LIST}{person.pk}/delete/", {"post": "yes"})

        found = trail()
        assert [found[:2] for found in found] == [("deleted", "lilei / LiLei"), ("deleted", "李雷 (lilei)")]
        assert found[0][2] == [["user", "李雷 (lilei)", None], ["corp", "北山制造", None], ["userid", "LiLei", None]]
        assert set(AuditEntry.objects.values_list("corp", flat=True)) == {corp.pk}

    def test_a_deleted_company_leaves_its_entries_to_those_who_see_all(self, browser: Client, root: User) -> None:
        empty = Corp.objects.create(name="空公司", corpid="ww" + "8" * 16, agentid=1000009, secret=SECRETS[0])
        store_file(corp=empty, name=FILE, content=b"0123456789abcdef", now=timezone.now())
        assert FILE in browser.get(TRAIL).text

        browser.post(f"/admin/integrations/corp/{empty.pk}/delete/", {"post": "yes"})

        [(_action, subject, changes)] = trail(action="deleted")
        assert (subject, "0123456789abcdef" in str(changes)) == ("空公司", True)
        assert browser.get(TRAIL).status_code == 200

    def test_addresses_reports_subscriptions_groups_and_the_policy(self, browser: Client, corp: Corp) -> None:
        address = SiteAddress.objects.default()
        address.url = "https://new.example.com/"
        address.save()
        report = Report.objects.create(title="销售日报", body="…", corp=corp)
        report.title = "销售周报"
        report.save()
        subscription = Subscription.objects.create(name="每天", report=report, crontab="0 9 * * *")
        subscription.users.add(make_person("lilei"))
        policy = SignInPolicy.objects.create()
        SignInPolicy.objects.filter(pk=policy.pk).update(password_enabled=True)
        policy.password_enabled = False
        policy.save()
        Group.objects.create(name="morning readers")

        assert changes_of("integrations.siteaddress") == {
            "url": ["https://bi.example.com/", "https://new.example.com/"]
        }
        assert trail(model="notifications.report", action="changed") == [
            ("changed", "销售周报", [["title", "销售日报", "销售周报"]])
        ]
        assert trail(model="notifications.subscription")[-1][2] == [["users", None, ["lilei"]]]
        assert set(AuditEntry.objects.filter(model__startswith="notifications").values_list("corp", flat=True)) == {
            corp.pk
        }
        assert changes_of("accounts.signinpolicy") == {"password_enabled": [True, False]}
        assert changes_of("auth.group") == {"name": [None, "morning readers"]}

    def test_what_is_no_field_stands_in_words(self, browser: Client, corp: Corp) -> None:
        browser.post(f"/admin/integrations/corp/{corp.pk}/callback/app/generate/")

        entry = AuditEntry.objects.get(action="done")
        assert (entry.subject, entry.corp_id) == ("北山制造", corp.pk)
        assert entry.note
        token = Corp.objects.get(pk=corp.pk).callback_token
        assert token
        assert token not in str(list(AuditEntry.objects.values()))

    def test_enabling_disabling_and_sign_in_with_the_value_before_and_after(self, browser: Client, corp: Corp) -> None:
        SiteAddress.objects.update(url="https://bi.example.com/")
        Corp.objects.filter(pk=corp.pk).update(is_enabled=False, first_enabled_at=None)
        corp.refresh_from_db()
        pass_checks(corp)
        clear_trail()

        for action in ("enable", "enable", "disable", "disable"):
            browser.post(f"/admin/integrations/corp/{corp.pk}/{action}/")
        corp.refresh_from_db()
        corp.sign_in_enabled = False
        services.save_corp(corp=corp, changed_fields=["sign_in_enabled"])

        assert trail(model="integrations.corp") == [
            ("changed", "北山制造", [["is_enabled", False, True]]),
            ("changed", "北山制造", [["is_enabled", True, False]]),
            ("changed", "北山制造", [["sign_in_enabled", True, False]]),
        ]
        assert set(AuditEntry.objects.values_list("corp", flat=True)) == {corp.pk}

    def test_many_people_at_once_one_entry_each(
        self, browser: Client, root: User, corp: Corp, other_corp: Corp
    ) -> None:
        people = User.objects.filter(pk__in=[make_person(name).pk for name in ("aa", "bb")])
        make_person("elsewhere-too", corp, "cc")
        clear_trail()

        companies.set_company(people=people, corp=corp)

        assert trail() == [("created", f"{name} / —", [["corp", None, "北山制造"]]) for name in ("aa", "bb")]
        assert set(AuditEntry.objects.values_list("corp", flat=True)) == {corp.pk}
        clear_trail()

        keys = {"action": "set_company", "_selected_action": [p.pk for p in people], "apply": "1"}
        browser.post(LIST, {**keys, "corp": other_corp.pk})

        change = [["corp", "北山制造", "南湖贸易"]]
        assert trail() == [("changed", f"{name} / —", change) for name in ("aa", "bb")]
        assert {(entry.actor_name, entry.corp_id) for entry in AuditEntry.objects.all()} == {("root", None)}

    def test_nothing_where_nothing_changes(self, browser: Client, corp: Corp) -> None:
        corp.save()
        corp.save(update_fields=["name"])
        Corp.objects.get(pk=corp.pk).save()

        assert trail() == []

    def test_sign_ins_of_staff_but_not_of_employees(self, corp: Corp) -> None:
        for name, is_staff in (("boss", True), ("employee", False)):
            make_person(name, corp, name, is_staff=is_staff, password=PASSWORD)
            clear_trail(action__in=["created", "changed"])
            client = Client(headers={"host": HOST}, SERVER_NAME=HOST, REMOTE_ADDR="192.0.2.4")
            client.post("/login/", {"username": name, "password": PASSWORD})

        entry = AuditEntry.objects.get(action="signed-in")
        assert (entry.subject, entry.actor_name, entry.note) == ("boss", "boss", "password")
        assert (entry.ip, entry.corp_id) == ("192.0.2.4", corp.pk)

    @pytest.mark.parametrize("reach", ["superuser", "all", "the other one"])
    def test_of_a_sign_in_sees_nobody_who_sees_less(self, corp: Corp, other_corp: Corp, reach: str) -> None:
        """Hide addresses and times of people with more rights from one company's administrators."""
        more = {"is_superuser": reach == "superuser", "manages_all_corps": reach == "all"}
        boss = make_person("boss", corp, "boss", is_staff=True, password=PASSWORD, **more)
        boss.managed_corps.set([other_corp] if reach == "the other one" else [])
        clear_trail()

        for password in ("wrong-password", PASSWORD):
            visitor(DESKTOP).client.post("/login/", {"username": "boss", "password": password})

        found = AuditEntry.objects.filter(corp__isnull=True).order_by("pk").values_list("action", "subject")
        assert list(found) == [("sign-in-failed", "boss"), ("signed-in", "boss")]

    def test_every_secret_of_a_company_is_masked(self, db: None) -> None:
        """Mask encrypted columns by their class, so that a new one cannot be forgotten."""
        names = [column.name for column in Corp._meta.concrete_fields if type(column).__name__ == "EncryptedTextField"]
        values: dict[str, Any] = {name: f"invented-{name}" for name in names}

        Corp.objects.create(name="x", corpid="ww" + "7" * 16, agentid=1, **values)

        found = changes_of("integrations.corp")
        assert len(names) >= 6
        assert {name: found[name] for name in names} == {name: [None, audit_services.MASK] for name in names}
        assert "invented-" not in str(list(AuditEntry.objects.values()))

    def test_long_texts_are_clipped(self, db: None) -> None:
        Report.objects.create(title="x", body="长" * 5000)

        assert len(changes_of("notifications.report")["body"][1]) == signals.TEXT_CHARACTERS


class TestWhoSeesIt:
    @pytest.fixture
    def entries(self, corp: Corp, other_corp: Corp) -> None:
        clear_trail()
        of_whom = {"both": corp, "mine": corp, "theirs": other_corp}
        for name, theirs in of_whom.items():
            person = User.objects.create(username=name)
            WeComAccount.objects.create(user=person, corp=theirs, userid=name)
            if name == "both":
                WeComAccount.objects.create(user=person, corp=other_corp, userid=name, is_primary=False)
        User.objects.create(username="nobody-s")
        Report.objects.create(title="for everybody", body="…")
        Report.objects.create(title="for mine", body="…", corp=corp)
        Report.objects.create(title="for theirs", body="…", corp=other_corp)

    def subjects(self, person: User) -> set[str]:
        entries = list_visible_entries(person).exclude(model="accounts.user")
        return set(entries.values_list("subject", flat=True))

    def test_each_administrator_the_own_companies_and_nothing_about_others(self, entries: None, corp: Corp) -> None:
        mine = with_role("auditor", Role.READ_ONLY, corp)
        of_all = with_role("of-all", Role.READ_ONLY)

        assert self.subjects(mine) == {"both / both", "mine / mine", "for mine"}
        assert self.subjects(of_all) == {
            *("both / both", "mine / mine", "theirs / theirs", "for everybody", "for mine", "for theirs"),
        }


class TestList:
    def test_can_be_filtered_and_searched(self, browser: Client, corp: Corp, other_corp: Corp) -> None:
        now = timezone.now()
        rows = [
            ("alpha", "changed", "root", "integrations.corp", now),
            ("beta", "deleted", "boss", "notifications.report", now - timedelta(days=10)),
            ("gamma", "created", "root", "accounts.user", now - timedelta(days=100)),
        ]
        for subject, action, actor, model, at in rows:
            AuditEntry.objects.create(subject=subject, action=action, actor_name=actor, model=model, at=at, corp=corp)
        everything = ["alpha", "beta", "gamma"]

        for query, subjects in (
            ({"q": "alpha"}, ["alpha"]),
            ({"q": "boss"}, ["beta"]),
            ({"action__exact": "deleted"}, ["beta"]),
            ({"kind": "notifications.report"}, ["beta"]),
            ({"since": "today"}, ["alpha"]),
            ({"since": "month"}, ["alpha", "beta"]),
            *(({name: "?"}, everything) for name in ("since", "kind", "company")),
            ({"company": str(corp.pk)}, everything),
            ({"company": str(other_corp.pk)}, []),
        ):
            page = browser.get(TRAIL, query)
            assert sorted(entry.subject for entry in page.context["cl"].result_list) == subjects, query

    def test_conditions_times_and_units_are_no_code(self, browser: Client, corp: Corp) -> None:
        source = DataSource.objects.create(name="仓库", kind="sql", corp=corp)
        card = Card.objects.create(name="库存", source=source, sql="SELECT 1", units={"数量": "件", "重量": "吨"})
        conditions = [
            {"aggregate": "any", "column": "数量", "comparison": "lt", "values": ["5"], "filters": {}},
            {"aggregate": "sum", "column": "重量", "comparison": "gt", "values": ["9"], "filters": {"仓": ["东"]}},
        ]
        AlertRule.objects.create(name="缺货", card=card, corp=corp, crontab="*/10 * * * *", conditions=conditions)

        text = browser.get("/admin/accounts/auditentry/").content.decode()

        assert "数量: 件、重量: 吨</div>" in text
        assert "时间表达式: — → 每 10 分钟</div>" in text
        assert "{&#x27;" not in text
        assert "aggregate" not in text
        # Two models with one name are shown with their app.
        assert ">数据（系统集成）</a>" in text
        assert ">数据（推送与预警）</a>" in text

    def test_shows_fields_and_values_in_words(self, browser: Client, corp: Corp) -> None:
        clear_trail()
        role = Role.READ_ONLY.value
        changes = [["is_enabled", False, True], ["name", "<b>旧</b>", "新"], ["gone", None, "x"]]
        AuditEntry.objects.create(
            action="changed", model="integrations.corp", subject="<i>", changes=changes, corp=corp
        )
        AuditEntry.objects.create(action="changed", model="accounts.user", changes=[["groups", None, [role]]])
        AuditEntry.objects.create(action="changed", model="integrations.longgone", subject="old", changes=changes)

        text = browser.get(TRAIL).content.decode()

        assert "启用: 否 → 是" in text.replace("已启用", "启用")
        assert "&lt;b&gt;旧&lt;/b&gt; → 新" in text
        assert "&lt;i&gt;" in text
        assert ": — → 只读" in text
        assert "old" in text

    def test_the_only_row_of_a_kind_has_its_name_in_the_reader_s_language(self, browser: Client) -> None:
        clear_trail()
        AuditEntry.objects.create(action="changed", model="accounts.signinpolicy", object_id=1, subject="登录方式")

        page = browser.get(TRAIL, headers={"accept-language": "en"}).text

        assert '<td class="field-subject_shown">Sign-in policy</td>' in page

    def test_the_list_shortens_a_message_s_text_and_the_entry_s_page_has_it(self, browser: Client) -> None:
        clear_trail()
        body = '销售额 {{ 销售.sum("销售额")|thousands }} 元' + "，请查看" * 30
        changes = [["body", body, '订单 {{ 销售.sum("订单数") }} 单，{% if 销'], ["title", "日报", "周报"]]
        entry = AuditEntry.objects.create(action="changed", model="notifications.report", changes=changes)

        listed, page = (browser.get(f"{TRAIL}{path}").text for path in ("", f"{entry.pk}/change/"))

        assert re.search(": 销售额 … 元[，请查看]+… → 订单 … 单，…</div>", listed)
        assert "标题: 日报 → 周报</div>" in listed
        assert f'href="{TRAIL}{entry.pk}/change/' in listed
        assert ("{{" in listed, page.count("{{"), page.count("，请查看")) == (False, 2, 30)


def test_old_entries_are_removed(db: None, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    settings.AUDIT_RETENTION_DAYS = 30
    clear_trail()
    now = timezone.now()
    AuditEntry.objects.create(action="done", subject="old", at=now - timedelta(days=31))
    AuditEntry.objects.create(action="done", subject="new", at=now - timedelta(days=29))

    call_command("purge_audit")

    assert list(AuditEntry.objects.values_list("subject", flat=True)) == ["new"]
    assert capsys.readouterr().out == "已删除 1 条记录。\n"


def test_the_program_itself_is_named_so(browser: Client, corp: Corp) -> None:
    corp.name = "改名"
    corp.save(update_fields=["name"])

    entry = AuditEntry.objects.get()
    assert (entry.actor_id, entry.actor_name, entry.ip) == (None, "", None)
    assert "系统" in browser.get(TRAIL).content.decode()


pytestmark = pytest.mark.django_db


def test_a_row_that_is_gone_and_was_loaded_in_part_is_named_by_its_key(corp: Corp) -> None:
    report = Report.objects.create(title="日报", body="…", corp=corp)
    order = Subscription.objects.create(name="每天", report=report, crontab="0 9 * * *")
    order.report = Report.objects.only("corp").get(pk=report.pk)
    Report.objects.filter(pk=report.pk)._raw_delete("default")
    clear_trail()

    order.delete()

    assert ["report", f"#{report.pk}", None] in AuditEntry.objects.get().changes


def test_an_account_that_comes_from_no_company_is_about_its_new_one(corp: Corp, person: User) -> None:
    """Let the company's administrators read who joined."""
    WeComAccount.objects.filter(user=person).delete()
    account = WeComAccount.objects.create(user=person, userid="LiLei")
    account.corp = corp
    account.save()

    assert AuditEntry.objects.latest("pk").corp == corp


def test_rights_that_a_session_withholds_hide_no_entry_less(corp: Corp, other_corp: Corp) -> None:
    """Count the stored rights: of somebody who manages all, a manager of one company sees only the account's
    changes."""
    person = make_person("boss", other_corp, "Boss", manages_all_corps=True)
    person.withhold_rights()
    clear_trail()

    WeComAccount.objects.create(user=person, corp=corp, userid="Boss", is_primary=False)

    assert AuditEntry.objects.get().corp_id == corp.pk


def test_an_entry_and_what_is_to_be_sent_of_it_are_one_change(settings: Settings, corp: Corp) -> None:
    settings.AUDIT_SYSLOG = ("tcp", ("127.0.0.1", 9))
    clear_trail()

    corp.name = "改名"
    corp.save()

    assert AuditEntry.objects.get().is_unsent


def test_what_moves_to_another_company_is_about_both(corp: Corp, other_corp: Corp) -> None:
    """Hide names of the former company from the new one's administrators: assign the entry to no company."""
    sources = [DataSource.objects.create(name=f"{one} data", kind="sql", corp=one) for one in (corp, other_corp)]
    report = Report.objects.create(title="日报", body="…", corp=corp)
    card = Card.objects.create(name="card", source=sources[0], sql="SELECT 1")
    fields = {"name": "rule", "corp": corp, "crontab": "0 9 * * *"}
    rule = AlertRule.objects.create(card=Card.objects.create(name="other", source=sources[0], sql="SELECT 1"), **fields)
    account = WeComAccount.objects.get(user=make_person("lilei", corp, "LiLei"))
    clear_trail()

    account.corp, report.corp, rule.corp, card.source = other_corp, other_corp, other_corp, sources[1]
    for row in (account, report, rule, card):
        row.save()

    assert [(entry.corp, entry.changes) for entry in AuditEntry.objects.order_by("pk")] == [
        (None, [[name, str(before), str(after)]])
        for name, before, after in (
            *(("corp", corp, other_corp),) * 3,
            ("source", *sources),
        )
    ]
