"""World of benchmarks.sign_in: a browser's requests handed to the WSGI application of this process.

There is no web server and no test client: the time is the application's own, with its database and Valkey.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

HOST = "localhost:3001"  # the site address that a new installation has
PEOPLE = 500
WECOM = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 wxwork/4.1.22"
BROWSER = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0.0.0 Safari/537.36"
PASSWORD = "a long enough password"
SignIn = Callable[[int], None]


@dataclass
class Browser:
    """A new browser, which keeps its cookies."""

    application: Any
    user_agent: str
    cookies: dict[str, str] = field(default_factory=dict)

    def request_target(self, address: str, form: dict[str, str] | None = None) -> str:
        """Return the address of a redirect, or "" for a page. Raise AssertionError for any other answer."""
        status, headers, _body = self.request(address, urlencode(form or {}).encode())
        assert status.startswith(("200", "302")), (address, status)
        return dict(headers).get("Location", "")

    def request(self, address: str, body: bytes = b"") -> tuple[str, list[tuple[str, str]], bytes]:
        """Return status, headers and body of the answer. With a `body` the request is a form's POST."""
        status, headers, page = self._call_application(address, body)
        for name, value in headers:
            if name == "Set-Cookie":
                self.cookies |= {key: morsel.value for key, morsel in SimpleCookie(value).items()}
        return status, headers, page

    def _call_application(self, address: str, body: bytes) -> tuple[str, list[tuple[str, str]], bytes]:
        parts, received = urlsplit(address), []
        environ = {
            "REQUEST_METHOD": "POST" if body else "GET",
            "PATH_INFO": parts.path,
            "SCRIPT_NAME": "",
            "QUERY_STRING": parts.query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "3001",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": HOST,
            "HTTP_USER_AGENT": self.user_agent,
            "HTTP_ACCEPT_LANGUAGE": "zh-CN,zh;q=0.9",
            "HTTP_COOKIE": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": "application/x-www-form-urlencoded",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.url_scheme": "http",
            "wsgi.version": (1, 0),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        answer = self.application(environ, lambda status, headers, _error=None: received.append((status, headers)))
        page = b"".join(answer)
        answer.close()
        [(status, headers)] = received
        return status, headers, page


# --- The contenders: the returned functions sign in the person with a given number ---


def make_our_sign_in(application: Any, corpid: str) -> SignIn:
    """Return a function that signs in through WeCom: the start, and the callback with our state and a code."""
    from integrations.models import Corp

    start = f"/wecom/{Corp.objects.get(corpid=corpid).pk}/start/"

    def sign_in(number: int) -> None:
        browser = Browser(application, WECOM)
        sent_to = parse_qs(urlsplit(browser.request_target(start)).query)
        callback = urlsplit(sent_to["redirect_uri"][0])
        query = urlencode({"code": f"U{number}", "state": sent_to["state"][0]})
        assert browser.request_target(f"{callback.path}?{query}") == "/"

    return sign_in


def make_bare_sign_in(application: Any) -> SignIn:
    """Return a function that signs in by Django's own login view: the form's page, then a username and a password."""

    def sign_in(number: int) -> None:
        browser = Browser(application, BROWSER)
        assert browser.request_target("/bare/") == ""
        token = browser.cookies["csrftoken"]
        form = {"username": f"person{number}", "password": PASSWORD, "csrfmiddlewaretoken": token}
        assert browser.request_target("/bare/", form) == "/"

    return sign_in


# --- Rows and answers for the contenders ---

_NUMBER = re.compile(rb"(?:code|userid|openid)=U([0-9]+)")


def reply(request: bytes) -> bytes:
    """Return WeCom's answer. A code names its person and can be used any number of times."""
    found = _NUMBER.search(request)
    number = found[1] if found else b"0"
    if b"/cgi-bin/gettoken" in request:
        return b'{"errcode":0,"errmsg":"ok","access_token":"token-of-the-stand-in","expires_in":7200}'
    if b"/cgi-bin/user/get" in request:
        return b'{"errcode":0,"errmsg":"ok","userid":"U%b","name":"U%b","department":[1],"status":1,"enable":1}' % (
            number,
            number,
        )
    return b'{"errcode":0,"errmsg":"ok","userid":"U%b"}' % number


COPIED, UNCOPIED = "ww0000000000000001", "ww0000000000000002"


def make_rows(base_url: str) -> None:
    """Make people with an account in two companies: one with a copied directory in force, one without a copy."""
    from django.contrib.auth.hashers import make_password
    from django.utils import timezone

    from accounts.models import DirectoryPolicy, User, WeComAccount
    from integrations.models import Corp, Member, SyncRun

    now = timezone.now()
    password = make_password(PASSWORD)
    people = User.objects.bulk_create(User(username=f"person{n}", password=password) for n in range(PEOPLE))
    for corpid in (COPIED, UNCOPIED):
        values = {"secret": "none", "api_base_url": base_url, "is_enabled": True, "first_enabled_at": now}
        corp = Corp.objects.create(name=corpid, corpid=corpid, agentid=1000002, **values)
        WeComAccount.objects.bulk_create(
            WeComAccount(user=one, corp=corp, userid=f"U{n}", userid_folded=f"u{n}", is_primary=corpid == COPIED)
            for n, one in enumerate(people)
        )
    copied = Corp.objects.get(corpid=COPIED)
    DirectoryPolicy.objects.create(corp=copied, mode=DirectoryPolicy.Mode.LINK)
    Member.objects.bulk_create(
        Member(corp=copied, userid=f"U{n}", userid_folded=f"u{n}", status="active", first_seen_at=now, changed_at=now)
        for n in range(PEOPLE)
    )
    times = {"requested_at": now, "started_at": now, "finished_at": now}
    SyncRun.objects.create(corp=copied, trigger="manual", status="done", **times)
