"""Reports and pushes in the administration: refusals, previews, double submits and the audit trail."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Attribute, AuditEntry, User
from integrations.models import Card, Corp, DataSource, SourceKind
from notifications.delivery.rendering.render import render_run
from notifications.models import AttributeRule, Report, ReportCard, Run, Subscription
from tests.audit import clear_trail, list_visible_entries
from tests.browser_form import read_unchanged_form
from tests.integrations.pages import version_on
from tests.notifications.admin.conftest import World, client_of
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_manager,
    make_person,
    make_report,
    make_subscription,
    make_superuser,
)
from tests.notifications.inbound.channels import make_channel

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("enqueued")]


REPORTS = "/admin/notifications/report/"
ADDS = [f"/admin/notifications/{model}/add/" for model in ("report", "subscription")]


# A report's page without cards and without rules of own rows.
NO_PARTS = {
    f"{part}-{name}": "0"
    for part in ("report_cards", "charts", "own_rows_rules")
    for name in ("TOTAL_FORMS", "INITIAL_FORMS")
}


def report_values(**changes: object) -> dict[str, object]:
    return {"title": "日报", "body": "正文", "link": "", "corp": "", **NO_PARTS, **changes}


def errors_of(response: Any) -> str:
    return " ".join(str(error) for errors in response.context["adminform"].form.errors.values() for error in errors)


def test_a_link_that_leads_nowhere_is_refused(root: Client) -> None:
    answer = root.post(ADDS[0], report_values(link="//evil.example"))

    assert "http://" in errors_of(answer)
    assert not Report.objects.exists()


@pytest.mark.usefixtures("undrawn")
def test_a_manager_writes_for_his_companies_only(world: World) -> None:
    other = make_corp()
    client = client_of(make_manager(world.corp))

    for corp in ("", other.pk):
        assert client.post(ADDS[0], report_values(corp=corp)).status_code == 200
    assert client.post(ADDS[0], report_values(corp=world.corp.pk)).status_code == 302
    assert Report.objects.latest("pk").corp == world.corp
    assert Report.objects.count() == 2


@pytest.fixture
def editor() -> Client:
    """A client that may change all reports but no push: others are redirected to the page of the push."""
    person = make_manager(permissions="_report")
    User.objects.filter(pk=person.pk).update(manages_all_corps=True)
    return client_of(User.objects.get(pk=person.pk))


def change_company(client: Client, world: World, corp: object) -> Any:
    url = reverse("admin:notifications_report_change", args=[world.report.pk])
    return client.post(url, report_values(title="本公司日报", corp=corp, page_version=version_on(client, url)))


@pytest.mark.usefixtures("undrawn")
def test_a_reports_company_changes_only_where_its_subscriptions_still_reach_somebody(
    editor: Client, world: World
) -> None:
    other = make_corp(name="别的公司")

    answer = change_company(editor, world, other.pk)

    assert "“每日九点”" in errors_of(answer)
    world.report.refresh_from_db()
    assert world.report.corp == world.corp
    Subscription.objects.update(is_enabled=False)
    assert change_company(editor, world, other.pk).status_code == 302
    world.report.refresh_from_db()
    assert world.report.corp == other
    assert change_company(editor, world, "").status_code == 302


def values(report: Report, *people: User, **changes: object) -> dict[str, object]:
    return {
        "name": "每日九点",
        "report": report.pk,
        "message_form": "textcard",
        "users": [person.pk for person in people],
        "groups": [],
        "priority": "1",
        "channel": "wecom",
        "repeat": "crontab",
        "crontab": "0 9 * * 1-5",
        "free_days": "send",
        "jitter_seconds": "0",
        "time_zone": "Asia/Shanghai",
        "grace_minutes": 60,
        "lifetime_hours": 24,
        "is_enabled": "on",
        **changes,
    }


def said(answer: Any) -> str:
    return " ".join(str(message) for message in get_messages(answer.wsgi_request))


def test_a_subscription_is_saved_with_its_next_run_and_its_owner(root: Client) -> None:
    corp = make_corp()
    people = [make_person(corp, "lilei"), make_person(name="没关联的人")]

    answer = root.post(ADDS[1], values(make_report(), *people, crontab=" 0  9 * * * "))

    subscription = Subscription.objects.get()
    assert (subscription.crontab, set(subscription.users.all())) == ("0 9 * * *", set(people))
    assert subscription.owner == User.objects.get(is_superuser=True)
    assert subscription.next_run_at is not None
    assert subscription.next_run_at > timezone.now()
    told = said(answer)
    assert "1 人" in told
    assert "没关联的人" in told


@pytest.mark.usefixtures("undrawn")
def test_nobody_reachable_is_refused_with_the_reason_for_each(root: Client) -> None:
    people = [make_person(name="甲"), make_person(make_corp(is_enabled=False), "yi", name="乙")]

    answer = root.post(ADDS[1], values(make_report(), *people))

    text = errors_of(answer)
    assert all(words in text for words in ("2", "甲", "未关联企业微信", "乙", "公司已停用"))
    assert not Subscription.objects.exists()


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("start", "end"),
    # A weekend for a schedule from Monday to Friday; a year in the past.
    [("2199-11-02", "2199-11-04"), ("2001-01-01", "2002-01-01")],
)
def test_a_validity_that_holds_no_time_is_refused(root: Client, start: str, end: str) -> None:
    change = {"valid_from_0": start, "valid_from_1": "00:00", "valid_to_0": end, "valid_to_1": "00:00"}
    person = make_person(make_corp(), "lilei")

    answer = root.post(ADDS[1], values(make_report(), person, **change))

    assert "有效期内没有执行时间" in errors_of(answer)
    assert not Subscription.objects.exists()
    saved = root.post(ADDS[1], values(make_report(), person, **change, is_enabled=""))
    assert "只能手动发送" in said(saved)


def test_one_that_has_run_out_can_still_be_renamed(root: Client, world: World) -> None:
    url = reverse("admin:notifications_subscription_change", args=[world.subscription.pk])
    end = datetime(2001, 12, 31, 16, tzinfo=UTC)
    Subscription.objects.update(valid_to=end, next_run_at=None)
    same = {"crontab": "0 9 * * *", "valid_to_0": "2002-01-01", "valid_to_1": "00:00:00"}

    answer = root.post(
        url, values(world.report, world.person, name="新名称", **same, page_version=version_on(root, url))
    )

    assert answer.status_code == 302
    world.subscription.refresh_from_db()
    assert (world.subscription.name, world.subscription.valid_to) == ("新名称", end)


def test_another_schedule_sets_the_next_run_anew_another_name_does_not(root: Client, world: World) -> None:
    url = reverse("admin:notifications_subscription_change", args=[world.subscription.pk])
    Subscription.objects.update(next_run_at=NOW)  # due, and not yet claimed
    found = []

    for crontab in ("0 9 * * *", "0 10 * * *"):
        changes = {"name": "新名称", "crontab": crontab, "page_version": version_on(root, url)}
        root.post(url, values(world.report, world.person, **changes))
        found.append(Subscription.objects.get(name="新名称").next_run_at)

    assert found[0] == NOW
    assert found[1] is not None
    assert found[1] > timezone.now()


def test_a_person_chosen_by_somebody_else_may_stay(world: World) -> None:
    stranger = make_person(make_corp(), "wang")
    world.subscription.users.add(stranger)
    client = client_of(make_manager(world.corp))
    url = reverse("admin:notifications_subscription_change", args=[world.subscription.pk])

    answer = client.post(
        url, values(world.report, world.person, stranger, crontab="0 9 * * *", page_version=version_on(client, url))
    )

    assert answer.status_code == 302
    assert set(world.subscription.users.all()) == {world.person, stranger}


def preview(client: Client, data: dict[str, object]) -> str:
    answer = client.post(reverse("admin:notifications_subscription_preview"), data)
    assert answer.status_code == 200
    found = json.loads(answer.content)
    return f"{found['outlook']}{found['message']}"


def test_the_preview_of_an_unfinished_form_or_of_no_row_is_that_of_a_new_one(root: Client) -> None:
    assert "五个字段" in preview(
        root, {"repeat": "crontab", "crontab": "0 9", "time_zone": "UTC", "jitter_seconds": "0", "free_days": "send"}
    )
    for known in ("", "9" * 19, "-1", "٣"):
        assert "problem" not in preview(root, {"_id": known})


def token_on(page: Any) -> str:
    found = re.search(r'name="token" value="([0-9a-f]{32})"', page.content.decode())
    assert found is not None
    return found[1]


@pytest.mark.django_db(transaction=True)
def test_running_now_asks_first_a_double_click_runs_once_a_disabled_one_may_be_run_and_a_trial_goes_to_oneself(
    world: World, enqueued: list[list[int]]
) -> None:
    me = make_person(world.corp, "boss", is_staff=True, is_superuser=True)
    root = client_of(me)
    Run.objects.update(status=Run.Status.FINISHED)  # only one run may be under way
    url = reverse("admin:notifications_subscription_run", args=[world.subscription.pk])
    page = root.get(url)
    assert "1 人" in page.content.decode()
    assert Run.objects.count() == 1

    first, second = (root.post(url, {"token": token_on(page)}) for _ in range(2))

    run = Run.objects.get(trigger=Run.Trigger.MANUAL)
    assert first["Location"] == second["Location"] == reverse("admin:notifications_run_change", args=[run.pk])
    assert enqueued == [[run.pk]]
    assert run.requested_by == me
    assert LogEntry.objects.filter(change_message__contains=run.key).count() == 1
    # A run by hand ignores the end of the validity.
    Run.objects.update(status=Run.Status.FINISHED)
    Subscription.objects.update(is_enabled=False, next_run_at=None, valid_to=NOW.replace(year=2020))
    root.post(url, {"token": token_on(root.get(url))})
    [again] = Run.objects.filter(trigger=Run.Trigger.MANUAL).exclude(pk=run.pk)
    assert enqueued == [[run.pk], [again.pk]]
    assert len(render_run(run_id=again.pk, now=timezone.now())) == 1
    page = root.get(reverse("admin:notifications_subscription_change", args=[world.subscription.pk]))
    root.post(reverse("admin:notifications_subscription_try", args=[world.subscription.pk]), {"token": token_on(page)})
    trial = Run.objects.get(trigger=Run.Trigger.TRIAL)
    assert enqueued[2:] == [[trial.pk]]
    render_run(run_id=trial.pk, now=NOW)
    assert list(trial.receipts.values_list("user", flat=True)) == [me.pk]


def test_running_now_reaches_nobody_and_is_refused(root: Client, world: World) -> None:
    Corp.objects.update(is_enabled=False)
    url = reverse("admin:notifications_subscription_run", args=[world.subscription.pk])

    answer = root.post(url, {"token": "a" * 32})
    Corp.objects.update(is_enabled=True)
    for token in ("", "a" * 33, "manual:1"):
        assert root.post(url, {"token": token}).status_code == 403

    assert answer.status_code == 409
    assert "公司已停用" in answer.content.decode()
    assert Run.objects.count() == 1


NO_RULE = {f"rules-0-{part}": "" for part in ("attribute", "operator", "values")}


def channel(owner: User, person: User, corp: Corp | None) -> Any:
    return make_channel(owner, person, corp=corp, name="channel before")


def push(_owner: User, person: User, corp: Corp | None) -> Subscription:
    """Create a push, with a card and an attribute rule, in the company of its report."""
    report = make_report(corp=corp, title="title before")
    subscription = make_subscription(person, report=report, name="push before")
    source = DataSource.objects.create(name="data", kind=SourceKind.SQL)
    card = Card.objects.create(name="card before", source=source, sql="SELECT 1")
    ReportCard.objects.create(report=report, card=card, alias="rows")
    shop = Attribute.objects.create(key="shop", name="shop")
    AttributeRule.objects.create(subscription=subscription, attribute=shop, operator="is", values=["shop before"])
    return subscription


@pytest.mark.parametrize("make", [channel, push])
@pytest.mark.parametrize("way", ["before after", "none after", "before none"])
def test_who_sees_one_company_reads_nothing_of_the_other(make: Any, way: str) -> None:
    corps = {name: make_corp(name=name) for name in ("before", "after")}
    people = {name: make_person(corp, name, username=f"person {name}") for name, corp in corps.items()}
    left, entered = (corps.get(name) for name in way.split())
    root, client = make_superuser(), Client()
    client.force_login(root)
    row = make(root, people["before"], left)
    address = f"/admin/notifications/{row._meta.model_name}/{row.pk}/change/"
    form = read_unchanged_form(client, address)
    clear_trail()

    sent = {"name": "after", "users": [people["after"].pk], "corp": entered.pk if entered else ""}
    answer = client.post(address, {**form, **sent, "report_cards-0-DELETE": "on", **NO_RULE})

    assert answer.status_code == 302
    assert not ReportCard.objects.exists()
    assert not AttributeRule.objects.exists()
    assert ["users", ["person before"], None] in [one for entry in AuditEntry.objects.all() for one in entry.changes]
    for name, other in (("before", "after"), ("after", "before")):
        assert other not in str(list(list_visible_entries(make_manager(corps[name])).values()))
