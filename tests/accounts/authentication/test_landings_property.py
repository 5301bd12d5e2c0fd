"""Targets of sign-in: for any `next` and inner page, a browser ends on our host or in the configured BI.

Views are followed redirect by redirect, and each Location is read as browsers read it. HYPOTHESIS_PROFILE=nightly
tries more examples.
"""

import re
from collections.abc import Callable
from html import unescape
from itertools import count
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.authentication.flow import Cause
from accounts.models import User
from accounts.views.errors import ErrorDetails
from integrations.models import Corp
from tests.accounts.arriving import seal_details
from tests.accounts.authentication.test_targets import CORPUS, TRICKS
from tests.accounts.conftest import DESKTOP, PASSWORD, SITE, Visitor, query_of, state_in, visitor
from tests.accounts.people import HOST
from tests.accounts.wecom import WeCom
from tests.bi import BI, make_bi, read_claims
from tests.nightly import IS_NIGHTLY

EXAMPLES = settings(
    max_examples=3_000 if IS_NIGHTLY else 60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
HOPS_AT_MOST = 6
WECOM_HOSTS = {"open.weixin.qq.com", "login.work.weixin.qq.com"}
_codes = count(1)


class Doors:
    """Ways into the site that take a target address. Each returns the first answer that leads on."""

    def __init__(self, corp: Corp, person: User, wecom: WeCom) -> None:
        self.corp, self.wecom = corp, wecom
        self.person = person

    def arrived(self, browser: Visitor, state: str) -> Any:
        code = f"CODE{next(_codes)}"
        self.wecom.gives(code, userid="lilei")
        return browser.arrive(self.corp, code=code, state=state)

    def start(self, browser: Visitor, trick: str) -> Any:
        return self.arrived(browser, browser.begin(self.corp, trick))

    def panel(self, browser: Visitor, trick: str) -> Any:
        answer: Any = browser.client.post(f"/wecom/{self.corp.pk}/panel/", {"next": trick})
        return self.arrived(browser, answer.json()["params"]["state"])

    def home_page_link(self, browser: Visitor, trick: str) -> Any:
        return self.arrived(browser, state_in(browser.arrive(self.corp, path_url=trick, code="STRAY")))

    def bare_home_page_link(self, browser: Visitor, trick: str) -> Any:
        """Open the link with a target that was not encoded."""
        plain = quote(trick, safe="/\\%:@?&=;,.~!$'()*+#")
        first = browser.client.get(f"/wecom/{self.corp.pk}/callback/?path_url={plain}&code=STRAY")
        return self.arrived(browser, state_in(first))  # the test client's own response

    def root(self, browser: Visitor, trick: str) -> Any:
        return self.arrived(browser, state_in(browser.get("/", path_url=trick, code="STRAY", state="")))

    def password(self, browser: Visitor, trick: str) -> Any:
        form = {"username": self.person.username, "password": PASSWORD, "next": trick}
        return browser.client.post("/login/?stay=1", form)

    def language(self, browser: Visitor, trick: str) -> Any:
        return browser.client.post("/i18n/setlang/", {"language": "en", "next": trick})

    def straight_on(self, browser: Visitor, trick: str) -> Any:
        self.signed_in(browser)
        return browser.get(f"/wecom/{self.corp.pk}/start/", next=trick)

    def root_with_a_session(self, browser: Visitor, trick: str) -> Any:
        self.signed_in(browser)
        return browser.get("/", path_url=trick)

    def signed_in(self, browser: Visitor) -> None:
        browser.client.force_login(self.person, backend="accounts.authentication.backends.WeComBackend")
        session = browser.client.session
        session["corp_id"] = self.corp.pk
        session.save()


DOORS: list[Callable[[Doors, Visitor, str], Any]] = [
    Doors.start, Doors.panel, Doors.home_page_link, Doors.bare_home_page_link, Doors.root, Doors.password,
    Doors.language, Doors.straight_on, Doors.root_with_a_session,
]  # fmt: skip


@pytest.fixture
def doors(corp: Corp, person: User, wecom: WeCom) -> Doors:
    person.set_password(PASSWORD)
    person.save()
    make_bi()
    return Doors(corp, person, wecom)


def as_browsers_read(location: str) -> str:
    """Read an address as the WHATWG says: without tabs and line breaks, backslashes as slashes, outer controls
    trimmed."""
    return re.sub(r"[\t\r\n]", "", location).strip("".join(map(chr, range(0x21)))).replace("\\", "/")


def assert_stays(response: Any, browser: Visitor) -> None:
    """Follow redirects to the end: our pages, the BI as this person, or a sign-in at WeCom that returns to us."""
    address = SITE
    for _hop in range(HOPS_AT_MOST):
        location = response.headers.get("Location")
        if location is None:
            assert response.status_code in {200, 204, 404, 405}
            return
        assert location.isprintable()
        parts = urlsplit(urljoin(address, as_browsers_read(location)))
        assert parts.scheme == "https"
        assert parts.netloc in {HOST, urlsplit(BI).netloc, *WECOM_HOSTS}
        if parts.netloc == urlsplit(BI).netloc:
            assert read_claims(location)["externalUserId"] == "lilei"
            return
        if parts.netloc in WECOM_HOSTS:
            assert urlsplit(query_of(location)["redirect_uri"]).netloc == HOST
            return
        address = urljoin(address, location)
        response = browser.client.get(parts.path + (f"?{parts.query}" if parts.query else ""))
    raise AssertionError(f"no end: {address}")


PIECES = ["/", "\\", "bi/", "%2f", "%5c", "..", "evil.example", "@", ":", "//", "?", "#"]
trickery = (
    st.sampled_from([*TRICKS, *CORPUS, "/bi/", "/bi//evil.example", "/bi/..//x", "survey-engine", "bi/\\evil.example"])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
    | st.text(alphabet="/\\%2fFcC5.:@?#&=;\r\n\t bi-", max_size=30)
    | st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
)  # fmt: skip


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_no_door_takes_a_classic_trick(doors: Doors, door: Callable[[Doors, Visitor, str], Any]) -> None:
    for trick in (
        "//evil.example",
        "/\\evil.example",
        "https://evil.example/",
        "/\t/evil.example",
        "javascript:x",
    ):
        browser = visitor()
        assert_stays(door(doors, browser, trick), browser)


@EXAMPLES
@given(door=st.sampled_from(DOORS), trick=trickery, is_phone=st.booleans())
def test_every_landing_is_ours_or_the_bi(
    doors: Doors, door: Callable[[Doors, Visitor, str], Any], trick: str, is_phone: bool
) -> None:
    browser = visitor() if is_phone else visitor(DESKTOP)

    assert_stays(door(doors, browser, trick), browser)


@EXAMPLES
@given(trick=trickery)
def test_every_link_on_a_page_that_explains_stays_here(doors: Doors, trick: str) -> None:
    sealed = seal_details(
        ErrorDetails(Cause.CODE_EXPIRED, corp_id=doors.corp.pk, corp_name=doors.corp.name, target=trick)
    )

    page = visitor(DESKTOP).get("/login/trouble/", t=sealed).content.decode()

    for link in re.findall(r'(?:href|action)="([^"]*)"', page):
        read = urlsplit(urljoin(SITE, as_browsers_read(unescape(link))))
        assert read.netloc == HOST
        requested = query_of(unescape(link)).get("next", "/")
        assert urlsplit(urljoin(SITE, as_browsers_read(requested))).netloc == HOST


@EXAMPLES
@given(trick=trickery)
def test_the_continue_button_stays_here(doors: Doors, trick: str) -> None:
    browser = visitor(DESKTOP)
    doors.signed_in(browser)

    page = browser.get("/login/", next=trick).content.decode()

    [link] = re.findall(r'<a class="button" href="([^"]*)"', page)
    assert urlsplit(urljoin(SITE, as_browsers_read(unescape(link)))).netloc == HOST
