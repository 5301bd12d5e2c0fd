"""A company of the sandbox whose people on duty get alerts on their phones and press buttons there."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest
import redis
import requests
import responses
from django.db import transaction
from django.test import Client
from wecom_sandbox.callbacks import clicks
from wecom_sandbox.messages.inbox import Message
from wecom_sandbox.state import administration
from wecom_sandbox.state.world import World

from accounts.models import User
from integrations.models import Card, Corp, DataSource
from notifications.alerts import card_updates, incidents, notify
from notifications.delivery import limiter
from notifications.inbound import channels
from notifications.inbound.payloads import read_alerts
from notifications.models import AlertCard, AlertRule, InboundChannel, Incident, IncidentEvent
from tests.bi import make_bi
from tests.guandata import HOST as HOST_OF_BI
from tests.guandata import PASSWORD, GuandataAnswers
from tests.integrations.directory.wecom_events import AES_KEY, APP, TOKEN, Recorder, record_posts
from tests.jobs import process_due_events
from tests.notifications.alerts.rules import make_rule
from tests.notifications.api.conftest import make_editor
from tests.notifications.conftest import FakeClock
from tests.notifications.engine import Engine, FollowingClock, sandbox_in_thread
from tests.notifications.factories import NOW, make_corp, make_person
from tests.notifications.inbound.channels import SECRET
from tests.rows import join, put
from tests.sandbox_process import CORPID, company

PEOPLE = {"LiLei": "李雷", "hanmeimei": "韩梅梅", "jim": "Jim"}


def list_used_codes() -> list[str]:
    return [one["code"] for card in AlertCard.objects.all() for one in card.codes if one["used_at"] is not None]


def make_alert_channel(*people: User, corp: Corp | None = None, **fields: Any) -> InboundChannel:
    owner = make_editor(*([corp] if corp is not None else []))
    defaults = {"name": "数据平台", "owner": owner, "corp": corp, "is_alert": True, "is_enabled": True}
    channel = InboundChannel(**{**defaults, **fields})
    channel.digest = channels.make_digest(SECRET)
    put(channel)
    join(channel, "users", people)
    return channel


Row = dict[str, Any]


def alert(name: str = "DiskFull", *, starts: datetime = NOW, ends: datetime | None = None, **labels: str) -> Row:
    """Return an alert as Alertmanager posts it: resolved if `ends` is given, firing otherwise."""
    return {
        "status": "firing" if ends is None else "resolved",
        "labels": {"alertname": name, "severity": "critical", **labels},
        "annotations": {"summary": f"{name} 磁盘快满了", "description": "剩余 3%"},
        "startsAt": starts.isoformat(),
        "endsAt": ends.isoformat() if ends else "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": "0123456789abcdef",
    }


class Counts(NamedTuple):
    opened: int
    reopened: int
    resolved: int
    unchanged: int


def hand_in(channel: InboundChannel, *alerts: Row, now: datetime = NOW, truncated: int = 0) -> Counts:
    """Report these alerts to the channel, as a webhook call does, and count the changes of its incidents."""
    read, _left_out = read_alerts({"alerts": list(alerts)}, now=now)
    with transaction.atomic():
        found = incidents.receive_alerts(read, channel=channel, left_out_count=truncated, now=now)
    counts = len(found.opened), len(found.reopened), len(found.resolved)
    return Counts(*counts, len(read) - sum(counts))


@dataclass
class Duty:
    """The company, its people, and every step between an alert and their phones."""

    engine: Engine
    corp: Corp
    people: dict[str, User]
    recorder: Recorder
    url: str
    channel: InboundChannel

    @property
    def clock(self) -> FakeClock:
        return self.engine.clock

    @property
    def world(self) -> World:
        return self.engine.world

    def hand_in(self, *alerts: Row, truncated: int = 0) -> Counts:
        return hand_in(self.channel, *alerts, now=self.clock.now, truncated=truncated)

    def work_off(self) -> None:
        """Run tick and workers until nothing is left to do at this moment."""
        for _ in range(5):
            notices = notify.request_notices(now=self.clock.now)
            self.engine._publish("render", notices)
            has_worked = self.engine.work_off()
            ids = card_updates.claim_due_cards(now=self.clock.now)
            card_updates.update_cards(ids, clock=self.clock, is_stopping=lambda: False)
            if not (notices or has_worked or ids):
                return

    def tell(self, *alerts: Row, truncated: int = 0) -> None:
        self.hand_in(*alerts, truncated=truncated)
        self.work_off()

    def phone(self, userid: str = "LiLei") -> list[Message]:
        """Return the messages on a person's phone, oldest first."""
        found = [one for one in self.world.mail.messages.values() if userid.lower() in one.receivers]
        return sorted(found, key=lambda one: one.sent_at)

    def card(self, userid: str = "LiLei", position: int = -1) -> dict[str, Any]:
        return clicks.find_shown_card(self.phone(userid)[position], userid.lower())

    def press(self, userid: str, key: str, position: int = -1) -> None:
        """Press a button of a card and process WeCom's callback."""
        self.click(userid, key, position)
        self.hear()

    def click(self, userid: str, key: str, position: int = -1) -> None:
        home = self.world.companies[CORPID]
        member = home.directory.members[userid.lower()]
        clicks.press_button(self.world, home, member, self.phone(userid)[position], key, {})

    def hear(self, times: int = 1) -> None:
        for post in self.read_callbacks():
            for _ in range(times):
                answer = Client().post(
                    f"/wecom/{self.corp.pk}/{APP}/?{post.query}", data=post.body, content_type="text/xml"
                )
                assert (answer.status_code, answer.content) == (200, b"")
        self.work_off_events()
        self.work_off()

    def read_callbacks(self) -> list[Any]:
        requests.get(self.url, timeout=5)  # wakes its event loop to see another thread's change
        for _ in range(400):
            if self.recorder.posts and not self.world.outbox.queues and not self.world.outbox.running:
                posts, self.recorder.posts = self.recorder.posts, []
                return posts
            time.sleep(0.005)
        raise AssertionError("the sandbox has not told of the click")

    def work_off_events(self) -> None:
        process_due_events(self.clock)

    def timeline(self, incident: Incident | None = None) -> list[tuple[str, str]]:
        events = IncidentEvent.objects.filter(incident=incident or Incident.objects.get()).select_related("user")
        return [(event.kind, event.user.name if event.user else "") for event in events]


@dataclass
class Served:
    """A sandbox in a thread of this process, and the recorder that receives its callbacks."""

    world: World
    url: str
    recorder: Recorder


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    world = World()
    with record_posts() as recorder, sandbox_in_thread(world) as url:
        yield Served(world, url, recorder)


@pytest.fixture
def duty(
    db: None,
    served: Served,
    clock: FakeClock,
    valkey_client: redis.Redis,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Duty:
    """A reset world in which the database, Valkey and WeCom share one clock."""
    settings.LIMIT_MEMBER_PER_MINUTE = 0
    valkey_client.flushdb()
    world = served.world
    world.reset()
    served.recorder.posts.clear()
    world.clock = FollowingClock(clock)
    engine = Engine(clock, world, valkey_client)
    monkeypatch.setattr(limiter, "_make_gate", lambda _url, lease_seconds: engine.gate(lease_seconds))
    monkeypatch.setattr("notifications.delivery.sending.send.database_now", clock)
    members = [{"userid": userid, "name": name, "department": [2]} for userid, name in PEOPLE.items()]
    administration.put_company(world, company(members=members, tags=[]))
    [app] = world.companies[CORPID].apps.values()
    app.callback.url, app.callback.token, app.callback.aes_key = f"{served.recorder.url}{APP}/", TOKEN, AES_KEY
    corp = make_corp(
        name="北山制造",
        corpid=CORPID,
        agentid=app.agentid,
        secret=app.secret,
        api_base_url=served.url,
        callback_token=TOKEN,
        callback_aes_key=AES_KEY,
        callback_verified_at=NOW - timedelta(days=1),
    )
    people = {userid: make_person(corp, userid, username=userid, name=name) for userid, name in PEOPLE.items()}
    channel = make_alert_channel(people["LiLei"], people["hanmeimei"], corp=corp)
    return Duty(engine, corp, people, served.recorder, served.url, channel)


def payload(*alerts: Row, **more: Any) -> str:
    return json.dumps(
        {
            "version": "4",
            "groupKey": "{}:{}",
            "truncatedAlerts": 0,
            "status": "firing" if any(one["status"] == "firing" for one in alerts) else "resolved",
            "receiver": "guanwecom",
            "groupLabels": {},
            "commonLabels": {},
            "commonAnnotations": {},
            "externalURL": "http://alertmanager.example.com",
            "alerts": alerts,
            **more,
        }
    )


@pytest.fixture
def people(corp: Corp) -> list[User]:
    return [make_person(corp, "zhang", name="张三"), make_person(corp, "li", name="李四")]


@pytest.fixture
def channel(corp: Corp) -> InboundChannel:
    return make_alert_channel(make_person(corp, "zhang"), corp=corp)


@pytest.fixture
def card(corp: Corp) -> Card:
    source = DataSource.objects.create(name="数仓", kind="sql", corp=corp)
    return Card.objects.create(name="各城市销售额", source=source, sql="SELECT 1")


@pytest.fixture
def rule(corp: Corp, card: Card, people: list[User]) -> AlertRule:
    return make_rule(card, people, corp=corp)


@pytest.fixture
def bi_card(corp: Corp) -> Card:
    """A card of the BI with the rows 华东 128.5 and 华南 96."""
    make_bi(base_url=HOST_OF_BI, api_login="robot", api_password=PASSWORD)
    source = DataSource.objects.create(name="观远", kind="guandata", corp=corp)
    return Card.objects.create(source=source, name="区域销售额", bi_card_id="c1")


@pytest.fixture
def bi() -> Iterator[GuandataAnswers]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        answers = GuandataAnswers(wire)
        answers.gives("sign_in")
        answers.gives("card_data")
        yield answers
