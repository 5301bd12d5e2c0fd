"""Pictures and files on the pages of messages: for the people who got them, as long as the message is there."""

from __future__ import annotations

import json
import zlib
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from integrations.clients.snapshots import Options
from notifications.delivery.maintenance import purge_runs
from notifications.models import Channel, Delivery, Medium, MessageForm, Run, new_mark
from notifications.sources import Content, PageView
from tests.notifications.delivery.attachments.places import make_delivery, make_medium, make_run
from tests.notifications.factories import NOW, make_corp, make_person, make_superuser

pytestmark = pytest.mark.django_db
PNG = b"\x89PNG\r\n\x1a\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
HOST = {"host": "localhost:3001"}


def made(delivery: Delivery) -> None:
    pictures = Medium.objects.filter(pk__in=delivery.attachments.values("medium"), kind=Medium.Kind.PICTURE)
    pictures.update(status="ready", content=PNG, svg=zlib.compress(SVG), made_at=timezone.now())
    Medium.objects.exclude(kind=Medium.Kind.PICTURE).update(status="ready", content=b"a,b", made_at=timezone.now())


@pytest.fixture
def delivery() -> Delivery:
    """A file form: its page shows the chart (0) and the file (1)."""
    found = make_delivery(make_corp(), MessageForm.XLSX)
    made(found)
    return found


@pytest.fixture
def person(delivery: Delivery) -> User:
    someone = make_person(delivery.corp, "li")
    delivery.receipts.create(run=delivery.run, user=someone, channel=Channel.WECOM, address=f"{delivery.corp_id}:li")
    return someone


def address(delivery: Delivery, position: int = 0, extension: str = "svg", mark: str = "") -> str:
    return reverse("attachment", args=[mark or delivery.mark, position, extension])


def fetched(person: User | None, path: str) -> Any:
    client = Client()
    if person is not None:
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client.get(path, headers=HOST)


def test_who_got_the_message_sees_its_picture_and_downloads_its_file(person: User, delivery: Delivery) -> None:
    svg, png = (fetched(person, address(delivery, extension=extension)) for extension in ("svg", "png"))
    file = fetched(person, address(delivery, 1, "xlsx"))

    assert (svg.status_code, svg.content, svg["Content-Type"]) == (200, SVG, "image/svg+xml")
    assert (png.status_code, png.content, png["Content-Type"]) == (200, PNG, "image/png")
    assert (file.status_code, file.content) == (200, b"a,b")
    assert quote("销售日报 2026-11-24.xlsx") in file["Content-Disposition"]
    for answer in (svg, png, file):
        assert set(answer["Cache-Control"].split(", ")) == {"private", "no-store"}
        assert "default-src 'none'" in answer["Content-Security-Policy"]
        assert "sandbox" in answer["Content-Security-Policy"]
        assert answer["Referrer-Policy"] == "no-referrer"


def test_the_picture_is_there_for_dark_pages_too(person: User, delivery: Delivery) -> None:
    Medium.objects.update(svg=zlib.compress(b'<svg><rect fill="#ffffff"/><text fill="#1F2329">#ffffff</text></svg>'))

    dark = fetched(person, address(delivery, extension="dark.svg"))
    page = fetched(person, reverse("message", args=[delivery.mark])).content.decode()

    assert (dark.status_code, dark["Content-Type"]) == (200, "image/svg+xml")
    assert dark.content == b'<svg><rect fill="#1c1e21"/><text fill="#e8eaed">#ffffff</text></svg>'
    assert f'<source media="(prefers-color-scheme: dark)" srcset="{address(delivery, extension="dark.svg")}">' in page


def test_nobody_else_gets_anything(person: User, delivery: Delivery) -> None:
    paths = [
        address(delivery),
        address(delivery, extension="dark.svg"),
        address(delivery, extension="png"),
        address(delivery, 1, "xlsx"),
    ]
    colleague, administrator = make_person(delivery.corp, "han"), make_superuser()

    for path in paths:
        assert fetched(colleague, path).status_code == 404
        assert fetched(administrator, path).status_code == 404
        answer = fetched(None, path)
        assert (answer.status_code, b"svg" in answer.content) == (302, False)


def test_somebody_with_another_message_of_the_same_run_does_not_get_this_one(person: User, delivery: Delivery) -> None:
    other = make_delivery(delivery.corp, MessageForm.XLSX, run=delivery.run)
    colleague = make_person(delivery.corp, "han")
    other.receipts.create(run=other.run, user=colleague, channel=Channel.WECOM, address=f"{other.corp_id}:han")

    assert fetched(colleague, address(other)).status_code == 200
    assert fetched(colleague, address(delivery)).status_code == 404


def test_what_is_not_there_is_not_found(person: User, delivery: Delivery) -> None:
    for path in (
        address(delivery, 2),
        address(delivery, 1, "svg"),
        address(delivery, 1, "csv"),
        address(delivery, 0, "xlsx"),
        address(delivery, 0, "html"),
        address(delivery, mark=new_mark()),
        address(delivery, mark="x"),
        address(delivery, mark="%00"),
    ):
        assert fetched(person, path).status_code == 404, path


@pytest.mark.parametrize("status", ["waiting", "failed"])
def test_what_is_not_made_is_not_found(person: User, delivery: Delivery, status: str) -> None:
    Medium.objects.update(status=status)

    assert fetched(person, address(delivery)).status_code == 404


def test_it_goes_with_its_message(person: User, delivery: Delivery, settings: Any) -> None:
    old = timezone.now() - timedelta(days=settings.LOG_RETENTION_DAYS + 1)
    Run.objects.update(status=Run.Status.FINISHED, claimed_at=old, finished_at=old)
    Delivery.objects.update(status=Delivery.Status.ACCEPTED, settled_at=old)

    while purge_runs(now=timezone.now()):
        pass

    assert not Medium.objects.exists()
    assert fetched(person, address(delivery)).status_code == 404


def test_the_index_says_that_no_worker_makes_pictures() -> None:
    root = Client()
    root.force_login(make_superuser(), backend="django.contrib.auth.backends.ModelBackend")
    long_ago = timezone.now() - timedelta(minutes=3)
    run = make_run()

    def page() -> str:
        return root.get("/admin/", headers=HOST).content.decode()

    make_medium(run, created_at=timezone.now())
    assert "个图片或文件在等待" not in page()
    Medium.objects.update(created_at=long_ago)
    assert "有 1 个图片或文件在等待" in page()
    assert "status__exact=preparing" in page()
    make_medium(run, created_at=long_ago)
    assert "有 2 个图片或文件在等待" in page()
    make_medium(run, status="ready", made_at=timezone.now())  # one is at work
    assert "个图片或文件在等待" not in page()


# --- Pictures of pages of the BI ---

PAGE = Content("销售日报", "今天", page=PageView("page/p1", "lilei", "销售看板", NOW, Options()))


@pytest.fixture
def page_delivery() -> Delivery:
    return make_delivery(make_corp(), MessageForm.NEWS, content=PAGE)


def test_wecom_gets_the_cover_of_a_page_and_its_reader_the_whole(page_delivery: Delivery) -> None:
    Medium.objects.update(status="ready", content=PNG, cover=b"cover", width=640, height=480)
    someone = make_person(page_delivery.corp, "li")
    page_delivery.receipts.create(run=page_delivery.run, user=someone, channel=Channel.WECOM, address="1:li")
    [article] = json.loads(bytes(page_delivery.body))["news"]["articles"]

    cover = fetched(None, urlsplit(article["picurl"]).path)
    whole = fetched(someone, address(page_delivery, extension="png"))
    page = fetched(someone, reverse("message", args=[page_delivery.mark])).content.decode()

    assert (cover.status_code, cover.content, cover["Content-Type"]) == (200, b"cover", "image/png")
    assert (whole.status_code, whole.content, whole["Content-Type"]) == (200, PNG, "image/png")
    assert f'src="{address(page_delivery, extension="png")}" width="640" height="480"' in page
    assert fetched(make_person(page_delivery.corp, "han"), address(page_delivery, extension="png")).status_code == 404


def test_the_log_does_not_show_what_a_recipient_sees_in_the_bi(page_delivery: Delivery) -> None:
    """Who edits a push would look into the BI with everybody's rights."""
    Medium.objects.update(status="ready", content=PNG, cover=PNG)
    root = make_superuser()

    picture = fetched(root, reverse("admin:notifications_delivery_picture", args=[page_delivery.pk]))
    page = fetched(root, reverse("admin:notifications_delivery_change", args=[page_delivery.pk])).content.decode()

    assert picture.status_code == 404
    assert '<img class="phone-picture"' not in page
    assert "picurl" not in page


@pytest.mark.parametrize(("status", "said"), [("waiting", "图片正在生成"), ("failed", "未能生成")])
def test_a_page_that_is_not_there_yet_or_never_will_be_is_said(page_delivery: Delivery, status: str, said: str) -> None:
    Medium.objects.update(status=status)
    someone = make_person(page_delivery.corp, "li")
    page_delivery.receipts.create(run=page_delivery.run, user=someone, channel=Channel.WECOM, address="1:li")

    page = fetched(someone, reverse("message", args=[page_delivery.mark])).content.decode()

    assert said in page
    assert "<img" not in page.partition('class="chart"')[2].partition("</figure>")[0]
