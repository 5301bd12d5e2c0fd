"""What `make demo` promises to a newcomer: a report arrives on the phone, one tap signs the person in, and whoever
leaves the company in the sandbox's console is signed out.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.tools.test_demo import ask_database, place, started  # noqa: F401  # `place` is a fixture
from tools.demo.program import Place

# The newcomer's own browser, in a tab of which the stand-in phone lives.
ORDINARY = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
CORPID, USERID = "ww5e1f0a2b3c4d6e71", "zixuan.li"
ARRIVAL_SECONDS = 180


def within(seconds: float, find: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := find():
            return found
        time.sleep(0.5)
    raise AssertionError(f"nothing came within {seconds:.0f} s")


def is_copied(place: Place) -> bool:  # noqa: F811  # the fixture's name
    """Whether the directory's first copy is done: from then on events are acted on."""
    question = (
        "SELECT 1 FROM integrations_syncrun JOIN integrations_corp c ON c.id = corp_id"
        " WHERE status = 'done' AND c.corpid = %s"
    )
    return ask_database(place, question, CORPID) is not None


def articles(messages: list[dict[str, Any]]) -> list[dict[str, str]]:
    """What came as a picture with text: the weather report. Other reports and an alert may have come before."""
    return [article for one in messages if one["msgtype"] == "news" for article in one["news"]["articles"]]


@pytest.mark.processes
def test_a_report_arrives_one_tap_signs_in_and_who_leaves_is_signed_out(place: Place, project_root: Path) -> None:  # noqa: F811  # the fixture
    sandbox = f"http://127.0.0.1:{place.sandbox_port}"
    site = f"http://localhost:{place.web_port}"
    with started(place, project_root), requests.Session() as phone:
        phone.headers["User-Agent"] = ORDINARY
        phone.get(f"{sandbox}/phone", params={"corpid": CORPID, "userid": USERID}, timeout=60)

        workbench = phone.get(f"{sandbox}/phone/workbench", timeout=60).text
        phone.cookies.set("sandbox_tapped", "1", domain="127.0.0.1")  # as the phone's script does at a tap
        (app,) = re.findall(r'href="([^"]+/connect/oauth2/authorize\?[^"]+)"', workbench)
        home = phone.get(app.replace("&amp;", "&"), timeout=60)
        mailbox = f"{sandbox}/sandbox/api/companies/{CORPID}/members/{USERID}/messages"
        [article, *_] = within(ARRIVAL_SECONDS, lambda: articles(phone.get(mailbox, timeout=60).json()["messages"]))
        message = phone.get(article["url"], timeout=60)
        picture = requests.get(article["picurl"], timeout=60)  # as WeCom fetches it, without a session
        within(ARRIVAL_SECONDS, lambda: is_copied(place))
        phone.delete(f"{sandbox}/sandbox/api/companies/{CORPID}/members/{USERID}", json={}, timeout=60)
        within(ARRIVAL_SECONDS, lambda: phone.get(f"{site}/", timeout=60).url != f"{site}/")

    assert (home.status_code, home.url.partition("#")[0]) == (200, f"{site}/")
    assert "李子轩" in home.text
    assert message.status_code == 200
    assert article["title"] in message.text
    assert (picture.status_code, picture.headers["Content-Type"]) == (200, "image/png")
