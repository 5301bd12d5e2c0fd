"""Pictures of pages of the sandbox's BI by a real Chromium, and the browser of a worker, which is restarted."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from integrations.clients import guandata_sso, supervised_browser
from integrations.clients.guandata_sso import build_sign_in_url, encrypt_claims
from integrations.clients.snapshots import (
    Access,
    PageMarks,
    Picture,
    PictureOptions,
    PictureProblem,
    SnapshotBrowser,
    SnapshotError,
    Theme,
    Width,
    read_host,
)
from integrations.clients.supervised_browser import SupervisedBrowser
from tests.bi_pages import count_rows, load_picture, make_bi_card
from tests.chromium import find_picture_browser
from tests.nightly import nightly
from tests.sandbox_process import SandboxHandle, start_sandbox

pytestmark = pytest.mark.e2e
KEY = guandata_sso.load_private_key(guandata_sso.generate_private_key())
MARKS = PageMarks(card=".bi-card")


PAGES = [
    {"page_id": "plain", "name": "平", "cards": [make_bi_card(1)]},
    {"page_id": "late", "name": "晚", "cards": [make_bi_card(2, draws_after=0.4), make_bi_card(3, draws_after=1.5)]},
    {"page_id": "never", "name": "挂", "cards": [make_bi_card(4), make_bi_card(5, draws_after=None)]},
    {"page_id": "long", "name": "长", "cards": [make_bi_card(number, draws_after=0.1) for number in range(10, 30)]},
    {"page_id": "endless", "name": "太长", "cards": [make_bi_card(number) for number in range(30, 90)]},
    {"page_id": "empty", "name": "空"},
    {"page_id": "failed", "name": "错", "fails": True},
]
SEED = {
    "companies": [],
    "bi": {
        "provider": "Guan",
        "domain": "guanbi",
        "public_key": guandata_sso.format_public_line(KEY),
        "users": [{"login_id": "lilei", "sees": {"区域": ["华东"]}}, {"login_id": "hanmeimei"}],
        "pages": PAGES,
    },
}


@pytest.fixture(scope="module")
def bi() -> Iterator[SandboxHandle]:
    with start_sandbox(seed=SEED) as handle:
        yield handle


class InThread:
    """The browser in a thread of its own, because this one may already have playwright's event loop."""

    def __init__(self, executable: str, access: Access) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._browser = self._thread.submit(SnapshotBrowser, executable, access).result()

    def take_picture(self, *args: Any, **options: Any) -> Picture:
        return self._thread.submit(self._browser.take_picture, *args, **options).result()

    def close(self) -> None:
        self._thread.submit(self._browser.close).result()
        self._thread.shutdown()


@pytest.fixture(scope="module")
def snapshots(bi: SandboxHandle) -> Iterator[InThread]:
    opened = InThread(find_picture_browser(), Access(hosts=(read_host(bi.base_url),)))
    yield opened
    opened.close()


def address_of(bi: SandboxHandle, page: str, person: str = "hanmeimei", key: Any = KEY) -> str:
    now = int(bi.control("GET", "clock")["now"])
    token = encrypt_claims(key, external_user_id=person, issued_at=now, lifetime_seconds=60)
    return build_sign_in_url(base_url=f"{bi.base_url}/guandata", page=f"/page/{page}", provider="Guan", token=token)


def brightness(picture: Image.Image) -> int:
    """Return the brightness of a pixel near the lower left corner."""
    return picture.convert("L").crop((2, picture.height - 3, 3, picture.height - 2)).tobytes()[0]


def taken(snapshots: InThread, bi: SandboxHandle, page: str, **options: Any) -> bytes:
    person = options.pop("person", "hanmeimei")
    return snapshots.take_picture(
        address_of(bi, page, person), PictureOptions(**options), MARKS, within_seconds=30
    ).content


def refused(snapshots: InThread, address: str, *, marks: PageMarks = MARKS, seconds: float = 30) -> PictureProblem:
    with pytest.raises(SnapshotError) as caught:
        snapshots.take_picture(address, PictureOptions(), marks, within_seconds=seconds)
    assert "ssoToken" not in str(caught.value)
    return caught.value.reason


def test_a_picture_shows_what_its_person_sees_and_waits_for_cards_that_draw_late(
    snapshots: InThread, bi: SandboxHandle
) -> None:
    found = [count_rows(taken(snapshots, bi, "late", person=person)) for person in ("lilei", "hanmeimei", "lilei")]

    assert found == [2, 6, 2]


def test_widths_themes_and_the_cut_differ(snapshots: InThread, bi: SandboxHandle) -> None:
    desktop, phone = (
        load_picture(taken(snapshots, bi, "plain", is_cropped=False)),
        load_picture(taken(snapshots, bi, "plain", is_cropped=False, width=Width.PHONE)),
    )
    dark = load_picture(taken(snapshots, bi, "plain", is_cropped=False, theme=Theme.DARK))
    cropped = load_picture(taken(snapshots, bi, "plain"))

    assert (desktop.width, phone.width) == (2 * 1280, 2 * 390)
    assert brightness(dark) < 64 < 192 < brightness(desktop)
    assert cropped.height < desktop.height / 2


def test_a_cover_is_cut_from_the_upper_edge(snapshots: InThread, bi: SandboxHandle) -> None:
    taken_with = snapshots.take_picture(
        address_of(bi, "long"), PictureOptions(cover_ratio=1068 / 455), MARKS, within_seconds=30
    )

    cover, whole = load_picture(taken_with.cover), load_picture(taken_with.content)
    assert count_rows(taken_with.content) == 60  # a long page is taken whole
    assert cover.width == pytest.approx(cover.height * 1068 / 455, rel=0.01)
    assert (whole.width, whole.height) == (2 * taken_with.width, 2 * taken_with.height)
    assert taken_with.height > taken_with.width * 455 / 1068


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("failed", PictureProblem.ERROR_PAGE),
        ("gone", PictureProblem.ERROR_PAGE),
        ("empty", PictureProblem.EMPTY),
        ("endless", PictureProblem.TOO_LARGE),
    ],
)
def test_what_is_no_dashboard_is_no_picture(
    snapshots: InThread, bi: SandboxHandle, page: str, reason: PictureProblem
) -> None:
    assert refused(snapshots, address_of(bi, page)) == reason


def test_a_page_that_has_changed_its_layout_or_never_draws_is_no_picture(
    snapshots: InThread, bi: SandboxHandle
) -> None:
    """Refuse the page, because none of its cards is found: nobody gets a part of it, or an empty one."""
    assert refused(snapshots, address_of(bi, "plain"), marks=PageMarks(card=".card-of-before")) == PictureProblem.EMPTY
    assert refused(snapshots, address_of(bi, "never"), seconds=4) == PictureProblem.NOT_DRAWN


def test_the_page_that_asks_for_a_password_is_no_picture(snapshots: InThread, bi: SandboxHandle) -> None:
    other = guandata_sso.load_private_key(guandata_sso.generate_private_key())

    assert refused(snapshots, address_of(bi, "plain", key=other)) == PictureProblem.SIGN_IN_PAGE
    assert refused(snapshots, f"{bi.base_url}/guandata/page/plain") == PictureProblem.SIGN_IN_PAGE


def test_the_sign_of_the_bi_itself_is_enough(snapshots: InThread, bi: SandboxHandle) -> None:
    marks = PageMarks(card=".bi-card", ready="#card-c4")

    picture = snapshots.take_picture(address_of(bi, "never"), PictureOptions(), marks, within_seconds=30)
    assert picture.content.startswith(b"\x89PNG")


@pytest.mark.parametrize("address", ["http://localhost:9/", "file:///etc/passwd", "http://169.254.169.254/latest"])
def test_no_other_host_is_reached(snapshots: InThread, address: str) -> None:
    """Take other hosts for the sign-in of another system."""
    assert refused(snapshots, address) == PictureProblem.SIGN_IN_PAGE


@pytest.fixture
def browser(bi: SandboxHandle) -> Iterator[SupervisedBrowser]:
    opened = SupervisedBrowser(find_picture_browser(), Access(hosts=(read_host(bi.base_url),)), megabytes_at_most=2000)
    yield opened
    opened.close()


def rows(browser: SupervisedBrowser, bi: SandboxHandle) -> int:
    return count_rows(browser.take_picture(address_of(bi, "late"), PictureOptions(), MARKS, within_seconds=30).content)


def started(browser: SupervisedBrowser) -> list[psutil.Process]:
    pids = {one.pid for one in browser._list_processes_and_descendants()}
    return [one for one in psutil.process_iter() if one.pid in pids]  # without those that have ended since


@nightly
def test_a_browser_that_died_was_used_for_long_or_grew_too_large_is_followed_by_another(
    browser: SupervisedBrowser, bi: SandboxHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows(browser, bi)
    for process in reversed(started(browser)):
        with suppress(psutil.NoSuchProcess):  # Chromium ends its own helpers
            process.kill()

    with pytest.raises(SnapshotError) as caught:
        rows(browser, bi)

    assert caught.value.reason == PictureProblem.BROWSER_FAILED
    assert rows(browser, bi) == 6
    monkeypatch.setattr(supervised_browser, "PICTURES_AT_MOST", 1)
    second = started(browser)
    assert rows(browser, bi) == 6
    assert psutil.wait_procs(second, timeout=30)[1] == []
    monkeypatch.undo()
    third = started(browser)
    browser._megabytes_at_most = 10
    with pytest.raises(SnapshotError):  # while a page draws without end
        browser.take_picture(address_of(bi, "never"), PictureOptions(), MARKS, within_seconds=30)
    assert psutil.wait_procs(third, timeout=30)[1] == []


@nightly
def test_one_that_hangs_is_killed(
    browser: SupervisedBrowser, bi: SandboxHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert browser.measure_megabytes() == 0
    assert rows(browser, bi) == 6
    processes = started(browser)
    assert browser.measure_megabytes() > 50
    [folder] = supervised_browser._find_folders(browser._list_processes_and_descendants())
    assert Path(folder).exists()
    monkeypatch.setattr(supervised_browser, "HANGS_AFTER_SECONDS", 1)
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # Chromium ends its own helpers
            process.suspend()

    with pytest.raises(SnapshotError) as caught:
        browser.take_picture(address_of(bi, "late"), PictureOptions(), MARKS, within_seconds=1)

    assert caught.value.reason == PictureProblem.BROWSER_FAILED
    assert psutil.wait_procs(processes, timeout=30)[1] == []
    assert not Path(folder).exists()
    monkeypatch.undo()
    assert rows(browser, bi) == 6
    processes = started(browser)
    browser.close()
    assert psutil.wait_procs(processes, timeout=30)[1] == []


def test_folders_that_killed_workers_left_are_removed(tmp_path: Path) -> None:
    left, artifacts, young, used, other = (
        tmp_path / name
        for name in ("playwright_profile-1", "playwright-artifacts-1", "playwright_profile-2", "playwright_3", "mine")
    )
    for folder in (left, artifacts, young, used, other):
        folder.mkdir()
        (folder / "file").touch()
        if folder is not young:
            os.utime(folder, times=(0, 0))
    command = [sys.executable, "-c", "print(flush=True); input()", f"--user-data-dir={used}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sleeper:
        assert sleeper.stdout
        sleeper.stdout.readline()  # until then the process may still have our own command line
        supervised_browser.remove_abandoned_folders(tmp_path)
        sleeper.kill()

    assert [folder.exists() for folder in (left, artifacts, young, used, other)] == [False, False, True, True, True]


def test_a_program_that_is_no_browser_is_said(tmp_path: object) -> None:
    browser = SupervisedBrowser(f"{tmp_path}/chromium", Access(hosts=()), megabytes_at_most=2000)

    with pytest.raises(SnapshotError) as caught:
        browser.take_picture("http://127.0.0.1:9/", PictureOptions(), MARKS)

    assert caught.value.reason == PictureProblem.NOT_INSTALLED
