"""Pages of the product, for browser tests, and rows for each of them. All names are invented."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta

from django.contrib import admin
from django.contrib.auth.models import Group
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from accounts.authentication.flow import Cause
from accounts.models import (
    Attribute,
    AuditEntry,
    DepartmentGroup,
    DirectoryPolicy,
    ImportRow,
    LinkConflict,
    Lockout,
    PeopleImport,
    PeopleRun,
    User,
    WeComAccount,
)
from accounts.users.attributes import set_values
from accounts.views.errors import ErrorDetails, seal
from integrations.data.table import Column, Kind, Table
from integrations.models import (
    Card,
    CardData,
    Corp,
    DataSource,
    Department,
    Job,
    Member,
    Membership,
    SyncChange,
    SyncRun,
    VerificationFile,
)
from integrations.models.datasources import compress_table
from notifications.api import tokens
from notifications.models import (
    AlertReceiver,
    AlertRule,
    ApiToken,
    Attachment,
    Attempt,
    AttributeRule,
    CorpQueue,
    Delivery,
    Incident,
    IncidentEvent,
    IncomingMessage,
    Medium,
    OwnRowsRule,
    Receipt,
    Report,
    ReportCard,
    ReportChart,
    Robot,
    Run,
    SilenceWindow,
    Subscription,
)
from tests.bi import make_bi, make_listing

PASSWORD = "a long enough password"
NOW = datetime(2026, 11, 24, 1, 0, 30, tzinfo=UTC)
# Status codes of the pages, including those that explain a refusal.
STATUSES = frozenset({200, 403, 404, 409, 429, 502, 503})
FENCE = "00000000-0000-0000-0000-000000000001"


@dataclass(frozen=True)
class Rows:
    """The rows that pages show."""

    root: User
    person: User
    corp: Corp
    subscription: Subscription
    delivery: Delivery
    writes: tuple[Job, ...]
    other: Corp


def make_rows() -> Rows:
    """Create at least one row for each list of the admin, and a message that a person received."""
    root = User.objects.create_superuser("root", password=PASSWORD, name="管理员")
    person = User.objects.create_user("lilei", password=PASSWORD, name="李雷")
    fields = {"corpid": "ww0123456789abcdef", "agentid": 1000002, "secret": "the-secret"}
    corp = Corp.objects.create(name="北山制造", is_enabled=True, first_enabled_at=NOW, **fields)
    other = Corp.objects.create(name="南河贸易", is_enabled=True, **{**fields, "agentid": 1000003})
    VerificationFile.objects.create(corp=corp, code="Ab12Cd34Ef56Gh78", uploaded_at=NOW)
    for who, userid in ((root, "Root"), (person, "LiLei")):
        WeComAccount.objects.create(user=who, corp=corp, userid=userid)
    make_bi(is_enabled=False)  # so that our address explains instead of redirecting
    _make_data(corp)
    _make_attributes(root, person)
    report = Report.objects.create(title="销售日报", body="今日销售额 128 万元。", link="/reports/7")
    subscription = Subscription.objects.create(
        name="每日九点", report=report, crontab="0 9 * * *", next_run_at=NOW + timedelta(days=1), to_everyone=True
    )
    delivery = _make_delivery(corp, subscription, [root, person])
    _make_chart(delivery)
    _make_charted_report()
    subscription.departments.set(_make_directory(corp))
    _make_token(root, corp)
    region = Attribute.objects.get(key="region")
    AttributeRule.objects.create(subscription=subscription, attribute=region, operator="is", values=["华东"])
    _make_alerts(corp, person)
    _make_sync_runs(corp)
    _make_security(corp, root)
    _make_queues(corp, other)
    return Rows(root, person, corp, subscription, delivery, _make_writes(corp), other)


def _pictures() -> list[dict[str, object]]:
    """Return a picture that is ready, one that failed, and one that is being drawn."""
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="390" height="300"><rect width="390" height="300"/></svg>'
    kinds: tuple[dict[str, object], ...] = (
        {"status": "ready", "content": b"", "svg": zlib.compress(svg.encode()), "width": 390, "height": 300},
        {"status": "failed", "error": "数据中没有列“成本”。"},
        {"status": "waiting", "recipe": b""},
    )
    common = {"kind": "picture", "created_at": NOW, "make_after": NOW}
    return [{**common, "digest": str(number), **kind} for number, kind in enumerate(kinds)]


def _make_chart(delivery: Delivery) -> None:
    for position, fields in enumerate(_pictures()):
        medium = Medium.objects.create(run=delivery.run, **fields)
        Attachment.objects.create(delivery=delivery, medium=medium, position=position, title="各城市销售额")


def _make_charted_report() -> Report:
    """Create a report with every part that the page of a report may have."""
    source = DataSource.objects.create(name="数据仓库", kind="sql", sql_url="postgresql://db.example.com/sales")
    card = Card.objects.create(source=source, name="门店销售额", sql="SELECT 1")
    report = Report.objects.create(title="{{ today }}销售", body="{{ sales.count }} 行", is_template=True)
    ReportCard.objects.create(report=report, card=card, alias="sales", title="门店销售额")
    for kind, x in (("bar", "门店"), ("table", ""), ("number", "")):
        ReportChart.objects.create(report=report, alias="sales", kind=kind, title="销售额", x=x, y="销售额")
    region = Attribute.objects.get(key="region")
    OwnRowsRule.objects.create(report=report, alias="sales", column="区域", attribute=region)
    return report


def _make_data(corp: Corp) -> None:
    """Create a fetched, a failed and a pending card, one for each kind of source, and the lists of the BI."""
    kinds = (("观远销售卡片", "guandata"), ("销售库", "sql"), ("物流服务", "json"))
    cards = []
    for name, kind in kinds:
        source = DataSource.objects.create(name=name, kind=kind, corp=corp, http_url="https://api.example.com/v1")
        questions = {"bi_card_id": "c1", "bi_page_id": "p1", "sql": "SELECT day, amount FROM sales WHERE city = :city"}
        cards.append(Card.objects.create(name=f"{name} · 每日", source=source, units={"销售额": "万元"}, **questions))
    columns = (Column("日期", Kind.DATE), Column("区域", Kind.TEXT), Column("销售额", Kind.NUMBER, "万元"))
    rows = tuple((NOW.date(), "华东地区的一个名称很长的区域" * 3, number) for number in range(25))
    table = Table(columns, rows, NOW, is_cut=True)
    common = {"slot_at": NOW, "requested_at": NOW, "next_try_at": NOW}
    CardData.objects.create(
        card=cards[0], status="ready", content=compress_table(table), row_count=25, took_milliseconds=180,
        finished_at=NOW, **common,
    )  # fmt: skip
    CardData.objects.create(
        card=cards[1],
        status="failed",
        problem_code="query-refused",
        problem_facts={"code": "42P01"},
        finished_at=NOW,
        **common,
    )
    CardData.objects.create(card=cards[2], **common)
    make_listing([[f"p{number}", f"销售总览 {number}", "PAGE"] for number in range(20)], at=NOW)
    make_listing([["c1", "每日销售额", "CHART"], ["t1", "标题", "TEXT"]], "p1", at=NOW)
    make_listing([], "p2", at=NOW, status="failed", problem="not-admitted")


def _make_token(owner: User, corp: Corp) -> None:
    """Create a token with every right, and a message that it sent."""
    token = ApiToken(name="数据仓库", owner=owner, form_key="0" * 32, reach="corps", expires_at=NOW, may_send=True)
    tokens.seal(token, secret="gwc_invented-secret", now=NOW)
    token.save()
    token.corps.add(corp)
    token.send_corps.add(corp)
    IncomingMessage.objects.create(
        origin="api", token=token, key="message-1", title="数据加载失败", text="https://etl.example.com/" + "a" * 300,
        form="text_notice", figures=[["耗时", "42 分钟"]], corp=corp, created_at=NOW, original=b"",
        unknown=[{"kind": "email", "value": "nobody@example.com", "reason": "unknown"}],
        callback_state="given_up", callback_count=9, callback_error="HTTP 500",
    )  # fmt: skip


def _make_alerts(corp: Corp, person: User) -> None:
    """Create a rule with every option, and a silenced and an ended incident of it."""
    receiver = AlertReceiver.objects.create(name="仓库值班", corp=corp)
    receiver.users.add(person)
    region = Attribute.objects.get(key="region")
    AttributeRule.objects.create(receiver=receiver, attribute=region, operator="is", values=["华东"])
    filters = {"区域": ["华东", "华南"]}
    conditions = [
        {"aggregate": "sum", "column": "销售额", "comparison": "lt", "values": ["1000"], "filters": filters},
        {"aggregate": "any", "column": "库存", "comparison": "between", "values": ["-5", "0"], "filters": {}},
    ]
    rule = AlertRule.objects.create(
        name="库存不足", card=Card.objects.order_by("pk")[0], receiver=receiver, crontab="*/10 * * * *",
        conditions=conditions, severity="critical", split_column="区域", problem="数据源没有回答。",
    )  # fmt: skip
    SilenceWindow.objects.create(rule=rule, name="夜间", weekdays="6,7", from_time=time(22), to_time=time(6))
    common = {"rule": rule, "corp": corp, "severity": "critical", "labels": {"区域": "华东"}, "starts_at": NOW}
    common |= {"stretch_at": NOW, "opened_at": NOW, "seen_at": NOW, "notified_at": NOW, "part": "华东"}
    common |= {"card": rule.card}
    Incident.objects.create(
        key="over", title="库存不足 · 华东", status="resolved", ends_at=NOW, resolved_at=timezone.now(), **common
    )
    incident = Incident.objects.create(
        key="open", title="库存不足 · 华东", summary="有 3 行 库存 小于等于 0",
        acknowledged_by=person, acknowledged_at=NOW,
        silenced_by=person, silenced_until=timezone.now() + timedelta(days=1), **common,
    )  # fmt: skip
    for fields in _pictures():
        Medium.objects.create(incident=incident, **fields)
    for kind in ("opened", "notified", "taken", "silenced"):
        IncidentEvent.objects.create(incident=incident, kind=kind, at=NOW, user=person, note="预警")


def _make_security(corp: Corp, root: User) -> None:
    """Create a lockout and an entry of the audit trail."""
    Lockout.objects.create(username="lilei", ip_address="192.0.2.1", failures_since_start=9)
    changes = [["agentid", "1000001", "1000002"], ["secret", "•••", "•••"]]
    AuditEntry.objects.create(
        at=NOW, actor=root, actor_name=str(root), ip="192.0.2.7", action="changed", model="integrations.corp",
        object_id=corp.pk, subject=corp.name, changes=changes, corp=corp,
    )  # fmt: skip


def _make_queues(corp: Corp, other: Corp) -> None:
    """Create a queue that is held up, one that is paused, and a group robot of the first company."""
    CorpQueue.objects.create(
        corp=corp, daily_budget=600, blocked_since=NOW, blocked_errcode=60020, blocked_error="not allow to access"
    )
    CorpQueue.objects.create(corp=other, is_paused=True)
    Robot.objects.create(name="销售日报群", corp=corp, key="11111111-2222-3333-4444-555555555555")


def _make_directory(corp: Corp) -> list[Department]:
    """Create nested departments, and members who share an e-mail. Two have the names of people here."""
    places = [
        Department.objects.create(corp=corp, wecom_department_id=number, wecom_parent_id=parent, name=name)
        for number, parent, name in ((1, None, "北山制造"), (2, 1, "销售部"), (3, 2, "华东区"))
    ]
    User.objects.create(username="hanmeimei", name="韩梅梅", password="!")
    User.objects.create(username="zhangwei", name="张伟", is_staff=True)
    shared = {"email": "sales@example.com", "corp": corp, "first_seen_at": NOW, "changed_at": NOW}
    for userid, name in (("HanMeimei", "韩梅梅"), ("zw2018", "张伟"), ("jim", "Jim")):
        member = Member.objects.create(userid=userid, userid_folded=userid.lower(), name=name, **shared)
        Membership.objects.create(member=member, department=places[-1])
    LinkConflict.objects.create(member=member, reason="nobody", since=NOW)
    readers = Group.objects.create(name="早报读者")
    DepartmentGroup.objects.create(department=places[1], group=readers)
    return places[:2]


def _make_attributes(root: User, person: User) -> None:
    """Create two attributes, and an import with a refused row and one that would change somebody."""
    regions = Attribute.objects.create(
        key="region",
        name="区域",
        kind="choice",
        choices=["华东", "华北"],
        is_many_valued=True,
        description="负责的大区",
    )
    Attribute.objects.create(key="shops", name="门店", is_many_valued=True)
    set_values(attribute=regions, values={person.pk: ["华东"]})
    run = PeopleImport.objects.create(
        file_name="通讯录.xlsx", status="asking", requested_by=root, requested_by_name=str(root), requested_at=NOW,
        row_count=3, counts={"same": 1, "change": 1, "refused": 1}, titles=[["用户名", "username"], ["部门", ""]],
    )  # fmt: skip
    ImportRow.objects.create(run=run, number=6, outcome="refused", name="韩梅梅", reason="nobody")
    changes = [["a:region", "华东", "华北"], ["userid", None, "LiLei"]]
    ImportRow.objects.create(run=run, number=7, outcome="change", name=str(person), user_id=person.pk, changes=changes)


def _make_sync_runs(corp: Corp) -> None:
    """Create a run of each kind that its page draws: finished, running, refused by WeCom, and with a question."""
    question = {"reason": "share", "leaving": 2, "of": 3, "percent": 5, "roots": []}
    common = {"corp": corp, "trigger": "manual", "source": "app", "requested_at": NOW, "requested_by": "root"}
    kinds: tuple[dict[str, object], ...] = (
        {"status": "asking", "question": question},
        {"status": "running", "phase": "members", "done_count": 2, "total_count": 5},
        {"status": "failed", "problem": "wecom", "errcode": 60020, "hint": "[1764]"},
        {"status": "done", "phase": "finished", "seen_count": 3, "counts": {"joined": 3}, "finished_at": NOW},
    )
    runs = [SyncRun.objects.create(**common, **kind) for kind in kinds]
    for member in Member.objects.all():
        SyncChange.objects.create(run=runs[-1], member=member, kind="joined", applied_at=NOW)
    PeopleRun.objects.create(run=runs[-1], status="done", done_count=3, counts={"linked": 1})
    DirectoryPolicy.objects.create(corp=corp, mode="link")


def _make_writes(corp: Corp) -> tuple[Job, ...]:
    """Create a change in WeCom that waits for its confirmation, and one that was refused."""
    menu = [{"type": "view", "name": "首页", "url": "https://bi.example.com/" + "a" * 200}]
    times = dict.fromkeys(("requested_at", "due_at", "finished_at"), NOW)
    common = {"kind": "console.write", "corp": corp, "asked_by": "root", **times}
    planned = Job.objects.create(
        key=f"{corp.pk}:menu", status="done", payload={"kind": "menu"},
        result={"changes": [{"name": "menu", "before": [], "after": menu}]}, **common,
    )  # fmt: skip
    changes = [{"name": "redirect_domain", "before": "", "after": "bi.example.com"}]
    refused = Job.objects.create(
        key=f"{corp.pk}:settings", status="failed", payload={"kind": "settings", "changes": changes}, problem="refused",
        facts={"errcode": 60020, "caller_ip": "203.0.113.9", "hint": "[1764]", "message": "refused"}, **common,
    )  # fmt: skip
    return planned, refused


def _make_delivery(corp: Corp, subscription: Subscription, people: list[User]) -> Delivery:
    run = Run.objects.create(
        key="sub:1:2026-11-24T01:00", subscription=subscription, trigger="schedule", slot_at=NOW, claimed_at=NOW,
        render_after=NOW, rendered_at=NOW, finished_at=NOW, status="finished", recipient_count=2,
    )  # fmt: skip
    delivery = Delivery.objects.create(
        run=run, corp=corp, channel="wecom", message_form="textcard", created_at=NOW, title="销售日报",
        text="今日销售额 128 万元。", link="/reports/7", corpid=corp.corpid, agentid=corp.agentid, language="zh-hans",
        body='{"msgtype": "textcard", "textcard": {"title": "销售日报", "description": "今日销售额"}}'.encode(),
        recipient_count=2, status="accepted", next_attempt_at=NOW, expires_at=NOW, settled_at=NOW, attempt_count=1,
    )  # fmt: skip
    Attempt.objects.create(delivery=delivery, number=1, fencing_token=FENCE, started_at=NOW, outcome="accepted")
    for person in people:
        Receipt.objects.create(
            run=run, delivery=delivery, user=person, channel="wecom", address=f"{corp.pk}:{person.username}"
        )
    return delivery


def admin_pages(rows: Rows) -> list[str]:
    """Return every list, form, history and deletion of the admin, and each page of our own in it."""
    site = admin.site
    pages = [reverse(f"admin:{name}") for name in ("index", "password_change", "password_change_done")]
    for model in site._registry:
        names = f"admin:{model._meta.app_label}_{model._meta.model_name}_"
        pages += [reverse("admin:app_list", args=[model._meta.app_label]), reverse(f"{names}changelist")]
        pages += _reversed(f"{names}add", [])
        row = model._default_manager.order_by("pk").first()
        for page in ("change", "history", "delete"):
            pages += _reversed(f"{names}{page}", [row.pk]) if row is not None else []
    pages += [
        reverse(f"admin:integrations_corp_{action}", args=[rows.corp.pk]) for action in ("enable", "disable", "link")
    ]
    pages.append(reverse("admin:integrations_corp_callback_paste", args=[rows.corp.pk, "app"]))
    pages.append(reverse("admin:integrations_biconnection_paste"))
    pages += _data_pages()
    pages += [reverse("admin:integrations_corp_write", args=[rows.corp.pk, write.pk]) for write in rows.writes]
    pages += [reverse("admin:integrations_syncrun_start", args=[corp.pk]) for corp in (rows.corp, rows.other)]
    pages += [reverse("admin:integrations_syncrun_change", args=[run.pk]) for run in SyncRun.objects.all()]
    unlinked = reverse("admin:accounts_linkconflict_changelist")
    pages += [f"{unlinked}?side={side}" for side in ("users", "conflicts")]
    pages.append(f"{unlinked}bulk/?corp={rows.corp.pk}&match_username=on")
    pages.append(f"{unlinked}link/?member={Member.objects.get(userid='zw2018').pk}&user={rows.root.pk}&by_name=1")
    pages += [reverse("admin:notifications_corpqueue_change", args=[queue.pk]) for queue in CorpQueue.objects.all()]
    pages += [
        reverse("admin:accounts_peopleimport_change", args=[run.pk]) + query
        for run in PeopleImport.objects.all()
        for query in ("", "?show=change")
    ]
    pages += [reverse("admin:notifications_report_change", args=[report.pk]) for report in Report.objects.all()]
    pages.append(reverse("admin:notifications_subscription_run", args=[rows.subscription.pk]))
    pages.append(reverse("admin:notifications_subscription_week"))
    pages.append(reverse("admin:notifications_apitoken_revoke", args=[ApiToken.objects.get().pk]))
    pages += [reverse(f"admin:notifications_run_{page}", args=[rows.delivery.run_id]) for page in ("resend", "recall")]
    pages += [reverse("admin:notifications_incident_change", args=[row.pk]) for row in Incident.objects.all()]
    pages.append(reverse("admin:auth_user_password_change", args=[rows.person.pk]))
    return [*dict.fromkeys(pages), "/admin/no-such-page/"]


def _data_pages() -> list[str]:
    """Return the forms of each kind of source and card, and the lists from which a card is chosen."""
    adding, choosing = reverse("admin:integrations_card_add"), reverse("admin:integrations_card_choose")
    pages = [reverse("admin:integrations_datasource_add") + f"?kind={kind}" for kind in ("guandata", "sql", "json")]
    for source in DataSource.objects.order_by("pk"):
        pages.append(reverse("admin:integrations_datasource_change", args=[source.pk]))
        pages.append(f"{adding}?source={source.pk}")
    pages += [reverse("admin:integrations_card_change", args=[card.pk]) for card in Card.objects.order_by("pk")]
    source = DataSource.objects.get(kind="guandata")
    return pages + [f"{choosing}?source={source.pk}{page}" for page in ("", "&page=p1", "&page=p2", "&page=p3")]


def employee_pages(rows: Rows) -> list[str]:
    """Return the pages of a person who is signed in. The corp's start would lead to WeCom and is not one of them."""
    return [
        "/",
        "/?q=nothing",
        "/subscriptions/",
        "/account/",
        "/admin/login/",  # as shown to people without access
        f"/m/{rows.delivery.mark}/",
        "/m/" + "0" * 32 + "/",
        "/login/?stay=1",
        "/no-such-page/",
        "/bi/page/p1",
        "/login/trouble/",
        reverse("alerts"),
        *(reverse("alert", args=[row.pk]) for row in Incident.objects.all()),
    ]


def open_pages() -> list[str]:
    """Return the pages of a person who is not signed in."""
    return ["/login/", "/login/?stay=1&left=1", "/login/company/", "/login/trouble/", "/admin/login/", "/no-such-page/"]


def error_pages(rows: Rows) -> list[str]:
    """Return a page for each cause that stops a sign-in, with all details. The addresses are valid for an hour."""
    shown = ErrorDetails(
        Cause.NOT_LINKED, corp_id=rows.corp.pk, corp_name=rows.corp.name, userid="HanMeimei", target="/account/",
        operation="auth/getuserinfo", errcode=60020, hint="[1764000000]", caller_ip="203.0.113.9", missing="邮箱",
        where="管理员可以在您的用户页面上设置它。",
    )  # fmt: skip
    errors_shown = [replace(shown, cause=cause) for cause in Cause]
    return [f"{reverse('sign-in-error')}?t={seal(details)}" for details in errors_shown]


def _reversed(name: str, arguments: list[object]) -> list[str]:
    try:
        return [reverse(name, args=arguments)]
    except NoReverseMatch:
        return []
