"""Calls of inbound channels: from the body of the call to the bytes of the message, and all refusals."""

import hmac
import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from gunicorn.config import Config
from gunicorn.glogging import Logger
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import AuditEntry, User
from integrations.models import Corp
from notifications.api.incoming import receive_call
from notifications.delivery.rendering.render import render_run
from notifications.inbound import calls
from notifications.inbound.mapping import ChannelMapping
from notifications.models import Delivery, InboundCall, InboundChannel, Incident, IncomingMessage, Run
from tests.between import just_before
from tests.notifications.factories import make_corp, make_manager, make_person, make_superuser
from tests.notifications.inbound.channels import (
    SECRET,
    call,
    english_client,
    make_channel,
    make_preset_channel,
    read_example,
)

pytestmark = pytest.mark.django_db
Outcome = InboundCall.Outcome


@pytest.fixture
def channel(owner: User, zhang: User) -> InboundChannel:
    return make_channel(owner, zhang)


def read_outcomes(channel: InboundChannel) -> list[tuple[str, int]]:
    rows = InboundCall.objects.filter(channel=channel).newest_first()
    return [(row.outcome, row.count) for row in rows]


def read_reasons(channel: InboundChannel) -> list[str]:
    return [json.loads(row.reason)["msgid"] for row in InboundCall.objects.filter(channel=channel).newest_first()]


def render_bodies() -> list[dict[str, Any]]:
    for run in Run.objects.filter(status=Run.Status.WAITING).order_by("pk"):
        render_run(run_id=run.pk, now=timezone.now())
        run.refresh_from_db()
        assert run.error_text == ""
    return [json.loads(bytes(one.body)) for one in Delivery.objects.order_by("pk") if one.body]


def test_a_call_becomes_a_message_to_the_chosen_people(channel: InboundChannel, zhang: User) -> None:
    answer = call(channel, {"title": "数据已更新", "text": "订单表 <b>完成</b> <@all>"})

    message = IncomingMessage.objects.get()
    assert (answer.status_code, answer.json()) == (202, {"status": "accepted", "id": message.pk})
    assert (message.channel, message.origin, list(message.people.all())) == (channel, "channel", [zhang])
    [body] = render_bodies()
    assert body["touser"] == "ZhangWei"
    assert body["textcard"]["title"] == "数据已更新"
    assert "<b>" not in body["textcard"]["description"]
    assert "<@" not in body["textcard"]["description"]
    assert read_outcomes(channel) == [(Outcome.ACCEPTED, 1)]


@pytest.mark.parametrize(
    ("sender", "title", "text", "link"),
    [
        (
            *("grafana", "[firing] 磁盘使用率过高"),
            "磁盘使用率过高 · firing\ndb-1 磁盘使用率 93%\n磁盘使用率过高 · firing\ndb-2 磁盘使用率 91%",
            "https://grafana.example.com/d/disk",
        ),
        (
            *("alertmanager", "[resolved] InstanceDown", "InstanceDown · resolved\netl-3 恢复"),
            "https://prometheus.example.com/graph?g0.expr=up",
        ),
        ("dolphinscheduler", "销售数仓 · 每日汇总", "load_orders · FAILURE", ""),
        (
            *("jenkins", "报表发布 #18 FAILURE", "origin/main c6d86dc654b12425e706bcf951adfe5a8627a517"),
            "https://jenkins.example.com/job/report/18/",
        ),
        ("gitlab", "bi/report · pipeline failed", "main\n张伟", "https://git.example.com/bi/report/-/pipelines/31"),
        ("superset", "每周看板", "各区域销售", "https://superset.example.com/explore/?slice_id=12"),
        (
            *("metabase", "每月销售", "2026-09-01T00:00:00Z · 346\n2026-10-01T00:00:00Z · 354"),
            "https://metabase.example.com/question/108",
        ),
    ],
)
def test_a_ready_made_mapping_takes_what_its_sender_documents(
    sender: str, title: str, text: str, link: str, owner: User, zhang: User
) -> None:
    channel = make_preset_channel(sender, owner, zhang)

    answer = call(channel, *read_example(sender))

    assert answer.status_code == 202, answer.content
    message = IncomingMessage.objects.get()
    assert (message.title, message.text, message.link) == (title, text, link)
    assert render_bodies()


def test_files_of_superset_and_the_picture_of_metabase_come_along(owner: User, zhang: User) -> None:
    for sender in ("superset", "metabase"):
        call(make_preset_channel(sender, owner, zhang), *read_example(sender))

    media = [
        (run.key.split(":")[0], medium.name, medium.kind)
        for run in Run.objects.order_by("pk")
        for medium in run.media.all()
    ]
    assert media == [("message", "report.csv", "file"), ("message", "file.png", "picture")]


def test_files_that_are_not_sent_are_named_in_the_log(owner: User, zhang: User) -> None:
    mapping = ChannelMapping(title="{{ payload.title }}", key_path="title", file_paths=("files",))
    channel = make_channel(owner, zhang, mapping=mapping)
    files = [{"name": "run.exe", "content": "TVqQAAMAAAA="}, {"name": "a.csv", "content": "!"}]

    answers = [call(channel, {"title": "日报", "files": files}) for _time in range(2)]

    assert [answer.json()["status"] for answer in answers] == ["accepted", "repeated"]
    assert read_outcomes(channel) == [(Outcome.REPEATED, 1), *[(Outcome.WITHOUT_FILE, 1)] * 2, (Outcome.ACCEPTED, 1)]
    rows = InboundCall.objects.filter(outcome=Outcome.WITHOUT_FILE).order_by("pk")
    assert [json.loads(row.reason)["values"] for row in rows] == [{"name": "run.exe"}, {"name": "a.csv"}]


def test_a_message_is_written_in_the_sites_language_and_severity_makes_it_urgent(owner: User, zhang: User) -> None:
    channel = make_channel(owner, zhang, mapping=ChannelMapping(title="{{ payload.ok }}"))

    call(channel, {"ok": True}, **{"Accept-Language": "en"})
    call(make_preset_channel("grafana", owner, zhang), *read_example("grafana"))

    first, urgent = IncomingMessage.objects.order_by("pk")
    assert (first.title, first.priority > 0, urgent.priority) == ("是", True, 0)


def test_what_the_condition_leaves_out_is_answered_and_noted(owner: User, zhang: User) -> None:
    channel = make_preset_channel("jenkins", owner, zhang)
    body, kind = read_example("jenkins")

    answer = call(channel, body.replace(b"FINALIZED", b"STARTED"), kind)

    assert (answer.status_code, answer.json()) == (202, {"status": "left_out"})
    assert not IncomingMessage.objects.exists()
    assert read_outcomes(channel) == [(Outcome.LEFT_OUT, 1)]


@pytest.mark.parametrize(
    ("sender", "before", "after"),
    [
        ("grafana", "09:51:03", "10:51:03"),
        ("alertmanager", "01:02:03", "02:02:03"),
        ("dolphinscheduler", "06:00:01", "07:00:01"),
        ("jenkins", "/18/", "/19/"),
        ("metabase", "01:16:15.765", "02:16:15.765"),
    ],
)
def test_a_ready_made_mapping_tells_a_repeat_from_the_next_event(
    sender: str, before: str, after: str, owner: User, zhang: User
) -> None:
    channel = make_preset_channel(sender, owner, zhang)
    body, kind = read_example(sender)

    answers = [call(channel, one, kind) for one in (body, body, body.replace(before.encode(), after.encode()))]

    assert [answer.json()["status"] for answer in answers] == ["accepted", "repeated", "accepted"]
    assert answers[1].json()["id"] == answers[0].json()["id"]


def test_what_has_nothing_of_its_key_is_no_repeat_unless_its_senders_header_says_so(owner: User, zhang: User) -> None:
    mapping = ChannelMapping(title="好", key_path="alerts[].[fingerprint, startsAt]")
    channel = make_channel(owner, zhang, mapping=mapping)

    bodies: list[dict[str, Any]] = [{}, {}, {"alerts": [{}]}, {"alerts": [{}]}]
    answers = [call(channel, body) for body in bodies]
    answers += [call(channel, {"title": "一次"}, **{"Idempotency-Key": "a"}) for _time in range(2)]

    assert [answer.json()["status"] for answer in answers] == ["accepted"] * 5 + ["repeated"]


@pytest.mark.parametrize("changed", [{}, {"Idempotency-Key": "another"}])
def test_a_recorded_call_with_its_time_signed_sends_nothing_again(
    changed: dict[str, str], owner: User, zhang: User
) -> None:
    channel = make_channel(owner, zhang, scheme="timed")
    body, seconds = b'{"title": "x"}', int(timezone.now().timestamp())

    def signed(at: int) -> dict[str, str]:
        digits = hmac.new(SECRET.encode(), f"{at}.".encode() + body, "sha256").hexdigest()
        return {"X-Signature": f"t={at},v1={digits}"}

    again = {**signed(seconds), **changed}
    answers = [call(channel, body, **headers) for headers in (signed(seconds), again, signed(seconds - 1))]

    assert [answer.json()["status"] for answer in answers] == ["accepted", "repeated", "accepted"]


def test_recipients_come_from_a_field(owner: User, corp: Corp, zhang: User) -> None:
    li = make_person(corp, "LiNa", email="lina@example.com")
    mapping = ChannelMapping(title="好", recipient_kind="email", recipient_path="to")
    channel = make_channel(owner, zhang, mapping=mapping)

    answer = call(channel, {"to": "Li Na <LiNa@example.com>; nobody@example.com"})

    assert answer.status_code == 202
    message = IncomingMessage.objects.get()
    assert (list(message.people.all()), [one["value"] for one in message.unknown]) == ([li], ["nobody@example.com"])


def test_a_channel_that_is_not_enabled_only_notes(channel: InboundChannel) -> None:
    InboundChannel.objects.update(is_enabled=False)

    answer = call(channel, {"title": "试"})

    assert (answer.status_code, answer.json()) == (202, {"status": "noted"})
    assert not IncomingMessage.objects.exists()
    last = calls.find_last_payload(channel, now=timezone.now())
    assert last is not None
    assert last[0] == {"title": "试"}


def test_the_last_payload_is_encrypted_and_forgotten_after_an_hour(channel: InboundChannel) -> None:
    call(channel, {"title": "密"})
    call(channel, {"title": "后"})

    with connection.cursor() as cursor:
        cursor.execute("SELECT last_payload FROM notifications_inboundchannel")
        [(sealed,)] = cursor.fetchall()
    assert "后" not in sealed
    later = timezone.now() + calls.PAYLOAD_KEPT
    assert calls.find_last_payload(channel, now=later) is None
    calls.purge_calls(now=later)
    channel.refresh_from_db()
    assert (channel.last_payload, channel.last_payload_at) == ("", None)


def test_a_save_of_the_channel_keeps_the_payload_that_came_meanwhile(channel: InboundChannel) -> None:
    open_in_form = InboundChannel.objects.get()
    call(channel, {"title": "后"})
    audited = AuditEntry.objects.count()
    open_in_form.save()

    last = calls.find_last_payload(channel, now=timezone.now())
    assert last is not None
    assert last[0] == {"title": "后"}
    assert AuditEntry.objects.count() == audited


def test_the_newest_calls_are_kept_and_one_that_comes_in_meanwhile(channel: InboundChannel) -> None:
    now = timezone.now()
    for number in range(calls.CALLS_SHOWN + 3):
        calls.log_call(channel, Outcome.ACCEPTED if number % 2 else Outcome.LEFT_OUT, now=now)

    with just_before(
        'DELETE FROM "notifications_inboundcall"',
        lambda: calls.log_call(channel, Outcome.REPEATED, now=now + timedelta(seconds=1)),
    ):
        calls.purge_calls(now=now)

    assert InboundCall.objects.filter(outcome=Outcome.REPEATED).exists()
    assert InboundCall.objects.count() == calls.CALLS_SHOWN + 1


def test_a_wrong_secret_and_an_unknown_address_get_the_same_answer(channel: InboundChannel) -> None:
    known = [call(channel, {"title": "x"}, secret="gwi_wrong") for _time in range(3)]
    assert read_outcomes(channel) == [(Outcome.REFUSED, 3)]  # equal refusals are one line of the log
    assert read_reasons(channel) == ["The secret or the signature is missing or wrong."]
    unknown = call(InboundChannel(public_id="0" * 32, scheme="bearer"), {"title": "x"})
    InboundChannel.objects.update(kind="mail")
    mail = call(channel, {"title": "x"})

    assert known[0].status_code == 401
    assert known[0].headers["Content-Type"] == "application/problem+json"
    assert known[0].content == unknown.content == mail.content
    assert not InboundChannel.objects.filter(last_payload_at__isnull=False).exists()


def test_a_body_that_is_too_large_to_be_proven_tells_nobody_of_the_channel(owner: User, zhang: User) -> None:
    channel = make_channel(owner, zhang, scheme="hmac")

    large = call(channel, b"x" * (4 * 1024 * 1024 + 1), "text/plain")

    assert large.content == call(channel, {"title": "x"}).content
    assert large.status_code == 401
    assert read_reasons(channel)[-1] == "The body is too large, or nested too deeply."


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"{", "application/json", 400, "malformed_request"),
        (b"", "application/json", 400, "malformed_request"),
        (b"{'a'}", "application/json", 400, "malformed_request"),
        ("中文".encode("gbk"), "application/json", 400, "malformed_request"),
        (b"[" * 60 + b"]" * 60, "application/json", 413, "body_too_large"),
        (b"[" * 100_000, "application/json", 413, "body_too_large"),
        (b"[" + b"1," * 60_000 + b"1]", "application/json", 413, "body_too_large"),
        (b"x" * (4 * 1024 * 1024 + 1), "text/plain", 413, "body_too_large"),
        (b"--x", "multipart/form-data", 400, "malformed_request"),
    ],
)
def test_bodies_that_cannot_be_read_are_refused(
    body: bytes, kind: str, status: int, code: str, channel: InboundChannel
) -> None:
    answer = call(channel, body, kind)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert read_outcomes(channel) == [(Outcome.REFUSED, 1)]
    assert not IncomingMessage.objects.exists()


def test_two_megabytes_of_one_line_are_cut(channel: InboundChannel) -> None:
    answer = call(channel, {"title": "x" * 2_000_000, "text": "y" * 2_000_000})

    assert answer.status_code == 202
    message = IncomingMessage.objects.get()
    assert (len(message.title), len(message.text)) == (128, 20_000)


@pytest.mark.parametrize("method", ["get", "delete", "patch"])
def test_only_post_and_put_are_taken(method: str, channel: InboundChannel, client: Any) -> None:
    answer = getattr(client, method)(f"/in/{channel.public_id}", headers={"Authorization": f"Bearer {SECRET}"})

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


def test_who_floods_waits_and_the_daily_limit_counts_people(channel: InboundChannel, settings: Any) -> None:
    InboundChannel.objects.update(daily_limit=1)
    settings.API_CALLS_PER_TOKEN = 2
    answers = [call(channel, {"title": "x"}) for _time in range(3)]

    assert [answer.status_code for answer in answers] == [202, 429, 429]
    assert [answer.json()["code"] for answer in answers[1:]] == ["daily_limit_reached", "too_many_requests"]
    assert int(answers[2].headers["Retry-After"]) > 0
    assert IncomingMessage.objects.count() == 1


def test_people_beyond_the_owner_are_nobody(owner: User) -> None:
    stranger = make_person(make_corp(name="他司", corpid="ww2"), "Stranger")
    mapping = ChannelMapping(title="好", recipient_kind="user", recipient_path="to")
    channel = make_channel(owner, stranger, mapping=mapping)
    answers = [call(channel, {"to": name}) for name in (stranger.username, "nobody-at-all")]
    InboundChannel.objects.update(mapping=ChannelMapping(title="好").to_document())
    answers.append(call(channel, {}))

    assert [answer.status_code for answer in answers] == [422] * 3
    assert answers[0].content == answers[1].content == answers[2].content
    assert not IncomingMessage.objects.exists()


def test_a_mapping_that_does_not_fit_is_told_and_noted(owner: User, zhang: User) -> None:
    channel = make_channel(owner, zhang, mapping=ChannelMapping(title="{{ payload.a + payload.b }}"))

    answer = call(channel, {"a": "x", "b": 1})

    assert (answer.status_code, answer.json()["code"]) == (422, "mapping_failed")
    assert read_outcomes(channel) == [(Outcome.REFUSED, 1)]


def test_the_token_in_the_address_stands_in_no_log(
    owner: User, zhang: User, caplog: Any, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    channel = make_channel(owner, zhang, scheme="query")

    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("broken")

    caplog.set_level("DEBUG")
    assert call(channel, b"{").status_code == 400
    assert call(channel, {"title": "x"}, secret="gwi_wrong_one").status_code == 401
    monkeypatch.setattr(calls, "map_payload", fail)
    client_error = None
    try:
        call(channel, {"title": "x"})
    except RuntimeError as error:
        client_error = error

    assert client_error is not None
    requests = [str(getattr(record, "request", "")) for record in caplog.records]
    assert not any(secret in line for secret in (SECRET, "gwi_wrong_one") for line in [caplog.text, *requests])


def test_the_servers_log_of_accesses_has_the_address_without_its_token(
    owner: User, zhang: User, rf: RequestFactory
) -> None:
    channel = make_channel(owner, zhang, scheme="query")
    address = f"/in/{channel.public_id}"
    request = rf.post(f"{address}?token={SECRET}", {"title": "x"}, content_type="application/json")
    request.META["RAW_URI"] = request.META["REQUEST_URI"] = f"{address}?token={SECRET}"

    response = receive_call(request, channel.public_id)

    line = Logger(Config()).atoms(SimpleNamespace(status="202 Accepted", headers=[]), [], request.META, timedelta(0))
    assert response.status_code == 202
    assert line["r"] == f"POST {address} HTTP/1.1"
    assert not any(SECRET in str(value) for name, value in line.items() if name != "{wsgi.input}e")


ANSWERS = {202, 400, 413, 422}

# Everything that a mapping can have, on fields that a payload may or may not have.
GREEDY = ChannelMapping(
    title="{{ payload.a }} {{ payload['b c'][0].d|default('') }}",
    text="{% for one in payload.a %}{{ one }}{{ one.x|thousands }}{% endfor %}{{ payload.n + 1 }}",
    recipient_kind="userid",
    recipient_path="to || a",
    only_path="a || b",
    key_path="id",
    link_path="a",
    severity_path="n",
    urgent_values=("critical",),
    figures=(("数", "n"), ("和", "sum(a)")),
    file_paths=("a[]", "files"),
)
NAMES = st.sampled_from(["a", "b c", "d", "n", "to", "id", "x", "files", "name", "content"]) | st.text(max_size=5)
ODD = st.sampled_from(
    [
        *("<@all>", "<a href='x'>", "{{ 7*7 }}", "{% for %}", "\x00", "\ud800", "\u202e", "http://[", "data:,", "NaN"),
        *("https://example.com/x.png", "data:image/png;base64,AAAA", "[1,", '{"a": {"b": 1}}', "|@all", "=cmd()"),
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**17, max_value=10**60)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(max_size=30)
    | ODD
)
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=25
)
BODIES = (
    st.tuples(TREES.map(lambda tree: json.dumps(tree).encode()), st.just("application/json"))
    | st.tuples(st.binary(max_size=300), st.sampled_from(["application/json", "text/plain; charset=gbk", "", "a/b"]))
    | st.tuples(
        st.lists(st.tuples(NAMES, st.text(max_size=20) | ODD), max_size=6).map(
            lambda pairs: urlencode(pairs, errors="replace").encode()
        ),
        st.just("application/x-www-form-urlencoded"),
    )
    | st.tuples(
        st.binary(max_size=200).map(lambda part: b"--X\r\nContent-Disposition: form-data; " + part + b"\r\n--X--\r\n"),
        st.sampled_from(
            ["multipart/form-data; boundary=X", "multipart/form-data", "multipart/form-data; boundary=\x01"]
        ),
    )
)


@pytest.fixture
def channels(settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[InboundChannel]:
    settings.API_CALLS_PER_TOKEN = 1_000_000
    monkeypatch.setattr("notifications.api.tokens.CALLS_PER_ADDRESS", 1_000_000)
    corp = make_corp()
    owner, person = make_manager(corp), make_person(corp, "a")
    greedy = make_channel(owner, person, mapping=GREEDY, daily_limit=1_000_000)
    waiting = make_channel(owner, person, is_enabled=False)
    return [greedy, waiting]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(sent=BODIES, number=st.integers(min_value=0, max_value=1))
def test_no_body_brings_anything_but_our_answers(
    channels: list[InboundChannel], sent: tuple[bytes, str], number: int
) -> None:
    body, content_type = sent

    answer = call(channels[number], body, content_type)

    assert answer.status_code in ANSWERS, answer.content
    if answer.status_code == 202:
        assert answer.json()["status"] in {"accepted", "repeated", "left_out", "noted"}
    else:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code


def test_no_list_and_no_call_reads_the_last_payload(channel: InboundChannel) -> None:
    person = make_superuser()
    times = dict.fromkeys(("starts_at", "stretch_at", "opened_at", "seen_at"), timezone.now())
    Incident.objects.create(key="k", title="销售额过低", channel=channel, **times)
    with CaptureQueriesContext(connection) as queries:
        call(channel, {"title": "一"})
        render_bodies()
        for model in ("inboundchannel", "incomingmessage", "run", "incident", "delivery", "receipt"):
            answer = english_client(person).get(f"/admin/notifications/{model}/")
            assert answer.status_code == 200, model

    assert InboundChannel.objects.filter(last_payload_at__isnull=False).exists()
    assert not [one["sql"] for one in queries if one["sql"].startswith("SELECT") and '"last_payload"' in one["sql"]]
