"""The command that diagnoses companies, against a real sandbox."""

import pytest
from django.core.management import CommandError, call_command

from integrations.companies import links
from integrations.core.client_factory import token_store
from integrations.models import Corp, SiteAddress
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company

pytestmark = pytest.mark.django_db


@pytest.fixture
def connected(running_sandbox: SandboxHandle) -> Corp:
    """A corp whose console in the sandbox is as it should be."""
    corp = Corp.objects.create(
        name="北山制造", corpid=CORPID, agentid=AGENTID, secret=SECRET, api_base_url=running_sandbox.base_url
    )
    SiteAddress.objects.filter(is_default=True).update(url="https://bi.example.com/")
    values = company()
    right = {"home_url": links.build_home_page_link(corp), "trusted_domain": "bi.example.com"}
    values["apps"] = [{**values["apps"][0], **right}]
    running_sandbox.load({"companies": [values]})
    return corp


def change_app(sandbox: SandboxHandle, **values: object) -> None:
    sandbox.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", values)


def test_the_command_tells_all_of_it_and_where_asked_ends_badly(
    connected: Corp, running_sandbox: SandboxHandle, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("diagnose", strict=True)
    assert "[in order] Trusted IP (ip)" in capsys.readouterr().out

    connected.secret = "not-the-secret-of-the-app"
    connected.save()
    token_store().forget(CORPID, AGENTID)
    call_command("diagnose")
    told = capsys.readouterr().out
    assert "[wrong] Token (token)" in told
    assert "[not tried] Trusted IP (ip)" in told
    connected.secret = SECRET
    connected.save()
    token_store().forget(CORPID, AGENTID)
    change_app(running_sandbox, scope={})

    with pytest.raises(CommandError, match="北山制造"):
        call_command("diagnose", corp=connected.pk, strict=True)
    assert "[wrong] Visible scope (scope)" in capsys.readouterr().out
    call_command("diagnose", verbosity=0)
    assert capsys.readouterr().out == ""
    with pytest.raises(CommandError, match="no such company"):
        call_command("diagnose", corp=connected.pk + 1)
