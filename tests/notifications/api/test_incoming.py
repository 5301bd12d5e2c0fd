"""Sending messages over the API: what is accepted and refused, and who may see the result."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test.client import MULTIPART_CONTENT
from django.utils import timezone

from accounts.models import AuditEntry, User
from integrations.core.background import database_now
from integrations.models import Corp
from notifications.delivery import attachments
from notifications.delivery.rendering.render import render_run
from notifications.inbound import accept
from notifications.models import ApiToken, Delivery, IncomingMessage, Medium, Receipt, Run
from notifications.tasks import TICK
from tests.notifications.api.conftest import Caller, client_with, make_editor, make_token
from tests.notifications.api.test_security import assert_problem
from tests.notifications.api.test_subscriptions import run_once
from tests.notifications.factories import make_corp, make_person, make_report, make_subscription
from tests.notifications.inbound.factories import png
from tests.notifications.side_by_side import do_at_once

pytestmark = pytest.mark.django_db

SEND, UPLOAD = "/api/v1/messages", "/api/v1/uploads"
JSON = "application/json"
PDF = b"%PDF-1.7 rest of it"


@pytest.fixture
def zhang(corp: Corp) -> User:
    return make_person(corp, "ZhangWei", username="zhang")


@pytest.fixture
def sender(editor: User) -> tuple[ApiToken, Caller]:
    return make_token(editor, may_send=True, sends_to="everyone")


@pytest.fixture
def client(sender: tuple[ApiToken, Caller]) -> Caller:
    return sender[1]


def make_document(*names: str, **fields: Any) -> dict[str, Any]:
    return {"title": "磁盘快满了", "recipients": [{"by": "user", "value": name} for name in names], **fields}


def send(client: Caller, document: Any, **headers: str) -> Any:
    return client.post(SEND, data=json.dumps(document), content_type=JSON, headers=headers)


def send_form(client: Caller, document: Any, *files: tuple[str, bytes]) -> Any:
    sent = [SimpleUploadedFile(name, content) for name, content in files]
    data = {"message": json.dumps(document), "files": sent}
    return client.post(SEND, data=data, content_type=MULTIPART_CONTENT)


def upload_file(client: Caller, name: str, content: bytes) -> Any:
    data = {"file": SimpleUploadedFile(name, content)}
    return client.post(UPLOAD, data=data, content_type=MULTIPART_CONTENT)


def test_a_message_is_accepted_and_handed_to_a_worker(
    sender: tuple[ApiToken, Caller],
    zhang: User,
    enqueued: list[int],
    django_capture_on_commit_callbacks: Any,
    late_web: None,
) -> None:
    token, client = sender
    with django_capture_on_commit_callbacks(execute=True):
        answer = send(client, make_document("zhang", "nobody", text="剩 5%"))

    row = IncomingMessage.objects.get()
    assert (answer.status_code, answer.headers["Location"]) == (202, f"{SEND}/{row.pk}")
    assert answer.json() == {
        "id": row.pk,
        "title": "磁盘快满了",
        "form": "textcard",
        "state": "waiting",
        "created_at": answer.json()["created_at"],
        "counts": dict.fromkeys(("recipients", "skipped", "accepted", "refused", "unknown", "waiting"), 0),
        "unknown": [{"by": "user", "value": "nobody", "corp": "", "attribute": "", "reason": "unknown"}],
        "callback": {"state": "none", "attempts": 0, "error": ""},
        "run_ids": [Run.objects.get().pk],
        "receipts": [],
        "next_after": None,
    }
    assert (row.token, row.origin, list(row.people.all())) == (token, "api", [zhang])
    assert enqueued == [Run.objects.get().pk]
    entry = AuditEntry.objects.get(action=AuditEntry.Action.DONE)
    assert (entry.actor, entry.subject, entry.note) == (token.owner, str(token), f"message:{row.pk} → 1")
    render_run(run_id=Run.objects.get().pk, now=database_now())
    assert Delivery.objects.get().expires_at > database_now() + timedelta(hours=23)


def test_what_became_of_it_is_told_by_person_a_page_at_a_time(client: Caller, corp: Corp, zhang: User) -> None:
    li = make_person(corp, "Li", username="li", is_active=False)
    location = send(client, make_document("zhang", "li")).headers["Location"]
    render_run(run_id=Run.objects.get().pk, now=timezone.now())
    Delivery.objects.update(status=Delivery.Status.ACCEPTED)

    first = client.get(f"{location}?limit=1").json()
    second = client.get(f"{location}?limit=1&after={first['next_after']}").json()

    assert (first["state"], first["counts"]) == (
        "sending",
        {"recipients": 1, "skipped": 1, "accepted": 1, "refused": 0, "unknown": 0, "waiting": 0},
    )
    receipts = Receipt.objects.order_by("pk").values_list("pk", "user__username")
    shown = [(one["id"], one["user"], one["state"], one["reason"]) for one in [*first["receipts"], *second["receipts"]]]
    assert shown == [
        (receipts[0][0], zhang.username, "accepted", ""),
        (receipts[1][0], li.username, "skipped", "user_disabled"),
    ]
    assert second["next_after"] is None


def test_a_dry_run_says_who_would_be_reached_and_sends_nothing(client: Caller, corp: Corp, zhang: User) -> None:
    make_person(corp, "Li", username="li", is_active=False)

    answer = send(
        client, make_document("zhang", "li", "nobody", dry_run=True, figures=[{"caption": "剩", "words": "5%"}])
    )

    assert (answer.status_code, answer.json()) == (
        200,
        {
            "form": "text_notice",
            "messages": 1,
            "reached": 1,
            "not_reached": 1,
            "people": [{"user": "zhang", "reason": ""}, {"user": "li", "reason": "user_disabled"}],
            "unknown": [{"by": "user", "value": "nobody", "corp": "", "attribute": "", "reason": "unknown"}],
        },
    )
    assert not IncomingMessage.objects.exists()


def make_uploads_older(age: timedelta) -> None:
    Medium.objects.filter(token__isnull=False).update(created_at=timezone.now() - age)


def test_a_repeat_is_answered_also_when_what_it_names_is_gone(
    client: Caller, corp: Corp, zhang: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept, "UPLOADS_AT_MOST", 1)
    document = make_document("zhang", uploads=[upload_file(client, "a.png", png()).json()["id"]], corp=corp.corpid)
    full = upload_file(client, "b.pdf", PDF)
    assert_problem(full, 429, "too_many_uploads")
    assert 86_000 < int(full.headers["Retry-After"]) <= 86_400
    first = send(client, document, **{"Idempotency-Key": "disk-1"})
    make_uploads_older(accept.UPLOADS_KEPT)
    Corp.objects.update(corpid="ww0000000000000909")

    second = send(client, document, **{"Idempotency-Key": "disk-1"})

    assert (first.status_code, second.status_code, second.content) == (202, 202, first.content)
    assert (second.headers["Idempotency-Replayed"], second["Location"]) == ("true", first["Location"])
    assert IncomingMessage.objects.count() == 1
    other = send(client, make_document("zhang", text="另一条"), **{"Idempotency-Key": "disk-1"})
    assert_problem(other, 422, "idempotency_key_reused")
    assert_problem(send(client, document, **{"Idempotency-Key": "disk-2"}), 422, "upload_not_found")


def test_files_come_in_a_form_or_were_uploaded_before(client: Caller, zhang: User) -> None:
    uploaded = upload_file(client, "看板.PNG", png(40, 30))

    answer = send_form(
        client, make_document("zhang", text="见附件", uploads=[uploaded.json()["id"]]), ("周报.pdf", PDF)
    )

    assert (uploaded.status_code, answer.status_code) == (201, 202)
    assert {name: uploaded.json()[name] for name in ("name", "kind", "content_type", "size")} == {
        "name": "看板.PNG",
        "kind": "picture",
        "content_type": "image/png",
        "size": len(png(40, 30)),
    }
    media = (
        Medium.objects.filter(token=None)
        .order_by("run_id")
        .values_list("name", "kind", "content_type", "width", "height")
    )
    assert [*media] == [("看板.PNG", "picture", "image/png", 40, 30), ("周报.pdf", "file", "application/pdf", 0, 0)]
    assert IncomingMessage.objects.get().form == "news"


def test_an_upload_serves_several_messages_of_its_token_for_a_day(
    sender: tuple[ApiToken, Caller], editor: User, zhang: User
) -> None:
    _token, client = sender
    other = make_token(editor, may_send=True, sends_to="everyone")[1]
    pk = upload_file(client, "a.pdf", PDF).json()["id"]
    document = make_document("zhang", uploads=[pk])

    assert [send(client, document).status_code for _time in range(2)] == [202, 202]
    assert_problem(send(other, document), 422, "upload_not_found")
    make_uploads_older(accept.UPLOADS_KEPT)
    assert_problem(send(client, document), 422, "upload_not_found")
    TICK.do_steps(now=timezone.now())
    assert [medium.token for medium in Medium.objects.all()] == [None, None]


def test_uploads_and_previews_are_forgotten_apart(client: Caller) -> None:
    now = timezone.now()
    upload_file(client, "a.pdf", PDF)
    preview = Medium.objects.create(kind="picture", digest="d", status="ready", created_at=now, make_after=now)
    make_uploads_older(attachments.PREVIEW_KEPT)

    TICK.do_steps(now=timezone.now())
    assert Medium.objects.count() == 2
    assert list(Medium.objects.previews()) == [preview]
    Medium.objects.filter(pk=preview.pk).update(created_at=now - attachments.PREVIEW_KEPT)
    TICK.do_steps(now=timezone.now())

    assert Medium.objects.get().token is not None


def test_files_that_cannot_be_sent_or_are_too_many_are_refused(
    client: Caller, zhang: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = png(1, 1).replace(b"\0\0\0\x01\0\0\0\x01", b"\0\0\xff\xff\0\0\xff\xff", 1)
    for name, content in (("bomb.png", bomb), ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>")):
        assert_problem(upload_file(client, name, content), 422, "file_refused")
        assert_problem(send_form(client, make_document("zhang"), (name, content)), 422, "file_refused")
    many = [(f"{number}.pdf", PDF) for number in range(21)]
    assert_problem(send_form(client, make_document("zhang"), *many), 422, "too_many_files")
    assert not Medium.objects.exists()
    pk = upload_file(client, "a.pdf", PDF).json()["id"]
    monkeypatch.setattr(accept, "MESSAGE_BYTES", len(PDF) - 1)
    assert_problem(send(client, make_document("zhang", uploads=[pk])), 422, "too_many_files")
    assert not IncomingMessage.objects.exists()


def test_what_is_too_large_is_refused_before_it_is_read(client: Caller, zhang: User) -> None:
    long = json.dumps(make_document("zhang", text="长" * 2_000_000)).encode()

    assert_problem(client.post(SEND, data=long, content_type=JSON), 413, "body_too_large")
    assert_problem(send_form(client, make_document("zhang"), ("a.pdf", PDF + b"0" * 22_000_000)), 413, "body_too_large")
    assert_problem(send_form(client, make_document("zhang", text="长" * 2_000_000)), 413, "body_too_large")
    assert not IncomingMessage.objects.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"title": ""},
        {"recipients": [{"by": "attribute", "value": "华东"}]},
        {"recipients": [{"by": "user", "value": "zhang", "attribute": "region"}]},
        {"link": "javascript:alert(1)"},
        {"link": "https://"},
        {"lifetime_hours": 169},
        {"uploads": [0]},
        {"surprise": 1},
    ],
)
def test_what_is_not_as_it_should_be_is_refused(wrong: dict[str, Any], client: Caller, zhang: User) -> None:
    answer = send(client, {**make_document("zhang"), **wrong})

    assert_problem(answer, 422, "invalid_request")
    assert answer.json()["errors"][0]["where"][:2] == ["body", next(iter(wrong))]
    assert not IncomingMessage.objects.exists()


def test_what_is_no_json_or_form_is_refused(client: Caller) -> None:
    for body in (b"{", b"[" * 100_000, b'{"title": NaN}', b"\xff"):
        assert_problem(client.post(SEND, data=body, content_type=JSON), 400, "malformed_request")
    assert_problem(client.post(SEND, data=b"x", content_type="multipart/form-data"), 400, "malformed_request")
    two = [SimpleUploadedFile("a.pdf", PDF) for _time in range(2)]
    for data in ({}, {"file": two}, {"other": two[0]}):  # an upload is one file
        assert_problem(client.post(UPLOAD, data=data, content_type=MULTIPART_CONTENT), 422, "invalid_request")
    for path, kind in ((SEND, "text/plain"), (SEND, "application/octet-stream"), (UPLOAD, JSON)):
        assert_problem(client.post(path, data=b"{}", content_type=kind), 415, "unsupported_media_type")


def test_the_day_of_a_token_ends(client: Caller, zhang: User) -> None:
    ApiToken.objects.update(daily_limit=1)
    send(client, make_document("zhang"))

    answer = send(client, make_document("zhang"))

    assert_problem(answer, 429, "daily_limit_reached")
    assert 0 < int(answer.headers["Retry-After"]) <= 86_400
    assert IncomingMessage.objects.count() == 1


def test_a_company_is_named_by_corpid_or_name_if_the_owner_sees_it(client: Caller, corp: Corp, zhang: User) -> None:
    other = make_corp(name="南湖")
    accepted = [send(client, make_document("zhang", corp=name)).status_code for name in (corp.corpid, corp.name)]

    assert accepted == [202, 202]
    assert set(IncomingMessage.objects.values_list("corp", flat=True)) == {corp.pk}
    for name in (other.corpid, "南湖", "nothing", "a\0b"):
        assert_problem(send(client, make_document("zhang", corp=name)), 422, "corp_not_found")


def test_a_webhook_goes_to_an_address_that_can_be_called_and_is_signed(client: Caller, zhang: User) -> None:
    assert_problem(send(client, make_document("zhang", callback_url="ftp://a.test/")), 422, "invalid_request")
    hidden = ("u:p@a.test/", "a.test/#x", "a.test:0/", "a.test:99999/", "a.test/x y", "[::1/", "例子.测试/")
    for url in (f"https://{rest}" for rest in hidden):
        assert_problem(send(client, make_document("zhang", callback_url=url)), 422, "callback_not_possible")
    ApiToken.objects.update(signing_secret="")
    assert_problem(send(client, make_document("zhang", callback_url="https://a.test/")), 422, "callback_not_possible")


def test_a_token_that_may_not_send_does_nothing(editor: User, zhang: User) -> None:
    _token, client = make_token(editor, may_run=True, may_read=True, may_alert=True)
    sends = make_token(editor, may_send=True, sends_to="everyone")[1]

    for answer in (send(client, make_document("zhang")), upload_file(client, "a.pdf", PDF), client.get(f"{SEND}/1")):
        assert_problem(answer, 403, "action_not_allowed")
    editor.groups.clear()  # the owner may not send any more
    assert_problem(send(sends, make_document("zhang")), 403, "action_not_allowed")
    assert [model.objects.count() for model in (Medium, IncomingMessage)] == [0, 0]


def test_messages_of_another_token_are_not_there(client: Caller, editor: User, zhang: User) -> None:
    location = send(client, make_document("zhang")).headers["Location"]
    stranger = make_token(make_editor(), may_send=True)[1]

    assert client.get(location).status_code == 200
    for other in (make_token(editor, may_send=True)[1], stranger):
        assert_problem(other.get(location), 404, "not_found")


def test_people_of_other_companies_are_told_as_those_who_do_not_exist(client: Caller, zhang: User) -> None:
    make_person(make_corp(), "Li", username="li")

    answer = send(client, make_document("zhang", "li", "nobody", dry_run=True))

    assert [(one["value"], one["reason"]) for one in answer.json()["unknown"]] == [
        ("li", "unknown"),
        ("nobody", "unknown"),
    ]
    assert [one["user"] for one in answer.json()["people"]] == ["zhang"]
    alone = send(client, make_document("li"))
    assert (alone.status_code, alone.json()["code"]) == (422, "nobody_found")
    assert [one["value"] for one in alone.json()["unknown"]] == ["li"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("key", ["disk-1", ""])
@pytest.mark.parametrize(("model", "refusal"), [(IncomingMessage, 429), (Run, 409)])
def test_identical_requests_at_once_make_one(model: type[IncomingMessage | Run], refusal: int, key: str) -> None:
    """Expects one message, which uses up the token's day, or one run."""
    corp = make_corp()
    push = make_subscription(make_person(corp, "ZhangWei", username="zhang"), report=make_report(corp=corp))
    client = make_token(make_editor(corp), may_send=True, sends_to="everyone", daily_limit=1)[1]
    secret = client.defaults["HTTP_AUTHORIZATION"].removeprefix("Bearer ")
    headers = {"Idempotency-Key": key} if key else {}

    answers: list[Any] = []

    def ask() -> None:
        caller = client_with(secret)
        answers.append(run_once(caller, push, key) if model is Run else send(caller, make_document("zhang"), **headers))

    do_at_once(*[ask] * 4)

    row = model._default_manager.get()
    statuses = sorted(answer.status_code for answer in answers)
    if key:
        assert statuses == [202] * 4
        assert {answer.json()["id"] for answer in answers} == {row.pk}
    else:
        assert statuses == [202, refusal, refusal, refusal]
