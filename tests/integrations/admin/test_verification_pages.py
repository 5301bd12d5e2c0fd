"""Verification files on a company's page."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from integrations.companies.links import store_file
from integrations.models import Corp, SiteAddress
from tests.integrations.conftest import client_of
from tests.integrations.pages import messages_of
from tests.jobs import do_jobs
from tools.services import free_port

pytestmark = pytest.mark.django_db
CODE = "0123456789abcDEF"
NAME = f"WW_verify_{CODE}.txt"


@pytest.fixture(autouse=True)
def _nobody_at_the_site_address(db: None) -> None:
    SiteAddress.objects.update(url=f"http://127.0.0.1:{free_port()}/")


def url(corp: Corp, page: str = "verification", *args: str) -> str:
    return reverse(f"admin:integrations_corp_{page}", args=[corp.pk, *args])


def upload(client: Client, corp: Corp, name: str = NAME, content: bytes = CODE.encode()) -> Any:
    return client.post(url(corp), {"file": SimpleUploadedFile(name, content)}, follow=True)


def section(client: Client, corp: Corp) -> str:
    page = client.get(reverse("admin:integrations_corp_change", args=[corp.pk])).content.decode()
    return page.partition('class="upload"')[2].partition('</details>\n<details class="module step"')[0]


def test_a_file_is_uploaded_served_checked_and_removed(admin_client: Client, corp: Corp) -> None:
    assert messages_of(admin_client.post(url(corp), {"file": "text"}, follow=True)) == ["Choose the file first."]
    response = upload(admin_client, corp)
    assert ">waiting<" in section(admin_client, corp)
    do_jobs()

    assert response.redirect_chain == [(f"/admin/integrations/corp/{corp.pk}/change/#verification", 302)]
    assert messages_of(response) == [f"{NAME} is served from now on."]
    assert Client().get(f"/{NAME}").content == CODE.encode()
    assert LogEntry.objects.get().get_change_message() == f"Verification file {NAME} uploaded."
    shown = section(admin_client, corp)
    assert f'href="{SiteAddress.objects.default().url}{NAME}"' in shown
    assert '<span class="pill pill-bad">failed</span>' in shown
    assert "Check the DNS entry of the host name, the firewall and the reverse proxy." in shown
    SiteAddress.objects.update(url="https://new.example.com/")
    assert "Something was changed after this: check again." in section(admin_client, corp)

    response = admin_client.post(url(corp, "verification_remove", CODE), follow=True)
    assert messages_of(response) == [f"{NAME} is no longer served."]
    assert Client().get(f"/{NAME}").status_code == 404
    assert LogEntry.objects.latest("pk").get_change_message() == f"Verification file {NAME} removed."


def test_another_file_is_refused_with_a_sentence(admin_client: Client, corp: Corp) -> None:
    for name, content, sentence in (
        ("<script>.txt", b"", "“<script>.txt” is not the name of a verification file"),
        (NAME, b"x" * 3_000_000, "This file is too large"),
    ):
        response = upload(admin_client, corp, name, content)

        assert [message[: len(sentence)] for message in messages_of(response)] == [sentence]
        assert "<script>.txt" not in response.content.decode()
    corp.refresh_from_db()
    assert (corp.verification_files, LogEntry.objects.count()) == ([], 0)


def test_another_company_s_file_cannot_be_removed_under_one_s_own(
    administrator: User, corp: Corp, other_corp: Corp
) -> None:
    store_file(corp=other_corp, name=NAME, content=CODE.encode(), now=timezone.now())
    client = client_of(administrator)

    assert client.post(url(corp, "verification_remove", CODE)).status_code == 404
    assert NAME not in section(client, corp)
