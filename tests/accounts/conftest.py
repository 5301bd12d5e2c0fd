"""Fixtures: companies, a person in one of them, and a browser that goes to WeCom and returns."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils.http import urlencode

from accounts.authentication.sessions import CORP_KEY
from accounts.models import Attribute, User, WeComAccount, fold_userid
from accounts.users.roles import Role
from guanwecom.celery import app
from integrations.core import http
from integrations.models import Corp, SiteAddress
from tests import user_agents
from tests.accounts.dying import Workers, dying_workers
from tests.accounts.people import HOST, with_role
from tests.accounts.wecom import WeCom, answer_as_wecom
from tests.rows import put

SITE = "https://bi.example.com/"
DESKTOP, IPHONE_WECOM = user_agents.CHROME, user_agents.WECOM_IOS
# Companies differ between tests, because a process caches their tokens.
_corpids = (f"ww{number:016d}" for number in count(1))
SECRET = "invented-secret-0123456789"


@dataclass
class Visitor:
    client: Client

    def get(self, path: str, **query: Any) -> HttpResponse:
        address = f"{path}?{urlencode(query)}" if query else path
        return self.client.get(address)  # type: ignore[return-value]  # the test client adds attributes to it

    def begin(self, corp: Corp, target: str = "/") -> str:
        return state_in(self.get(f"/wecom/{corp.pk}/start/", next=target))

    def arrive(self, corp: Corp, **query: str) -> HttpResponse:
        return self.get(f"/wecom/{corp.pk}/callback/", **query)

    def sign_in(self, corp: Corp, wecom: WeCom, userid: str, code: str = "C", target: str = "/") -> HttpResponse:
        wecom.gives(code, userid=userid)
        return self.arrive(corp, code=code, state=self.begin(corp, target))

    @property
    def user_id(self) -> int | None:
        value = self.client.session.get("_auth_user_id")
        return int(value) if value is not None else None


def visitor(user_agent: str = IPHONE_WECOM, host: str = HOST) -> Visitor:
    return Visitor(Client(headers={"user-agent": user_agent, "host": host}, SERVER_NAME=host))


def with_session(person: User, corp: Corp | None = None, user_agent: str = IPHONE_WECOM) -> Visitor:
    """Return a browser with a session of `person`, opened through `corp` or by password."""
    browser = visitor(user_agent)
    if corp is None:
        browser.client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        return browser
    browser.client.force_login(person, backend="accounts.authentication.backends.WeComBackend")
    session = browser.client.session
    session[CORP_KEY] = corp.pk
    session.save()
    return browser


def query_of(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def state_in(response: Any) -> str:
    """Return the state of the authorise page or QR page to which a response leads."""
    assert response.status_code == 302
    return query_of(response.headers["Location"])["state"]


@pytest.fixture(autouse=True)
def _site(db: None) -> Iterator[None]:
    http.clear_caches()
    if not SiteAddress.objects.filter(is_default=True).update(url=SITE):
        put(SiteAddress(is_default=True, url=SITE))
    yield
    http.clear_caches()


@pytest.fixture
def wecom() -> Iterator[WeCom]:
    with answer_as_wecom() as stand_in:
        yield stand_in


@pytest.fixture
def corp(db: None) -> Corp:
    return make_corp("北山制造", 1)


@pytest.fixture
def other_corp(db: None) -> Corp:
    return make_corp("南湖贸易", 2)


def make_corp(name: str, number: int, **values: Any) -> Corp:
    usual = {"corpid": next(_corpids), "agentid": 1000000 + number, "secret": SECRET, "is_enabled": True}
    return put(Corp(**{"name": name, **usual, **values}))


PASSWORD = "right-password-1"


def make_person(
    username: str, corp: Corp | None = None, userid: str = "", *, password: str | None = "", **values: Any
) -> User:
    """Make a person. `password` None means that they have none."""
    user = User(username=username, **values)
    if password != "":
        user.set_password(password)
    put(user)
    if corp is not None or userid:
        put(WeComAccount(user=user, corp=corp, userid=userid, userid_folded=fold_userid(userid)))
    return user


def by_password(username: str, user_agent: str = DESKTOP, **more: str) -> Visitor:
    """Return a new browser signed in by PASSWORD."""
    browser = visitor(user_agent)
    browser.client.post("/login/", {"username": username, "password": PASSWORD, **more})
    return browser


@pytest.fixture
def person(corp: Corp) -> User:
    return make_person("lilei", corp, "LiLei", name="李雷")


@pytest.fixture
def clerk(db: None) -> User:
    return make_person("clerk", name="王芳", password=PASSWORD)


@pytest.fixture
def chief(corp: Corp) -> User:
    """A superuser with a password and an account."""
    return make_person("chief", corp, "Chief", password=PASSWORD, is_staff=True, is_superuser=True, name="王芳")


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create(username="root", is_staff=True, is_superuser=True)


@pytest.fixture
def editor(db: None) -> User:
    """A system administrator of all companies."""
    return with_role("editor", Role.SYSTEM_ADMINISTRATOR)


@pytest.fixture
def limited(corp: Corp) -> User:
    """A system administrator of the company alone."""
    return with_role("limited", Role.SYSTEM_ADMINISTRATOR, corp)


@pytest.fixture
def login(db: None) -> Attribute:
    """The attribute by which people enter the BI."""
    return Attribute.objects.bi_login_ids().get()


@pytest.fixture
def number(db: None) -> Attribute:
    marks = {"is_unique": True, "is_employee_number": True}
    return Attribute.objects.create(key="employee_number", name="工号", position=20, **marks)


@pytest.fixture
def region(db: None) -> Attribute:
    """An attribute with choices, of which people may have several."""
    values = {"kind": "choice", "choices": ["华东", "华北", "East"], "is_many_valued": True}
    return Attribute.objects.create(key="region", name="区域", position=30, **values)


@pytest.fixture
def phone() -> Visitor:
    return visitor()


@pytest.fixture
def desktop() -> Visitor:
    return visitor(DESKTOP)


@pytest.fixture
def _addresses_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the site's addresses once per test, because tests count queries."""
    monkeypatch.setattr(http, "HOST_CACHE_SECONDS", 3600.0)
    monkeypatch.setattr(http, "ORIGIN_CACHE_SECONDS", 3600.0)


@pytest.fixture(autouse=True)
def _tasks_at_once() -> Iterator[None]:
    """Run background work at once; tests of the queue itself turn this off."""
    app.conf.task_always_eager = app.conf.task_eager_propagates = True
    yield
    app.conf.task_always_eager = app.conf.task_eager_propagates = False


@pytest.fixture
def workers(process_environ: dict[str, str], project_root: Path) -> Iterator[Workers]:
    """Workers that can be killed. Nobody else does queued work."""
    app.conf.task_always_eager = False
    with dying_workers(process_environ, project_root) as started:
        yield started
