"""The admin pages of the push engine: who may, what is refused, what is asked for once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from integrations.models import Corp
from notifications import tasks
from notifications.admin import base
from notifications.delivery.rendering.render import render_run
from notifications.models import Delivery, Receipt, Report, Run, Subscription
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_manager,
    make_people,
    make_person,
    make_report,
    make_run,
    make_subscription,
    make_superuser,
)

pytestmark = pytest.mark.django_db
HOST = {"host": "localhost:3001"}


@pytest.fixture(autouse=True)
def enqueued(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The run ids that were handed to a worker: tests of the pages have none."""
    sent: list[list[int]] = []
    monkeypatch.setattr(tasks.render_runs, "apply_async", lambda arguments, **_queue: sent.append(*arguments))
    return sent


def client_of(person: User | None) -> Client:
    client = Client(headers=HOST)
    if person is not None:
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def root() -> Client:
    return client_of(make_superuser())


class World:
    """One company's rows of every kind, and a row of each that belongs to no company."""

    def __init__(self) -> None:
        self.corp = make_corp(name="本公司")
        self.person = make_person(self.corp, "lilei", name="李雷")
        self.report = make_report(corp=self.corp, title="本公司日报")
        self.subscription = make_subscription(self.person, report=self.report)
        self.run = make_run(self.subscription)
        render_run(run_id=self.run.pk, now=NOW)
        self.delivery = Delivery.objects.get(run=self.run)
        self.receipt = Receipt.objects.get(run=self.run)

    def paths(self) -> dict[str, str]:
        """Every page and action, by name."""
        pages = {}
        for model, row in {
            "report": self.report,
            "subscription": self.subscription,
            "run": self.run,
            "delivery": self.delivery,
            "receipt": self.receipt,
        }.items():
            pages[f"{model} page"] = reverse(f"admin:notifications_{model}_change", args=[row.pk])
        pages["run now"] = reverse("admin:notifications_subscription_run", args=[self.subscription.pk])
        return pages


@pytest.fixture
def world() -> World:
    return World()


LISTS = [f"/admin/notifications/{model}/" for model in ("report", "subscription", "run", "delivery", "receipt")]
ADDS = [f"/admin/notifications/{model}/add/" for model in ("report", "subscription")]


# --- Who may ---------------------------------------------------------------------------------------------------------


def actors(world: World) -> dict[str, tuple[User | None, int]]:
    """Each kind of person, and the status with which the pages of the company's rows answer."""
    employee = make_person(world.corp, "employee")
    no_rights = make_manager(world.corp)
    no_rights.user_permissions.clear()
    manages_all = make_manager()
    manages_all.manages_all_corps = True
    manages_all.save()
    inactive = make_superuser()
    inactive.is_active = False
    inactive.save()
    return {
        "nobody": (None, 302),
        "employee": (employee, 302),
        "inactive superuser": (inactive, 302),
        "staff without rights": (no_rights, 403),
        "staff of another company": (make_manager(make_corp()), 404),
        "staff of no company": (make_manager(), 404),
        "staff of the company": (make_manager(world.corp), 200),
        "staff of all companies": (manages_all, 200),
        "superuser": (make_superuser(), 200),
    }


def test_the_table_of_who_sees_which_page(world: World) -> None:
    seen, expected = {}, {}
    for name, (person, status) in actors(world).items():
        client = client_of(person)
        for page, path in world.paths().items():
            answer = client.get(path)
            # Django's admin sends away, with a word, from a row that it does not find.
            missed = answer.status_code == 302 and answer["Location"] == "/admin/"
            seen[name, page] = 404 if missed else answer.status_code
            # Whoever may change the push that sends it is led there.
            expected[name, page] = 302 if (page, status) == ("report page", 200) else status

    assert seen == expected


def test_the_table_of_who_sees_which_list(world: World) -> None:
    for name, (person, status) in actors(world).items():
        client = client_of(person)
        for path in LISTS:
            answer = client.get(path)
            assert answer.status_code == (200 if status == 404 else status), (name, path)
            if answer.status_code == 200:
                assert answer.context["cl"].result_count == (0 if status == 404 else 1), (name, path)


def test_the_table_of_who_may_send(world: World, enqueued: list[list[int]]) -> None:
    Run.objects.update(status=Run.Status.FINISHED)  # one goes at a time
    for name, (person, status) in actors(world).items():
        client = client_of(person)
        for action in ("run", "try"):
            before = Run.objects.count()
            path = reverse(f"admin:notifications_subscription_{action}", args=[world.subscription.pk])
            answer = client.post(path, {"token": "0" * 31 + "a"})
            may = status == 200
            assert answer.status_code == (302 if may or status == 302 else status), (name, action)
            # None of the managers is linked: a trial tells them so.
            assert Run.objects.count() - before == (
                1 if may and action == "run" and name == "staff of the company" else 0
            )


def test_view_permission_alone_lets_nobody_send_or_change(world: World) -> None:
    viewer = make_manager(world.corp, permissions="view_")
    client = client_of(viewer)
    path = reverse("admin:notifications_subscription_change", args=[world.subscription.pk])

    page = client.get(path)

    assert page.status_code == 200
    assert "立即执行" not in page.content.decode()
    assert client.post(path, {"name": "x"}).status_code == 403
    for action in ("run", "try"):
        url = reverse(f"admin:notifications_subscription_{action}", args=[world.subscription.pk])
        assert client.post(url, {"token": "a" * 32}).status_code == 403
    assert client.post(reverse("admin:notifications_subscription_preview"), {}).status_code == 403
    assert Run.objects.count() == 1


@pytest.mark.parametrize("model", ["run", "delivery", "receipt"])
def test_the_log_is_read_only_even_for_a_superuser(root: Client, world: World, model: str) -> None:
    row = getattr(world, model)

    assert root.get(f"/admin/notifications/{model}/add/").status_code == 403
    assert root.post(f"/admin/notifications/{model}/{row.pk}/change/", {"status": "accepted"}).status_code == 403
    assert root.post(f"/admin/notifications/{model}/{row.pk}/delete/", {"post": "yes"}).status_code == 403


def test_what_belongs_to_no_company_is_for_those_who_see_all(world: World) -> None:
    report = make_report(title="全员报告")
    manager = client_of(make_manager(world.corp))

    assert "全员报告" not in manager.get(LISTS[0]).content.decode()
    assert manager.get(f"/admin/notifications/report/{report.pk}/change/").status_code == 302


def test_a_manager_sees_the_deliveries_of_his_company_in_everybodys_run(world: World) -> None:
    other_corp = make_corp(name="另一公司")
    people = [world.person, make_person(other_corp, "wang", name="王")]
    run = make_run(make_subscription(*people))
    render_run(run_id=run.pk, now=NOW)
    manager = client_of(make_manager(world.corp))

    page = manager.get("/admin/notifications/delivery/").content.decode()
    receipts = manager.get("/admin/notifications/receipt/").content.decode()

    assert "另一公司" not in page
    assert "另一公司" not in receipts
    assert manager.get("/admin/notifications/delivery/").context["cl"].result_count == 2


# --- Reports ---------------------------------------------------------------------------------------------------------


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


def test_a_report_is_saved(root: Client) -> None:
    answer = root.post(ADDS[0], report_values(link="https://bi.example.com/card/7"))

    assert answer.status_code == 302
    assert Report.objects.get().link == "https://bi.example.com/card/7"


@pytest.mark.parametrize("link", ["javascript:alert(1)", "bi.example.com", "//evil.example", "ftp://x.example/"])
def test_a_link_that_leads_nowhere_is_refused(root: Client, link: str) -> None:
    answer = root.post(ADDS[0], report_values(link=link))

    assert "http://" in errors_of(answer)
    assert not Report.objects.exists()


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
    """Who may change reports of every company, and no push: others are led to the push's page."""
    person = make_manager(permissions="_report")
    User.objects.filter(pk=person.pk).update(manages_all_corps=True)
    return client_of(User.objects.get(pk=person.pk))


def change_company(client: Client, world: World, corp: object) -> Any:
    url = reverse("admin:notifications_report_change", args=[world.report.pk])
    return client.post(url, report_values(title="本公司日报", corp=corp, page_version=version_on(client, url)))


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


def test_a_report_may_be_given_to_every_company(editor: Client, world: World) -> None:
    assert change_company(editor, world, "").status_code == 302


# --- Subscriptions ---------------------------------------------------------------------------------------------------


def version_on(client: Client, url: str) -> str:
    """By what the page of a push tells what others saved since it was opened."""
    return str(client.get(url).context["adminform"].form["page_version"].value())


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


def said(client: Client, answer: Any) -> str:
    page = client.get(answer["Location"])
    return " ".join(str(message) for message in page.context["messages"])


def test_a_subscription_is_saved_with_its_next_run_and_its_owner(root: Client) -> None:
    corp = make_corp()
    person = make_person(corp, "lilei")

    answer = root.post(ADDS[1], values(make_report(), person, crontab=" 0  9 * * * "))

    subscription = Subscription.objects.get()
    assert (subscription.crontab, list(subscription.users.all())) == ("0 9 * * *", [person])
    assert subscription.owner == User.objects.get(is_superuser=True)
    assert subscription.next_run_at is not None
    assert subscription.next_run_at > timezone.now()
    assert "1 人" in said(root, answer)


def test_nobody_reachable_is_refused_with_the_reason_for_each(root: Client) -> None:
    people = [make_person(name="甲"), make_person(make_corp(is_enabled=False), "yi", name="乙")]

    answer = root.post(ADDS[1], values(make_report(), *people))

    text = errors_of(answer)
    assert "2" in text
    assert "甲" in text
    assert "未关联企业微信" in text
    assert "乙" in text
    assert "公司已停用" in text
    assert not Subscription.objects.exists()


def test_nobody_chosen_is_refused(root: Client) -> None:
    assert "没有人" in errors_of(root.post(ADDS[1], values(make_report())))


def test_some_who_cannot_be_reached_are_named_after_saving(root: Client) -> None:
    people = [make_person(make_corp(), "lilei"), make_person(name="没关联的人")]

    text = said(root, root.post(ADDS[1], values(make_report(), *people)))

    assert "没关联的人" in text
    assert "未关联企业微信" in text


def test_a_disabled_one_may_be_saved_without_anybody(root: Client) -> None:
    root.post(ADDS[1], values(make_report(), is_enabled=""))

    assert Subscription.objects.get().next_run_at is None


def test_groups_and_everyone_count(root: Client) -> None:
    corp = make_corp()
    group = Group.objects.create(name="销售")
    make_person(corp, "a").groups.add(group)
    make_person(corp, "b")

    assert "1 人" in said(root, root.post(ADDS[1], values(make_report(), groups=[group.pk])))
    assert "2 人" in said(root, root.post(ADDS[1], values(make_report(), to_everyone="on")))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"crontab": "0 9 30 2 *"}, "永远不会触发"),
        ({"crontab": "0 9 * *"}, "五个字段"),
        ({"crontab": "99 9 * * *"}, "99"),
        ({"time_zone": "Mars/Base"}, "Mars/Base"),
        (
            {"valid_from_0": "2026-12-02", "valid_from_1": "00:00", "valid_to_0": "2026-12-01", "valid_to_1": "00:00"},
            "晚于",
        ),
        ({"grace_minutes": 2000}, "1440"),
        ({"lifetime_hours": 0}, "1"),
    ],
)
def test_what_cannot_work_is_refused_with_a_sentence(root: Client, change: dict[str, object], word: str) -> None:
    answer = root.post(ADDS[1], values(make_report(), make_person(make_corp(), "lilei"), **change))

    assert word in errors_of(answer)
    assert not Subscription.objects.exists()


def validity(start: str, end: str) -> dict[str, object]:
    return {"valid_from_0": start, "valid_from_1": "00:00", "valid_to_0": end, "valid_to_1": "00:00"}


@pytest.mark.parametrize(
    "change",
    [
        # A Saturday and a Sunday, for a schedule from Monday to Friday; a year that is over.
        validity("2199-11-02", "2199-11-04"),
        validity("2001-01-01", "2002-01-01"),
    ],
)
def test_a_validity_that_holds_no_time_is_refused(root: Client, change: dict[str, object]) -> None:
    person = make_person(make_corp(), "lilei")

    answer = root.post(ADDS[1], values(make_report(), person, **change))

    assert "有效期内没有执行时间" in errors_of(answer)
    assert not Subscription.objects.exists()
    assert root.post(ADDS[1], values(make_report(), person, **change, is_enabled="")).status_code == 302


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


def test_renaming_leaves_the_next_run_alone(root: Client, world: World) -> None:
    url = reverse("admin:notifications_subscription_change", args=[world.subscription.pk])
    Subscription.objects.update(next_run_at=NOW)  # due, and not yet claimed

    root.post(
        url, values(world.report, world.person, name="新名称", crontab="0 9 * * *", page_version=version_on(root, url))
    )

    world.subscription.refresh_from_db()
    assert (world.subscription.name, world.subscription.next_run_at) == ("新名称", NOW)


def test_another_schedule_sets_the_next_run_anew(root: Client, world: World) -> None:
    url = reverse("admin:notifications_subscription_change", args=[world.subscription.pk])
    Subscription.objects.update(next_run_at=NOW)

    root.post(url, values(world.report, world.person, crontab="0 10 * * *", page_version=version_on(root, url)))

    world.subscription.refresh_from_db()
    assert world.subscription.next_run_at is not None
    assert world.subscription.next_run_at > timezone.now()


def test_a_manager_neither_takes_nor_sees_other_peoples_reports_and_users(world: World) -> None:
    other = make_corp()
    stranger, foreign = make_person(other, "wang"), make_report(corp=other)
    client = client_of(make_manager(world.corp))

    for wrong in (values(foreign, world.person), values(world.report, stranger)):
        assert client.post(ADDS[1], wrong).status_code == 200
    assert Subscription.objects.count() == 1


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


# A picture or a file alone: the text stands on the message's page.


def preview(client: Client, data: dict[str, object]) -> str:
    answer = client.post(reverse("admin:notifications_subscription_preview"), data)
    assert answer.status_code == 200
    found = json.loads(answer.content)
    return f"{found['outlook']}{found['message']}"


def test_the_preview_shows_times_people_and_message_before_saving(root: Client) -> None:
    report = make_report(title="<b>日报</b>", body="第一行\n<i>第二行</i>")
    people = [make_person(make_corp(), "lilei"), make_person(name="没关联的人")]

    html = preview(root, values(report, *people, crontab="30 8 * * 1", time_zone="Europe/Berlin"))

    assert len(re.findall(r"<li>\d{4}-\d\d-\d\d 08:30 周一</li>", html)) == 5
    assert "1 人" in html
    assert "没关联的人" in html
    assert "&lt;b&gt;日报" in html
    assert "<i>" not in html
    assert not Subscription.objects.exists()


def test_the_preview_of_an_unfinished_form_explains(root: Client) -> None:
    assert "五个字段" in preview(
        root, {"repeat": "crontab", "crontab": "0 9", "time_zone": "UTC", "jitter_seconds": "0", "free_days": "send"}
    )
    assert "problem" not in preview(root, {})


@pytest.mark.parametrize("known", ["9" * 5000, "9" * 19, "-1", "1.5", "٣"])
def test_the_preview_of_a_number_that_no_row_has_is_that_of_a_new_one(root: Client, known: str) -> None:
    assert "problem" not in preview(root, {"_id": known})


def test_the_preview_of_another_companys_subscription_is_not_found(world: World) -> None:
    client = client_of(make_manager(make_corp()))

    answer = client.post(reverse("admin:notifications_subscription_preview"), {"_id": world.subscription.pk})

    assert answer.status_code == 404


# --- Run now, send to me ---------------------------------------------------------------------------------------------


def token_on(page: Any) -> str:
    found = re.search(r'name="token" value="([0-9a-f]{32})"', page.content.decode())
    assert found is not None
    return found[1]


@pytest.mark.django_db(transaction=True)
def test_running_now_asks_first_and_a_double_click_runs_once(
    root: Client, world: World, enqueued: list[list[int]]
) -> None:
    Run.objects.update(status=Run.Status.FINISHED)  # one goes at a time
    url = reverse("admin:notifications_subscription_run", args=[world.subscription.pk])
    page = root.get(url)
    assert "1 人" in page.content.decode()
    assert Run.objects.count() == 1

    first, second = (root.post(url, {"token": token_on(page)}) for _ in range(2))

    run = Run.objects.get(trigger=Run.Trigger.MANUAL)
    assert first["Location"] == second["Location"] == reverse("admin:notifications_run_change", args=[run.pk])
    assert enqueued == [[run.pk]]
    assert run.requested_by == User.objects.get(is_superuser=True)


@pytest.mark.django_db(transaction=True)
def test_a_disabled_one_or_one_whose_validity_is_over_runs_by_hand(
    root: Client, world: World, enqueued: list[list[int]]
) -> None:
    Run.objects.update(status=Run.Status.FINISHED)  # one goes at a time
    Subscription.objects.update(is_enabled=False, next_run_at=None, valid_to=NOW.replace(year=2020))
    url = reverse("admin:notifications_subscription_run", args=[world.subscription.pk])

    root.post(url, {"token": token_on(root.get(url))})

    run = Run.objects.get(trigger=Run.Trigger.MANUAL)
    assert enqueued == [[run.pk]]
    assert len(render_run(run_id=run.pk, now=timezone.now())) == 1


def test_running_now_reaches_nobody_and_is_refused(root: Client, world: World) -> None:
    Corp.objects.update(is_enabled=False)
    url = reverse("admin:notifications_subscription_run", args=[world.subscription.pk])

    answer = root.post(url, {"token": "a" * 32})

    assert answer.status_code == 409
    assert "公司已停用" in answer.content.decode()
    assert Run.objects.count() == 1


@pytest.mark.parametrize("token", ["", "x", "a" * 33, "manual:1"])
def test_a_token_that_no_page_gave_is_refused(root: Client, world: World, token: str) -> None:
    url = reverse("admin:notifications_subscription_run", args=[world.subscription.pk])

    assert root.post(url, {"token": token}).status_code == 403
    assert Run.objects.count() == 1


def test_getting_the_trial_does_nothing(root: Client, world: World) -> None:
    url = reverse("admin:notifications_subscription_try", args=[world.subscription.pk])

    assert root.get(url).status_code == 405


@pytest.mark.django_db(transaction=True)
def test_sending_to_me_sends_to_me_alone(world: World, enqueued: list[list[int]]) -> None:
    me = make_person(world.corp, "boss", is_staff=True, is_superuser=True)
    client = client_of(me)
    page = client.get(reverse("admin:notifications_subscription_change", args=[world.subscription.pk]))
    url = reverse("admin:notifications_subscription_try", args=[world.subscription.pk])

    client.post(url, {"token": token_on(page)})

    run = Run.objects.get(trigger=Run.Trigger.TRIAL)
    assert enqueued == [[run.pk]]
    render_run(run_id=run.pk, now=NOW)
    assert list(run.receipts.values_list("user", flat=True)) == [me.pk]


def test_sending_to_me_says_why_it_cannot(root: Client, world: World) -> None:
    url = reverse("admin:notifications_subscription_try", args=[world.subscription.pk])

    answer = root.post(url, {"token": "a" * 32})

    assert "未关联企业微信" in said(root, answer)
    assert Run.objects.count() == 1


# --- The log ---------------------------------------------------------------------------------------------------------


def settle(delivery: Delivery, **fields: object) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(settled_at=NOW, **fields)


def test_the_runs_list_counts_people(root: Client, world: World) -> None:
    settle(world.delivery, status="accepted", recipient_count=10, invalid_count=2, unlicensed_count=1)
    Run.objects.update(recipient_count=10, skipped_count=3)

    page = root.get("/admin/notifications/run/").content.decode()

    cells = re.findall(r'class="field-(recipients|accepted|exceptions|skipped)">(\d+)<', page)
    assert dict(cells) == {"recipients": "10", "accepted": "7", "exceptions": "3", "skipped": "3"}


def test_a_run_that_reached_nobody_is_not_shown_as_a_success(root: Client, world: World) -> None:
    Run.objects.update(status=Run.Status.FINISHED, recipient_count=0, skipped_count=3)
    for path in ("/admin/notifications/run/", reverse("admin:notifications_run_change", args=[world.run.pk])):
        page = root.get(path).content.decode()
        assert '<span class="pill pill-warn">已完成，没有送达任何人</span>' in page
        assert "pill-good" not in page

    Run.objects.update(recipient_count=1)

    assert '<span class="pill pill-good">已完成</span>' in root.get("/admin/notifications/run/").content.decode()


def test_a_run_is_found_by_its_subscription(root: Client, world: World) -> None:
    wanted = make_run(make_subscription(name="Weekly figures"))
    make_run(make_subscription(name="别的"))

    found = root.get(f"/admin/notifications/run/?q={quote('weekly')}").context["cl"].result_list
    of_order = root.get(f"/admin/notifications/run/?subscription__id__exact={wanted.subscription_id}")

    assert list(found) == [wanted]
    assert list(of_order.context["cl"].result_list) == [wanted]
    page = root.get(f"/admin/notifications/subscription/{wanted.subscription_id}/change/").content.decode()
    assert f'href="/admin/notifications/run/?subscription__id__exact={wanted.subscription_id}"' in page


def test_a_managers_search_finds_runs_of_his_companies_only(world: World) -> None:
    make_run(make_subscription(report=make_report(corp=make_corp()), name="秘密日报"))

    page = client_of(make_manager(world.corp)).get(f"/admin/notifications/run/?q={quote('秘密')}")

    assert page.context["cl"].result_count == 0


def test_a_run_page_says_when_it_began_and_how_its_messages_stand(root: Client, world: World) -> None:
    settle(world.delivery, status="accepted", recipient_count=10, invalid_count=2, errcode=0)
    other = Delivery.objects.get(pk=world.delivery.pk)
    other.pk, other.mark, other.status, other.errcode = None, "other", "failed", 40058
    other.save()
    Run.objects.update(due_at=NOW.replace(second=47))

    page = root.get(reverse("admin:notifications_run_change", args=[world.run.pk]))

    text = page.content.decode()
    assert "09:00:47" in text
    assert [(count, url) for _pill, count, url in page.context["states"]] == [
        (1, f"/admin/notifications/delivery/?run__id__exact={world.run.pk}&status__exact=accepted"),
        (1, f"/admin/notifications/delivery/?run__id__exact={world.run.pk}&status__exact=failed"),
    ]
    assert "40058" in text
    facts = {str(name): value for name, value in page.context["facts"]}
    assert (facts["已接受"], facts["被拒绝或已取消"]) == (8, 10 + 2)
    listed = root.get(page.context["states"][1][2]).context["cl"].result_list
    assert [row.pk for row in listed] == [other.pk]


def test_people_who_still_wait_are_no_exception(root: Client, world: World) -> None:
    page = root.get("/admin/notifications/run/").content.decode()

    assert re.findall(r'class="field-exceptions">(\d+)<', page) == ["0"]


def test_a_deliverys_page_shows_attempts_and_the_message(root: Client, world: World) -> None:
    world.delivery.attempts.create(
        number=1, fencing_token="0" * 32, started_at=NOW, outcome="unclear", answer="<b>proxy</b>", duration_ms=12,
        finished_at=NOW.replace(second=59),
    )  # fmt: skip
    settle(world.delivery, status="accepted", unclear_since=NOW, msgid="m-1")

    page = root.get(reverse("admin:notifications_delivery_change", args=[world.delivery.pk])).content.decode()

    for text in ("m-1", "结果未知", "&lt;b&gt;proxy", "本公司日报", "今天的销售额", world.delivery.mark, "09:00:59"):
        assert text in page
    assert "<b>proxy" not in page


def test_a_run_page_shows_why_people_were_skipped(root: Client) -> None:
    run = make_run(make_subscription(make_person(), make_person(make_corp(is_enabled=False), "a")))
    render_run(run_id=run.pk, now=NOW)

    page = root.get(reverse("admin:notifications_run_change", args=[run.pk])).content.decode()

    assert "未关联企业微信: 1" in page
    assert "公司已停用: 1" in page


@pytest.fixture
def two_messages(world: World) -> tuple[Delivery, Delivery]:
    other = make_person(world.corp, "HanMei", name="韩梅梅", username="hanmm")
    render_run(run_id=make_run(make_subscription(other, report=make_report(title="周报"))).pk, now=NOW)
    return world.delivery, Delivery.objects.latest("pk")


@pytest.mark.parametrize("words", ["韩梅", "hanmm", "HANMEI", "周报", "MARK", "URL"])
@pytest.mark.parametrize(("model", "keys"), [("delivery", base.KEYS_AT_MOST), ("delivery", 0), ("receipt", 0)])
def test_a_message_is_found_by_person_title_and_mark(
    root: Client,
    two_messages: tuple[Delivery, Delivery],
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    model: str,
    keys: int,
) -> None:
    monkeypatch.setattr(base, "KEYS_AT_MOST", keys)
    wanted = two_messages[1]
    words = {"MARK": wanted.mark, "URL": f"https://bi.example.com/m/{wanted.mark}/"}.get(words, words)

    found = root.get(f"/admin/notifications/{model}/?q={quote(words)}").context["cl"].result_list

    expected = [wanted.pk] if model == "delivery" else [wanted.receipts.get().pk]
    if model == "receipt" and words == "周报":
        expected = []
    assert [row.pk for row in found] == expected


def test_people_whom_a_manager_does_not_see_cannot_be_searched_for(world: World) -> None:
    stranger = make_person(make_corp(), "wang", name="王五")
    run = make_run(make_subscription(world.person, stranger, report=make_report(title="全员")))
    render_run(run_id=run.pk, now=NOW)
    client = client_of(make_manager(world.corp))

    for model in ("delivery", "receipt"):
        answer = client.get(f"/admin/notifications/{model}/?q={quote('王五')}")
        assert answer.context["cl"].result_count == 0


@pytest.mark.parametrize(
    ("query", "count"),
    [("day=today", 0), ("day=week", 0), ("day=nonsense", 1), ("status__exact=pending", 1), ("status__exact=failed", 0)],
)
def test_deliveries_are_filtered(root: Client, world: World, query: str, count: int) -> None:
    Delivery.objects.update(created_at=NOW.replace(year=2020))

    assert root.get(f"/admin/notifications/delivery/?{query}").context["cl"].result_count == count


def test_deliveries_of_today_are_found(root: Client, world: World) -> None:
    Delivery.objects.update(created_at=timezone.now())

    assert root.get("/admin/notifications/delivery/?day=today").context["cl"].result_count == 1
    assert root.get("/admin/notifications/delivery/?day=yesterday").context["cl"].result_count == 0


def test_receipts_of_a_day_are_found(root: Client, world: World) -> None:
    path = "/admin/notifications/receipt/"
    Run.objects.update(claimed_at=NOW.replace(year=2020))
    assert [root.get(f"{path}?day={day}").context["cl"].result_count for day in ("today", "week")] == [0, 0]

    Run.objects.update(claimed_at=timezone.now())

    assert root.get(f"{path}?day=today").context["cl"].result_count == 1
    assert root.get(f"{path}?day=yesterday").context["cl"].result_count == 0


def test_deliveries_are_filtered_by_visible_companies(world: World) -> None:
    other = make_corp(name="另一公司")
    client = client_of(make_manager(world.corp))

    page = client.get(f"/admin/notifications/delivery/?corp={world.corp.pk}")

    assert page.context["cl"].result_count == 1
    assert "另一公司" not in page.content.decode()
    assert client.get(f"/admin/notifications/delivery/?corp={other.pk}").context["cl"].result_count == 1


@pytest.mark.parametrize(
    ("own", "deliverys", "status", "is_found"),
    [
        ("", "accepted", "accepted", True),
        ("invalid", "accepted", "invalid", True),
        ("invalid", "accepted", "accepted", False),
        ("", "unknown", "unknown", True),
        ("", "pending", "pending", True),
    ],
)
def test_receipts_are_filtered_by_what_became_of_them(
    root: Client, world: World, own: str, deliverys: str, status: str, is_found: bool
) -> None:
    Receipt.objects.update(status=own)
    Delivery.objects.update(status=deliverys)

    answer = root.get(f"/admin/notifications/receipt/?status={status}")

    assert answer.context["cl"].result_count == int(is_found)


def test_the_receipts_of_a_run_and_of_a_delivery_are_linked(root: Client, world: World) -> None:
    for path in (
        reverse("admin:notifications_run_change", args=[world.run.pk]),
        reverse("admin:notifications_delivery_change", args=[world.delivery.pk]),
    ):
        found = re.search(r'href="(/admin/notifications/receipt/\?[^"]+)"', root.get(path).content.decode())
        assert found is not None
        assert root.get(found[1].replace("&amp;", "&")).context["cl"].result_count == 1


@pytest.mark.parametrize("path", LISTS)
def test_a_list_costs_a_constant_number_of_queries(
    root: Client, path: str, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    people = make_people(make_corp(), 30)
    for person in people:
        render_run(run_id=make_run(make_subscription(person)).pk, now=NOW)
    assert root.get(path).status_code == 200  # the first request of a session writes it down

    # The list of pushes also works out who would get each of them, for all at once.
    with django_assert_max_num_queries(22 if "/subscription/" in path else 12):
        assert root.get(path).status_code == 200


def test_long_logs_are_not_counted_to_the_end(root: Client, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integrations.core.admin_pages.ROWS_COUNTED", 5)
    for person in make_people(make_corp(), 8):
        render_run(run_id=make_run(make_subscription(person)).pk, now=NOW)

    assert root.get("/admin/notifications/delivery/").context["cl"].result_count == 5


@pytest.mark.parametrize("path", [*LISTS, *ADDS])
def test_every_page_opens_in_both_languages(root: Client, world: World, path: str) -> None:
    for language in ("zh-hans", "en"):
        assert root.get(path, headers={**HOST, "accept-language": language}).status_code == 200
