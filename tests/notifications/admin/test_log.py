"""The delivery log: filters by person, push, company, day and state on each list, files of them, and the way back."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from integrations.models import Corp
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs.recall import withdraw
from notifications.models import Delivery, Receipt, Run, Subscription
from tests.notifications.factories import (
    make_corp,
    make_manager,
    make_person,
    make_report,
    make_run,
    make_subscription,
    make_superuser,
    utc,
)

pytestmark = pytest.mark.django_db
HOST = {"host": "localhost:3001"}
NOW = utc("2026-11-24T01:00:30")
MODELS = ("run", "delivery", "receipt")


@dataclass
class Two:
    """Two pushes of two companies, each sent to one person."""

    corps: tuple[Corp, Corp]
    people: tuple[User, User]
    runs: tuple[Run, Run]


@pytest.fixture
def two() -> Two:
    corps = make_corp(name="北山制造"), make_corp(name="南海贸易")
    people = (
        make_person(corps[0], "lilei", name="李雷", username="lilei"),
        make_person(corps[1], "han", name="韩梅梅", username="han"),
    )
    names, moments = ("日报", "周报"), (datetime(2026, 11, 3, 4, tzinfo=UTC), datetime(2026, 11, 20, 4, tzinfo=UTC))
    runs = []
    for name, corp, person, moment in zip(names, corps, people, moments, strict=True):
        run = make_run(make_subscription(person, name=name, report=make_report(title=f"{name}标题", corp=corp)))
        render_run(run_id=run.pk, now=NOW)
        Run.objects.filter(pk=run.pk).update(claimed_at=moment)
        Delivery.objects.filter(run=run).update(created_at=moment)
        runs.append(run)
    Delivery.objects.filter(run=runs[1]).update(status="failed", errcode=60020, error="not allow to access")
    Run.objects.filter(pk=runs[1].pk).update(status="failed")
    return Two(corps, people, (runs[0], runs[1]))


@pytest.fixture
def root() -> Client:
    return client_of(make_superuser())


def client_of(person: User) -> Client:
    client = Client(headers=HOST)
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def run_ids(client: Client, model: str, **query: str | int) -> list[int]:
    rows = client.get(reverse(f"admin:notifications_{model}_changelist"), query).context["cl"].result_list
    return sorted(row.pk if isinstance(row, Run) else row.run_id for row in rows)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "query",
    [
        {"person": "韩梅"},
        {"person": "han"},
        {"push": "周"},
        {"corp": "CORP"},
        {"from": "2026-11-20"},
        {"from": "2026-11-04", "to": "2026-11-20"},
        {"status": "failed"},
        {"person": "韩", "push": "周报", "from": "2026-11-20", "to": "2026-11-20"},
    ],
    ids=str,
)
def test_a_list_is_filtered(root: Client, two: Two, model: str, query: dict[str, str]) -> None:
    query = {name: str(two.corps[1].pk) if value == "CORP" else value for name, value in query.items()}
    if "status" in query and model != "receipt":
        query = {"status__exact": query["status"]}

    assert run_ids(root, model, **query) == [two.runs[1].pk]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "query",
    [
        {"person": "", "push": " ", "corp": "", "from": "", "to": "", "day": ""},
        {"from": "yesterday", "to": "0001-01-01"},
        {"to": "9999-12-31"},
        {"person": "\x00"},
    ],
    ids=str,
)
def test_what_is_empty_or_no_day_filters_nothing(root: Client, two: Two, model: str, query: dict[str, str]) -> None:
    assert run_ids(root, model, **query) == [run.pk for run in two.runs]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("query", [{"person": "谁也不是"}, {"push": "没有"}, {"to": "2026-11-02"}], ids=str)
def test_a_filter_that_nothing_fits_leaves_nothing(root: Client, two: Two, model: str, query: dict[str, str]) -> None:
    assert run_ids(root, model, **query) == []


@pytest.mark.parametrize("model", MODELS)
def test_a_managers_filters_know_their_companies_only(two: Two, model: str) -> None:
    client = client_of(make_manager(two.corps[0]))

    for query in ({"person": "韩梅梅"}, {"push": "周报"}):
        assert run_ids(client, model, **query) == []
    page = client.get(reverse(f"admin:notifications_{model}_changelist"), {"run__id__exact": two.runs[1].pk})
    assert "周报" not in page.content.decode()


@pytest.mark.parametrize("model", ["delivery", "receipt"])
def test_a_list_of_one_run_names_it_and_can_be_left(root: Client, two: Two, model: str) -> None:
    answer = root.get(reverse(f"admin:notifications_{model}_changelist"), {"run__id__exact": two.runs[0].pk})

    page = answer.content.decode()
    assert [row.run_id for row in answer.context["cl"].result_list] == [two.runs[0].pk]
    assert f'<input type="checkbox" name="run__id__exact" value="{two.runs[0].pk}" checked>' in page


@pytest.mark.parametrize("query", ["run__id__exact=x", "run__id__exact=99999999999999999999"])
def test_an_address_that_names_no_run_finds_nothing(root: Client, two: Two, query: str) -> None:
    answer = root.get(f"{reverse('admin:notifications_receipt_changelist')}?{query}")

    assert list(answer.context["cl"].result_list) == []


# --- Files -----------------------------------------------------------------------------------------------------------


def file_of(client: Client, model: str, **query: str | int) -> list[dict[str, str]]:
    answer: Any = client.get(reverse(f"admin:notifications_{model}_csv"), query, headers={"accept-language": "en"})
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def test_each_file_holds_what_the_filters_show_the_newest_first(root: Client, two: Two) -> None:
    whole = {model: file_of(root, model) for model in MODELS}
    filtered = {model: file_of(root, model, push="周报") for model in MODELS}

    assert [row["name"] for row in whole["run"]] == ["周报", "日报"]
    assert [row["run"] for row in whole["delivery"]] == ["周报", "日报"]
    assert [row["user"] for row in whole["receipt"]] == ["韩梅梅 (han)", "李雷 (lilei)"]
    assert filtered == {model: rows[:1] for model, rows in whole.items()}


def test_a_file_says_what_failed_and_how_to_mend_it(root: Client, two: Two) -> None:
    row = file_of(root, "delivery")[0]

    assert (row["company"], row["status"], row["WeCom's error code"]) == ("南海贸易", "failed", "60020")
    assert (bool(row["reason"]), bool(row["Who can fix it"]), bool(row["Where"])) == (True, True, True)


def test_no_cell_of_a_file_is_a_formula(root: Client, two: Two) -> None:
    Subscription.objects.filter(name="周报").update(name="=1+1")
    Delivery.objects.filter(run=two.runs[1]).update(title="@title")

    assert file_of(root, "run")[0]["name"] == "'=1+1"
    assert file_of(root, "delivery")[0]["title"] == "'@title"


@pytest.mark.parametrize("model", MODELS)
def test_the_page_says_how_much_a_file_holds(root: Client, two: Two, model: str) -> None:
    page = root.get(reverse(f"admin:notifications_{model}_changelist"), {"push": "周报"}).content.decode()

    assert "最多 200,000 行" in page
    assert f'href="{reverse(f"admin:notifications_{model}_csv")}?push=%E5%91%A8%E6%8A%A5"' in page


@pytest.mark.parametrize("model", MODELS)
def test_a_managers_file_holds_nothing_of_other_companies(two: Two, model: str) -> None:
    assert len(file_of(client_of(make_manager(two.corps[0], permissions="view")), model)) == 1


# --- From a run down to a person, and back ---------------------------------------------------------------------------


def test_one_goes_from_a_run_to_its_messages_to_a_person_and_back(root: Client, two: Two) -> None:
    run = two.runs[1]
    delivery, receipt = Delivery.objects.get(run=run), Receipt.objects.get(run=run)
    paths = {
        model: reverse(f"admin:notifications_{model}_change", args=[row.pk])
        for model, row in (("run", run), ("delivery", delivery), ("receipt", receipt))
    }
    pages = {model: root.get(path).content.decode() for model, path in paths.items()}

    crumbs = {
        model: page.partition('<div class="breadcrumbs">')[2].partition("</div>")[0] for model, page in pages.items()
    }
    assert f'href="{paths["delivery"]}">周报标题</a>' in pages["run"]
    assert all(f'href="{paths["receipt"]}">韩梅梅 (han)</a>' in pages[model] for model in ("run", "delivery"))
    assert f'href="{paths["run"]}">周报</a>' in crumbs["delivery"]
    assert all(f'href="{paths[model]}"' in crumbs["receipt"] for model in ("run", "delivery"))


def test_a_page_counts_people_by_state_with_the_way_to_them(root: Client, two: Two) -> None:
    page = root.get(reverse("admin:notifications_run_change", args=[two.runs[1].pk]))

    [(_pill, count, url)] = page.context["people_states"]
    assert count == 1
    assert [row.run_id for row in root.get(url).context["cl"].result_list] == [two.runs[1].pk]


def test_each_person_of_a_run_is_counted_once(root: Client) -> None:
    """Also who was taken out of a message, named by WeCom as invalid, or skipped without a message."""
    corp = make_corp(name="北山制造")
    people = [make_person(corp, f"u{n}", username=f"person{n}") for n in range(5)]
    nowhere = User.objects.create(username="nowhere", name="无账号")
    run = make_run(make_subscription(*people, nowhere, report=make_report(corp=corp)))
    render_run(run_id=run.pk, now=NOW)
    withdraw(corp, ["u0"], NOW)
    Delivery.objects.filter(run=run).update(status="accepted", invalid_count=1)
    Receipt.objects.filter(run=run, user=people[1]).update(status="invalid")

    for client in (root, client_of(make_manager(corp, permissions="view"))):
        page = client.get(reverse("admin:notifications_run_change", args=[run.pk]))
        counts = {url.partition("status=")[2]: count for _pill, count, url in page.context["people_states"]}
        listed = {line.name for line in page.context["people"]}
        seen = 1 if client is not root else 2  # the person without an account is of no company
        assert counts == {"accepted": 3, "invalid": 1, "skipped": seen}
        assert listed == {"person0", "person1", *(["无账号 (nowhere)"] if client is root else [])}


def test_a_manager_counts_the_people_of_the_own_company_alone(root: Client, two: Two) -> None:
    run = make_run(make_subscription(*two.people, report=make_report(title="月报标题")))
    render_run(run_id=run.pk, now=NOW)
    Run.objects.filter(pk=run.pk).update(corp=two.corps[0])
    Delivery.objects.filter(run=run).update(status="failed")

    for client, people in (
        (root, two.people),
        (client_of(make_manager(two.corps[0], permissions="view")), two.people[:1]),
    ):
        context = client.get(reverse("admin:notifications_run_change", args=[run.pk])).context
        assert [count for _pill, count, _url in context["people_states"]] == [len(people)]
        assert {line.name for line in context["people"]} == {str(person) for person in people}


def test_who_may_not_see_receipts_sees_no_person_on_a_run(two: Two) -> None:
    manager = make_manager(*two.corps, permissions="view")
    manager.user_permissions.remove(*manager.user_permissions.filter(codename="view_receipt"))

    page = client_of(manager).get(reverse("admin:notifications_run_change", args=[two.runs[1].pk])).content.decode()

    assert "韩梅梅" not in page
