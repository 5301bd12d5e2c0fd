"""The browser of a worker: restarted when it hangs, dies or grows too large."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from integrations.clients import lasting_browser
from integrations.clients.lasting_browser import LastingBrowser
from integrations.clients.snapshots import Access, Options, Reason, SnapshotError, host_of
from tests.bi_pages import rows_on
from tests.chromium import required_chromium
from tests.integrations.clients.snapshots.test_browser import MARKS, SEED, address_of
from tests.sandbox_process import SandboxHandle, start_sandbox

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def bi() -> Iterator[SandboxHandle]:
    with start_sandbox(seed=SEED) as handle:
        yield handle


@pytest.fixture
def browser(bi: SandboxHandle) -> Iterator[LastingBrowser]:
    opened = LastingBrowser(required_chromium(), Access(hosts=(host_of(bi.base_url),)), megabytes_at_most=2000)
    yield opened
    opened.close()


def rows(browser: LastingBrowser, bi: SandboxHandle) -> int:
    return rows_on(browser.take(address_of(bi, "late"), Options(), MARKS, within_seconds=30).content)


def started(browser: LastingBrowser) -> list[psutil.Process]:
    pids = {one.pid for one in browser._list_family()}
    return [one for one in psutil.process_iter() if one.pid in pids]  # without those that have ended since


def test_a_browser_that_died_or_was_used_for_long_is_followed_by_another(
    browser: LastingBrowser, bi: SandboxHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows(browser, bi)
    for process in reversed(started(browser)):
        with suppress(psutil.NoSuchProcess):  # Chromium ends its own helpers
            process.kill()

    with pytest.raises(SnapshotError) as caught:
        rows(browser, bi)

    assert caught.value.reason == Reason.BROWSER_FAILED
    assert rows(browser, bi) == 6
    monkeypatch.setattr(lasting_browser, "PICTURES_AT_MOST", 1)
    second = started(browser)
    assert rows(browser, bi) == 6
    assert psutil.wait_procs(second, timeout=30)[1] == []


def test_one_that_hangs_is_killed(browser: LastingBrowser, bi: SandboxHandle, monkeypatch: pytest.MonkeyPatch) -> None:
    assert browser.megabytes() == 0
    assert rows(browser, bi) == 6
    processes = started(browser)
    assert browser.megabytes() > 50
    [folder] = lasting_browser._find_folders(browser._list_family())
    assert Path(folder).exists()
    monkeypatch.setattr(lasting_browser, "HANGS_AFTER_SECONDS", 1)
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # Chromium ends its own helpers
            process.suspend()

    with pytest.raises(SnapshotError) as caught:
        browser.take(address_of(bi, "late"), Options(), MARKS, within_seconds=1)

    assert caught.value.reason == Reason.BROWSER_FAILED
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
        lasting_browser.remove_left_folders(tmp_path)
        sleeper.kill()

    assert [folder.exists() for folder in (left, artifacts, young, used, other)] == [False, False, True, True, True]


def test_one_that_grows_too_large_gives_way_to_another(browser: LastingBrowser, bi: SandboxHandle) -> None:
    rows(browser, bi)
    first = started(browser)
    browser._megabytes_at_most = 10

    with pytest.raises(SnapshotError):  # while a page draws without end
        browser.take(address_of(bi, "never"), Options(), MARKS, within_seconds=30)

    assert psutil.wait_procs(first, timeout=30)[1] == []


def test_a_program_that_is_no_browser_is_said(tmp_path: object) -> None:
    browser = LastingBrowser(f"{tmp_path}/chromium", Access(hosts=()), megabytes_at_most=2000)

    with pytest.raises(SnapshotError) as caught:
        browser.take("http://127.0.0.1:9/", Options(), MARKS)

    assert caught.value.reason == Reason.NOT_INSTALLED
