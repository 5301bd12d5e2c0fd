"""The page of a push: a subscription and its content are written, changed, copied and saved together."""

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import Attribute, User
from integrations.core.sentences import Sentence
from integrations.models import Card, DataSource, Job, SourceKind
from notifications.delivery.rendering.render import render_run
from notifications.models import Delivery, Draft, OwnRowsRule, Report, ReportCard, ReportChart, Robot, Run, Subscription
from tests.bi import make_bi, make_listing
from tests.browser_form import parse_form, read_unchanged_form
from tests.notifications.admin.conftest import client_of
from tests.notifications.factories import (
    make_corp,
    make_manager,
    make_person,
    make_report,
    make_run,
    make_subscription,
    make_superuser,
)

pytestmark = pytest.mark.django_db
ADD = "/admin/notifications/subscription/add/"
LIST = "/admin/notifications/subscription/"
PREFIXES = ("report_cards", "charts", "own_rows_rules")


def change(subscription: Subscription) -> str:
    return f"{LIST}{subscription.pk}/change/"


def as_browsers_send(client: Client, address: str, **changes: Any) -> dict[str, Any]:
    """Return the values of the page's form with these changes."""
    return {**read_unchanged_form(client, address), **changes}


def make_card(name: str = "门店销售额") -> Card:
    source, _is_new = DataSource.objects.get_or_create(name="仓库", kind=SourceKind.SQL)
    return Card.objects.create(name=name, source=source, sql="SELECT 1")


def test_one_page_makes_the_content_its_card_and_the_push(root: Client) -> None:
    card, person = make_card(), make_person(make_corp(), "lilei")
    sent = {
        **parse_form(root.get(ADD).content.decode(), "subscription_form"),
        **{"name": "销售日报", "title": "销售", "body": "共 {{ 销售.count }} 行", "users": [person.pk], "_enable": "1"},
        **{"report_cards-TOTAL_FORMS": "1", "report_cards-0-card": card.pk, "report_cards-0-alias": "销售"},
        "report_cards-0-position": "0",
    }

    answer = root.post(ADD, sent)

    assert answer.status_code == 302, answer.context["problems"]
    subscription = Subscription.objects.get()
    assert (subscription.name, subscription.is_enabled, subscription.next_run_at is not None) == (
        "销售日报",
        True,
        True,
    )
    assert (subscription.report.title, subscription.report.is_template) == ("销售", True)
    assert [(one.card, one.alias) for one in subscription.report.report_cards.all()] == [(card, "销售")]
    assert list(subscription.users.all()) == [person]


def test_it_is_tried_on_oneself_before_it_is_enabled() -> None:
    person = make_person(make_corp(), "root", is_superuser=True, is_staff=True)
    client = client_of(person)
    sent = as_browsers_send(client, ADD, name="日报", title="日报", body="早上好", _try="1", token="a" * 32)

    answer = client.post(ADD, sent)

    subscription = Subscription.objects.get()
    run = Run.objects.get()
    assert answer["Location"] == f"{change(subscription)}?tried={run.pk}"
    assert not subscription.is_enabled
    assert (run.trigger, run.tried_on) == (Run.Trigger.TRIAL, person)


def test_the_preview_looks_as_nobody_whom_one_does_not_see(root: Client) -> None:
    corp, other = make_corp(), make_corp()
    editor, seen, unseen = make_manager(corp), make_person(corp, "lilei"), make_person(other, "hanmeimei")
    client = client_of(editor)
    page = as_browsers_send(client, ADD)
    keys = (seen.pk, unseen.pk, "x")
    shown = [client.post(f"{LIST}outlook/", {**page, "_person": key}).json()["as"]["id"] for key in keys]
    assert shown == [str(seen.pk), str(editor.pk), str(editor.pk)]


def test_all_that_is_wrong_stands_on_top_each_leading_to_its_field(root: Client) -> None:
    wrong = {"title": "{{ 没有 }}", "body": "", "name": "长" * 200, "local_time": "", "lifetime_hours": "0"}
    answer = root.post(ADD, as_browsers_send(root, ADD, _enable="1", **wrong))
    assert [key for key, part in answer.context["collapsible_parts"].items() if part["is_open"]] == ["delivery"]
    anchors = [anchor for _text, _label, anchor in answer.context["problems"]]
    assert {"id_name", "id_local_time", "id_body"} <= set(anchors)
    text = answer.content.decode()
    assert 'href="#id_name"' in text
    assert "{{ 没有 }}" in text.replace("&#x27;", "'")
    assert parse_form(text, "subscription_form")["name"] == ["长" * 200]
    nobody = root.post(ADD, as_browsers_send(root, ADD, name="日报", title="日报", body="早上好", _enable="1"))
    assert "没有人会收到" in "".join(text for text, _label, _anchor in nobody.context["problems"])
    assert not Report.objects.exists()


@pytest.mark.usefixtures("undrawn")
def test_what_is_set_in_a_folded_part_stands_in_its_line(root: Client) -> None:
    robot = Robot.objects.create(name="销售群", corp=make_corp(), key="k" * 36)
    subscription = make_subscription(
        make_person(make_corp(), "lilei"), channel="robot", robot=robot, skips_empty=True, free_days="skip", priority=0
    )
    ReportChart.objects.create(report=subscription.report, alias="a", kind="bar", x="店", y="额")
    figures = "降水: {{ sales.sum('降水') }}\n{% if a %}气温: {{ b }}{% endif %}"
    Report.objects.update(is_template=False, figures=figures)
    parts = root.get(change(subscription)).context["collapsible_parts"]
    assert {key: (part["summary"], part["is_open"]) for key, part in parts.items()} == {
        "look": ("关键指标：降水: …\n…气温: …… · 标题和正文是模板：否 · 图表：1", False),
        "delivery": ("触达方式：企业微信群机器人 · 群机器人：销售群 · 优先级：紧急", False),
        "exceptions": ("遇节假日和休息日：跳过：仅在工作日发送 · 数据为空时不发送", False),
    }
    # The summary follows what is typed.
    rows = {"charts-TOTAL_FORMS": "2", "charts-0-DELETE": "on", "charts-1-title": "x"}
    sent = as_browsers_send(root, ADD, priority="0", **rows)
    typed = root.post(f"{LIST}outlook/", sent).json()["summaries"]
    assert typed == {"look": "图表：1", "delivery": "优先级：紧急", "exceptions": ""}


@pytest.fixture
def shared() -> tuple[Subscription, Subscription]:
    report = make_report(is_template=True, body="共 {{ sales.count }} 行")
    card = ReportCard.objects.create(report=report, card=make_card(), alias="sales", title="门店")
    ReportChart.objects.create(report=report, alias="sales", kind="table", position=0)
    region = Attribute.objects.create(key="region", name="区域")
    OwnRowsRule.objects.create(report=card.report, alias="sales", column="区域", attribute=region)
    person = make_person(make_corp(), "lilei")
    return make_subscription(person, report=report, name="甲"), make_subscription(person, report=report, name="乙")


@pytest.mark.usefixtures("undrawn")
def test_a_change_for_this_one_makes_a_copy_with_all_its_parts(
    root: Client, shared: tuple[Subscription, Subscription]
) -> None:
    first, second = shared
    address = change(first)
    row = {"report_cards-0-title": "新小标题", "charts-0-DELETE": "on"}
    assert root.get(address).context["adminform"].form.others == [(second.pk, second.name)]
    limited = writer("view_subscription", "change_subscription", "view_report", "change_report", "view_card")
    limited.post(address, as_browsers_send(limited, address, content_for="this", _enable="1"))
    assert Report.objects.count() == 1  # without the right to add reports no copy is made
    opened = as_browsers_send(root, address, _enable="1")
    answer = root.post(address, {**opened, "title": "新标题", "content_for": "this", **row})
    assert answer.status_code == 302, answer.context["problems"]
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.report.title, second.report.title) == ("新标题", "日报")
    assert [one.title for one in first.report.report_cards.all()] == ["新小标题"]
    assert [one.title for one in second.report.report_cards.all()] == ["门店"]
    assert [one.report.charts.count() for one in (first, second)] == [0, 1]
    assert [one.report.own_rows_rules.count() for one in (first, second)] == [1, 1]
    # A page from before the copy changes neither.
    older = root.post(address, {**opened, "title": "旧页面"})
    assert "请刷新页面" in "".join(text for text, _label, _anchor in older.context["problems"])
    assert set(Report.objects.values_list("title", flat=True)) == {"新标题", "日报"}


def test_a_duplicate_has_a_content_of_its_own_and_is_not_enabled(
    root: Client, shared: tuple[Subscription, Subscription]
) -> None:
    first, _second = shared
    Subscription.objects.filter(pk=first.pk).update(name="长" * 128)
    answer = root.post(f"{LIST}{first.pk}/copy/")
    copied = Subscription.objects.latest("pk")
    assert answer["Location"] == change(copied)
    assert (copied.name, copied.is_enabled, copied.next_run_at) == ("长" * 124 + "（副本）", False, None)
    assert copied.report != first.report
    assert (copied.report.report_cards.count(), list(copied.users.all())) == (1, list(first.users.all()))


@pytest.mark.usefixtures("undrawn")
def test_who_saves_a_content_second_is_told(root: Client) -> None:
    path = change(make_subscription(make_person(make_corp(), "lilei")))
    mine = as_browsers_send(root, path, body="第二个人写的")
    first = client_of(make_superuser())
    assert first.post(path, as_browsers_send(first, path, title="第一个人的标题")).status_code == 302

    answer = root.post(path, mine)

    [(_text, _label, anchor)] = answer.context["problems"]
    assert anchor == ""  # it concerns the whole page; tests/test_two_administrators.py checks the rest
    report = Report.objects.get()
    assert (report.title, report.body) == ("第一个人的标题", "今天的销售额:100 万元")


def test_what_was_typed_is_kept_offered_and_filled_in(root: Client, shared: tuple[Subscription, Subscription]) -> None:
    sent = as_browsers_send(root, ADD, name="没写完", title="销售 {{", body="")
    assert root.post(f"{LIST}draft/", sent).json() == {"is_kept": True}

    page = root.get(ADD)
    assert page.context["draft"].page == "push:new"
    restored = root.get(f"{ADD}?draft=1")
    form = restored.context["adminform"].form
    assert (form["name"].value(), form.content["title"].value()) == ("没写完", "销售 {{")
    assert (form.errors, form.content.errors) == ({}, {})
    assert restored.context["draft"] is None
    # The draft of an existing push restores its rows.
    address = change(shared[0])
    sent = as_browsers_send(root, address, name="改名", **{"report_cards-0-title": "没保存"})
    root.post(f"{LIST}draft/", {**sent, "_id": shared[0].pk})
    cards = root.get(f"{address}?draft=1").context["inline_admin_formsets"][0].formset
    assert cards.forms[0]["title"].value() == "没保存"
    assert Subscription.objects.get(pk=shared[0].pk).name == "甲"


def test_saving_forgets_the_draft_also_one_that_comes_in_behind_its_form(root: Client) -> None:
    """Browsers may send the draft just before the form, and another thread may handle it after the form."""
    sent = as_browsers_send(root, ADD, name="日报", title="日报", body="早上好", _save="1")
    root.post(f"{LIST}draft/", sent)
    root.post(ADD, sent)
    assert (Draft.objects.exists(), Subscription.objects.get().is_enabled) == (False, False)
    assert root.post(f"{LIST}draft/", sent).json() == {"is_kept": False}
    assert not Draft.objects.exists()


@pytest.mark.usefixtures("undrawn")
def test_nobody_sees_the_draft_of_somebody_else(root: Client) -> None:
    root.post(f"{LIST}draft/", {"name": "没写完", "csrfmiddlewaretoken": "x" * 64, "token": "a" * 32})
    assert Draft.objects.get().values == "name=%E6%B2%A1%E5%86%99%E5%AE%8C"
    assert root.post(f"{LIST}draft/", {"body": "长" * 100_000}).json() == {"is_kept": False}
    other = client_of(make_superuser())
    assert other.get(ADD).context["draft"] is None
    other.post(f"{LIST}draft/", {"_drop": "1"})
    assert Draft.objects.count() == 1
    answer = root.post(f"{LIST}draft/", {"_drop": "1"})
    assert (answer["Location"], Draft.objects.exists()) == (ADD, False)


def test_cards_that_the_person_sees_are_offered_by_name() -> None:
    mine, other = make_corp(name="甲"), make_corp(name="乙")
    for name, corp in (("门店销售额", mine), ("库存", mine), ("销售机密", other)):
        source = DataSource.objects.create(name=name, kind=SourceKind.SQL, corp=corp)
        Card.objects.create(name=name, source=source, sql="SELECT 1")
    html = client_of(make_manager(mine)).post(f"{LIST}data/", {"q": "销售"}).json()["html"]
    assert [name in html for name in ("门店销售额", "库存", "销售机密")] == [True, False, False]


def test_an_empty_product_says_how_data_comes_in(root: Client) -> None:
    html = root.post(f"{LIST}data/", {}).json()["html"]
    assert "还没有数据" in html
    assert 'href="/admin/integrations/card/add/?_to_field=id&amp;_popup=1"' in html
    assert "还没有连接观远 BI" in html
    assert 'href="/admin/integrations/biconnection/" target="_blank" rel="opener"' in html
    limited = client_of(make_manager(make_corp())).post(f"{LIST}data/", {}).json()["html"]
    assert ("请联系" in limited, "href" in limited) == (True, False)
    make_bi(base_url="https://bi.example.com")
    html = root.post(f"{LIST}data/", {"q": "\x00"}).json()["html"]
    assert "BI 已连接，但还没有加为数据源" in html
    assert 'href="/admin/integrations/datasource/add/?kind=guandata"' in html
    bi_source()
    listed("")
    assert "请在 BI 中把页面共享给该用户" in root.post(f"{LIST}data/", {"poll": "1"}).json()["html"]


def bi_source(**values: Any) -> DataSource:
    return DataSource.objects.create(**{"name": "BI", "kind": SourceKind.GUANDATA, **values})


def listed(page_id: str, *entries: tuple[str, str, str]) -> None:
    make_listing(entries, page_id, at=timezone.now())


def test_a_card_of_the_bi_becomes_one_here_once(root: Client) -> None:
    bi_source(name="乙的 BI", corp=make_corp(name="乙"))
    source = bi_source()  # the source of every company comes first
    taken = Card.objects.create(name="门店日报", source=source, bi_page_id="p0", bi_card_id="c0")
    listed("", ("p1", "销售", "PAGE"))
    listed("p1", ("c1", "门店日报", "CHART"), ("c2", "说明", "TEXT"))
    for wrong in ({"page": "p1", "card": "c2"}, {"page": "p1", "card": "c9"}, {"page": "p9", "card": "c1"}):
        assert root.post(f"{LIST}data/choose/", wrong).status_code == 404
    html = root.post(f"{LIST}data/", {"page": "p1"}).json()["html"]
    assert "门店日报" in html
    answers = [root.post(f"{LIST}data/choose/", {"page": "p1", "card": "c1"}).json() for _twice in range(2)]
    card = Card.objects.exclude(pk=taken.pk).get()
    assert answers == [{"id": card.pk, "name": "门店日报 (2)"}] * 2
    assert (card.source, card.bi_page_id, card.bi_card_id) == (source, "p1", "c1")


def test_a_bi_that_failed_is_not_asked_again_by_polling_and_leaves_the_cards_that_are_here(root: Client) -> None:
    bi_source()
    make_card()
    first = root.post(f"{LIST}data/", {"page": "invented"}).json()
    assert first["is_unfinished"] is True
    assert [job.payload["page"] for job in Job.objects.all()] == [""]
    Job.objects.update(status="failed", problem="unreachable", facts={"reason": "connection"})
    polled = root.post(f"{LIST}data/", {"poll": "1"}).json()
    assert polled["is_unfinished"] is False
    assert 'class="problem"' in polled["html"]
    assert "门店销售额" in polled["html"]


def test_a_page_from_before_a_push_was_disabled_does_not_enable_it(root: Client) -> None:
    subscription = make_subscription(make_person(make_corp(), "lilei"))
    address = change(subscription)
    sent = as_browsers_send(root, address, is_enabled="on", token="a" * 32)
    Subscription.objects.update(is_enabled=False, next_run_at=None)
    for button in ("_try", "_save"):
        root.post(address, {**sent, button: "1"})
        subscription.refresh_from_db()
        assert (subscription.is_enabled, subscription.next_run_at) == (False, None), button


def test_a_change_of_the_time_alone_writes_no_content(root: Client) -> None:
    subscription = make_subscription(make_person(make_corp(), "lilei"))
    address = change(subscription)
    sent = as_browsers_send(root, address, priority="0", _enable="1")
    with CaptureQueriesContext(connection) as queries:
        assert root.post(address, sent).status_code == 302
    assert not any('UPDATE "notifications_report" ' in query["sql"] for query in queries)
    answer = root.post(address, as_browsers_send(root, address, title="周报", _enable="1"))
    assert answer.status_code == 302, answer.context["problems"]
    assert Report.objects.get().title == "周报"
    assert "标题" in root.get(f"{LIST}{subscription.pk}/history/").content.decode()


def test_no_code_is_seen_until_the_labels_of_its_fields_are_read(root: Client) -> None:
    person = make_person(make_corp(), "lilei")
    coded = make_subscription(person, report=make_report(body="{{ 销售.count }} 行", is_template=True))
    plain = make_subscription(person, report=make_report(is_template=False))

    pages = [root.get(change(one)).text for one in (coded, plain)]

    assert ['data-texts aria-busy="true"' in page for page in pages] == [True, False]
    # The coded message needs data, which its page fetches.
    assert ["phone-message skeleton" in page for page in pages] == [True, False]


def writer(*codenames: str) -> Client:
    person = User.objects.create(username="writer", is_staff=True, manages_all_corps=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return client_of(person)


def test_who_may_not_write_reports_changes_the_rest_of_the_page(shared: tuple[Subscription, Subscription]) -> None:
    first, _second = shared
    client = writer("view_subscription", "change_subscription", "view_report")
    address = change(first)
    assert "有权修改内容的人可以修改它" in client.get(address).content.decode()
    sent = as_browsers_send(client, address, name="改名", title="不许", **{"report_cards-0-title": "不许"})
    answer = client.post(address, sent)
    assert answer.status_code == 302, answer.context["problems"]
    first.refresh_from_db()
    assert (first.name, first.report.title) == ("改名", "日报")


def test_who_may_not_add_reports_chooses_one_that_there_is() -> None:
    mine, other = make_corp(name="甲"), make_corp(name="乙")
    hidden, limited = make_report(corp=other, title="秘密"), client_of(make_manager(mine))
    assert "秘密" not in limited.get(f"{ADD}?report={hidden.pk}").content.decode()
    limited.post(ADD, as_browsers_send(limited, ADD, name="x", title="x", body="x", corp=mine.pk, report=hidden.pk))
    assert Report.objects.get(pk=hidden.pk).title == "秘密"
    Subscription.objects.all().delete()
    Report.objects.all().delete()
    client = writer("view_subscription", "add_subscription", "view_report")
    report = make_report()
    page = client.get(ADD)
    assert page.context["adminform"].form["report"].field.widget.is_hidden is False
    answer = client.post(ADD, as_browsers_send(client, ADD, name="日报", report=report.pk, title="不许", _save="1"))
    assert answer.status_code == 302, answer.context["problems"]
    assert Subscription.objects.get().report == report
    assert [one.title for one in Report.objects.all()] == ["日报"]


def test_who_may_add_reports_but_not_change_them_reaches_no_row_of_another(
    shared: tuple[Subscription, Subscription],
) -> None:
    report = shared[0].report
    client = writer("view_subscription", "add_subscription", "view_report", "add_report")
    rule = report.own_rows_rules.get()
    rows = {
        **{f"{prefix}-{part}_FORMS": "1" for prefix in PREFIXES for part in ("TOTAL", "INITIAL")},
        "own_rows_rules-0-id": rule.pk, "own_rows_rules-0-DELETE": "on", "own_rows_rules-0-report": report.pk,
        "report_cards-0-id": report.report_cards.get().pk, "report_cards-0-title": "geändert",
    }  # fmt: skip
    client.post(ADD, {**as_browsers_send(client, ADD, name="x", title="x", body="x", report=report.pk), **rows})
    assert list(report.own_rows_rules.all()) == [rule]
    assert report.report_cards.get().title == "门店"


@pytest.mark.usefixtures("undrawn")
def test_own_rows_that_were_left_out_of_the_page_still_go_to_no_robot(
    root: Client, shared: tuple[Subscription, Subscription]
) -> None:
    first, _second = shared
    robot = Robot.objects.create(name="群", corp=make_corp(name="群公司"), key="k" * 36)
    address = change(first)
    rows = {f"own_rows_rules-{part}_FORMS": "0" for part in ("TOTAL", "INITIAL")}
    sent = as_browsers_send(root, address, channel="robot", robot=robot.pk, _enable="1", **rows)
    answer = root.post(address, sent)
    assert "id_robot" in [anchor for _text, _label, anchor in answer.context["problems"]]


@pytest.mark.usefixtures("undrawn")
def test_the_page_of_a_report_leads_to_the_push_that_sends_it(
    root: Client, shared: tuple[Subscription, Subscription]
) -> None:
    report = shared[0].report
    assert root.get(f"/admin/notifications/report/{report.pk}/change/")["Location"] == change(shared[1])
    lone = make_report()
    assert root.get(f"/admin/notifications/report/{lone.pk}/change/").status_code == 200
    # Without the right to change both, the report stays on its own page.
    for names in (["view_report", "change_report", "view_subscription"], ["view_report", "change_subscription"]):
        User.objects.filter(username="writer").delete()
        assert writer(*names).get(f"/admin/notifications/report/{report.pk}/change/").status_code == 200


class TestTrial:
    """A push is sent to one person whom the editor sees, and the page tells how it went."""

    def try_on(self, client: Client, push: Subscription, person: object) -> Any:
        key = getattr(person, "pk", person)
        sent = as_browsers_send(client, change(push), _try="1", try_on=key, token=uuid.uuid4().hex)
        return client.post(change(push), sent)

    def test_it_reaches_the_chosen_person_alone_and_the_page_shows_its_tick(self) -> None:
        corp = make_corp()
        editor, chosen, other = make_manager(corp), make_person(corp, "li", name="李雷"), make_person(corp, "han")
        push = make_subscription(other, report=make_report(corp=corp))
        client = client_of(editor)

        answer = self.try_on(client, push, chosen)

        run = Run.objects.get()
        assert answer["Location"] == f"{change(push)}?tried={run.pk}"
        assert (run.trigger, run.requested_by, run.tried_on) == (Run.Trigger.TRIAL, editor, chosen)
        url = reverse("admin:notifications_subscription_trial", args=[push.pk, run.pk])
        page = client.get(answer["Location"]).content.decode()
        assert f'data-url="{url}" data-unfinished' in page
        assert "进行中" in client.get(url).json()["html"]
        [delivery_id] = render_run(run_id=run.pk, now=timezone.now())
        assert list(run.receipts.values_list("user", flat=True)) == [chosen.pk]
        Delivery.objects.filter(pk=delivery_id).update(status=Delivery.Status.ACCEPTED, settled_at=timezone.now())
        Run.objects.update(status=Run.Status.FINISHED, recipient_count=1)
        found = client.get(url).json()
        assert (found["is_unfinished"], "已送达" in found["html"], "李雷" in found["html"]) == (False, True, True)

    @pytest.mark.usefixtures("undrawn")
    def test_it_goes_to_nobody_whom_the_editor_does_not_see(self) -> None:
        corp, elsewhere = make_corp(), make_person(make_corp(), "wang")
        push = make_subscription(make_person(corp, "li"), report=make_report(corp=corp))
        client = client_of(make_manager(corp))

        for key in (elsewhere, "x", "0"):
            answer = self.try_on(client, push, key)
            assert "看不到" in str(list(get_messages(answer.wsgi_request))[-1])
        assert not Run.objects.exists()

    @pytest.mark.usefixtures("undrawn")
    def test_who_cannot_be_reached_is_told_with_the_reason(self, root: Client) -> None:
        push = make_subscription(make_person(make_corp(), "li"))
        unlinked = make_person(name="王芳")

        said = str(list(get_messages(self.try_on(root, push, unlinked).wsgi_request))[-1])

        assert "王芳" in said
        assert "未关联企业微信" in said
        assert not Run.objects.exists()

    @pytest.mark.usefixtures("undrawn")
    def test_a_failed_trial_says_why(self, root: Client) -> None:
        push = make_subscription(person := make_person(make_corp(), "li"))
        self.try_on(root, push, person)
        run = Run.objects.get()
        Run.objects.update(status=Run.Status.FAILED, error=Sentence("Title and text are empty.").serialize())

        found = root.get(reverse("admin:notifications_subscription_trial", args=[push.pk, run.pk])).json()

        assert (found["is_unfinished"], "失败" in found["html"], "标题和正文都是空的" in found["html"]) == (
            False,
            True,
            True,
        )

    def test_the_tick_is_of_trials_of_this_push_alone(self, root: Client) -> None:
        push, other = make_subscription(), make_subscription()
        trial, whole = make_run(other, trigger=Run.Trigger.TRIAL), make_run(push)
        for run in (trial, whole):
            assert (
                root.get(reverse("admin:notifications_subscription_trial", args=[push.pk, run.pk])).status_code == 404
            )
            assert (
                "data-unfinished"
                not in root.get(f"{change(push)}?tried={run.pk}").content.decode().partition("tried-outcome")[2][:400]
            )


class TestSameContent:
    """Several pushes of one report, each for its own people."""

    def test_the_same_content_goes_to_further_people_in_a_push_of_its_own(self, root: Client) -> None:
        push = make_subscription(make_person(make_corp(), "li"), to_everyone=True, name="日报", skips_empty=True)

        answer = root.post(f"{LIST}{push.pk}/again/")

        second = Subscription.objects.exclude(pk=push.pk).get()
        assert answer["Location"] == change(second)
        assert (second.name, second.report, second.crontab, second.skips_empty) == (
            "日报 (2)",
            push.report,
            push.crontab,
            True,
        )
        assert (second.is_enabled, second.to_everyone, second.users.count(), second.next_run_at) == (
            False,
            False,
            0,
            None,
        )
        for one, other in ((push, second), (second, push)):
            page = root.get(change(one)).content.decode()
            assert f'<a href="{change(other)}">{other.name}</a>' in page
        sent = as_browsers_send(root, change(second), title="周报", content_for="all")
        assert root.post(change(second), sent).status_code == 302
        push.report.refresh_from_db()
        assert push.report.title == "周报"

    def test_it_can_be_kept_as_a_copy_that_changes_this_push_alone(self, root: Client) -> None:
        push = make_subscription(make_person(make_corp(), "li"))
        root.post(f"{LIST}{push.pk}/again/")
        second = Subscription.objects.exclude(pk=push.pk).get()

        root.post(change(second), as_browsers_send(root, change(second), title="周报", content_for="this"))

        second.refresh_from_db()
        assert (push.report.title, second.report.title) == ("日报", "周报")

    def test_nobody_makes_one_without_the_right_to_add_pushes(self) -> None:
        corp = make_corp()
        push = make_subscription(report=make_report(corp=corp))
        editor = make_manager(corp)
        editor.user_permissions.remove(Permission.objects.get(codename="add_subscription"))

        assert client_of(editor).post(f"{LIST}{push.pk}/again/").status_code == 403
        assert client_of(make_manager(make_corp())).post(f"{LIST}{push.pk}/again/").status_code == 404
        assert Subscription.objects.count() == 1
