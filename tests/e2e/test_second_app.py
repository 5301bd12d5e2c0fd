"""An attack on a superuser's session through a second app of the same WeCom company.

Whoever controls an app of the company gets a code of anybody who taps its link, for the app's own trusted domain.
Redeemed with that app's Secret at our callback, with a state of the attacker's own browser, it would sign the attacker
in.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, expect
from pytest_django.live_server_helper import LiveServer

from accounts.models import User, WeComAccount
from accounts.users.roles import Role
from integrations.companies import services
from integrations.models import Corp, StagedCredentials
from tests import user_agents as ua
from tests.e2e.joined import Joined, join
from tests.e2e.session import signed_in
from tests.jobs import do_jobs
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
FOREIGN_AGENTID, FOREIGN_SECRET, FOREIGN_DOMAIN = 1000009, "sandbox-secret-of-app-1000009", "own.attacker.example"


@pytest.fixture
def joined(site: str, running_sandbox: SandboxHandle) -> Joined:
    """A company with two apps: ours, long enabled, and the attacker's. Li Lei is a superuser here."""
    found = join(site, running_sandbox)
    domain = site.removeprefix("http://")
    ours = {**company()["apps"][0], "trusted_domain": domain, "callback_domain": domain}
    theirs = {**ours, "agentid": FOREIGN_AGENTID, "name": "活动", "secret": FOREIGN_SECRET}
    theirs |= {"trusted_domain": FOREIGN_DOMAIN, "callback_domain": ""}
    running_sandbox.load({"companies": [company(apps=[ours, theirs])]})
    Corp.objects.update(first_enabled_at=timezone.now())
    User.objects.filter(username="LiLei").update(is_staff=True, is_superuser=True)
    return found


def code_of_a_tap(victim: Page, joined: Joined) -> str:
    """Tap the attacker's link as Li Lei and return the code that arrives at the attacker's domain."""
    victim.goto(joined.phone_of("LiLei"))
    query = {
        **{"appid": CORPID, "agentid": FOREIGN_AGENTID, "redirect_uri": f"https://{FOREIGN_DOMAIN}/"},
        **{"response_type": "code", "scope": "snsapi_base", "state": ""},
    }
    address = f"{joined.sandbox.base_url}/connect/oauth2/authorize?{urlencode(query)}"
    arrived = urlsplit(victim.request.get(address, max_redirects=0).headers["location"])
    assert arrived.netloc == FOREIGN_DOMAIN
    return parse_qs(arrived.query)["code"][0]


def redeemed(attacker: Page, joined: Joined, code: str) -> None:
    """Begin a sign-in as the attacker and open our callback with its state and the victim's code."""
    sent_to_wecom = attacker.request.get(joined.entry("/admin/"), max_redirects=0).headers["location"]
    state = parse_qs(urlsplit(sent_to_wecom).query)["state"][0]
    attacker.goto(f"{joined.base}/wecom/{joined.corp.pk}/callback/?{urlencode({'code': code, 'state': state})}")


def is_somebody(page: Page, joined: Joined) -> bool:
    return page.request.get(f"{joined.base}/account/", max_redirects=0).status == 200


@pytest.fixture
def context(browser: Browser) -> BrowserContext:
    return browser.new_context(locale="zh-CN")


@pytest.fixture
def attacker(browser: Browser) -> Page:
    return browser.new_context(user_agent=ua.CHROME, locale="en").new_page()


@pytest.fixture
def victim(browser: Browser) -> Page:
    return browser.new_context(user_agent=ua.WECOM_ANDROID, locale="zh-CN").new_page()


def test_an_administrator_of_the_company_does_not_choose_another_app(
    context: BrowserContext, live_server: LiveServer, joined: Joined, attacker: Page, victim: Page
) -> None:
    manager = User.objects.create(username="manager", is_staff=True)
    manager.managed_corps.add(joined.corp)
    manager.groups.add(Group.objects.get(name=Role.SYSTEM_ADMINISTRATOR))
    base, page = signed_in(context, live_server, "manager"), context.new_page()
    page.goto(f"{base}/admin/integrations/corp/{joined.corp.pk}/change/#credentials")
    expect(page.locator("#id_department_root_ids")).to_be_visible()
    assert page.locator("[name=new_secret], [name=agentid], [name=new_proxy_url]").count() == 0

    # Submit the form with a field that it does not show.
    page.evaluate(
        """secret => {
            const field = Object.assign(document.createElement("input"), {name: "new_secret", value: secret});
            document.getElementById("corp_form").append(field);
        }""",
        FOREIGN_SECRET,
    )
    page.locator("#corp_form [name=_save]").click()
    expect(page.locator(".success")).to_be_visible()
    redeemed(attacker, joined, code_of_a_tap(victim, joined))

    assert Corp.objects.get().secret == SECRET
    assert not StagedCredentials.objects.exists()
    assert not is_somebody(attacker, joined)


def test_the_secret_of_another_app_never_serves_though_a_superuser_pastes_it(
    context: BrowserContext, live_server: LiveServer, joined: Joined, attacker: Page, victim: Page
) -> None:
    base, page = signed_in(context, live_server, "LiLei"), context.new_page()
    page.goto(f"{base}/admin/integrations/corp/{joined.corp.pk}/change/#credentials")
    page.locator("#id_new_secret").fill(FOREIGN_SECRET)
    page.locator("#corp_form [name=_save]").click()
    waiting = page.locator("#staged-credentials .pill")
    expect(waiting).to_have_text("检查中")

    do_jobs()
    expect(waiting).to_have_text("被拒绝")
    redeemed(attacker, joined, code_of_a_tap(victim, joined))

    assert (Corp.objects.get().agentid, Corp.objects.get().secret) == (AGENTID, SECRET)
    assert not is_somebody(attacker, joined)


def test_a_superuser_who_comes_through_it_all_the_same_is_an_employee(
    joined: Joined, attacker: Page, victim: Page
) -> None:
    """Codes are valid once the other app is in force; the company's switch limits what they open."""
    joined.corp.secret, joined.corp.admin_rights_enabled = FOREIGN_SECRET, False
    services.save_corp(corp=joined.corp, changed_fields={"secret", "admin_rights_enabled"})

    redeemed(attacker, joined, code_of_a_tap(victim, joined))

    assert is_somebody(attacker, joined)
    attacker.goto(f"{joined.base}/admin/")
    expect(attacker).to_have_url(f"{joined.base}/admin/login/?next=/admin/")
    expect(attacker.locator("#id_password")).to_be_visible()
    assert WeComAccount.objects.get(userid="LiLei").user.is_superuser
