"""Charts and files in the preview of a push: made by the workers, for the person who looks and nobody else."""

import io
import re
import zlib
from datetime import datetime, timedelta
from typing import Any

import openpyxl
import pytest
from django.core import signing
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from integrations.models import Card
from notifications import tasks
from notifications.delivery.attachments import (
    _SHAPES,
    PREVIEW_KEPT,
    MediaPlan,
    WantedMedium,
    produce_medium,
    unpack_recipe,
)
from notifications.delivery.rendering import preview as rendering
from notifications.models import MakerQueue, Medium, Report, ReportChart
from tests.notifications import preview_pages
from tests.notifications.delivery.attachments.places import make_medium, make_run
from tests.notifications.factories import make_corp, make_manager, make_person
from tests.notifications.reports.places import answer, make_card, make_data_report, page_values

pytestmark = pytest.mark.django_db
PREVIEW = reverse("admin:notifications_subscription_preview")
BAR = {"alias": "c0", "kind": "bar", "title": "各区域", "x": "区域", "y": "销售额", "top": 10, "position": 0}
CHART = {**BAR, "sort": "as_is", "aggregate": "sum", "series": "", "unit": ""}
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


def preview(client: Client, *cards: Card, **changes: Any) -> str:
    return preview_pages.preview(client, PREVIEW, page_values(*cards, **changes))


def making_addresses(html: str) -> list[str]:
    """Return the addresses that the page polls for unfinished pictures and files, in their order."""
    return re.findall(r'data-making="([^"]+)"', html)


def drawn() -> None:
    fields = {"content": b"\x89PNG", "svg": zlib.compress(SVG), "width": 390, "height": 300, "recipe": b""}
    Medium.objects.filter(status="waiting").update(status="ready", made_at=timezone.now(), **fields)


def recipe_of(medium: Medium) -> dict[str, Any]:
    return unpack_recipe(bytes(medium.recipe))


def test_each_chart_is_drawn_apart_and_shown_once_it_is_ready(root: Client, card: Card) -> None:
    second = {**CHART, "kind": "number", "title": "合计", "x": "", "position": 1}

    html = preview(root, card, charts=(second, CHART))

    assert Medium.objects.filter(run__isnull=True, status="waiting").count() == 2
    assert re.findall("<figcaption>(.*?)</figcaption>", html) == ["各区域", "合计"]
    first, _other = making_addresses(html)
    assert root.get(first).json()["problem"] == ""
    drawn()
    found = root.get(first).json()
    assert (found["kind"], found["width"], found["height"]) == ("picture", 390, 300)
    picture = root.get(found["address"])
    assert (picture.content, picture["Content-Type"]) == (SVG, "image/svg+xml")
    assert picture["Cache-Control"].startswith("private, no-store")
    assert "script-src" not in picture["Content-Security-Policy"]
    assert "sandbox" in picture["Content-Security-Policy"]
    assert root.get(found["address"].replace(".svg", ".png")).content == b"\x89PNG"
    assert root.get(found["address"].replace(".svg", ".xlsx")).status_code == 404


@pytest.mark.parametrize("form", ["news", "image", "news_notice"])
def test_the_picture_that_a_message_carries_stands_in_it(root: Client, card: Card, form: str) -> None:
    html = preview(root, card, charts=(CHART,), message_form=form)

    if form == "image":  # without its picture it is shown as it will go out
        bare = preview(root, card, message_form=form)
        assert "内容没有适用于此形式的图片或文件" in bare
        assert ("phone-textcard" in bare, making_addresses(bare)) == (True, [])
    phone, page = html.split('<figure class="preview-chart">')
    assert len(making_addresses(phone)) == len(making_addresses(page)) == 1
    shapes = sorted(recipe_of(medium)["shape"] for medium in Medium.objects.all())
    assert shapes == sorted({"free", _SHAPES[form]})  # type: ignore[index]  # a form by its value


@pytest.mark.parametrize("form", ["xlsx", "csv"])
def test_a_file_can_be_opened(root: Client, card: Card, form: str) -> None:
    [address] = making_addresses(preview(root, card, title="日报", message_form=form, _at="2026-11-24T09:00"))

    assert produce_medium(Medium.objects.get().pk, clock=timezone.now)
    found = root.get(address).json()
    response = root.get(found["address"])

    assert found["kind"] == form
    assert f'filename="preview.{form}"' in response["Content-Disposition"]
    if form == "xlsx":
        assert openpyxl.load_workbook(io.BytesIO(response.content)).sheetnames == ["区域销售额"]


def test_nobody_else_may_ask_for_it(root: Client, card: Card) -> None:
    [address] = making_addresses(preview(root, card, charts=(CHART,)))
    drawn()
    picture = root.get(address).json()["address"]
    other = Client()

    for person, status in ((make_manager(make_corp()), 404), (make_person(make_corp(), "li"), 302)):
        other.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        assert [other.get(path).status_code for path in (address, picture)] == [status, status]
    assert Client().get(picture).status_code == 302
    assert root.get(picture).status_code == 200


def test_a_token_that_is_not_ours_or_too_old_shows_nothing(root: Client, card: Card) -> None:
    [address] = making_addresses(preview(root, card, charts=(CHART,)))
    medium = Medium.objects.get()
    user = make_person(make_corp(), "other")

    def state(token: str) -> Any:
        return rendering.find_medium_state(token, by=user, now=timezone.now())

    def token_of(medium_id: int) -> str:
        return signing.dumps((medium_id, user.pk, 0), salt=rendering.PREVIEW_SALT)

    assert root.get(address.replace(":", "a:")).status_code == 404
    assert state(signing.dumps((medium.pk, user.pk, 0))) is None  # signed for something else
    assert state(token_of(medium.pk)) is not None
    assert state(token_of(medium.pk + 1)) is None
    assert state(token_of(make_medium(make_run()).pk)) is None  # of a message


def test_who_looks_is_told_when_it_takes_too_long(root: Client, card: Card) -> None:
    [address] = making_addresses(preview(root, card, charts=(CHART,)))
    medium, user, now = Medium.objects.get(), make_person(make_corp(), "other"), timezone.now()
    token = signing.dumps((medium.pk, user.pk, int(now.timestamp())), salt=rendering.PREVIEW_SALT)

    def problem(seconds: int = 60) -> str:
        state = rendering.find_medium_state(token, by=user, now=now + timedelta(seconds=seconds))
        assert state is not None
        return state[2]

    assert problem() == "没有后台进程在 60 秒内处理：是否有后台进程负责“charts”？"
    Medium.objects.update(queue=MakerQueue.SNAPSHOTS)
    assert problem() == ""
    assert problem(120) == "没有后台进程在 120 秒内处理：是否有后台进程负责“snapshots”？"
    Medium.objects.update(queue=MakerQueue.CHARTS, make_count=1)
    assert problem() == "60 秒后仍未生成：要绘制的内容可能太多。"
    Medium.objects.update(status="failed", error="数据中没有列“x”。")
    assert root.get(address).json()["problem"] == "数据中没有列“x”。"


def test_what_was_requested_already_is_not_made_twice_unless_it_failed() -> None:
    now, wanted = timezone.now(), WantedMedium(Medium.Kind.CSV, b"recipe", "")
    user = make_person(make_corp(), "other")

    def begin(at: datetime) -> list[int]:
        begun = rendering.begin_media(MediaPlan(wanted), by=user, now=at)
        assert begun is not None
        return begun[0]

    first = begin(now)

    assert begin(now) == first
    assert begin(now + PREVIEW_KEPT / 2) != first  # soon forgotten
    Medium.objects.update(status="failed")
    assert begin(now) != first


def test_too_many_at_once_are_refused(root: Client, card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "WAITING_AT_MOST", 1)
    preview(root, card, charts=(CHART,))

    html = preview(root, card, charts=({**CHART, "kind": "pie"},))

    assert "第 1 个图表，“最多”：" in preview(root, card, charts=({**CHART, "top": 99},))
    assert 'class="problem"' in html
    assert "phone-textcard" in html
    assert Medium.objects.count() == 1


def test_it_goes_to_the_workers_at_once_before_what_messages_wait_for(
    root: Client, card: Card, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    sizes = list[int]()
    preview(root, card, charts=(CHART,))
    medium = Medium.objects.get()
    Medium.objects.update(make_after=timezone.now() - timedelta(seconds=1))

    for _time in range(2):  # the second time nothing is left to hand out
        with django_capture_on_commit_callbacks() as published:
            tasks.enqueue_previews([medium.pk])
        sizes.append(len(published))
    assert sizes == [1, 0]


def test_times_are_those_of_the_chosen_zone(root: Client, card: Card, settings: Any) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"

    def hours(zone: str) -> str:
        html = preview(root, card, charts=(CHART,), body="[{{ c0.as_of|date('DD HH') }}]", time_zone=zone)
        return html.split("[")[1].split("]")[0]

    assert len({hours("America/New_York"), hours("UTC"), hours("Asia/Tokyo")}) == 3
    assert hours("nowhere") == hours("Asia/Tokyo")
    zones = [recipe_of(medium)["time_zone"] for medium in Medium.objects.order_by("pk")]
    assert zones == ["America/New_York", "UTC", "Asia/Tokyo", "Asia/Tokyo", "Asia/Tokyo"]


@pytest.mark.parametrize(
    ("changes", "said"), [({"alias": "c9"}, "内容中没有这个名称的数据。"), ({"y": "没有"}, "数据中没有列“没有”。")]
)
def test_a_chart_that_cannot_be_drawn_is_refused_at_saving(root: Client, changes: dict[str, str], said: str) -> None:
    known = make_data_report()
    answer(known)
    card = known.report_cards.get().card
    add = reverse("admin:notifications_report_add")

    page = root.post(add, page_values(card, charts=({**CHART, **changes},))).content.decode()

    assert said in page
    assert not ReportChart.objects.exists()
    assert root.post(add, page_values(card, charts=(CHART,))).status_code == 302
    never_fetched = page_values(make_card(), charts=({**CHART, "y": "以后有"},))
    assert root.post(add, never_fetched).status_code == 302
    assert Report.objects.count() == 3
