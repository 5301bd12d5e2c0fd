"""The delivery log: filters, search and file exports of each list, and the links between runs, messages and people."""

import csv
import io
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import Any
from urllib.parse import quote

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from integrations.clients.wecom import errcodes
from integrations.models import Corp
from notifications.admin.log import KEYS_AT_MOST
from notifications.delivery.explanations import NO_LICENCE
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs.recall import withdraw_recipients
from notifications.models import Delivery, Receipt, Run, Subscription
from tests.notifications.admin.conftest import World, client_of
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
MODELS = ("run", "delivery", "receipt")


@dataclass
class Two:
    """Pushes of two companies, each sent to one person."""

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


def listed(seen_by: User, model: str, **query: str | int) -> Any:
    """Return the list that a person gets for these query parameters, without rendering the page."""
    request = RequestFactory().get("/", {name: str(value) for name, value in query.items()})
    request.user = seen_by
    model_admin = admin.site.get_model_admin(apps.get_model("notifications", model))
    return model_admin.get_changelist_instance(request)


def run_ids(seen_by: User, model: str, **query: str | int) -> list[int]:
    rows = listed(seen_by, model, **query).result_list
    return sorted(row.pk if isinstance(row, Run) else row.run_id for row in rows)


# What a query finds: the first run (0), the second (1), both or none.
FILTERED: list[tuple[dict[str, str], list[int]]] = [
    *[(query, [1]) for query in ({"person": "韩梅"}, {"person": "han"}, {"push": "周"}, {"corp": "CORP"})],
    *[(query, [1]) for query in ({"from": "2026-11-20"}, {"from": "2026-11-04", "to": "2026-11-20"})],
    ({"status": "failed"}, [1]),
    ({"subscription": "ONE", "model": "run"}, [1]),
    ({"q": "周报", "model": "run"}, [1]),
    ({"person": "韩", "push": "周报", "from": "2026-11-20", "to": "2026-11-20"}, [1]),
    # Empty values and invalid days are ignored.
    ({"person": "", "push": " ", "corp": "", "from": "", "to": "", "day": ""}, [0, 1]),
    *[(query, [0, 1]) for query in ({"from": "yesterday", "to": "0001-01-01"}, {"to": "9999-12-31"})],
    *[(query, [0, 1]) for query in ({"day": "nonsense"}, {"person": "\x00"})],
    *[(query, []) for query in ({"person": "谁也不是"}, {"push": "没有"}, {"to": "2026-11-02"})],
]


def test_a_list_is_filtered(two: Two) -> None:
    known = {"CORP": str(two.corps[1].pk), "ONE": str(two.runs[1].subscription_id)}
    root = make_superuser()

    for (query, found), model in product(FILTERED, MODELS):
        if query.get("model", model) == model:
            names = {"subscription": "subscription__id__exact"}
            names |= {"status": "status__exact"} if model != "receipt" else {}
            asked = {names.get(name, name): known.get(value, value) for name, value in query.items() if name != "model"}
            expected = [two.runs[number].pk for number in found]
            assert run_ids(root, model, **asked) == expected, (model, query)


@pytest.mark.parametrize("model", MODELS)
def test_a_managers_filters_know_their_companies_only(two: Two, model: str) -> None:
    manager = make_manager(two.corps[0])

    for query in ({"person": "韩梅梅"}, {"push": "周报"}, {"q": "韩梅梅"}, {"q": "周报"}):
        assert run_ids(manager, model, **query) == []
    page = client_of(manager).get(
        reverse(f"admin:notifications_{model}_changelist"), {"run__id__exact": two.runs[1].pk, "corp": two.corps[1].pk}
    )
    assert "周报" not in page.content.decode()
    assert "南海贸易" not in page.content.decode()


def test_a_list_of_one_run_names_it_can_be_left_and_is_a_file(root: Client, two: Two) -> None:
    query = {"run__id__exact": two.runs[0].pk}
    answer = root.get(reverse("admin:notifications_receipt_changelist"), query)

    page = answer.content.decode()
    assert [row.run_id for row in answer.context["cl"].result_list] == [two.runs[0].pk]
    assert f'<input type="checkbox" name="run__id__exact" value="{two.runs[0].pk}" checked>' in page
    assert "最多 200,000 行" in page
    assert f'href="{reverse("admin:notifications_receipt_csv")}?run__id__exact={two.runs[0].pk}"' in page
    for nobody in ("x", "9" * 20):
        assert run_ids(make_superuser(), "receipt", run__id__exact=nobody) == []
    [form] = [spec.form for spec in listed(make_superuser(), "run", **{"from": "yesterday"}).filter_specs]
    assert list(form.errors) == ["from"]  # the invalid day is reported


def file_of(client: Client, model: str, **query: str | int) -> list[dict[str, str]]:
    answer: Any = client.get(reverse(f"admin:notifications_{model}_csv"), query, headers={"accept-language": "en"})
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def test_each_file_holds_what_the_filters_show_the_newest_first(root: Client, two: Two) -> None:
    Subscription.objects.filter(name="周报").update(name="=周报")
    Delivery.objects.filter(run=two.runs[1]).update(title="@title")
    Receipt.objects.filter(run=two.runs[0]).update(status=Receipt.Status.UNLICENSED)
    whole = {model: file_of(root, model) for model in MODELS}

    # Text that begins like a formula stays text.
    assert [row["name"] for row in whole["run"]] == ["'=周报", "日报"]
    assert [(row["run"], row["title"]) for row in whole["delivery"]] == [("'=周报", "'@title"), ("日报", "日报标题")]
    assert [row["person"] for row in whole["receipt"]] == ["韩梅梅 (han)", "李雷 (lilei)"]
    assert {model: file_of(root, model, push="周报") for model in MODELS} == {
        model: rows[:1] for model, rows in whole.items()
    }
    failed = whole["delivery"][0]
    assert (failed["company"], failed["status"], failed["WeCom's error code"]) == ("南海贸易", "failed", "60020")
    assert all(failed[name] for name in ("reason", "Who can fix it", "Where"))
    # A status of the person's own counts before that of the message.
    assert [row["status"] for row in whole["receipt"]] == ["failed", "no licence"]
    assert whole["receipt"][1]["reason"] == errcodes.explain(NO_LICENCE).what


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
    for model in ("run", "delivery"):
        [(_pill, count, url)] = root.get(paths[model]).context["people_states"]
        assert (count, [row.pk for row in root.get(url).context["cl"].result_list]) == (1, [receipt.pk])


def test_each_person_of_a_run_is_counted_once(root: Client) -> None:
    """Counts people who were removed from a message, named by WeCom as invalid, or skipped without a message."""
    corp = make_corp(name="北山制造")
    people = [make_person(corp, f"u{n}", username=f"person{n}") for n in range(5)]
    nowhere = User.objects.create(username="nowhere", name="无账号")
    run = make_run(make_subscription(*people, nowhere, report=make_report(corp=corp)))
    render_run(run_id=run.pk, now=NOW)
    withdraw_recipients(corp, ["u0"], NOW)
    Delivery.objects.filter(run=run).update(status="accepted", invalid_count=1)
    Receipt.objects.filter(run=run, user=people[1]).update(status="invalid")

    for client in (root, client_of(make_manager(corp, permissions="view"))):
        page = client.get(reverse("admin:notifications_run_change", args=[run.pk]))
        counts = {url.partition("status=")[2]: count for _words, count, url in page.context["people_states"]}
        listed = {name for _pk, name, *_more in page.context["people"]}
        seen = 1 if client is not root else 2  # the person without an account belongs to no company
        assert ("未关联企业微信 <strong>1</strong>" in page.text) == (client is root)
        assert {name: counts.pop(name) for name in ("accepted", "invalid")} == {"accepted": 3, "invalid": 1}
        assert sum(counts.values()) == seen
        assert all(name.startswith("skipped&reason=") for name in counts)
        assert listed == {"person0", "person1", *(["无账号 (nowhere)"] if client is root else [])}


def test_a_manager_counts_the_people_of_the_own_company_alone(root: Client, two: Two) -> None:
    run = make_run(make_subscription(*two.people, report=make_report(title="月报标题")))
    render_run(run_id=run.pk, now=NOW)
    Run.objects.filter(pk=run.pk).update(corp=two.corps[0])
    Delivery.objects.filter(run=run).update(status="failed")

    manager, without = (make_manager(two.corps[0], permissions="view") for _twice in range(2))
    without.user_permissions.remove(*without.user_permissions.filter(codename="view_receipt"))
    page = client_of(without).get(reverse("admin:notifications_run_change", args=[run.pk]))
    assert "李雷" not in page.content.decode()
    for client, people in ((root, two.people), (client_of(manager), two.people[:1])):
        context = client.get(reverse("admin:notifications_run_change", args=[run.pk])).context
        assert [count for _pill, count, _url in context["people_states"]] == [len(people)]
        assert {name for _pk, name, *_more in context["people"]} == {str(person) for person in people}


def settle(delivery: Delivery, **fields: object) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(settled_at=NOW, **fields)


def test_the_runs_list_counts_people(root: Client, world: World) -> None:
    waiting = root.get("/admin/notifications/run/").content.decode()
    assert re.findall(r'class="field-not_accepted">(\d+)<', waiting) == ["0"]
    settle(world.delivery, status="accepted", recipient_count=10, invalid_count=2, unlicensed_count=1)
    Run.objects.update(recipient_count=10, skipped_count=3)

    page = root.get("/admin/notifications/run/").content.decode()

    cells = re.findall(r'class="field-(recipients|accepted|not_accepted|skipped)">(\d+)<', page)
    assert dict(cells) == {"recipients": "10", "accepted": "7", "not_accepted": "3", "skipped": "3"}


def test_a_run_that_reached_nobody_is_not_shown_as_a_success(root: Client, world: World) -> None:
    Run.objects.update(status=Run.Status.FINISHED, recipient_count=0, skipped_count=3)
    for path in ("/admin/notifications/run/", reverse("admin:notifications_run_change", args=[world.run.pk])):
        page = root.get(path).content.decode()
        assert "没有送达任何人" in page or "没有人收到" in page

    Run.objects.update(recipient_count=1)

    page = root.get("/admin/notifications/run/").text
    assert '<span class="pill pill-good">完成</span></td>' in page


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
    assert (facts["送达"], facts["被拒绝或已取消"]) == (8, 10 + 2)
    listed = root.get(page.context["states"][1][2]).context["cl"].result_list
    assert [row.pk for row in listed] == [other.pk]


def test_a_deliverys_page_shows_attempts_and_the_message(root: Client, world: World) -> None:
    world.delivery.attempts.create(
        number=1, fencing_token="0" * 32, started_at=NOW, outcome="unclear", answer="<b>proxy</b>", duration_ms=12,
        finished_at=NOW.replace(second=59),
    )  # fmt: skip
    settle(world.delivery, status="accepted", unclear_since=NOW, msgid="m-1")

    page = root.get(reverse("admin:notifications_delivery_change", args=[world.delivery.pk])).content.decode()
    of_person = root.get(reverse("admin:notifications_receipt_change", args=[world.receipt.pk])).content.decode()

    assert all(word in of_person for word in ("认领", "生成", "发出", "返回时间", "#1"))
    for text in ("m-1", "结果未知", "&lt;b&gt;proxy", "本公司日报", "今天的销售额", world.delivery.mark, "09:00:59"):
        assert text in page
    assert "<b>proxy" not in page


def test_a_message_is_found_by_person_title_and_mark(world: World) -> None:
    other = make_person(world.corp, "HanMei", name="韩梅梅", username="hanmm")
    render_run(run_id=make_run(make_subscription(other, report=make_report(title="周报"))).pk, now=NOW)
    wanted, root = Delivery.objects.latest("pk"), make_superuser()

    for words in ("韩梅", "hanmm", "HANMEI", "周报", wanted.mark, f"https://bi.example.com/m/{wanted.mark}/"):
        found = {model: [row.pk for row in listed(root, model, q=words).result_list] for model in MODELS[1:]}
        assert found == {"delivery": [wanted.pk], "receipt": [] if words == "周报" else [wanted.receipts.get().pk]}, (
            words
        )


def test_rows_of_a_day_are_found(world: World) -> None:
    root = make_superuser()
    for rows, column, model in ((Delivery, "created_at", "delivery"), (Run, "claimed_at", "receipt")):
        for at, counts in ((NOW.replace(year=2020), (0, 0, 0)), (timezone.now(), (1, 1, 0))):
            rows.objects.update(**{column: at})
            days = ("today", "week", "yesterday")
            assert tuple(listed(root, model, day=day).result_count for day in days) == counts


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
    world: World, own: str, deliverys: str, status: str, is_found: bool
) -> None:
    Receipt.objects.update(status=own)
    Delivery.objects.update(status=deliverys)

    assert listed(make_superuser(), "receipt", status=status).result_count == int(is_found)


def test_long_logs_are_not_counted_to_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integrations.core.admin_pages.ROWS_COUNTED", 5)
    for person in make_people(make_corp(), 8):
        render_run(run_id=make_run(make_subscription(person)).pk, now=NOW)

    assert listed(make_superuser(), "delivery").result_count == 5


# The number of keys read first: all of a short log, or none, when the database joins them itself.
WAYS = [KEYS_AT_MOST, 0]
# Oldest first, alternating between two companies. No newer messages have the old report's name.
TITLES = ["旧表 100%", "旧表 100", *(["日报7", "日报17", "周报_A", "周报BA"] * 5)]
WORDS = ["日报7", "7", "报", "旧表", "100%", "周报_", "没有这样的", "李雷"]


class Log:
    """Messages with TITLES, alternately to a person of each of the two companies."""

    def __init__(self) -> None:
        self.corps = [make_corp(name="甲公司"), make_corp(name="乙公司")]
        self.patterns = [self._sent(corp) for corp in self.corps]
        self.add(TITLES)

    def _sent(self, corp: Corp) -> Delivery:
        run = make_run(
            make_subscription(make_person(corp, f"lilei{corp.pk}", name="李雷"), report=make_report(title="月表"))
        )
        render_run(run_id=run.pk, now=NOW)
        return Delivery.objects.get(run=run)

    def add(self, titles: Sequence[str]) -> None:
        for number, title in enumerate(titles):
            message = Delivery.objects.get(pk=self.patterns[number % 2].pk)
            message.pk, message.mark, message.title = None, uuid.uuid4().hex, title
            message.save(force_insert=True)

    def expected(self, words: str, corps: Sequence[Corp]) -> list[int]:
        """Return the ids that a search for `words` finds, newest first."""
        patterns = {one.pk for one in self.patterns if words == "李雷"}
        seen = Delivery.objects.filter(corp__in=corps).order_by("-pk").values_list("pk", "title")
        return [pk for pk, title in seen if words in title or pk in patterns]


@pytest.fixture
def log() -> Log:
    return Log()


def found_by(seen_by: User, words: str, **query: str) -> list[int]:
    return [row.pk for row in listed(seen_by, "delivery", q=words, **query).result_list]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("keys", WAYS)
def test_the_same_messages_are_found_in_each_way(log: Log, monkeypatch: pytest.MonkeyPatch, keys: int) -> None:
    monkeypatch.setattr("notifications.admin.log.KEYS_AT_MOST", keys)
    root, manager = make_superuser(), make_manager(log.corps[1])

    found = {words: (found_by(root, words), found_by(manager, words)) for words in WORDS}

    assert found == {words: (log.expected(words, log.corps), log.expected(words, log.corps[1:])) for words in WORDS}
    assert [[len(ids) for ids in found[words]] for words in ("没有这样的", "旧表", "李雷")] == [[0, 0], [2, 1], [2, 1]]
    # The same holds with a filter and an order, and in the search over everything.
    one = Delivery.objects.filter(title="日报17").earliest("pk")
    Delivery.objects.filter(pk=one.pk).update(status="failed")
    assert found_by(root, "7", status__exact="failed") == [one.pk]
    titles = [Delivery.objects.get(pk=pk).title for pk in found_by(root, "7", o="1")]
    assert titles == ["日报17"] * 5 + ["日报7"] * 5
    answer = client_of(root).get(f"/admin/search/?q={quote('日报7')}")
    newest = log.expected("日报7", log.corps)[:5]
    assert [url for each in answer.context["found"] for _name, url in each["rows"]] == [
        f"/admin/notifications/delivery/{pk}/change/" for pk in newest
    ]
