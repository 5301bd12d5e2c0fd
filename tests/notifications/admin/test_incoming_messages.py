"""Incoming messages in the administration: list and page, and their names in the log, the search and the receipts."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from integrations.models import Corp
from notifications.delivery.explanations import name_run
from notifications.delivery.rendering.render import render_run
from notifications.inbound.accept import accept_message
from notifications.inbound.content import check_file
from notifications.inbound.recipients import Address, AddressKind
from notifications.models import Delivery, InboundChannel, IncomingMessage, Run
from tests.notifications.admin.conftest import client_of
from tests.notifications.admin.test_log import file_of
from tests.notifications.api.conftest import make_editor
from tests.notifications.factories import make_corp, make_person, make_superuser
from tests.notifications.inbound.factories import make_incoming, make_sender, png

pytestmark = pytest.mark.django_db
LISTS = ("incomingmessage", "run", "delivery")
LIST = reverse("admin:notifications_incomingmessage_changelist")


@pytest.fixture
def editor(corp: Corp) -> User:
    return make_editor(corp)


@pytest.fixture
def zhang(corp: Corp) -> User:
    return make_person(corp, "ZhangWei", username="zhang")


@pytest.fixture
def message(corp: Corp, editor: User, zhang: User) -> IncomingMessage:
    """A sent message with a picture, a file and figures, addressed to a person and to an unknown address."""
    files = [check_file("看板.png", png()), check_file("周报.pdf", b"%PDF-1.7 rest")]
    asked = make_incoming(
        make_sender(editor),
        addresses=[Address(AddressKind.USER, "zhang"), Address(AddressKind.EMAIL, "nobody@example.test")],
        text="<b>剩 5%</b>",
        figures=[("剩余", "5%")],
        files=files,
        corp=corp,
        callback_url="https://hush.example.test/",
    )
    now = timezone.now()
    accepted = accept_message(asked, now=now)
    for run_id in accepted.run_ids:
        render_run(run_id=run_id, now=now)
    return accepted.message


def page_of(message: IncomingMessage) -> str:
    return reverse("admin:notifications_incomingmessage_change", args=[message.pk])


def test_the_page_shows_the_message_its_runs_and_whom_nobody_was_found_for(
    message: IncomingMessage, editor: User
) -> None:
    listed = client_of(editor).get(LIST).content.decode()
    page = client_of(editor).get(page_of(message)).content.decode()

    assert all(words in listed for words in ("磁盘快满了", "数据仓库", "图片卡片", "等待"))
    assert "&lt;b&gt;剩 5%&lt;/b&gt;" in page
    for words in ("剩余: 5%", "周报.pdf", "nobody@example.test", "不存在，或不在发送方可触达的范围内"):
        assert words in page
    for run, name in zip(Run.objects.order_by("pk"), ("磁盘快满了", "周报.pdf"), strict=True):
        assert f'{reverse("admin:notifications_run_change", args=[run.pk])}">{name}</a>' in page
    assert "看板.png" not in page
    assert "hush" not in page + listed
    run, file_run = Run.objects.order_by("pk")
    assert name_run(run) == "磁盘快满了 · 数据仓库"
    assert name_run(file_run) == "磁盘快满了（文件 1） · 数据仓库"
    assert page_of(message) in client_of(editor).get(f"/admin/notifications/run/{run.pk}/change/").content.decode()


def test_a_message_to_every_company_is_seen_by_its_owner_and_whoever_sees_all(editor: User, zhang: User) -> None:
    accepted = accept_message(make_incoming(make_sender(editor), zhang), now=timezone.now())
    for run_id in accepted.run_ids:
        render_run(run_id=run_id, now=timezone.now())
    (run,) = Run.objects.all()
    colleague = make_editor(*editor.managed_corps.all())
    pages = (page_of(accepted.message), reverse("admin:notifications_run_change", args=[run.pk]))

    for person, status in ((editor, 200), (make_superuser(), 200), (colleague, 302)):
        browser = client_of(person)
        assert [browser.get(page).status_code for page in pages] == [status] * 2
        assert ("磁盘快满了" in browser.get(LIST).content.decode()) == (status == 200)


def test_the_file_holds_what_a_person_may_see(message: IncomingMessage, editor: User, corp: Corp) -> None:
    [row] = file_of(client_of(editor), "incomingmessage")

    names = ("title", "from", "received by", "person-messages", "not found")
    assert [row[name] for name in names] == ["磁盘快满了", "数据仓库", "API", "2", "1"]
    assert file_of(client_of(make_editor(make_corp())), "incomingmessage") == []


@pytest.mark.parametrize("url", [LIST, reverse("admin:notifications_run_changelist"), reverse("admin:search")])
def test_search_finds_it_by_its_title(url: str, message: IncomingMessage, editor: User) -> None:
    browser = client_of(editor)

    assert "磁盘快满了" in browser.get(url, {"q": "快满"}).content.decode()
    rest = browser.get(url, {"q": "没有这条"}).content.decode()
    assert "磁盘快满了" not in rest


def test_the_recipient_finds_it_under_the_system_that_sent_it_with_its_files(
    message: IncomingMessage, zhang: User
) -> None:
    Delivery.objects.update(status=Delivery.Status.ACCEPTED, settled_at=timezone.now())
    client = Client(headers={"host": "localhost:3001"})
    client.force_login(zhang)
    main, file = Delivery.objects.order_by("pk")

    home = client.get(reverse("home")).content.decode()
    shown = client.get(f"/m/{main.mark}/").content.decode()
    picture = client.get(f"/m/{main.mark}/0.png")
    pdf = client.get(f"/m/{file.mark}/0.pdf")

    assert "数据仓库" in home
    assert "&lt;b&gt;剩 5%" in shown or "＜b&gt;剩 5%" in shown
    assert f"/m/{main.mark}/0.png" in shown
    assert (picture.headers["Content-Type"], picture.content) == ("image/png", png())
    assert (pdf.headers["Content-Type"], pdf.content) == ("application/pdf", b"%PDF-1.7 rest")
    assert pdf.headers["Content-Disposition"] == "attachment; filename*=UTF-8''%E5%91%A8%E6%8A%A5.pdf"


def test_lists_and_pages_ask_as_much_for_one_message_as_for_many(
    editor: User, zhang: User, corp: Corp, django_assert_num_queries: Any
) -> None:
    senders: list[Any] = [make_sender(editor), InboundChannel.objects.create(name="Grafana", owner=editor)]
    browser, client = client_of(editor), Client(headers={"host": "localhost:3001"})
    client.force_login(zhang)
    pages = [*((browser, reverse(f"admin:notifications_{one}_changelist")) for one in LISTS), (client, reverse("home"))]

    def send(count: int) -> None:
        for who in senders * count:
            for run_id in accept_message(make_incoming(who, zhang, corp=corp), now=timezone.now()).run_ids:
                render_run(run_id=run_id, now=timezone.now())
        Delivery.objects.update(status=Delivery.Status.ACCEPTED, settled_at=timezone.now())

    send(1)
    counts = []
    for who_asks, page in pages:
        who_asks.get(page)
        with CaptureQueriesContext(connection) as asked:
            who_asks.get(page)
        counts.append(len(asked))
    send(2)
    for (who_asks, page), count in zip(pages, counts, strict=True):
        with django_assert_num_queries(count):
            answer = who_asks.get(page)
        assert answer.content.decode().count("磁盘快满了") >= 4


def test_the_overview_names_webhooks_that_were_given_up_and_leads_to_them(
    message: IncomingMessage, editor: User
) -> None:
    browser, stranger = client_of(editor), client_of(make_editor(make_corp()))
    words = "1 个回调在一周内被放弃"
    assert words not in browser.get(reverse("admin:index")).content.decode()
    IncomingMessage.objects.update(callback_state="given_up")

    page = browser.get(reverse("admin:index")).content.decode()

    assert words in page
    assert f"{LIST}?callback_state__exact=given_up" in page
    assert "磁盘快满了" in browser.get(f"{LIST}?callback_state__exact=given_up").content.decode()
    assert words not in stranger.get(reverse("admin:index")).content.decode()
