"""The pages for what is not there, not allowed, or broken."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
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

    assert response.status_code == status
    assert f"{heading}</h1>" in response.content.decode()
    assert "a secret" not in response.content.decode()


@pytest.mark.django_db
@pytest.mark.urls(__name__)
def test_error_pages_speak_english_to_who_asks_for_it() -> None:
    response = Client(headers={"accept-language": "en"}).get("/nowhere/")

    assert "There is no such page</h1>" in response.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/login/", "/logout/", "/admin/login/"])
def test_a_form_that_has_expired_says_so_and_leads_on(address: str) -> None:
    """As after a night, or after signing in in another tab, which changes the token."""
    client = Client(enforce_csrf_checks=True)

    response = client.post(address, {"username": "lilei", "password": "x", "csrfmiddlewaretoken": "of yesterday"})

    assert response.status_code == 403
    assert "页面已过期</h1>" in response.content.decode()
    assert 'href="/"' in response.content.decode()
    assert "CSRF" not in response.content.decode()
