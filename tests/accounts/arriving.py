"""A browser that follows every redirect: our site in Django's test client, WeCom's pages in the sandbox over HTTP."""

import re
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import requests

from accounts.views.errors import ErrorDetails, redirect_to_error, unseal_details
from tests.accounts.conftest import SITE, Visitor, query_of, visitor
from tests.bi import BI, read_page_path
from tests.sandbox_process import SandboxHandle

# Chromium gives up after twenty; no sign-in needs half of that.
HOPS_AT_MOST = 10
_TITLE = re.compile(r"<h1[^>]*>(.*?)</h1>", re.DOTALL)
_WAYS = (
    (re.compile(r"/wecom/\d+/start/"), "start"),
    (re.compile(r"/wecom/\d+/callback/"), "callback"),
    (re.compile(r"/login/trouble/"), "error"),
    (re.compile(r"/login/"), "login"),
    (re.compile(r"/m/"), "message"),
)


@dataclass(frozen=True)
class Landing:
    """The page on which a browser ended. `via` names the steps on the way, `title` is the page's.

    `place` is a path of ours with its query (of an error page its cause), `BI` and a page there, or `WeCom` and the
    page of WeCom that stayed open.
    """

    address: str
    place: str
    status: int
    title: str
    via: str
    body: str = field(repr=False)


@dataclass
class Traveller:
    """A browser with its cookies; `user_agent` says which program it is."""

    sandbox: SandboxHandle
    user_agent: str
    keeps_cookies: bool = True
    ours: Visitor = field(init=False)
    wecom: requests.Session = field(init=False)
    # Addresses of ours that were called.
    called: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ours, self.wecom = visitor(self.user_agent), requests.Session()
        self.wecom.trust_env = False
        self.wecom.headers["User-Agent"] = self.user_agent

    def carry(self, corpid: str, userid: str) -> None:
        self.wecom.get(f"{self.sandbox.base_url}/phone", params={"corpid": corpid, "userid": userid}, timeout=60)

    def open(self, address: str, posted: dict[str, str] | None = None) -> Landing:
        """Follow every redirect from `address` to a page that stays."""
        via: list[str] = []
        while True:
            assert len(via) < HOPS_AT_MOST, f"a loop: {via}"
            if address.startswith(BI):
                return Landing(address, f"BI {read_page_path(address)}", 302, "", " ".join(via), "")
            is_ours = address.startswith(SITE)
            status, location, body = self._ask_us(address, posted) if is_ours else self._ask_wecom(address)
            posted = None
            if not location:
                return Landing(address, _place(address), status, _title(body), " ".join(via), body)
            via.append(_way(address))
            address = urljoin(address, location)

    def scan(self, qr_page: Landing, userid: str, answer: str = "approve") -> Landing:
        """Scan the code on WeCom's page `qr_page` as `userid`, and follow where WeCom sends this browser."""
        assert qr_page.place == "WeCom /wwlogin/sso/login", qr_page
        answered = self.wecom.post(qr_page.address, json={"userid": userid, "answer": answer}, timeout=60)
        return self.open(str(answered.json()["url"]))

    def leaves_before_landing(self, address: str) -> str:
        """Follow `address` to WeCom. Return the address to which WeCom sends the browser back, without calling it."""
        while not address.startswith(self.sandbox.base_url):
            _status, location, _body = self._ask_us(address, None)
            address = urljoin(address, location)
        back = self._ask_wecom(address)[1]
        assert back.startswith(SITE), back
        return back

    def panel_scanned(self, corp_id: int, userid: str, *, requested: str = "/") -> Landing:
        """Scan the login page's panel, whose state a script requests."""
        answer: Any = self.ours.client.post(f"/wecom/{corp_id}/panel/", {"next": requested})
        page = answer.json()["page"]
        found = self.wecom.post(page, json={"userid": userid, "answer": "approve"}, timeout=60)
        return self.open(str(found.json()["url"]))

    def _ask_us(self, address: str, posted: dict[str, str] | None) -> tuple[int, str, str]:
        if not self.keeps_cookies:
            self.ours.client.cookies.clear()
        path = address.split("#")[0].removeprefix(SITE.rstrip("/")) or "/"
        self.called.append(path)
        client = self.ours.client
        response = client.get(path) if posted is None else client.post(path, posted)
        return response.status_code, response.headers.get("Location", ""), response.content.decode()

    def _ask_wecom(self, address: str) -> tuple[int, str, str]:
        assert address.startswith(self.sandbox.base_url), address
        response = self.wecom.get(address.split("#")[0], allow_redirects=False, timeout=60)
        # requests reads the header as Latin-1, as HTTP says; browsers read UTF-8.
        location = response.headers.get("Location", "").encode("latin-1").decode()
        return response.status_code, location, response.text


def _way(address: str) -> str:
    path = urlsplit(address).path
    if not address.startswith(SITE):
        return "WeCom"
    return next((name for pattern, name in _WAYS if pattern.match(path)), path)


def _title(body: str) -> str:
    found = _TITLE.search(body)
    return unescape(found[1]).strip() if found else ""


def _place(address: str) -> str:
    if not address.startswith(SITE):
        return f"WeCom {urlsplit(address).path}"
    parts = urlsplit(address)
    if parts.path == "/login/trouble/":
        found = unseal_details(query_of(address)["t"])
        assert found is not None
        return f"error {found.cause}"
    if parts.path.startswith("/m/"):
        return "message"
    return address.removeprefix(SITE.rstrip("/")).split("#")[0]


def parameters(address: str) -> list[tuple[str, str]]:
    """Return the query of `address` in order, decoded."""
    return parse_qsl(urlsplit(address).query, keep_blank_values=True)


def seal_details(details: ErrorDetails) -> str:
    return query_of(redirect_to_error(details).headers["Location"])["t"]
