"""What stands in each table of benchmarks.page_world, as SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

COMPANIES = 20
# Every fortieth person is in the second company, and so on; more than half are in the last one.
GROUPS = 40
# A push that runs has one message for most, and some that a single person gets.
TOGETHER, ALONE = 44, 6
PER_RUN = TOGETHER + ALONE
MESSAGES = 1 + ALONE
# Below these keys stand the groups, attributes and entries that the migrations have made.
KEYS_BEFORE = 100
# At most so many people have one message.
PER_BROADCAST = 3


@dataclass(frozen=True)
class Size:
    """`runs`: of all pushes together, each to PER_RUN people; after them one goes to everybody."""

    people: int
    pushes: int
    runs: int

    @property
    def receipts(self) -> int:
        return self.runs * PER_RUN + self.people


Table = tuple[str, int, Mapping[str, str]]
_BODY = """convert_to('{"touser": "u1", "msgtype": "text", "agentid": 1, "text": {"content": "正文"}}', 'UTF8')"""
_COMPANY = f"1 + least(n %% {GROUPS}, {COMPANIES - 1})"


def tables(size: Size) -> list[Table]:
    """Labels of models, how many rows, and SQL by column, which `n` numbers from 1. Percent signs are doubled."""
    rooms = (_people, _directory, _trails, _reports, _senders, _alerts, _runs, _deliveries, _receipts)
    return [table for room in rooms for table in room(size)]


def _ago(rows: int, days: int = 360) -> str:
    """The moment of row n: the last one now, the first one so many days before."""
    return f"now() - make_interval(secs => ({rows} - n) * {days * 86400}.0 / {rows})"


def _people(size: Size) -> list[Table]:
    people, is_linked = size.people, "n %% 30 <> 11"
    return [
        (
            "integrations.Corp",
            COMPANIES,
            {
                **{"name": "'公司' || n", "corpid": "'ww' || lpad(n::text, 16, '0')", "agentid": "1000002"},
                **{"is_enabled": "true", "first_enabled_at": "now()"},
            },
        ),
        (
            "accounts.User",
            people,
            {
                **{"username": "'person' || n", "name": "'员工' || n", "email": "'person' || n || '@example.test'"},
                **{"mobile": "'1380000' || n", "date_joined": "now()", "password": "'!'"},
                "is_active": "n %% 50 <> 7",
            },
        ),
        (
            "accounts.WeComAccount",
            people,
            {
                **{"user_id": "n", "corp_id": _COMPANY, "userid": f"CASE WHEN {is_linked} THEN 'U' || n ELSE '' END"},
                "userid_folded": f"CASE WHEN {is_linked} THEN 'u' || n ELSE '' END",
            },
        ),
        ("auth.Group", 200, {"id": f"{KEYS_BEFORE} + n", "name": "'组' || n"}),
        (
            "accounts.Attribute",
            20,
            {"id": f"{KEYS_BEFORE} + n", "key": "'attribute' || n", "name": "'属性' || n", "kind": "'text'"},
        ),
        (
            "accounts.AttributeValue",
            people,
            {
                **{"user_id": "n", "attribute_id": f"{KEYS_BEFORE} + 1"},
                **dict.fromkeys(("value", "folded"), "'值' || n %% 50"),
            },
        ),
    ]


def _directory(size: Size) -> list[Table]:
    people, departments, some = size.people, 50 * COMPANIES, size.people // 100
    return [
        (
            "integrations.Department",
            departments,
            {
                **{"corp_id": f"1 + n %% {COMPANIES}", "wecom_department_id": "n", "wecom_parent_id": "1"},
                "name": "'部门' || n",
            },
        ),
        (
            "integrations.Member",
            people,
            {
                **{"userid": "'U' || n", "userid_folded": "'u' || n", "corp_id": _COMPANY},
                **{"name": "'员工' || n", "status": "'active'", "presence": "'here'"},
                **{"first_seen_at": "now()", "changed_at": "now()"},
                "waits_since": "CASE WHEN n %% 1000 = 17 THEN now() END",
            },
        ),
        (
            "integrations.Membership",
            people,
            {"member_id": "n", "department_id": f"1 + (n * 7) %% {departments}"},
        ),
        ("accounts.DepartmentGroup", 200, {"department_id": "n", "group_id": f"{KEYS_BEFORE} + n"}),
        ("accounts.DirectoryPolicy", COMPANIES, {"corp_id": "n", "mode": "'link'", "changed_at": "now()"}),
        ("accounts.LinkConflict", some, {"member_id": "n", "since": _ago(some), "reason": "'nobody'"}),
    ]


def _trails(size: Size) -> list[Table]:
    """What has been done, in whatever way."""
    some, many = max(100, size.people // 100), size.people * 2
    return [
        (
            "accounts.AuditEntry",
            many,
            {
                **{"id": f"{KEYS_BEFORE} + n", "at": _ago(many), "actor_id": "1"},
                **{"actor_name": "'管理员' || n %% 20", "ip": "'10.0.0.1'"},
                **{"action": "(ARRAY['changed', 'created', 'signed-in', 'deleted'])[1 + n %% 4]"},
                **{"model": "(ARRAY['accounts.user', 'integrations.corp', 'notifications.report'])[1 + n %% 3]"},
                **{"object_id": "n", "subject": "'员工' || n", "corp_id": _COMPANY},
            },
        ),
        (
            "integrations.SyncRun",
            some,
            {
                **{"corp_id": _COMPANY, "trigger": "'schedule'", "source": "'app'"},
                **{"status": "(ARRAY['done', 'done', 'failed'])[1 + n %% 3]"},
                **dict.fromkeys(("requested_at", "started_at", "finished_at"), _ago(some)),
            },
        ),
        (
            "accounts.PeopleImport",
            some,
            {"status": "'done'", "requested_at": _ago(some), "file_name": "'员工' || n || '.csv'"},
        ),
        (
            "axes.AccessAttempt",
            some,
            {
                **{"username": "'person' || n", "ip_address": "'10.0.0.1'", "attempt_time": _ago(some)},
                "failures_since_start": "1 + n %% 9",
            },
        ),
    ]


def _reports(size: Size) -> list[Table]:
    pushes = size.pushes
    some = max(100, pushes // 20)
    company = f"CASE WHEN n %% 10 = 0 THEN NULL ELSE 1 + n %% {COMPANIES} END"
    return [
        (
            "integrations.DataSource",
            100,
            {"name": "'数据源' || n", "kind": "'sql'", "is_enabled": "true", "corp_id": company},
        ),
        ("integrations.Card", some, {"name": "'卡片' || n", "source_id": "1 + n %% 100"}),
        (
            "integrations.CardData",
            some * 8,
            {
                **{"card_id": f"1 + n %% {some}", "day": f"(now() - n / {some} * interval '1 day')::date"},
                **{"status": "'done'", "requested_at": "now()", "next_try_at": "now()", "finished_at": "now()"},
                "slot_at": f"now() - n / {some} * interval '1 day'",
            },
        ),
        ("notifications.Robot", 100, {"name": "'机器人' || n", "corp_id": _COMPANY}),
        (
            "notifications.Report",
            pushes,
            {"title": "'报告' || n", "body": "'正文'", "corp_id": company},
        ),
        (
            "notifications.Subscription",
            pushes,
            {
                **{"name": "'订阅' || n", "report_id": "n", "crontab": "'0 9 * * *'", "repeat": "'daily'"},
                **{"next_run_at": "now() + interval '1 day'", "owner_id": "1 + n %% 100"},
                "is_enabled": "n %% 20 <> 3",
            },
        ),
    ]


def _senders(size: Size) -> list[Table]:
    """Other systems, and their messages."""
    return [
        (
            "notifications.ApiToken",
            100,
            {
                **{"name": "'令牌' || n", "digest": "'digest' || n", "prefix": "'p' || n", "owner_id": "n"},
                "form_key": "'form' || n",
                "expires_at": "now() + interval '1 year'",
            },
        ),
        (
            "notifications.InboundChannel",
            100,
            {"name": "'通道' || n", "public_id": "'channel' || n", "owner_id": "n", "kind": "'webhook'"},
        ),
        (
            "notifications.IncomingMessage",
            size.runs,
            {
                **{"key": "'incoming' || n", "title": "'消息' || n", "text": "'正文'", "origin": "'api'"},
                **{"token_id": "1 + n %% 100", "form": "'text'", "corp_id": _COMPANY, "created_at": _ago(size.runs)},
                "callback_state": "(ARRAY['', 'waiting', 'delivered'])[1 + n %% 3]",
            },
        ),
    ]


def _alerts(size: Size) -> list[Table]:
    some = max(100, size.pushes // 20)
    incidents = size.runs // 2
    moment = _ago(incidents)
    return [
        ("notifications.AlertReceiver", 100, {"name": "'接收组' || n", "corp_id": _COMPANY}),
        (
            "notifications.AlertRule",
            some,
            {
                **{"name": "'规则' || n", "receiver_id": "1 + n %% 100", "card_id": "n", "owner_id": "1 + n %% 100"},
                **{"crontab": "'0 9 * * *'", "next_run_at": "now() + interval '1 day'"},
            },
        ),
        (
            "notifications.Incident",
            incidents,
            {
                **{"key": "'incident' || n", "title": "'告警' || n", "corp_id": _COMPANY},
                **{"rule_id": f"CASE WHEN n %% 2 = 0 THEN 1 + n %% {some} END"},
                **dict.fromkeys(("starts_at", "stretch_at", "opened_at", "seen_at"), moment),
                "status": "CASE WHEN n %% 100 = 3 THEN 'open' ELSE 'resolved' END",
                "resolved_at": f"CASE WHEN n %% 100 <> 3 THEN {moment} END",
            },
        ),
    ]


def _runs(size: Size) -> list[Table]:
    """The last one is the one to everybody."""
    runs = size.runs + 1
    moment = _ago(runs)
    subscription, status = f"1 + n %% {size.pushes}", "CASE WHEN n %% 500 = 7 THEN 'failed' ELSE 'finished' END"
    return [
        (
            "notifications.Run",
            runs,
            {
                **{"key": "'run' || n", "subscription_id": subscription, "trigger": "'schedule'", "status": status},
                **dict.fromkeys(("slot_at", "claimed_at", "render_after", "rendered_at", "finished_at"), moment),
                "corp_id": f"CASE WHEN n %% 10 = 0 OR n = {runs} THEN NULL ELSE {_COMPANY} END",
                "recipient_count": f"CASE WHEN n = {runs} THEN {size.people} ELSE {PER_RUN} END",
            },
        )
    ]


def _deliveries(size: Size) -> list[Table]:
    """MESSAGES for each run; and for the last one PER_BROADCAST to each group of people."""
    earlier, runs = size.runs * MESSAGES, size.runs + 1
    rows = earlier + GROUPS * PER_BROADCAST
    run = f"least(1 + (n - 1) / {MESSAGES}, {runs})"
    group = f"CASE WHEN n > {earlier} THEN (n - {earlier} - 1) / {PER_BROADCAST} ELSE {run} %% {GROUPS} END"
    moment = f"now() - make_interval(secs => ({runs} - {run}) * {360 * 86400}.0 / {runs})"
    lost = "CASE WHEN n %% 500 = 7 THEN 'failed' WHEN n %% 700 = 9 THEN 'unknown' WHEN n %% 900 = 5 THEN 'canceled'"
    times = dict.fromkeys(("created_at", "next_attempt_at", "expires_at", "settled_at"), moment)
    status, started = f"{lost} ELSE 'accepted' END", {"started_at": moment, "finished_at": moment}
    return [
        (
            "notifications.Delivery",
            rows,
            {
                **{"run_id": run, "corp_id": f"1 + least({group}, {COMPANIES - 1})", "channel": "'wecom'", **times},
                **{
                    "message_form": "'text'",
                    "title": "'日报' || n %% 500",
                    "text": "'正文 ' || n",
                    "language": "'zh-hans'",
                },
                **{"corpid": "'ww'", "agentid": "1", "body": _BODY, "attempt_count": "1", "status": status},
                "recipient_count": f"CASE WHEN n %% {MESSAGES} = 1 THEN {TOGETHER} ELSE 1 END",
                "mark": "md5('mark' || n)",
            },
        ),
        (
            "notifications.Attempt",
            rows,
            {
                **{"delivery_id": "n", "number": "1", "outcome": "'accepted'", "fencing_token": "gen_random_uuid()"},
                **started,
            },
        ),
    ]


def _receipts(size: Size) -> list[Table]:
    """One of a hundred people has been skipped: no message."""
    earlier, runs = size.runs * PER_RUN, size.runs + 1
    in_group = size.people // GROUPS
    run = f"least(1 + (n - 1) / {PER_RUN}, {runs})"
    of_run = f"{run} %% {GROUPS} + {GROUPS} * ((n * 7) %% {in_group})"
    person = f"CASE WHEN n > {earlier} THEN n - {earlier} ELSE {of_run} END"
    person = f"coalesce(nullif({person}, 0), {size.people})"
    place = f"(n - 1) %% {PER_RUN}"
    in_run = f"({run} - 1) * {MESSAGES} + 1 + greatest(0, {place} - {TOGETHER - 1})"
    late = f"(n - {earlier})"
    in_last = (
        f"{size.runs * MESSAGES} + {late} %% {GROUPS} * {PER_BROADCAST} + {late} / {GROUPS} %% {PER_BROADCAST} + 1"
    )
    is_skipped = "n %% 100 = 13"
    return [
        (
            "notifications.Receipt",
            size.receipts,
            {
                **{"run_id": run, "user_id": person, "channel": "'wecom'"},
                "delivery_id": f"CASE WHEN {is_skipped} THEN NULL WHEN n > {earlier} THEN {in_last} ELSE {in_run} END",
                "address": f"1 + least(({person}) %% {GROUPS}, {COMPANIES - 1}) || ':u' || ({person})",
                "status": f"CASE WHEN {is_skipped} THEN 'skipped' WHEN n %% 1000 = 11 THEN 'invalid' ELSE '' END",
                "reason": f"CASE WHEN {is_skipped} THEN 'no_userid' ELSE '' END",
                "read_at": "CASE WHEN n %% 3 = 0 THEN now() END",
            },
        )
    ]
