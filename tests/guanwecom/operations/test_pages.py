"""The page for superusers: a file for support."""

from __future__ import annotations

import io
import zipfile

import pytest
from django.test import Client, override_settings

from tests.notifications.factories import make_corp, make_manager, make_superuser

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(make_superuser())
    return client


def text_of(answer: object) -> str:
    return answer.content.decode()  # type: ignore[attr-defined, no-any-return]  # a response


def test_the_file_for_support_is_downloaded(root: Client) -> None:
    answer = root.post("/admin/maintenance/support/")

    assert "about.json" in zipfile.ZipFile(io.BytesIO(answer.content)).namelist()


def test_superusers_alone_get_there_after_their_password(client: Client) -> None:
    client.force_login(make_manager(make_corp()))
    assert "/admin/maintenance/" not in text_of(client.get("/admin/"))
    client.force_login(make_superuser())
    with override_settings(CONFIRMATION_MINUTES=0):
        answer = client.post("/admin/maintenance/support/", headers={"accept-language": "en"})
    assert "Is it you?" in text_of(answer)
