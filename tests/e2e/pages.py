"""Pages of the product, for browser tests, over the rows of tests.admin_world and rows that are drawn otherwise."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.contrib import admin
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from playwright.sync_api import Page, Response

from accounts.authentication.flow import Cause
from accounts.models import Attribute, AuditEntry, ImportRow, PeopleImport, User, WeComAccount
from accounts.views.errors import ErrorDetails, redirect_to_error
from integrations.admin.companies import SiteAddressForm
from integrations.data.table import Column, Kind, Table
from integrations.models import Card, CardData, Corp, DataSource, Job, Member, SiteAddress, SyncRun
from integrations.models.datasources import compress_table
from notifications.models import (
    AlertRule,
    ApiToken,
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
    SilenceWindow,
    Subscription,
)
from tests import admin_world
from tests.bi import make_listing

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
    """Create the world of the administration, and rows in every state that is drawn otherwise."""
    things = admin_world.build().things
    corp, other = things["corp"], things["second"]
    Corp.objects.update(is_enabled=True, first_enabled_at=NOW, site_address=None)  # at the address of the test's server
    corp.refresh_from_db()
    root = User.objects.create_superuser("root", password=PASSWORD, name="管理员")
    person = User.objects.create_user("lilei", password=PASSWORD, name="李雷")
    for who, userid in ((root, "Root"), (person, "LiLei")):
        WeComAccount.objects.create(user=who, corp=corp, userid=userid)
    _make_data(things)
    _make_delivery(things, person)
    _make_report(things)
    _make_alerts(things, person)
    _make_sync_runs(corp)
    _make_people(things, root, person)
    CorpQueue.objects.filter(corp=corp).update(
        daily_budget=600, blocked_since=NOW, blocked_errcode=60020, blocked_error="not allow to access"
    )
    CorpQueue.objects.create(corp=other, is_paused=True)
    ApiToken.objects.update(may_send=True)
    IncomingMessage.objects.update(
        **{"text": "https://etl.example.com/" + "a" * 300, "figures": [["耗时", "42 分钟"]], "callback_count": 9},
        **{"unknown": [{"kind": "email", "value": "nobody@example.com", "reason": "unknown"}]},
        **{"callback_state": "given_up", "callback_error": "HTTP 500"},
    )
    return Rows(root, person, corp, things["subscription"], things["delivery"], _make_writes(things), other)


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


def _make_data(things: dict[str, Any]) -> None:
    """Create a fetched, a failed and a pending card, one for each kind of source, and the lists of the BI."""
    json = DataSource.objects.create(name="物流服务", kind="json", http_url="https://api.example.com/v1")
    pending = Card.objects.create(name="物流服务 · 每日", source=json, units={"销售额": "万元"})
    columns = (Column("日期", Kind.DATE), Column("区域", Kind.TEXT), Column("销售额", Kind.NUMBER, "万元"))
    rows = tuple((NOW.date(), "华东地区的一个名称很长的区域" * 3, number) for number in range(25))
    content = compress_table(Table(columns, rows, NOW, is_cut=True))
    common = {"slot_at": NOW, "requested_at": NOW, "next_try_at": NOW}
    ready = {"status": "ready", "content": content, "row_count": 25, "took_milliseconds": 180, "finished_at": NOW}
    failed = {"status": "failed", "problem_code": "query-refused", "problem_facts": {"code": "42P01"}}
    CardData.objects.create(card=things["card"], **ready, **common)
    CardData.objects.create(card=things["alert_rule"].card, finished_at=NOW, **failed, **common)
    CardData.objects.create(card=pending, **common)
    make_listing([[f"p{number}", f"销售总览 {number}", "PAGE"] for number in range(20)], at=NOW)
    make_listing([["c1", "每日销售额", "CHART"], ["t1", "标题", "TEXT"]], "p1", at=NOW)
    make_listing([], "p2", at=NOW, status="failed", problem="not-admitted")


def _make_delivery(things: dict[str, Any], person: User) -> None:
    """Let the message be accepted, with pictures, and let `person` have received it."""
    delivery = things["delivery"]
    accepted = {"status": "accepted", "settled_at": NOW, "attempt_count": 1, "recipient_count": 2}
    Delivery.objects.update(message_form="textcard", link="/reports/7", **accepted)
    Attempt.objects.create(delivery=delivery, number=1, fencing_token=FENCE, started_at=NOW, outcome="accepted")
    address = f"{things['corp'].pk}:{person.username}"
    Receipt.objects.create(run=delivery.run, delivery=delivery, user=person, channel="wecom", address=address)
    media = [Medium.objects.create(run=delivery.run, **fields) for fields in _pictures()]
    Delivery.objects.filter(pk=delivery.pk).update(shown_media=[[medium.pk, "各城市销售额"] for medium in media])


def _make_report(things: dict[str, Any]) -> None:
    """Create every part that the page of a report may have, and a rule of the push's recipients."""
    region, report = things["attribute"], things["lone_report"]
    Report.objects.filter(pk=report.pk).update(title="{{ today }}销售", body="{{ sales.count }} 行", is_template=True)
    ReportCard.objects.create(report=report, card=things["card"], alias="sales", title="门店销售额")
    for kind, x in (("bar", "门店"), ("table", ""), ("number", "")):
        ReportChart.objects.create(report=report, alias="sales", kind=kind, title="销售额", x=x, y="销售额")
    OwnRowsRule.objects.create(report=report, alias="sales", column="区域", attribute=region)
    push = things["subscription"]
    Subscription.objects.update(next_run_at=NOW + timedelta(days=1), to_everyone=True)
    push.departments.set([things["department"]])
    AttributeRule.objects.create(subscription=push, attribute=region, operator="is", values=["华东"])


def _make_alerts(things: dict[str, Any], person: User) -> None:
    """Give the rule every option; create a silenced and an ended incident of it."""
    rule, silenced = things["alert_rule"], things["incident"]
    filters = {"区域": ["华东", "华南"]}
    conditions = [
        {"aggregate": "sum", "column": "销售额", "comparison": "lt", "values": ["1000"], "filters": filters},
        {"aggregate": "any", "column": "库存", "comparison": "between", "values": ["-5", "0"], "filters": {}},
    ]
    AlertRule.objects.update(
        conditions=conditions, severity="critical", split_column="区域", problem="数据源没有回答。"
    )
    rule.users.add(person)
    AttributeRule.objects.create(alert_rule=rule, attribute=things["attribute"], operator="is", values=["华东"])
    SilenceWindow.objects.create(rule=rule, name="夜间", weekdays="6,7", from_time=time(22), to_time=time(6))
    times = dict.fromkeys(("starts_at", "stretch_at", "opened_at", "seen_at", "ends_at", "resolved_at"), NOW)
    Incident.objects.create(
        key="over", title="库存不足 · 华东", status="resolved", rule=rule, corp=things["corp"], card=rule.card, **times
    )
    Incident.objects.filter(pk=silenced.pk).update(
        **{"severity": "critical", "labels": {"区域": "华东"}, "summary": "有 3 行 库存 小于等于 0", "part": "华东"},
        **{"acknowledged_by": person, "acknowledged_at": NOW, "notified_at": NOW},
        **{"silenced_by": person, "silenced_until": timezone.now() + timedelta(days=1)},
    )
    for fields in _pictures():
        Medium.objects.create(incident=silenced, **fields)
    for kind in ("opened", "notified", "taken", "silenced"):
        IncidentEvent.objects.create(incident=silenced, kind=kind, at=NOW, user=person, note="预警")


def _make_people(things: dict[str, Any], root: User, person: User) -> None:
    """Create an entry of the audit trail, and an import with a refused row and one that would change somebody."""
    run, corp = things["import"], things["corp"]
    counts = {"same": 1, "change": 1, "refused": 1}
    PeopleImport.objects.update(row_count=3, counts=counts, titles=[["用户名", "username"], ["部门", ""]])
    ImportRow.objects.create(run=run, number=6, outcome="refused", name="韩梅梅", reason="nobody")
    changes = [["a:region", "华东", "华北"], ["userid", None, "LiLei"]]
    ImportRow.objects.create(run=run, number=7, outcome="change", name=str(person), user_id=person.pk, changes=changes)
    secrets = [["agentid", "1000001", "1000002"], ["secret", "•••", "•••"]]
    AuditEntry.objects.create(
        **{"at": NOW, "actor": root, "actor_name": str(root), "ip": "192.0.2.7", "action": "changed", "corp": corp},
        **{"model": "integrations.corp", "object_id": corp.pk, "subject": corp.name, "changes": secrets},
    )


def _make_sync_runs(corp: Corp) -> None:
    """Create a run of each kind that its page draws: running, refused by WeCom, and finished."""
    common = {"corp": corp, "trigger": "manual", "requested_at": NOW, "requested_by": "root"}
    kinds: tuple[dict[str, object], ...] = (
        {"status": "running", "phase": "members"},
        {"status": "failed", "problem": "wecom", "errcode": 60020, "hint": "[1764]"},
        {
            **{"status": "done", "phase": "finished", "seen_count": 3, "counts": {"joined": 3}, "finished_at": NOW},
            **{"applied_count": 3, "applied_counts": {"linked": 1}, "applied_at": NOW},
            "written": [[one.pk, "joined", NOW.isoformat()] for one in Member.objects.all()],
        },
    )
    for kind in kinds:
        SyncRun.objects.create(**common, **kind)


def _make_writes(things: dict[str, Any]) -> tuple[Job, ...]:
    """Return a change in WeCom that waits for its confirmation, and one that was refused."""
    corp, refused = things["corp"], things["write"]
    menu = [{"type": "view", "name": "首页", "url": "https://bi.example.com/" + "a" * 200}]
    planned = Job.objects.create(
        **{"kind": "console.write", "corp": corp, "asked_by": "root", "key": f"{corp.pk}:menu", "status": "done"},
        **{"payload": {"kind": "menu"}, "result": {"changes": [{"name": "menu", "before": [], "after": menu}]}},
        **dict.fromkeys(("requested_at", "due_at", "finished_at"), NOW),
    )
    changes = [{"name": "redirect_domain", "before": "", "after": "bi.example.com"}]
    facts = {"errcode": 60020, "caller_ip": "203.0.113.9", "hint": "[1764]", "message": "refused"}
    payload = {"kind": "settings", "changes": changes}
    failed = {"status": "failed", "problem": "refused", "facts": facts, "payload": payload, "result": {}}
    Job.objects.filter(pk=refused.pk).update(**failed, finished_at=NOW)
    return planned, refused


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
    pages.append(f"{unlinked}link/?member={Member.objects.get().pk}&user={rows.root.pk}&by_name=1")
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
    pages += [reverse("admin:accounts_user_card", args=[rows.person.pk]), reverse("admin:accounts_user_grid")]
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
        where="管理员可以在您的人员页面上设置它。",
    )  # fmt: skip
    errors_shown = [replace(shown, cause=cause) for cause in Cause]
    return [redirect_to_error(details).headers["Location"] for details in errors_shown]


def _reversed(name: str, arguments: list[object]) -> list[str]:
    try:
        return [reverse(name, args=arguments)]
    except NoReverseMatch:
        return []


# --- Pages that a form leads to: confirmations, and forms that come back with errors ----------------------------------

# Path and form data; a list stands for several values of one name.
Posted = tuple[str, Mapping[str, str | list[str]]]

# Posts with the page's own CSRF token, like one of its forms.
_SEND = """([path, fields]) => {
  const form = Object.assign(document.createElement("form"), { method: "post", action: path });
  fields.csrfmiddlewaretoken = document.querySelector("[name=csrfmiddlewaretoken]").value;
  for (const [name, values] of Object.entries(fields)) {
    for (const value of [values].flat()) {
      form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
    }
  }
  document.body.append(form);
  form.submit();
}"""

EMPTY_FORMS = (
    *("integrations_corp", "integrations_siteaddress", "accounts_user", "accounts_attribute", "accounts_peopleimport"),
    *("accounts_directorypolicy", "accounts_departmentgroup", "auth_group"),
    *("notifications_report", "notifications_subscription", "notifications_robot"),
    "notifications_alertrule",
)


def posted_pages(rows: Rows) -> list[Posted]:
    """Return the pages of a superuser. Posting them changes nothing."""
    return [*_forms_with_errors(rows), *_questions(rows)]


def send(page: Page, base: str, posted: Posted) -> Response:
    """Open a page by posting what a form of the admin would send."""
    page.goto(f"{base}/admin/password_change/")  # a small page with a CSRF token
    with page.expect_navigation() as opened:
        page.evaluate(_SEND, list(posted))
    answer = opened.value
    assert answer is not None
    return answer


def _forms_with_errors(rows: Rows) -> list[Posted]:
    inlines = ("wecom_accounts", "silence_windows")
    no_inlines = {f"{name}-{part}_FORMS": "0" for name in inlines for part in ("TOTAL", "INITIAL")}
    forms: list[Posted] = [(reverse(f"admin:{name}_add"), no_inlines) for name in EMPTY_FORMS]
    address = SiteAddress.objects.default()
    return [
        *forms,
        (
            reverse("admin:integrations_corp_add"),
            {
                "name": rows.corp.name,
                "corpid": "bi.example.com",
                "agentid": "一",
                "department_root_ids": "a",
                "api_base_url": "http://198.51.100.7",
                "domain_id": "你",
            },
        ),
        (
            reverse("admin:notifications_alertrule_add"),
            {
                "conditions-0-aggregate": "sum",
                "conditions-0-value": "viel",
                "conditions-1-column": "销售额",
                "silence_windows-TOTAL_FORMS": "1",
                "silence_windows-INITIAL_FORMS": "0",
                "silence_windows-0-name": "夜间",
                "silence_windows-0-kind": "weekly",
            },
        ),
        (reverse("admin:integrations_siteaddress_change", args=[address.pk]), {"url": "https://报表.example.com/a"}),
        (reverse("admin:integrations_biconnection_paste"), {"private_key": "no key"}),
        (
            reverse("admin:integrations_corp_callback_paste", args=[rows.corp.pk, "app"]),
            {"token": "一", "aes_key": "x"},
        ),
        (reverse("admin:auth_user_password_change", args=[rows.person.pk]), {"password1": "1", "password2": "2"}),
        (reverse("admin:password_change"), {"old_password": "x", "new_password1": "1", "new_password2": "2"}),
    ]


def _questions(rows: Rows) -> list[Posted]:
    people = reverse("admin:accounts_user_changelist")
    chosen = {"_selected_action": [str(rows.root.pk), str(rows.person.pk)]}
    attribute = Attribute.objects.get(key="region")
    address = SiteAddress.objects.default()
    version = SiteAddressForm(instance=address)["page_version"].value()
    return [
        (people, {"action": "set_company", **chosen}),
        (people, {"action": "set_attribute", **chosen}),
        (people, {"action": "set_attribute", "attribute": str(attribute.pk), **chosen}),
        (people, {"action": "delete_selected", "_selected_action": [str(rows.person.pk)]}),
        (
            reverse("admin:integrations_siteaddress_change", args=[address.pk]),
            {"url": "https://bi.example.com/", "page_version": version, "_save": "1"},
        ),
        (reverse("admin:integrations_corp_callback_keys", args=[rows.corp.pk, "app"]), {}),
    ]
