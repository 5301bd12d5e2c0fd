"""The pages for what is not there, not allowed, or broken."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path


def forbidden(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a secret that must not be shown")


urlpatterns = [
    path("forbidden/", forbidden),
    path("broken/", broken),
    path("", include("guanwecom.urls")),
]


@pytest.mark.django_db
@pytest.mark.urls(__name__)
@pytest.mark.parametrize(
    ("address", "status", "heading"),
    [("/nowhere/", 404, "没有这个页面"), ("/forbidden/", 403, "您无权查看此页面"), ("/broken/", 500, "这里出了点问题")],
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
