"""Sending messages over the API: what is accepted, what is refused, and by whom what may be seen."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connections
from django.test.client import MULTIPART_CONTENT
from django.utils import timezone

from accounts.models import AuditEntry, User
from integrations.core.background import database_now
from integrations.models import Corp
from notifications.delivery.maintenance import delete_chunk
from notifications.delivery.rendering.render import render_run
from notifications.inbound import accept
from notifications.models import ApiToken, Delivery, IncomingMessage, Medium, Receipt, Run, Upload
from tests.notifications.api.conftest import Caller, client_with, make_editor, make_token
from tests.notifications.api.test_security import assert_problem
from tests.notifications.factories import make_corp, make_person
from tests.notifications.inbound.factories import png

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


def message(*names: str, **fields: Any) -> dict[str, Any]:
    return {"title": "磁盘快满了", "recipients": [{"by": "user", "value": name} for name in names], **fields}


def send(client: Caller, document: Any, **headers: str) -> Any:
    return client.post(SEND, data=json.dumps(document), content_type=JSON, headers=headers)


def send_form(client: Caller, document: Any, *files: tuple[str, bytes]) -> Any:
    sent = [SimpleUploadedFile(name, content) for name, content in files]
    data = {"message": json.dumps(document), "files": sent}
    return client.post(SEND, data=data, content_type=MULTIPART_CONTENT)


def upload(client: Caller, name: str, content: bytes) -> Any:
    data = {"file": SimpleUploadedFile(name, content)}
    return client.post(UPLOAD, data=data, content_type=MULTIPART_CONTENT)


# --- Accepted ---


@pytest.mark.usefixtures("late_web")
def test_a_message_lives_by_the_database_s_time(client: Caller, zhang: User) -> None:
    assert send(client, message("zhang", text="剩 5%")).status_code == 202

    render_run(run_id=Run.objects.get().pk, now=database_now())

    assert Delivery.objects.get().expires_at > database_now() + timedelta(hours=23)


def test_a_message_is_accepted_and_handed_to_a_worker(
    sender: tuple[ApiToken, Caller], zhang: User, enqueued: list[int], django_capture_on_commit_callbacks: Any
) -> None:
    token, client = sender
    with django_capture_on_commit_callbacks(execute=True):
        answer = send(client, message("zhang", "nobody", text="剩 5%"))

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


def test_what_became_of_it_is_told_by_person_a_page_at_a_time(client: Caller, corp: Corp, zhang: User) -> None:
    li = make_person(corp, "Li", username="li", is_active=False)
    location = send(client, message("zhang", "li")).headers["Location"]
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

    answer = send(client, message("zhang", "li", "nobody", dry_run=True, figures=[{"caption": "剩", "words": "5%"}]))

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


def test_a_repeated_key_gives_the_first_answer_and_no_second_message(client: Caller, zhang: User) -> None:
    first = send(client, message("zhang"), **{"Idempotency-Key": "disk-1"})
    second = send(client, message("zhang"), **{"Idempotency-Key": "disk-1"})
    other = send(client, message("zhang", text="另一条"), **{"Idempotency-Key": "disk-1"})

    assert (second.content, second.headers["Location"]) == (first.content, first.headers["Location"])
    assert second.headers["Idempotency-Replayed"] == "true"
    assert_problem(other, 422, "idempotency_key_reused")
    assert IncomingMessage.objects.count() == 1


def test_a_repeat_is_answered_also_when_what_it_names_is_gone(client: Caller, corp: Corp, zhang: User) -> None:
    document = message("zhang", uploads=[upload(client, "a.png", png()).json()["id"]], corp=corp.corpid)
    first = send(client, document, **{"Idempotency-Key": "disk-1"})
    Upload.objects.update(created_at=timezone.now() - accept.UPLOADS_KEPT)
    Corp.objects.update(corpid="ww0000000000000909")

    second = send(client, document, **{"Idempotency-Key": "disk-1"})

    assert (first.status_code, second.status_code, second.content) == (202, 202, first.content)
    assert second.headers["Idempotency-Replayed"] == "true"
    assert_problem(send(client, document, **{"Idempotency-Key": "disk-2"}), 422, "upload_not_found")


def test_a_form_with_other_files_is_another_request(client: Caller, zhang: User) -> None:
    def send_as(content: bytes) -> Any:
        data = {"message": json.dumps(message("zhang")), "files": SimpleUploadedFile("a.pdf", content)}
        return client.post(SEND, data=data, content_type=MULTIPART_CONTENT, headers={"Idempotency-Key": "a"})

    assert [send_as(content).status_code for content in (PDF, PDF, PDF + b"!")] == [202, 202, 422]
    assert IncomingMessage.objects.count() == 1


# --- Pictures and files ---


def test_files_come_in_a_form_or_were_uploaded_before(client: Caller, zhang: User) -> None:
    uploaded = upload(client, "看板.PNG", png(40, 30))

    answer = send_form(client, message("zhang", text="见附件", uploads=[uploaded.json()["id"]]), ("周报.pdf", PDF))

    assert (uploaded.status_code, answer.status_code) == (201, 202)
    assert {name: uploaded.json()[name] for name in ("name", "kind", "content_type", "size")} == {
        "name": "看板.PNG",
        "kind": "picture",
        "content_type": "image/png",
        "size": len(png(40, 30)),
    }
    media = Medium.objects.order_by("run_id").values_list("name", "kind", "content_type", "width", "height")
    assert [*media] == [
        ("看板.PNG", "picture", "image/png", 40, 30),
        ("周报.pdf", "file", "application/pdf", 0, 0),
    ]
    assert IncomingMessage.objects.get().form == "news"


def test_an_upload_serves_several_messages_of_its_token_for_a_day(
    sender: tuple[ApiToken, Caller], editor: User, zhang: User
) -> None:
    _token, client = sender
    other = make_token(editor, may_send=True, sends_to="everyone")[1]
    pk = upload(client, "a.pdf", PDF).json()["id"]
    document = message("zhang", uploads=[pk])

    assert [send(client, document).status_code for _time in range(2)] == [202, 202]
    assert_problem(send(other, document), 422, "upload_not_found")
    Upload.objects.update(created_at=timezone.now() - accept.UPLOADS_KEPT)
    assert_problem(send(client, document), 422, "upload_not_found")
    delete_chunk(accept.old_uploads(timezone.now()))
    assert (Upload.objects.count(), Medium.objects.count()) == (0, 2)


def test_so_many_uploads_wait_and_no_more(client: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "UPLOADS_AT_MOST", 1)
    upload(client, "a.pdf", PDF)

    answer = upload(client, "b.pdf", PDF)

    assert_problem(answer, 429, "too_many_uploads")
    assert 86_000 < int(answer.headers["Retry-After"]) <= 86_400


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bomb.png", png(1, 1).replace(b"\0\0\0\x01\0\0\0\x01", b"\0\0\xff\xff\0\0\xff\xff", 1)),
        ("a.png", b"MZ\x90\x00 not a picture"),
        ("a.exe", b"MZ\x90\x00 a program"),
        ("a.html", b"<script>alert(1)</script>"),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("a.csv", b"\0\1\2\3\4\5\6\7"),
        ("empty.pdf", b"%PDF"),
        ("cut.png", b"\x89PNG\r\n\x1a\n"),
    ],
)
def test_a_file_that_is_not_what_may_be_sent_is_refused(name: str, content: bytes, client: Caller, zhang: User) -> None:
    assert_problem(upload(client, name, content), 422, "file_refused")
    assert_problem(send_form(client, message("zhang"), (name, content)), 422, "file_refused")
    assert [model.objects.count() for model in (Upload, IncomingMessage)] == [0, 0]


def test_what_is_too_large_is_refused_before_it_is_read(client: Caller, zhang: User) -> None:
    long = json.dumps(message("zhang", text="长" * 2_000_000)).encode()

    assert_problem(client.post(SEND, data=long, content_type=JSON), 413, "body_too_large")
    assert_problem(send_form(client, message("zhang"), ("a.pdf", PDF + b"0" * 22_000_000)), 413, "body_too_large")
    assert_problem(send_form(client, message("zhang", text="长" * 2_000_000)), 413, "body_too_large")
    assert not IncomingMessage.objects.exists()


# --- Refused ---


@pytest.mark.parametrize(
    "wrong",
    [
        {"title": ""},
        {"title": "长" * 129},
        {"text": "长" * 50_001},
        {"recipients": []},
        {"recipients": [{"by": "user", "value": "a"}] * 1001},
        {"recipients": [{"by": "robot", "value": "a"}]},
        {"recipients": [{"by": "attribute", "value": "华东"}]},
        {"recipients": [{"by": "user", "value": "zhang", "attribute": "region"}]},
        {"link": "javascript:alert(1)"},
        {"link": "https://"},
        {"form": "xlsx"},
        {"markup": "html"},
        {"figures": [{"caption": "剩", "words": ""}]},
        {"lifetime_hours": 0},
        {"lifetime_hours": 169},
        {"priority": 0},
        {"uploads": [0]},
        {"surprise": 1},
    ],
)
def test_what_is_not_as_it_should_be_is_refused(wrong: dict[str, Any], client: Caller, zhang: User) -> None:
    answer = send(client, {**message("zhang"), **wrong})

    assert_problem(answer, 422, "invalid_request")
    assert answer.json()["errors"][0]["where"][:2] == ["body", next(iter(wrong))]
    assert not IncomingMessage.objects.exists()


@pytest.mark.parametrize("body", [b"{", b"[" * 100_000, b'{"title": NaN}', b"\xff"])
def test_what_is_no_json_is_refused(body: bytes, client: Caller) -> None:
    assert_problem(client.post(SEND, data=body, content_type=JSON), 400, "malformed_request")


def test_a_form_without_its_boundary_is_refused(client: Caller) -> None:
    assert_problem(client.post(SEND, data=b"x", content_type="multipart/form-data"), 400, "malformed_request")


@pytest.mark.parametrize(("path", "kind"), [(SEND, "text/plain"), (SEND, "application/octet-stream"), (UPLOAD, JSON)])
def test_another_type_of_body_is_refused(path: str, kind: str, client: Caller) -> None:
    assert_problem(client.post(path, data=b"{}", content_type=kind), 415, "unsupported_media_type")


def test_an_upload_is_one_file(client: Caller) -> None:
    two = [SimpleUploadedFile("a.pdf", PDF) for _time in range(2)]
    for data in ({}, {"file": two}, {"other": two[0]}):
        assert_problem(client.post(UPLOAD, data=data, content_type=MULTIPART_CONTENT), 422, "invalid_request")
    assert not Upload.objects.exists()


def test_too_many_files_are_refused(client: Caller, zhang: User, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = [(f"{number}.pdf", PDF) for number in range(21)]

    assert_problem(send_form(client, message("zhang"), *sent), 422, "too_many_files")
    pk = upload(client, "a.pdf", PDF).json()["id"]
    monkeypatch.setattr(accept, "MESSAGE_BYTES", len(PDF) - 1)
    assert_problem(send(client, message("zhang", uploads=[pk])), 422, "too_many_files")


def test_a_message_for_nobody_names_them(client: Caller) -> None:
    answer = send(client, message("nobody"))

    assert (answer.status_code, answer.json()["code"]) == (422, "nobody_found")
    assert answer.json()["unknown"] == [
        {"by": "user", "value": "nobody", "corp": "", "attribute": "", "reason": "unknown"}
    ]


def test_the_day_of_a_token_ends(client: Caller, zhang: User) -> None:
    ApiToken.objects.update(daily_limit=1)
    send(client, message("zhang"))

    answer = send(client, message("zhang"))

    assert_problem(answer, 429, "daily_limit_reached")
    assert 0 < int(answer.headers["Retry-After"]) <= 86_400
    assert IncomingMessage.objects.count() == 1


def test_a_company_is_named_by_corpid_or_name_if_the_owner_sees_it(client: Caller, corp: Corp, zhang: User) -> None:
    other = make_corp(name="南湖")
    accepted = [send(client, message("zhang", corp=name)).status_code for name in (corp.corpid, corp.name)]

    assert accepted == [202, 202]
    assert set(IncomingMessage.objects.values_list("corp", flat=True)) == {corp.pk}
    for name in (other.corpid, "南湖", "nothing", "a\0b"):
        assert_problem(send(client, message("zhang", corp=name)), 422, "corp_not_found")


@pytest.mark.parametrize("url", ["ftp://a.test/", "http://u:p@a.test/", "http://a.test/#x", "http://a.test:0/"])
def test_a_webhook_goes_to_an_address_that_can_be_called(url: str, client: Caller, zhang: User) -> None:
    answer = send(client, message("zhang", callback_url=url))

    assert answer.status_code == 422
    assert answer.json()["code"] in {"invalid_request", "callback_not_possible"}


def test_a_token_without_a_signing_secret_has_no_webhook(client: Caller, zhang: User) -> None:
    ApiToken.objects.update(signing_secret="")

    assert_problem(send(client, message("zhang", callback_url="https://a.test/")), 422, "callback_not_possible")


# --- The wrong token ---


def test_a_token_that_may_not_send_does_nothing(editor: User, zhang: User) -> None:
    _token, client = make_token(editor, may_run=True, may_read=True, may_alert=True)

    for answer in (send(client, message("zhang")), upload(client, "a.pdf", PDF), client.get(f"{SEND}/1")):
        assert_problem(answer, 403, "action_not_allowed")
    assert [model.objects.count() for model in (Upload, IncomingMessage)] == [0, 0]


def test_a_token_of_somebody_who_may_not_send_any_more_does_nothing(client: Caller, editor: User, zhang: User) -> None:
    editor.groups.clear()

    assert_problem(send(client, message("zhang")), 403, "action_not_allowed")


def test_messages_of_another_token_are_not_there(client: Caller, editor: User, zhang: User) -> None:
    location = send(client, message("zhang")).headers["Location"]
    stranger = make_token(make_editor(), may_send=True)[1]

    assert client.get(location).status_code == 200
    for other in (make_token(editor, may_send=True)[1], stranger):
        assert_problem(other.get(location), 404, "not_found")


def test_people_of_other_companies_are_told_as_those_who_do_not_exist(client: Caller, zhang: User) -> None:
    make_person(make_corp(), "Li", username="li")

    answer = send(client, message("zhang", "li", "nobody", dry_run=True))

    assert [(one["value"], one["reason"]) for one in answer.json()["unknown"]] == [
        ("li", "unknown"),
        ("nobody", "unknown"),
    ]
    assert [one["user"] for one in answer.json()["people"]] == ["zhang"]


def test_a_message_may_be_read_as_long_as_its_runs_are_kept(client: Caller, zhang: User) -> None:
    location = send(client, message("zhang")).headers["Location"]
    IncomingMessage.objects.update(created_at=timezone.now() - timedelta(days=400))

    assert client.get(location).json()["title"] == "磁盘快满了"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("key", ["disk-1", ""])
def test_identical_requests_at_once_make_one_message_and_keep_to_the_day(key: str) -> None:
    corp = make_corp()
    make_person(corp, "ZhangWei", username="zhang")
    client = make_token(make_editor(corp), may_send=True, sends_to="everyone", daily_limit=1)[1]
    secret = client.defaults["HTTP_AUTHORIZATION"].removeprefix("Bearer ")
    together, answers = threading.Barrier(4), []

    def call() -> None:
        try:
            together.wait(timeout=60)
            headers = {"Idempotency-Key": key} if key else {}
            answers.append(send(client_with(secret), message("zhang"), **headers))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=call) for _number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    row = IncomingMessage.objects.get()
    statuses = sorted(answer.status_code for answer in answers)
    if key:
        assert statuses == [202] * 4
        assert {answer.json()["id"] for answer in answers} == {row.pk}
    else:
        assert statuses == [202, 429, 429, 429]
