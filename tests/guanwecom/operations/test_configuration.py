"""The configuration as a file: a round trip without a difference, conflicts before anything is written, no secrets."""

from __future__ import annotations

from datetime import UTC, datetime, time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from accounts.models import Attribute, AuditEntry, DepartmentGroup, DirectoryPolicy, User
from guanwecom.operations.configuration.export import export
from guanwecom.operations.configuration.kinds import KINDS
from guanwecom.operations.configuration.load import Result, load
from guanwecom.operations.configuration.values import columns
from integrations.models import (
    BiConnection,
    Card,
    Corp,
    DataSource,
    Department,
    SiteAddress,
    VerificationFile,
)
from integrations.models.fields import EncryptedTextField
from notifications.models import (
    AlertReceiver,
    AlertRoute,
    AlertRule,
    AttributeRule,
    InboundChannel,
    OperatorContacts,
    OwnRowsRule,
    PagePicture,
    Report,
    ReportCard,
    ReportChart,
    Robot,
    Run,
    SilenceWindow,
    Subscription,
    WorkdayCalendar,
)

SECRET = "very-secret-{}"
OTHER_WAY = "stored secrets would be sent another way"
CONDITIONS = [{"aggregate": "count", "column": "", "comparison": "gt", "values": ["1"], "filters": {}}]


def a_whole_configuration() -> None:
    """One of everything, with every secret set."""
    owner = User.objects.get_or_create(username="lilei", is_staff=True)[0]
    address = SiteAddress.objects.create(url="https://bi.example.com/")
    region = Attribute.objects.create(key="region", name="大区", kind="choice", choices=["华东", "华南"])
    group, role = Group.objects.create(name="早报读者"), Group.objects.get(name="role:read-only")
    corp = Corp.objects.create(
        name="北山制造",
        corpid="ww" + "1" * 16,
        agentid=7,
        site_address=address,
        noted_ips=["192.0.2.1"],
        **_secrets(Corp),
    )
    DirectoryPolicy.objects.create(corp=corp, match_email=True)
    VerificationFile.objects.create(corp=corp, code="0123456789abcdef", uploaded_at=datetime.now(UTC))
    DepartmentGroup.objects.create(department=a_department(), group=group, with_subdepartments=False)
    BiConnection.objects.update_or_create(
        pk=1, defaults={"base_url": "https://bi.example.com", **_secrets(BiConnection)}
    )
    sql = DataSource.objects.create(
        name="仓库",
        kind="sql",
        corp=corp,
        sql_url=f"postgresql://reader:{SECRET}@db.example/sales",
        http_headers=SECRET,
    )
    card = Card.objects.create(name="销售", source=sql, sql="SELECT 1\nFROM sales", kinds={"b": "number", "a": "text"})
    robot = Robot.objects.create(name="销售群", corp=corp, key=SECRET)
    OperatorContacts.objects.create(emails="ops@example.com\nnight@example.com", robot=robot)
    WorkdayCalendar.objects.create(days="2027-02-05 至 2027-02-11 休 春节\n2027-02-14 班")
    report = Report.objects.create(title="日报", body="一\n  二\n\n三 ", is_template=True, corp=corp)
    ReportCard.objects.create(report=report, card=card, alias="sales", position=1)
    ReportChart.objects.create(report=report, alias="sales", kind="bar", y="amount\ncount")
    OwnRowsRule.objects.create(report=report, alias="sales", column="region", attribute=region)
    PagePicture.objects.create(report=report, bi_id="abc", name="看板", shown_as=owner)
    for number in range(2):  # of one name
        push = Subscription.objects.create(
            name="日报", report=report, crontab=f"{number} 9 * * *", owner=owner, channel="robot", robot=robot
        )
        push.users.set([owner])
        push.groups.set([group, role])
        AttributeRule.objects.create(subscription=push, attribute=region, operator="one_of", values=["华东", "华南"])
    receiver = AlertReceiver.objects.create(name="值班", corp=corp, to_everyone=True)
    own = AlertReceiver.objects.create(name="规则", corp=corp, is_shared=False)
    rule = AlertRule.objects.create(name="规则", receiver=own, card=card, conditions=CONDITIONS, crontab="*/5 * * * *")
    SilenceWindow.objects.create(rule=rule, name="夜间", weekdays="1,2", from_time=time(22), to_time=time(6, 30))
    SilenceWindow.objects.create(
        rule=rule,
        name="检修",
        kind="once",
        starts_at=datetime(2026, 1, 1, tzinfo=UTC),
        ends_at=datetime(2026, 1, 2, tzinfo=UTC),
    )
    AlertRoute.objects.create(name="路由", receiver=receiver, matchers=[["team", "=", "a"]], is_limited_to_senders=True)
    InboundChannel.objects.create(
        name="Grafana",
        owner=owner,
        corp=corp,
        mapping={"title": "a.b"},
        secret=SECRET,
        digest="0" * 64,
        is_enabled=True,
    )


def a_department() -> Department:
    return Department.objects.create(corp=Corp.objects.get(), wecom_department_id=3, name="销售部")


def _secrets(model: type[Any]) -> dict[str, str]:
    found = [field.name for field in model._meta.concrete_fields if isinstance(field, EncryptedTextField)]
    return {name: SECRET.format(name) for name in found}


def empty() -> None:
    """No configuration; the people stay. The addresses are those of a new installation."""
    for kind in reversed(KINDS):
        kind.rows(kind.model._default_manager.all()).delete()
    SiteAddress.objects.default()


def imported(text: str, **options: Any) -> Result:
    result = load(text, writes=True, **options)
    assert result.problems == []
    return result


@pytest.mark.django_db
@pytest.mark.each_database
def test_exported_imported_and_exported_again_is_the_same_to_the_byte() -> None:
    a_whole_configuration()
    before = export()
    empty()
    first = imported(before, leaves_out_people=True)
    assert first.left_out == [
        "department_groups: 北山制造 / 3 → 早报读者: the whole row, which needs 部门 北山制造 / 3"
    ]
    assert not DepartmentGroup.objects.exists()
    a_department()  # which the directory brings

    result = imported(before)

    assert export() == before
    key = Robot._meta.get_field("key").verbose_name
    assert {"companies: 北山制造: Secret", f"robots: 北山制造 / 销售群: {key}"} <= set(result.to_enter)
    assert not Corp.objects.get().is_enabled
    assert not InboundChannel.objects.get().is_enabled
    assert not Corp.objects.get().secret
    assert PagePicture.objects.get().shown_as is None
    assert all(row.next_run_at is not None for row in [*Subscription.objects.all(), *AlertRule.objects.all()])
    assert imported(before).changed == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("old", "new", "is_shown", "notice_count"),
    [("to_everyone: false", "to_everyone: true", False, 1), ("bi_id: abc", "bi_id: x", False, 1), ("", "", True, 0)],
    ids=["who gets it", "which page", "nothing"],
)
def test_an_import_that_changes_a_push_ends_that_all_see_its_page_as_the_owner(
    old: str, new: str, is_shown: bool, notice_count: int
) -> None:
    """It may name other people, or another page, than its owner chose. The owner gets a notice."""
    a_whole_configuration()
    owner = User.objects.get()
    before = export()
    assert old in before

    imported(before.replace(old, new))

    assert (PagePicture.objects.get().shown_as == owner) == is_shown
    assert Run.objects.filter(trigger="notice", requested_by=owner).count() == notice_count


@pytest.mark.django_db
def test_an_import_that_adds_a_push_of_somebody_shows_nobody_what_they_see() -> None:
    a_whole_configuration()
    document = yaml.safe_load(export())
    [push, *_others] = document["pushes"].values()
    added = {"format": document["format"], "pushes": {"另一个": {**push, "name": "另一个", "to_everyone": True}}}

    imported(yaml.safe_dump(added, allow_unicode=True))

    assert PagePicture.objects.get().shown_as is None


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["\x85", "a\u2028b", "a\nb\u2029", "a\r\nb", " a \n"])
def test_ends_of_lines_come_back_as_they_were(text: str) -> None:
    Report.objects.create(title="日报", body=text)

    assert yaml.safe_load(export())["reports"]["日报"]["body"] == text


class TestAnyTexts(TestCase):
    """Whatever is written into texts comes back as it was."""

    @settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=25)
    @given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60))
    def test_a_report_and_a_push(self, text: str) -> None:
        report = Report.objects.create(title=text, body=text)
        Subscription.objects.create(name=text, report=report, crontab="0 9 * * *")
        before = export()
        Subscription.objects.all().delete()
        Report.objects.all().delete()

        result = load(before, writes=True)

        if text.strip() == text and text.isprintable():
            assert result.problems == []
        if not result.problems:
            assert export() == before


@pytest.mark.django_db
def test_no_secret_stands_in_it() -> None:
    a_whole_configuration()

    text = export()

    assert "very-secret" not in text
    assert "sql_address: postgresql://reader@db.example/sales" in text


def test_every_column_counts_or_is_left_out_on_purpose() -> None:
    """Whoever adds a column that people edit has it exported; a secret is never one of them."""
    for kind in KINDS:
        names = {field.name for field in columns(kind)}
        unknown = (kind.left_out | kind.also) - {field.name for field in kind.model._meta.get_fields()}
        assert unknown == set()
        assert not names & {
            field.name for field in kind.model._meta.concrete_fields if isinstance(field, EncryptedTextField)
        }


def changed(text: str, section: str, name: str, **values: Any) -> str:
    document = yaml.safe_load(text)
    document[section][name] |= values
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False)


@pytest.mark.django_db
def test_a_dry_run_says_what_would_change_and_changes_nothing(tmp_path: Path) -> None:
    a_whole_configuration()
    file, out = tmp_path / "c.yaml", StringIO()
    text = changed(export(), "pushes", "日报 #2", crontab="30 8 * * *", users=[])
    file.write_text(text, encoding="utf-8")

    call_command("import_configuration", str(file), dry_run=True, stdout=out)

    said = out.getvalue()
    assert "pushes: 日报 #2 (changed)\n  crontab: 1 9 * * * → 30 8 * * *\n  users: ['lilei'] → []\n" in said
    assert "1 rows would be written" in said
    assert not Subscription.objects.filter(crontab="30 8 * * *").exists()
    call_command("import_configuration", str(file), stdout=StringIO())
    push = Subscription.objects.get(crontab="30 8 * * *")
    assert (push.users.count(), push.next_run_at is None) == (0, False)
    assert AuditEntry.objects.filter(action="done", note="Configuration imported: 1 rows").count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("section", "name", "values", "problem"),
    [
        ("cards", "仓库 / 销售", {"source": "Lager"}, "there is no data source Lager"),
        ("pushes", "日报", {"users": ["lilei", "nobody"]}, "there is no user nobody"),
        ("pushes", "日报", {"channel": "pigeon"}, "channel: "),
        ("pushes", "日报", {"next_run_at": None}, "unknown: next_run_at"),
        ("pushes", "日报", {"users": "lilei"}, "users: expected a list of names"),
        ("companies", "北山制造", {"corpid": "x"}, "corpid: "),
        ("companies", "北山制造", {"secret": "x"}, "unknown: secret"),
        ("companies", "北山制造", {"api_base_url": "https://other.example"}, f"api_base_url: {OTHER_WAY}"),
        ("bi", "the one", {"base_url": "https://other.example"}, f"base_url: {OTHER_WAY}"),
        ("data_sources", "仓库", {"http_url": "https://other.example"}, f"http_url: {OTHER_WAY}"),
        ("reports", "日报", {"cards": ["x"]}, "cards: expected a list of rows"),
        ("alert_rules", "规则", {"hold_checks": "many"}, "hold_checks: "),
    ],
)
def test_a_conflict_is_named_and_nothing_is_written(
    section: str, name: str, values: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    a_whole_configuration()
    before = export()
    file = tmp_path / "c.yaml"
    text = changed(changed(before, "data_sources", "仓库", row_limit=7), section, name, **values)
    file.write_text(text, encoding="utf-8")

    with pytest.raises(CommandError) as refused:
        call_command("import_configuration", str(file), stdout=StringIO())

    assert f"  {section}: {name}: {problem}" in str(refused.value)
    assert export() == before


@pytest.mark.django_db
def test_roles_are_neither_made_nor_renamed() -> None:
    a_whole_configuration()
    names = {"早报读者": "role:of-my-own", "role:new": "role:new", "role:read-only": "读者"}
    rows = {name: {"name": other} for name, other in names.items()}
    text = yaml.safe_dump({"format": 1, "groups": rows}, sort_keys=False)

    result = load(text, writes=True)

    assert result.problems == [f"groups: {name}: it is no part of a configuration" for name in rows]


@pytest.mark.django_db
def test_the_corpid_of_a_company_that_was_enabled_stays() -> None:
    a_whole_configuration()
    Corp.objects.update(is_enabled=True)

    result = load(changed(export(), "companies", "北山制造", corpid="ww" + "2" * 16), writes=True)

    assert result.problems == ["companies: 北山制造: corpid: it cannot change once the company was enabled"]


@pytest.mark.django_db
def test_people_and_departments_that_are_missing_may_be_left_out() -> None:
    a_whole_configuration()
    push = Subscription.objects.order_by("pk")[0]
    push.departments.add(Department.objects.get())
    text = export()
    Department.objects.all().delete()

    assert load(text, writes=True).problems == [
        "department_groups: 北山制造 / 3 → 早报读者: there is no 部门 北山制造 / 3",
        "pushes: 日报: there is no 部门 北山制造 / 3",
    ]
    result = imported(text, leaves_out_people=True)

    assert result.left_out == [
        "department_groups: 北山制造 / 3 → 早报读者: the whole row, which needs 部门 北山制造 / 3",
        "pushes: 日报: 部门 北山制造 / 3",
    ]
    assert push.users.count() == 1


@pytest.mark.django_db
def test_a_password_stays_with_its_database_and_goes_with_another() -> None:
    a_whole_configuration()
    stored = DataSource.objects.get(name="仓库").sql_url
    assert imported(changed(export(), "data_sources", "仓库", row_limit=7)).changed
    assert DataSource.objects.get(name="仓库").sql_url == stored

    result = imported(changed(export(), "data_sources", "仓库", sql_address="postgresql://reader@other/sales"))

    assert DataSource.objects.get(name="仓库").sql_url == "postgresql://reader@other/sales"
    assert any(one.startswith("data_sources: 仓库: ") for one in result.to_enter)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "The file is no YAML (line 1)."),
        ("- a", "is no configuration of guanwecom"),
        ("format: 99", "is no configuration of guanwecom"),
        ("format: 1\nrobotos: {}", "Unknown sections: robotos."),
        ("format: 1\nrobots: [1]", "The section robots does not hold rows by their names."),
        ("format: !!python/object/apply:os.system ['true']", "The file is no YAML (line 1)."),
    ],
)
def test_what_is_no_configuration_is_refused(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(CommandError) as refused:
        call_command("import_configuration", str(file))
    assert words in str(refused.value)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("own", "subjects"),
    [
        ("http://localhost:3001/", ["https://new.example.com/"]),
        ("https://old.example.com/", ["https://new.example.com/", "https://old.example.com/"]),
    ],
)
def test_another_default_site_address_is_in_the_audit_trail(own: str, subjects: list[str]) -> None:
    SiteAddress.objects.update(url=own)
    earlier = list(AuditEntry.objects.values_list("pk", flat=True))
    new = "https://new.example.com/"
    document = {"format": 1, "site_addresses": {new: {"url": new, "is_default": True}}}

    assert load(yaml.safe_dump(document), writes=True).problems == []

    entries = AuditEntry.objects.filter(model=SiteAddress._meta.label_lower).exclude(pk__in=earlier)
    assert sorted(entries.values_list("subject", flat=True)) == subjects
    assert SiteAddress.objects.default().url == new
