"""A site with two companies and every kind of administrator, for tests that walk all pages of the administration."""

import zlib
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import connection
from django.http import HttpRequest
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from accounts.authentication import sessions
from accounts.models import (
    Attribute,
    AttributeValue,
    AuditEntry,
    DepartmentGroup,
    DirectoryPolicy,
    GivenGroup,
    LinkConflict,
    Lockout,
    PeopleImport,
    SignInPolicy,
    User,
    WeComAccount,
)
from accounts.users.roles import Role
from integrations.callbacks import generate_callback_keys
from integrations.models import (
    BiConnection,
    CallbackEvent,
    Card,
    CardData,
    Corp,
    DataSource,
    Department,
    Job,
    Member,
    SiteAddress,
    SyncRun,
)
from notifications.api import tokens
from notifications.inbound.mail.parse import MailRules
from notifications.models import (
    AlertRule,
    ApiToken,
    AttributeRule,
    CorpQueue,
    Delivery,
    InboundChannel,
    Incident,
    IncidentEvent,
    IncomingMessage,
    Medium,
    OperatorContacts,
    Receipt,
    Report,
    Robot,
    Run,
    Subscription,
    WorkdayCalendar,
)
from tests.bi import make_bi
from tests.notifications.factories import make_run

# A: nobody signed in. E: an employee. N: may enter, without a role, for the first company. U: superuser.
# Then each role (S system, I integration, P push editor, R read-only), for: A all companies, 1 the first, 2 the second.
PEOPLE = ("A", "E", "N", *(f"{role}{reach}" for role in "SIPR" for reach in "A12"), "U")
STAFF = PEOPLE[2:]
ROLES = dict(zip("SIPR", Role, strict=True))
PASSWORD_BACKEND = "django.contrib.auth.backends.ModelBackend"


@dataclass
class World:
    """A site with two companies. `things` maps the table's words to objects of the first company, one of each kind."""

    people: dict[str, User] = field(default_factory=dict)
    things: dict[str, Any] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)

    def client(self, who: str) -> Client:
        """Return a browser in which this person is signed in. All browsers of a person share one session."""
        client = Client(headers={"accept-language": "en"})
        if who in self.sessions:
            client.cookies[settings.SESSION_COOKIE_NAME] = self.sessions[who]
        return client


def build() -> World:
    world = World()
    first = Corp.objects.create(name="Alpha Company", corpid="ww" + "1" * 16, agentid=1000001, secret="s1")
    second = Corp.objects.create(name="Beta Company", corpid="ww" + "2" * 16, agentid=1000002, secret="s2")
    # The second company is enabled. The first never was, so that everything of it can be changed.
    Corp.objects.filter(pk=second.pk).update(first_enabled_at=timezone.now(), is_enabled=True)
    _make_companies(world, first)
    _make_people(world, first, second)
    _make_pushes(world, first)
    _make_alerts(world, first)
    _make_security(world, first)
    _make_directory(world, first)
    world.things["bi"] = make_bi(is_enabled=False)
    for who, person in world.people.items():
        world.sessions[who] = _make_session(person)
    return world


def _make_session(person: User) -> str:
    """Make a session whose last use is tomorrow. Otherwise each visit would record its use, and be rolled back."""
    client = Client()
    client.force_login(person, backend=PASSWORD_BACKEND)
    request = HttpRequest()
    request.session, request.user = client.session, person
    sessions.record_use(request, was_signed_in=True, now=timezone.now() + timedelta(days=1))
    request.session.save()
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def _make_companies(world: World, first: Corp) -> None:
    now = timezone.now()
    first.site_address = SiteAddress.objects.create(url="https://alpha.example.com/")
    first.verification_files = [{"code": "0123456789abcdef", "uploaded_at": now.isoformat()}]
    first.save()
    for kind in CallbackEvent.Kind:
        generate_callback_keys(corp=first, kind=kind)
    staged = {"staged_agentid": 1000009, "staged_secret": "s3", "staged_state": "refused", "staged_at": now}
    Corp.objects.filter(pk=first.pk).update(**staged)
    world.things |= {
        "corp": first,
        "second": Corp.objects.get(name="Beta Company"),
        "address": first.site_address,
        # In use by the second company, which is enabled.
        "default_address": SiteAddress.objects.default(),
        "write": Job.objects.create(
            kind="console.write",
            corp=first,
            key=f"{first.pk}:settings",
            status="done",
            payload={"kind": "settings"},
            result={"changes": [{"name": "home_url", "before": "", "after": "x"}]},
            requested_at=now,
            due_at=now,
        ),
    }


def _make_people(world: World, first: Corp, second: Corp) -> None:
    world.people = {
        "E": User.objects.create(username="E"),
        "N": User.objects.create(username="N", is_staff=True),
        "U": User.objects.create(username="U", is_staff=True, is_superuser=True),
    }
    world.people["N"].managed_corps.add(first)
    for letter, role in ROLES.items():
        for reach, corps in (("A", []), ("1", [first]), ("2", [second])):
            who = User.objects.create(username=f"{letter}{reach}", is_staff=True, manages_all_corps=reach == "A")
            who.managed_corps.set(corps)
            who.groups.add(Group.objects.get(name=role))
            world.people[who.username] = who
    run = PeopleImport.objects.create(
        file_name="Alpha people.xlsx",
        status="asking",
        requested_by=world.people["S1"],
        requested_by_name="S1",
        corp=first,
        counts={"change": 1},
    )
    export = Job.objects.create(
        **{"kind": "people.export", "status": "done", "asked_by_id": world.people["S1"].pk, "result": {"count": 1}},
        **{"requested_at": timezone.now(), "due_at": timezone.now(), "forget_at": timezone.now() + timedelta(days=1)},
    )
    Job.objects.filter(pk=export.pk).update(file=b"PK")
    world.things |= {"import": run, "export": export}
    worker = User.objects.create(username="worker")
    WeComAccount.objects.create(user=worker, corp=first, userid="worker")
    region = Attribute.objects.create(key="region", name="Region")
    AttributeValue.objects.create(user=worker, attribute=region, value="Alpha region", folded="alpha region")
    world.things |= {"attribute": region}
    world.things |= {"worker": worker, "group": Group.objects.create(name="morning readers")}


def _make_pushes(world: World, first: Corp) -> None:
    now = timezone.now()
    report = Report.objects.create(title="Alpha report", body="text", corp=first)
    lone_report = Report.objects.create(title="Lone report", body="text", corp=first)
    subscription = Subscription.objects.create(name="Alpha subscription", report=report, crontab="0 9 * * *")
    subscription.users.add(world.things["worker"])
    run = make_run(subscription, now, key="sub:1")
    delivery = Delivery.objects.create(
        run=run,
        corp=first,
        channel="wecom",
        message_form="text",
        created_at=now,
        title="Alpha message",
        text="text",
        corpid=first.corpid,
        agentid=first.agentid,
        body=b'{"msgtype": "text", "text": {"content": "text"}}',
        language="zh-hans",
        recipient_count=1,
        next_attempt_at=now,
        expires_at=now,
    )
    receipt = Receipt.objects.create(
        run=run, delivery=delivery, user=world.things["worker"], channel="wecom", address=f"{first.pk}:worker"
    )
    world.things |= {
        "report": report,
        "lone_report": lone_report,
        "subscription": subscription,
        "run": run,
        "delivery": delivery,
        "receipt": receipt,
        "periodic_task": PeriodicTask.objects.create(
            name="Alpha task",
            task="alpha",
            enabled=False,
            interval=IntervalSchedule.objects.create(every=7, period=IntervalSchedule.DAYS),
        ),
        "robot": Robot.objects.create(name="Alpha group", corp=first, key="robot-key"),
        "source": (source := DataSource.objects.create(name="Alpha data", kind="guandata", corp=first)),
        "card": Card.objects.create(name="Alpha card", source=source, bi_card_id="c1"),
        "job": Job.objects.create(
            **{"kind": "source.test", "subject": "Alpha data", "corp": first, "status": "failed", "problem": "broken"},
            **{"requested_at": now, "due_at": now, "finished_at": now},
        ),
        "queue": CorpQueue.objects.create(corp=first),
        "token": _make_token(world.people["P1"], first),
        "message": IncomingMessage.objects.create(
            **{"title": "Alpha message", "form": "text", "key": "alpha", "corp": first, "created_at": now},
            **{"origin": "mail", "original": zlib.compress(b"Subject: x"), "page": zlib.compress(b"Alpha")},
        ),
        "channel": InboundChannel.objects.create(name="Alpha channel", owner=world.people["P1"], corp=first),
        "mail channel": InboundChannel.objects.create(
            **{"name": "Alpha mail", "kind": "mail", "scheme": "password", "mapping": MailRules().to_document()},
            **{"owner": world.people["P1"], "corp": first},
        ),
    }


def _make_alerts(world: World, first: Corp) -> None:
    now = timezone.now()
    source = DataSource.objects.create(name="Alpha figures", kind="sql", corp=first)
    card = Card.objects.create(name="Alpha sales", source=source, sql="SELECT 1")
    rule = AlertRule.objects.create(
        name="Alpha rule",
        corp=first,
        card=card,
        conditions=[{"aggregate": "count", "column": "", "comparison": "gt", "values": ["1"], "filters": {}}],
        crontab="0 9 * * *",
    )
    rule.users.add(world.things["worker"])
    incident = Incident.objects.create(
        key="alpha",
        title="Alpha alert",
        rule=rule,
        card=card,
        corp=first,
        **dict.fromkeys(("starts_at", "stretch_at", "opened_at", "seen_at"), now),
    )
    picture = Medium.objects.create(
        incident=incident,
        kind="picture",
        status="ready",
        svg=zlib.compress(b"<svg>Alpha</svg>"),
        **dict.fromkeys(("created_at", "make_after"), now),
    )
    world.things |= {"alert_rule": rule, "incident": incident, "incident_picture": picture}


def _make_token(owner: User, first: Corp) -> ApiToken:
    now = timezone.now()
    token = ApiToken(name="Alpha token", owner=owner, form_key="0" * 32, reach="corps", expires_at=now)
    tokens.make_secret(token, now=now)
    token.save()
    token.corps.add(first)
    return token


def _make_security(world: World, first: Corp) -> None:
    lockout = Lockout.objects.create(username="worker", ip_address="192.0.2.1", failures_since_start=9)
    # It lasts longer than the tests.
    Lockout.objects.update(attempt_time=timezone.now() + timedelta(days=1))
    world.things |= {
        "entry": AuditEntry.objects.create(action="done", subject="Alpha entry", corp=first),
        "lockout": lockout,
        "policy": SignInPolicy.objects.create(),
        "operators": OperatorContacts.objects.create(),
        "calendar": WorkdayCalendar.objects.create(),
    }


def _make_directory(world: World, first: Corp) -> None:
    now = timezone.now()
    times = {"first_seen_at": now, "changed_at": now, "waits_since": now}
    member = Member.objects.create(corp=first, userid="back", userid_folded="back", name="Alpha member", **times)
    world.things |= {
        "rule": DepartmentGroup.objects.create(
            department=Department.objects.create(corp=first, wecom_department_id=2, name="Alpha sales"),
            group=world.things["group"],
        ),
        "rules": DirectoryPolicy.objects.create(corp=first),
        "department": Department.objects.create(corp=first, wecom_department_id=1, name="Alpha department"),
        "member": member,
        "conflict": LinkConflict.objects.create(member=member, reason="came_back", since=now),
        "sync": SyncRun.objects.create(
            corp=first,
            trigger="manual",
            status="asking",
            requested_at=now,
            question={"reason": "share", "leaving": 2, "of": 3, "percent": 5, "roots": []},
        ),
    }


def read_state() -> dict[str, list[Any]]:
    """Return the rows of each table that a refused request must not change. All are read in one round trip."""
    found = {}
    with connection.cursor() as cursor:
        cursor.execute("; ".join(make_state_queries().values()))
        for table in make_state_queries():
            found[table] = cursor.fetchall()
            cursor.nextset()
    return found


@cache
def make_state_queries() -> dict[str, str]:
    """Return the queries of read_state() by table. They are cached: building them takes longer than running them."""
    models = (
        *(Corp, SiteAddress, BiConnection, Job),
        *(DataSource, Card, CardData),
        *(User, WeComAccount, Attribute, AttributeValue, PeopleImport),
        *(SignInPolicy, Lockout, Group),
        *(DirectoryPolicy, DepartmentGroup, GivenGroup, Department, Member, LinkConflict, SyncRun),
        *(Report, Subscription, AttributeRule, Run, Delivery, Receipt, CorpQueue, Robot, ApiToken),
        *(OperatorContacts, WorkdayCalendar),
        *(InboundChannel, IncomingMessage),
        PeriodicTask,
        *(AlertRule, Incident, IncidentEvent),
    )
    through = (
        *(User.groups, User.user_permissions, User.managed_corps, Group.permissions),
        *(Subscription.users, Subscription.departments, ApiToken.corps, ApiToken.subscriptions),
        *(ApiToken.send_corps, ApiToken.send_users, ApiToken.send_groups, ApiToken.send_departments),
        *(InboundChannel.users, InboundChannel.groups, InboundChannel.departments),
        *(AlertRule.users, AlertRule.groups, AlertRule.departments),
    )
    found = {}
    for model in (*models, *(m2m.through for m2m in through)):
        names = [field.name for field in model._meta.concrete_fields if (model, field.name) != (User, "last_login")]
        sql, parameters = model._base_manager.order_by("pk").values(*names).query.sql_with_params()
        assert parameters == ()
        found[model._meta.db_table] = sql
    return found
