"""The guides in the administration: who may read them, and where errors lead."""

from pathlib import Path

import pytest
from django.test import Client
from django.utils.translation import override

from accounts.models import User
from integrations.companies.diagnosis.checks import explain_finding
from integrations.core import sentences
from integrations.core.sentences import explain_errcode


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a page of each language, and a file beside it."""
    monkeypatch.setattr(sentences, "GUIDES_FOLDER", tmp_path / "html")
    for tree in ("en", "zh-cn"):
        (tmp_path / "html" / tree).mkdir(parents=True)
        (tmp_path / "html" / tree / "errors.html").write_text(f"<p>{tree}</p>")
        (tmp_path / "html" / tree / "index.html").write_text(f"<p>{tree}</p>")
    (tmp_path / "secret.txt").write_text("not a guide")
    return tmp_path


def signed_in(**values: bool) -> Client:
    client = Client(headers={"host": "testserver"})
    user = User.objects.create(username="reader", **values)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.mark.django_db
def test_administrators_read_the_guides_and_nobody_else(built: Path) -> None:
    answer = signed_in(is_staff=True).get("/docs/en/errors.html")

    assert (answer.status_code, answer["Content-Type"]) == (200, "text/html")
    assert b"".join(answer.streaming_content) == b"<p>en</p>"  # type: ignore[attr-defined]  # a file's answer
    for address in ("/docs/", "/docs/en/errors.html"):
        answer = Client().get(address)
        assert (answer.status_code, answer["Location"]) == (302, f"/admin/login/?next={address}")


@pytest.mark.django_db
def test_their_plain_address_leads_to_the_first_page_and_each_page_of_the_administration_to_it(built: Path) -> None:
    client = signed_in(is_staff=True, is_superuser=True)
    for language, tree in (("zh-CN", "zh-cn"), ("en", "en")):
        answer = client.get("/docs/", headers={"accept-language": language})
        assert (answer.status_code, answer["Location"]) == (302, f"/docs/{tree}/index.html")
    assert 'href="/docs/zh-cn/index.html"' in client.get("/admin/").content.decode()

    (built / "html" / "zh-cn" / "index.html").unlink()

    assert client.get("/docs/").status_code == 404
    assert "/docs/" not in client.get("/admin/").content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("../secret.txt", 400),
        ("en/../../secret.txt", 400),
        ("%2e%2e/secret.txt", 400),
        ("en", 404),
        ("en/missing.html", 404),
    ],
)
def test_nothing_else_is_served(built: Path, path: str, status: int) -> None:
    assert signed_in(is_staff=True).get(f"/docs/{path}").status_code == status


def test_errors_lead_to_their_line(built: Path) -> None:
    with override("en"):
        assert explain_errcode(60020).guide == "/docs/en/errors.html#errcode-60020"
        assert explain_errcode(-1).guide == "/docs/en/errors.html#errcode-minus-1"
        assert explain_errcode(45009, operation="gettoken").guide == "/docs/en/errors.html#errcode-gettoken-45009"
    with override("zh-hans"):
        assert explain_finding("home_page", "missing", None, {}).guide == "/docs/zh-cn/errors.html#check-home-page"
        assert explain_finding("token", "refused", 40001, {}).guide == "/docs/zh-cn/errors.html#errcode-40001"


def test_without_built_guides_there_is_no_link() -> None:
    assert [explain_errcode(code).guide for code in (60020, 123456)] == ["", ""]
