"""`make demo` with its real programs: its refusals, its promises to a newcomer, and its clean end."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import requests

from tests.programs import run_program
from tests.tools.test_supervisor import marked
from tools.demo import program as demo_program
from tools.demo.program import MARK, SERVERS, DemoRefused, Place
from tools.services import free_port
from tools.supervisor import end_marked_processes

START_SECONDS = 180
PROGRAM_COUNT = 9 if demo_program.can_take_pictures() else 8
COMMAND = (sys.executable, "-m", "tools.demo")
# The newcomer's own browser; the stand-in phone is one of its tabs.
ORDINARY = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
CORPID, USERID = "ww5e1f0a2b3c4d6e71", "zixuan.li"
IS_COPIED = (
    "SELECT count(*) FROM integrations_syncrun JOIN integrations_corp c ON c.id = corp_id"
    " WHERE status = 'done' AND c.corpid = 'ww5e1f0a2b3c4d6e71'"
)
BEGAN = "SELECT confirmed_at FROM integrations_installation"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "100% 演示?", free_port(), free_port(), free_port())
    place.folder.mkdir(mode=0o700)
    yield place
    demo_program.delete_data(place)  # as root the database is elsewhere


def environ(place: Place) -> dict[str, str]:
    ports = {"WEB": place.web_port, "SANDBOX": place.sandbox_port, "MAIL": place.mail_port}
    variables = {f"DEMO_{name}_PORT": str(port) for name, port in ports.items()}
    return os.environ | variables | {"DEMO_FOLDER": str(place.folder)}


def run(place: Place, root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the demo to its end, START_SECONDS at most."""
    return run_program([*COMMAND, *words], env=environ(place), cwd=root, timeout=START_SECONDS)


@contextmanager
def started(place: Place, root: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Start a demo and yield it with its log once it has printed its addresses. No process survives the block."""
    log = place.folder.parent / "demo.log"
    with log.open("wb") as output:
        process = subprocess.Popen(COMMAND, env=environ(place), cwd=root, stdout=output, stderr=subprocess.STDOUT)
    try:
        within(lambda: process.poll() is not None or "`make demo-reset` throws" in log.read_text())
        assert process.poll() is None, log.read_text()
        yield process, log
    finally:
        process.kill()
        process.wait()
        end_marked_processes(MARK, str(place.folder), servers=SERVERS)


def within(find: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + START_SECONDS
    while not (found := find()):
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.2)
    return found


def ask_database(place: Place, question: str) -> Any:
    """Return the first value of a query of a running demo's database."""
    urls = []
    for one in marked(str(place.folder), MARK):
        with suppress(psutil.Error):  # some processes end at any time
            urls.append(one.environ().get("DATABASE_URL"))
    with psycopg.connect(next(filter(None, urls))) as connection:
        row = connection.execute(question.encode()).fetchone()
    return row and row[0]


@pytest.mark.parametrize("name", ["web", "sandbox", "mail"])
def test_a_taken_port_is_refused(place: Place, name: str) -> None:
    port = {"web": place.web_port, "sandbox": place.sandbox_port, "mail": place.mail_port}[name]
    text = f"Port {port} ({name}) is taken. Choose another: DEMO_{name.upper()}_PORT={port + 10} make demo"
    for family, host in demo_program._list_loopback_addresses():
        with socket.create_server((host, port), family=family), pytest.raises(DemoRefused, match=re.escape(text)):
            demo_program.check_ports(place)


@pytest.mark.parametrize("text", ["", "web", "0", "65536", "-1", "3001 "])
def test_a_port_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("DEMO_WEB_PORT", text)
    problem = f"DEMO_WEB_PORT: expected a port from 1 to 65535, not {text!r}"

    with pytest.raises(DemoRefused, match=f"^{re.escape(problem)}"):
        Place.from_environ()


@pytest.mark.parametrize("words", [(), ("--reset",)])
def test_a_folder_with_other_files_is_refused_and_left_alone(
    place: Place, project_root: Path, words: tuple[str, ...]
) -> None:
    (place.folder / "thesis.txt").write_text("years of work")

    refused = run(place, project_root, *words)

    assert (refused.returncode, refused.stderr.startswith(f"{place.folder} holds files")) == (1, True)
    assert [path.name for path in place.folder.iterdir()] == ["thesis.txt"]


def test_the_demo_inherits_no_database_and_keeps_its_own_keys(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "DATABASE_URL_FILE", "SECRET_KEY_FILE"):
        monkeypatch.setenv(name, "another's")

    found = demo_program.make_environ(place, database="postgresql://127.0.0.1:1/ours", valkey="redis://127.0.0.1:1/0")

    assert (found["DATABASE_URL"], found["ENVIRONMENT"]) == ("postgresql://127.0.0.1:1/ours", "demo")
    assert not {"DATABASE_URL_FILE", "SECRET_KEY_FILE"} & found.keys()
    keys = demo_program.load_keys(place)
    assert keys.items() <= found.items()
    assert demo_program.load_keys(place) == keys
    assert stat.S_IMODE((place.folder / "keys.json").stat().st_mode) == 0o600


def tap_app(phone: requests.Session, place: Place) -> requests.Response:
    """Tap the app in the workbench of the person's phone. Return the page that it leads to."""
    phone.get(f"{place.sandbox_url}/phone", params={"corpid": CORPID, "userid": USERID}, timeout=60)
    workbench = phone.get(f"{place.sandbox_url}/phone/workbench", timeout=60).text
    phone.cookies.set("sandbox_tapped", "1", domain="127.0.0.1")  # as the phone's script does at a tap
    (app,) = re.findall(r'href="([^"]+/connect/oauth2/authorize\?[^"]+)"', workbench)
    return phone.get(app.replace("&amp;", "&"), timeout=60)


@pytest.mark.processes
def test_a_report_arrives_one_tap_signs_in_who_leaves_is_out_and_all_ends_also_after_a_kill(
    place: Place, project_root: Path
) -> None:
    company = f"{place.sandbox_url}/sandbox/api/companies/{CORPID}/members/{USERID}"

    def articles() -> list[dict[str, str]]:
        """Return messages with a picture: the daily sales. Other reports and an alert may have come before."""
        messages = phone.get(f"{company}/messages", timeout=60).json()["messages"]
        return [article for one in messages if one["msgtype"] == "news" for article in one["news"]["articles"]]

    with started(place, project_root) as (killed, log), requests.Session() as phone:
        assert stat.S_IMODE(place.companies.stat().st_mode) == 0o600  # the file has the Secrets of the apps
        phone.headers["User-Agent"] = ORDINARY
        for _family, host in demo_program._list_loopback_addresses():
            web = requests.get(f"http://{'[::1]' if host == '::1' else host}:{place.web_port}/", timeout=60)
            assert web.status_code < 500
        home = tap_app(phone, place)
        [article, *_] = within(articles)
        message = phone.get(article["url"], timeout=60)
        picture = requests.get(article["picurl"], timeout=60)  # as WeCom fetches it, without a session
        refused = {word: run(place, project_root, *word.split()) for word in ("", "--reset")}
        began, said = ask_database(place, BEGAN), log.read_text()
        killed.kill()
        killed.wait()
        orphans = marked(str(place.folder), MARK)

        with started(place, project_root) as (process, log):
            survivors = [one for one in orphans if one.is_running() and one.status() != "zombie"]
            kept, database = ask_database(place, BEGAN), place.database.resolve()
            within(lambda: ask_database(place, IS_COPIED))  # from then on events are handled
            phone.delete(company, json={}, timeout=60)
            within(lambda: phone.get(place.site_url, timeout=60).url != place.site_url)
            process.send_signal(signal.SIGTERM)
            status = process.wait(START_SECONDS)
            left = marked(str(place.folder), MARK)

    run_program(["sh", "-c", "sleep 60 > /dev/null 2>&1 &"], env=os.environ | {MARK: str(place.folder)})
    orphans_of_the_end = len(marked(str(place.folder), MARK))
    done = run(place, project_root, "--reset")

    assert (home.status_code, home.url.partition("#")[0]) == (200, place.site_url)
    assert "李子轩" in home.text
    assert message.status_code == 200
    assert article["title"] in message.text
    assert (picture.status_code, picture.headers["Content-Type"]) == (200, "image/png")
    already = f"The demo runs already (process {killed.pid}). Stop it there with Ctrl-C.\n"
    assert {(one.returncode, one.stderr) for one in refused.values()} == {(1, already)}
    assert {line.split("|")[0].strip() for line in said.splitlines()} >= {"demo", "sandbox", "worker"}
    assert "administrator: admin / guanwecom-demo" in said
    assert len(orphans) >= PROGRAM_COUNT
    assert survivors == []
    # A worker may start another process between the count and the end.
    assert (ended := re.match(r"Ended (\d+) processes of a demo that was killed: ", log.read_text()))
    assert int(ended[1]) >= PROGRAM_COUNT
    assert (kept, status, left) == (began, 0, [])
    assert (orphans_of_the_end, done.returncode, marked(str(place.folder), MARK)) == (1, 0, [])
    assert done.stdout.endswith(f"The demo's data in {place.folder} is gone; `make demo` makes it anew.\n")
    assert [path.name for path in place.folder.iterdir()] == ["lock"]
    assert not database.exists()
    demo_program.check_ports(place)
