"""Preparing messages, from waiting for a picture or file to frozen bytes: once, whatever fails in between."""

import io
import json
import time
from datetime import timedelta
from typing import Any

import openpyxl
import pytest
from django.test import Client
from django.utils import timezone

from integrations.models import Corp, SiteAddress
from notifications.charts.definition import Chart, ChartKind
from notifications.charts.drawing import Shape
from notifications.delivery import channels, limiter, maintenance
from notifications.delivery.attachments import (
    FILE_FORMS,
    LINK_DAYS,
    PICTURE_FORMS,
    QUEUED_AT_MOST,
    RESERVATION,
    TRIES_AT_MOST,
    hand_out_media,
    make_picture_recipe,
    produce_medium,
    sign_picture_path,
    sweep_media,
)
from notifications.delivery.channels import ROBOT_GONE, make_company_scope
from notifications.delivery.limiter import Permit, Request
from notifications.delivery.runs import recall
from notifications.delivery.sending.queue import ReservedDeliveries, read_sendables
from notifications.delivery.sending.send import ask_permits
from notifications.delivery.sending.uploads import UPLOAD_API, freeze_delivery, hand_out_uploads, prepare_deliveries
from notifications.models import Attempt, Channel, Delivery, Medium, MessageForm, Robot, Run
from notifications.sources import Content
from tests.notifications.conftest import FakeClock
from tests.notifications.delivery.attachments.places import CONTENT, body_of, make_delivery, make_medium, make_run
from tests.notifications.factories import NOW, make_corp
from tests.notifications.one_delivery import send_delivery
from tests.notifications.wecom_stub import WeComStub, errcode, reset

pytestmark = pytest.mark.django_db

Status = Delivery.Status
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 100
UPLOADED = {"errcode": 0, "errmsg": "", "type": "image", "media_id": "media-1", "created_at": "1764000000"}


def mark_ready(medium: Medium, content: bytes = PNG) -> None:
    Medium.objects.filter(pk=medium.pk).update(status=Medium.Status.READY, content=content, made_at=NOW)


def prepare(delivery: Delivery, clock: FakeClock) -> Delivery:
    prepare_deliveries([delivery.pk], clock=clock, is_stopping=lambda: False)
    delivery.refresh_from_db()
    return delivery


def make_with_picture(wire: WeComStub) -> Delivery:
    """Create a message whose picture is made."""
    delivery = make_delivery(make_corp(api_base_url=wire.url), MessageForm.IMAGE)
    mark_ready(medium_of(delivery))
    return delivery


def make_two(corp: Corp) -> list[Delivery]:
    """Create two messages whose pictures are made."""
    found = [make_delivery(corp, MessageForm.IMAGE) for _number in range(2)]
    for delivery in found:
        mark_ready(medium_of(delivery))
    return found


def medium_of(delivery: Delivery) -> Medium:
    assert delivery.medium is not None
    return delivery.medium


@pytest.mark.parametrize("form", sorted(PICTURE_FORMS | FILE_FORMS))
def test_a_message_with_a_picture_or_a_file_is_written_as_being_prepared(form: MessageForm) -> None:
    delivery = make_delivery(make_corp(), form)

    assert delivery.status == Status.PREPARING
    assert json.loads(bytes(delivery.plain_body))["msgtype"] in {"textcard", "template_card"}
    assert "未能生成" in bytes(delivery.plain_body).decode()
    assert not Delivery.objects.sendable(NOW).exists()
    assert not Delivery.objects.preparable(NOW).exists()  # before its medium is made


def test_a_message_that_cannot_have_what_it_should_carry_goes_without() -> None:
    content = Content(title="销售日报", text="没有图表")

    delivery = make_delivery(make_corp(), MessageForm.IMAGE, content=content)

    assert (delivery.status, delivery.medium_id, body_of(delivery)["msgtype"]) == (Status.PENDING, None, "textcard")


def test_a_picture_is_uploaded_for_its_message_and_frozen_into_it(wire: WeComStub, clock: FakeClock) -> None:
    delivery = make_with_picture(wire)
    wire.sends.append(UPLOADED)

    prepare(delivery, clock)

    assert (delivery.status, delivery.plain_body) == (Status.PENDING, b"")
    assert body_of(delivery) | {"duplicate_check_interval": 0} == {
        "touser": "LiLei|HanMei",
        "msgtype": "image",
        "agentid": delivery.agentid,
        "image": {"media_id": "media-1"},
        "enable_duplicate_check": 1,
        "duplicate_check_interval": 0,
    }
    [upload] = wire.bodies
    assert 'filename="销售日报 2026-11-24.png"'.encode() in upload
    assert PNG in upload
    assert send_delivery(delivery.pk, clock=clock)
    delivery.refresh_from_db()
    assert delivery.status == Status.ACCEPTED


@pytest.mark.parametrize("form", [MessageForm.XLSX, MessageForm.CSV])
def test_a_file_is_made_and_uploaded_as_one(wire: WeComStub, clock: FakeClock, form: MessageForm) -> None:
    delivery = make_delivery(make_corp(api_base_url=wire.url), form)
    wire.sends.append({**UPLOADED, "type": "file"})

    assert produce_medium(medium_of(delivery).pk, clock=clock)
    prepare(delivery, clock)

    assert body_of(delivery)["file"] == {"media_id": "media-1"}
    assert f'filename="销售日报 2026-11-24.{form}"'.encode() in wire.bodies[0]
    medium = Medium.objects.get(pk=medium_of(delivery).pk)
    assert medium.recipe == b""
    if form == MessageForm.XLSX:
        assert openpyxl.load_workbook(io.BytesIO(bytes(medium.content))).sheetnames == ["销售明细"]


@pytest.mark.parametrize("form", [MessageForm.NEWS, MessageForm.NEWS_NOTICE])
def test_a_picture_by_address_is_not_uploaded(wire: WeComStub, clock: FakeClock, form: MessageForm) -> None:
    delivery = make_delivery(make_corp(api_base_url=wire.url), form)
    body = body_of(delivery)
    mark_ready(medium_of(delivery))

    prepare(delivery, clock)

    assert (delivery.status, wire.bodies) == (Status.PENDING, [])
    assert body_of(delivery) == body
    part = body[body["msgtype"]]
    url = part["articles"][0]["picurl"] if form == MessageForm.NEWS else part["card_image"]["url"]
    assert url.startswith("https://site.example.test/p/")


def test_what_cannot_be_made_goes_without_it(clock: FakeClock) -> None:
    delivery = make_delivery(make_corp(), MessageForm.IMAGE)
    plain = delivery.plain_body
    Medium.objects.update(status=Medium.Status.FAILED, error="没有数据", made_at=NOW)

    prepare(delivery, clock)

    assert (delivery.status, bytes(delivery.body), delivery.error) == (Status.PENDING, plain, "没有数据")


@pytest.mark.parametrize("answer", [reset, errcode(-1)])
def test_an_upload_that_fails_for_the_moment_is_tried_again(wire: WeComStub, clock: FakeClock, answer: Any) -> None:
    delivery = make_with_picture(wire)
    wire.sends.extend([answer, answer, answer, UPLOADED])

    while prepare(delivery, clock).status == Status.PREPARING:
        assert NOW < delivery.next_attempt_at <= NOW + timedelta(minutes=15)
        clock.now = delivery.next_attempt_at

    assert body_of(delivery)["image"] == {"media_id": "media-1"}
    assert Attempt.objects.count() == 0


def test_a_company_that_cannot_be_sent_to_is_held_up_by_an_upload_and_goes_on(
    corp: Corp, wire: WeComStub, clock: FakeClock
) -> None:
    first, second = make_two(corp)
    wire.sends.extend([errcode(60020), UPLOADED])

    prepare(first, clock)
    clock.advance(seconds=60)
    early = hand_out_uploads(now=clock())
    clock.advance(seconds=120)
    found = hand_out_uploads(now=clock())

    assert early == ReservedDeliveries([], [])
    assert len(found.ordinary) == 1
    assert prepare(Delivery.objects.get(pk=found.ordinary[0]), clock).status == Status.PENDING
    assert len(hand_out_uploads(now=clock.advance(seconds=130)).ordinary) == 1


def test_uploads_count_against_limits_of_their_own(
    corp: Corp, wire: WeComStub, clock: FakeClock, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.LIMIT_COMPANY_PER_MINUTE = 1
    monkeypatch.setattr(channels, "RESERVED_PERCENT", 0)
    monkeypatch.setattr("notifications.delivery.sending.send.PATIENCE_SECONDS", 0)
    first, second = make_two(corp)
    wire.sends.append(UPLOADED)

    prepare_deliveries([first.pk, second.pk], clock=clock, is_stopping=lambda: False)

    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, second.status) == (Status.PENDING, Status.PREPARING)
    assert NOW < second.next_attempt_at <= NOW + timedelta(seconds=61)
    assert len(wire.bodies) == 1
    assert send_delivery(first.pk, clock=clock)  # message/send has a limit of its own


def test_an_upload_counts_as_under_way_for_as_long_as_it_may_last(
    corp: Corp, wire: WeComStub, clock: FakeClock, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uploads may last longer than the sending of a message, and their permits must not end before they do."""
    settings.WECOM_TOTAL_TIMEOUT_SECONDS = 0.05
    settings.LIMIT_COMPANY_PARALLEL = 1
    monkeypatch.setattr(channels, "RESERVED_PERCENT", 0)
    monkeypatch.setattr(limiter, "PERMIT_SECONDS", 0)
    monkeypatch.setattr("notifications.delivery.sending.send.PATIENCE_SECONDS", 0)
    first, second = make_two(corp)
    wire.sends.extend([UPLOADED, UPLOADED])
    request = Request("other", (make_company_scope(corp.corpid, UPLOAD_API),))
    meanwhile: list[Permit | float] = []

    def upload_is_slow() -> None:
        wire.on_send = lambda: None
        time.sleep(0.2)
        meanwhile.extend(ask_permits([request], call_seconds=1))

    wire.on_send = upload_is_slow
    prepare(first, clock)

    assert [isinstance(answer, Permit) for answer in meanwhile] == [False]
    assert first.status == Status.PENDING
    assert prepare(second, clock).status == Status.PENDING  # it was given back


def make_for_robot(corp: Corp, form: MessageForm, content: bytes = PNG) -> Delivery:
    robot, _is_new = Robot.objects.get_or_create(corp=corp, name="群", defaults={"key": "k" * 36})
    delivery = make_delivery(corp, form, channel=Channel.ROBOT, robot=robot)
    mark_ready(medium_of(delivery), content)
    return delivery


def test_a_robot_gets_its_picture_in_the_message_unless_it_is_too_large(corp: Corp, clock: FakeClock) -> None:
    small = prepare(make_for_robot(corp, MessageForm.IMAGE), clock)
    large = prepare(make_for_robot(corp, MessageForm.IMAGE, PNG + b"\0" * 2 * 1024 * 1024), clock)

    assert body_of(small)["image"]["base64"].startswith("iVBORw0KGgo")
    assert (large.status, body_of(large)["msgtype"]) == (Status.PENDING, "text")


def test_a_robots_file_is_uploaded_with_its_key_unless_the_robot_is_gone(
    corp: Corp, wire: WeComStub, clock: FakeClock
) -> None:
    first, second = (make_for_robot(corp, MessageForm.XLSX) for _ in range(2))
    wire.sends.append({**UPLOADED, "type": "file"})

    prepare(first, clock)
    Robot.objects.all().delete()
    second.refresh_from_db()
    prepare(second, clock)

    assert body_of(first) == {"msgtype": "file", "file": {"media_id": "media-1"}}
    assert (second.status, second.error) == (Status.PENDING, ROBOT_GONE.message)


@pytest.mark.parametrize(
    ("form", "types"),
    [(MessageForm.IMAGE, ["text/plain", "text/html", "image/png"]), (MessageForm.CSV, ["text/plain", "text/csv"])],
)
def test_a_mail_carries_its_picture_or_file(
    clock: FakeClock, mailoutbox: list[Any], form: MessageForm, types: list[str]
) -> None:
    delivery = make_delivery(make_corp(), form, channel=Channel.EMAIL)
    mark_ready(medium_of(delivery), PNG if form == MessageForm.IMAGE else b"\xef\xbb\xbfa,b\r\n")

    prepare(delivery, clock)
    channels.MailSender().make_call(read_sendables(Delivery.objects.filter(pk=delivery.pk))[0])()

    [sent] = mailoutbox
    parts = [part.get_content_type() for part in sent.message().walk() if not part.is_multipart()]
    assert parts == types
    assert "销售日报 2026-11-24" in str(body_of(delivery)["medium"]["name"])


def test_of_two_workers_the_first_freezes_it(wire: WeComStub, clock: FakeClock) -> None:
    delivery = make_with_picture(wire)
    wire.sends.append(UPLOADED)

    read_by_another = Delivery.objects.get(pk=delivery.pk)
    prepare(delivery, clock)

    assert delivery.status == Status.PENDING
    assert not freeze_delivery(read_by_another, lambda body: body | {"image": {"media_id": "late"}}, clock())
    assert body_of(delivery)["image"] == {"media_id": "media-1"}


def test_a_canceled_message_is_not_frozen_by_an_upload_under_way(clock: FakeClock) -> None:
    run = make_run()
    delivery = make_delivery(make_corp(), MessageForm.IMAGE, run=run)
    mark_ready(medium_of(delivery))
    held = Delivery.objects.get(pk=delivery.pk)

    Run.objects.update(recall_requested_at=NOW)
    recall.cancel_recalled(now=NOW)

    assert not freeze_delivery(held, lambda body: body, clock())
    delivery.refresh_from_db()
    assert delivery.status == Status.CANCELED


def test_what_is_worthless_is_canceled_while_it_is_prepared() -> None:
    delivery = make_delivery(make_corp(), MessageForm.IMAGE)

    maintenance.sweep_deliveries(now=NOW + timedelta(hours=25))

    delivery.refresh_from_db()
    assert delivery.status == Status.CANCELED
    assert Run.objects.get().status == Run.Status.FINISHED


def test_people_who_left_are_taken_out_of_what_is_being_prepared(wire: WeComStub, clock: FakeClock) -> None:
    corp = make_corp(api_base_url=wire.url)
    delivery = make_delivery(corp, MessageForm.IMAGE)
    delivery.receipts.create(run=delivery.run, channel=Channel.WECOM, address=f"{corp.pk}:lilei")
    mark_ready(medium_of(delivery))
    held = Delivery.objects.get(pk=delivery.pk)

    recall.withdraw_recipients(corp, ["lilei"], NOW)
    freeze_delivery(held, lambda body: body | {"image": {"media_id": "m"}}, clock())

    assert (body_of(delivery)["touser"], body_of(delivery)["image"]) == ("HanMei", {"media_id": "m"})


def test_what_may_have_arrived_is_never_written_anew(wire: WeComStub, clock: FakeClock) -> None:
    delivery = make_with_picture(wire)
    wire.sends.extend([UPLOADED, reset, errcode(40007)])
    prepare(delivery, clock)
    assert send_delivery(delivery.pk, clock=clock)
    clock.advance(minutes=5)
    assert send_delivery(delivery.pk, clock=clock)

    assert wire.bodies[1] == wire.bodies[2]
    delivery.refresh_from_db()
    assert delivery.status == Status.UNKNOWN


def test_a_picture_that_wecom_has_forgotten_is_uploaded_anew(wire: WeComStub, clock: FakeClock) -> None:
    delivery = make_with_picture(wire)
    wire.sends.extend([UPLOADED, errcode(40007), {**UPLOADED, "media_id": "media-2"}])
    prepare(delivery, clock)
    send_delivery(delivery.pk, clock=clock)
    delivery.refresh_from_db()
    assert delivery.status == Status.PREPARING

    clock.now = delivery.next_attempt_at
    prepare(delivery, clock)
    send_delivery(delivery.pk, clock=clock)

    delivery.refresh_from_db()
    assert (delivery.status, body_of(delivery)["image"]) == (Status.ACCEPTED, {"media_id": "media-2"})


def test_what_is_made_is_handed_out_once_and_not_of_a_disabled_company(clock: FakeClock) -> None:
    delivery, disabled = (make_delivery(make_corp(is_enabled=each), MessageForm.IMAGE) for each in (True, False))
    assert hand_out_uploads(now=NOW) == ReservedDeliveries([], [])
    for one in (delivery, disabled):
        mark_ready(medium_of(one))

    assert hand_out_uploads(now=NOW) == ReservedDeliveries([], [delivery.pk])
    assert hand_out_uploads(now=NOW) == ReservedDeliveries([], [])
    assert prepare(disabled, clock).status == Status.PREPARING


def test_what_ends_its_worker_each_time_is_given_up(clock: FakeClock) -> None:
    medium = make_medium(make_run(), make_count=TRIES_AT_MOST)

    assert not produce_medium(medium.pk, clock=clock)
    assert sweep_media(now=NOW) == 1

    medium.refresh_from_db()
    assert (medium.status, bytes(medium.recipe)) == (Medium.Status.FAILED, b"")
    assert medium.error


def test_no_more_is_handed_out_than_is_made_soon() -> None:
    run = make_run()
    for _ in range(QUEUED_AT_MOST["charts"] + 5):
        make_medium(run, recipe=b"")

    assert len(hand_out_media(now=NOW)) == QUEUED_AT_MOST["charts"]
    assert hand_out_media(now=NOW) == []
    assert len(hand_out_media(now=NOW + RESERVATION)) == QUEUED_AT_MOST["charts"]


def test_data_that_cannot_be_drawn_fails_with_a_sentence(clock: FakeClock) -> None:
    broken = make_picture_recipe(
        Chart(ChartKind.BAR, "没有", ("销售额",)), CONTENT.cards[0].table, shape=Shape.FREE, language="zh-hans"
    )
    medium = make_medium(make_run(), recipe=broken)

    assert not produce_medium(medium.pk, clock=clock)

    medium.refresh_from_db()
    assert (medium.status, medium.error_text) == (Medium.Status.FAILED, "数据中没有列“没有”。")


def make_picture_url(medium: Medium, **units: float) -> str:
    SiteAddress.objects.default()
    return sign_picture_path(medium.pk, now=NOW + timedelta(**units))


def test_whoever_has_the_address_sees_the_picture_until_it_is_too_old(client: Client) -> None:
    medium = make_medium(make_run(), status=Medium.Status.READY, content=PNG)
    fresh = (timezone.now() - NOW) / timedelta(days=1)

    answer = client.get(make_picture_url(medium, days=fresh))
    too_old = client.get(make_picture_url(medium, days=fresh - LINK_DAYS - 1))

    assert (answer.status_code, answer.content, answer["Content-Type"]) == (200, PNG, "image/png")
    assert answer["Cache-Control"] == "private, max-age=86400"
    assert answer["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert not answer.cookies
    assert "Cookie" not in answer.get("Vary", "")
    assert too_old.status_code == 404


def test_nobody_guesses_an_address_or_fetches_too_many(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    medium = make_medium(make_run(), status=Medium.Status.READY, content=PNG)
    other = make_medium(make_run(), status=Medium.Status.READY, content=PNG)
    workbook = make_medium(make_run(), status=Medium.Status.READY, content=PNG, kind=Medium.Kind.XLSX)
    fresh = (timezone.now() - NOW) / timedelta(days=1)
    url = make_picture_url(medium, days=fresh)

    for path in (
        url.replace(f"/{medium.pk}-", f"/{other.pk}-"),
        url.replace(".png", "x.png"),
        f"/p/{medium.pk}.png",
        "/p/1-9999999999.png",
        make_picture_url(workbook, days=fresh),
        make_picture_url(make_medium(make_run()), days=fresh),
    ):
        assert client.get(path).status_code == 404, path

    monkeypatch.setattr("notifications.views.media.PICTURES_PER_ADDRESS", 2)
    assert client.get(url).status_code == 429
