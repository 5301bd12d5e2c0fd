"""Pages for errors: not found, forbidden, broken."""

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import OperationalError, ProgrammingError, connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path


def forbidden(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied


def garbled(request: HttpRequest) -> HttpResponse:
    raise SuspiciousOperation


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a secret that must not be shown")


urlpatterns = [
    path("forbidden/", forbidden),
    path("garbled/", garbled),
    path("broken/", broken),
    path("", include("guanwecom.urls")),
]


@pytest.mark.django_db
@pytest.mark.urls(__name__)
@pytest.mark.parametrize(
    ("address", "status", "heading"),
    [
        ("/nowhere/", 404, "没有这个页面"),
        ("/forbidden/", 403, "您无权查看此页面"),
        ("/garbled/", 400, "无法处理这个请求"),
        ("/broken/", 500, "这里出了点问题"),
    ],
)
def test_error_pages_speak_to_people(address: str, status: int, heading: str) -> None:
    client = Client(raise_request_exception=False)

    response = client.get(address)
    english = client.get(address, headers={"accept-language": "en"}).content.decode()

    assert ("There is no such page</h1>" in english) is (status == 404)
    assert response.status_code == status
    assert f"{heading}</h1>" in response.content.decode()
    assert "a secret" not in response.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/login/", "/logout/", "/admin/login/"])
def test_a_form_that_has_expired_says_so_and_leads_on(address: str) -> None:
    """Expire the token as a night does, or a sign-in in another tab."""
    client = Client(enforce_csrf_checks=True)

    response = client.post(address, {"username": "lilei", "password": "x", "csrfmiddlewaretoken": "of yesterday"})

    assert response.status_code == 403
    assert "页面已过期</h1>" in response.content.decode()
    assert 'href="/"' in response.content.decode()
    assert "CSRF" not in response.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("address", "language", "words"),
    [
        ("/login/", "zh-CN", "数据库没有响应</h1>"),
        ("/admin/", "en", "The database does not answer</h1>"),
        ("/api/v1/subscriptions", "en", '"code": "unavailable"'),
    ],
)
def test_while_the_database_is_away_a_page_says_so(address: str, language: str, words: str) -> None:
    def refuse(*_statement: object) -> None:
        raise OperationalError("connection to server at db.example failed")

    with connection.execute_wrapper(refuse):
        response = Client(raise_request_exception=False).get(
            address, headers={"accept-language": language, "authorization": "Bearer gwc_invented"}
        )

    assert (response.status_code, response.headers["X-Content-Type-Options"]) == (503, "nosniff")
    assert words in response.content.decode()
    assert "db.example" not in response.content.decode()


@pytest.mark.django_db
def test_any_other_error_of_the_database_is_a_mistake_of_ours() -> None:
    def refuse(*_statement: object) -> None:
        raise ProgrammingError("no such column")

    with connection.execute_wrapper(refuse):
        assert Client(raise_request_exception=False).get("/login/").status_code == 500
