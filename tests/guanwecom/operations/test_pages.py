"""The page for superusers: the configuration as a file, and a file for support."""

from __future__ import annotations

import io
import zipfile

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, override_settings

from notifications.models import Report
from tests.notifications.factories import make_corp, make_manager, make_report, make_superuser

pytestmark = pytest.mark.django_db
PAGES = ("export", "import", "support")


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(make_superuser())
    return client


def text_of(answer: object) -> str:
    return answer.content.decode()  # type: ignore[attr-defined, no-any-return]  # a response


def test_a_file_is_downloaded_compared_and_written(root: Client) -> None:
    make_report(title="Daily", body="before")
    file = root.post("/admin/maintenance/export/").content.replace(b"body: before", b"body: after")

    preview = root.post("/admin/maintenance/import/", {"file": SimpleUploadedFile("c.yaml", file)})

    assert "before → after" in text_of(preview)
    assert Report.objects.get().body == "before"
    root.post("/admin/maintenance/import/", {"text": preview.context["text"]})
    assert Report.objects.get().body == "after"


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (b"x" * (512 * 1024 + 1), "The file is too large"),
        (b"a: [", "The file is no YAML (line 1)."),
        (b"format: 1\nrobots:\n  a: {x: 1}", "These conflict. Nothing was changed."),
    ],
)
def test_what_cannot_be_imported_is_said(root: Client, file: bytes, words: str) -> None:
    data = {"file": SimpleUploadedFile("c.yaml", file)}

    assert words in text_of(root.post("/admin/maintenance/import/", data, headers={"accept-language": "en"}))


def test_the_file_for_support_is_downloaded(root: Client) -> None:
    answer = root.post("/admin/maintenance/support/")

    assert "about.json" in zipfile.ZipFile(io.BytesIO(answer.content)).namelist()


@pytest.mark.parametrize("page", PAGES)
def test_superusers_alone_get_there_after_their_password(client: Client, page: str) -> None:
    client.force_login(make_manager(make_corp()))
    assert client.post(f"/admin/maintenance/{page}/").status_code == 403
    assert client.get("/admin/maintenance/").status_code == 403
    assert "/admin/maintenance/" not in text_of(client.get("/admin/"))
    client.force_login(make_superuser())
    with override_settings(CONFIRMATION_MINUTES=0):
        answer = client.post(f"/admin/maintenance/{page}/", headers={"accept-language": "en"})
    assert "Is it you?" in text_of(answer)
