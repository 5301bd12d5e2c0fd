"""Verification files on a company's page."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.models import User
from integrations.models import Corp, Job, SiteAddress, VerificationFile
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


def url(corp: Corp, page: str = "verification", *args: int) -> str:
    return reverse(f"admin:integrations_corp_{page}", args=[corp.pk, *args])


def upload(client: Client, corp: Corp, name: str = NAME, content: bytes = CODE.encode()) -> Any:
    return client.post(url(corp), {"file": SimpleUploadedFile(name, content)}, follow=True)


def make_file(corp: Corp, code: str = CODE, **columns: Any) -> VerificationFile:
    return VerificationFile.objects.create(corp=corp, code=code, uploaded_at=timezone.now(), **columns)


def panel(client: Client, corp: Corp) -> dict[str, Any]:
    return dict(client.get(url(corp, "verification_panel")).json())


def test_a_file_is_uploaded_served_checked_and_removed(admin_client: Client, corp: Corp) -> None:
    assert messages_of(admin_client.post(url(corp), {"file": "text"}, follow=True)) == ["Choose the file first."]
    response = upload(admin_client, corp)
    assert ">not tried<" not in panel(admin_client, corp)["html"]
    do_jobs()

    assert response.redirect_chain == [(f"/admin/integrations/corp/{corp.pk}/change/#verification", 302)]
    assert messages_of(response) == [f"{NAME} is served from now on."]
    assert Client().get(f"/{NAME}").content == CODE.encode()
    file = VerificationFile.objects.get()
    assert (file.corp, file.outcome) == (corp, "unreachable")
    assert LogEntry.objects.get().get_change_message() == f"Verification file {NAME} uploaded."
    shown = panel(admin_client, corp)
    assert shown["is_unfinished"] is False
    assert '<span class="pill pill-bad">cannot be reached</span>' in shown["html"]
    assert "Check the DNS entry of the host name, the firewall and the reverse proxy." in shown["html"]
    assert "no connection (ConnectionRefusedError)" in shown["html"]
    VerificationFile.objects.update(outcome="redirected", detail="HTTP 302 <script>x</script>")
    assert "HTTP 302 &lt;script&gt;x&lt;/script&gt;" in panel(admin_client, corp)["html"]

    response = admin_client.post(url(corp, "verification_remove", file.pk), follow=True)
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
    assert VerificationFile.objects.count() == LogEntry.objects.count() == 0


def test_a_check_that_waits_is_followed(admin_client: Client, corp: Corp) -> None:
    file = make_file(corp)
    assert ">not tried<" in panel(admin_client, corp)["html"]
    assert admin_client.post(url(corp, "verification_check", file.pk))["Location"].endswith("/change/#verification")

    shown = panel(admin_client, corp)

    assert shown["is_unfinished"] is True
    assert "looking…" in shown["html"]
    assert url(corp, "verification_check", file.pk) not in shown["html"]
    assert shown["html"].count("<progress") == 1
    page = admin_client.get(reverse("admin:integrations_corp_change", args=[corp.pk])).content.decode()
    assert f'data-url="{url(corp, "verification_panel")}" data-unfinished' in page


def test_a_good_result_says_how_far_it_goes_and_an_old_one_that_it_is_old(admin_client: Client, corp: Corp) -> None:
    base, now = SiteAddress.objects.default().url, timezone.now()
    make_file(corp, checked_at=now, outcome="found", checked_url=f"{base}{NAME}")

    fresh = panel(admin_client, corp)["html"]
    SiteAddress.objects.update(url="https://new.example.com/")
    old = panel(admin_client, corp)["html"]

    assert '<span class="pill pill-good">answers rightly</span>' in fresh
    assert "WeCom comes from the internet" in fresh
    assert "Check again." not in fresh
    assert f"That was at {base}{NAME}, before the site address was changed. Check again." in old
    assert f'href="https://new.example.com/{NAME}"' in old


@pytest.mark.parametrize("action", ["verification_check", "verification_remove"])
def test_another_company_s_file_cannot_be_named_under_one_s_own(
    administrator: User, corp: Corp, other_corp: Corp, action: str
) -> None:
    theirs = make_file(other_corp)
    client = client_of(administrator)

    response = client.post(url(corp, action, theirs.pk))

    assert response.status_code == 404
    assert not Job.objects.exists()
    assert NAME not in panel(client, corp)["html"]


def test_the_list_takes_as_many_queries_for_ten_files_as_for_one(
    admin_client: Client, corp: Corp, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_file(corp)
    panel(admin_client, corp)  # the first request of a session saves it
    with django_assert_num_queries(6):  # the host, person, corp, site address, newest checks, files
        panel(admin_client, corp)
    for number in range(10):
        make_file(corp, f"{number:016}")

    with django_assert_num_queries(6):
        panel(admin_client, corp)
