"""Keeps one browser for a worker: in a thread of its own, killed and started anew when it hangs or takes too much."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from integrations.clients.snapshots import (
    DRAWN_WITHIN_SECONDS,
    Access,
    Options,
    PageMarks,
    Picture,
    Reason,
    SnapshotBrowser,
    SnapshotError,
)

# After the time of a page: what has not returned by then hangs.
HANGS_AFTER_SECONDS = 20
# A browser starts within so many seconds, or never.
STARTS_WITHIN_SECONDS = 30
ENDS_WITHIN_SECONDS = 5
LOOKED_AT_EVERY_SECONDS = 1.0
# Browsers leak: after so many pictures another one begins.
PICTURES_AT_MOST = 200
# No browser of ours that still runs has begun so long ago without its process being there.
LEFT_AFTER_SECONDS = 24 * 60 * 60
_TEMPORARY = ("playwright_*", "playwright-artifacts-*")
_FOLDER = "--user-data-dir="


class LastingBrowser:
    """Takes pictures one after the other. Starts its browser when the first is asked for. For one thread.

    Why a thread of its own? Playwright leaves an event loop in the thread that it runs in, where Django's database
    refuses to work, and whoever waits for it from outside can end what hangs.
    """

    def __init__(self, executable: str, access: Access, *, megabytes_at_most: int = 1500) -> None:
        """`megabytes_at_most`: of all processes of the browser together; above it the browser is ended."""
        self._executable, self._access, self._megabytes_at_most = executable, access, megabytes_at_most
        self._thread: ThreadPoolExecutor | None = None
        self._browser: SnapshotBrowser | None = None
        self._processes: set[_Process] = set()
        self._count = 0

    def take(
        self, address: str, options: Options, marks: PageMarks, *, within_seconds: float = DRAWN_WITHIN_SECONDS
    ) -> Picture:
        """As SnapshotBrowser.take. Raises SnapshotError, BROWSER_FAILED also for one that hangs or grows too large."""
        self._renew_where_worn()
        browser = self._running()
        try:
            future = self._threads().submit(browser.take, address, options, marks, within_seconds=within_seconds)
            picture: Picture = self._result(future, within_seconds + HANGS_AFTER_SECONDS)
        except SnapshotError as error:
            if error.reason == Reason.BROWSER_FAILED:
                self.kill()
            raise
        self._count += 1
        return picture

    def close(self) -> None:
        """Ends the browser in order, or by force where it does not end."""
        browser, self._browser = self._browser, None
        if browser is not None:
            with suppress(SnapshotError):
                self._result(self._threads().submit(browser.close), HANGS_AFTER_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Ends the browser by force, with its processes and its folder; the next picture begins with another one."""
        family = self._family()
        folders = _folders_of(family)
        for one in family:
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
        deadline = time.monotonic() + ENDS_WITHIN_SECONDS
        while time.monotonic() < deadline and not _list_processes().isdisjoint(family):
            time.sleep(0.02)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        if self._thread is not None:
            if self._browser is not None:
                # Its thread has what is left of it, and is free again now.
                wait([self._thread.submit(self._browser.close)], ENDS_WITHIN_SECONDS)
            self._thread.shutdown(wait=False, cancel_futures=True)
        self._thread, self._browser, self._processes, self._count = None, None, set(), 0

    def megabytes(self) -> int:
        """Of all processes of the browser together; what they share counts once."""
        return sum(_megabytes_of(one) for one in self._family())

    def _renew_where_worn(self) -> None:
        if self._count >= PICTURES_AT_MOST or (self._browser and self.megabytes() > self._megabytes_at_most):
            self.close()

    def _running(self) -> SnapshotBrowser:
        if self._browser is None:
            remove_left_folders(Path(tempfile.gettempdir()))
            known = _list_children()
            started = self._threads().submit(SnapshotBrowser, self._executable, self._access)
            try:
                self._browser = started.result(STARTS_WITHIN_SECONDS)
            except TimeoutError:
                raise SnapshotError(Reason.BROWSER_FAILED) from None
            finally:
                self._processes = _list_children() - known
                if self._browser is None:
                    self.kill()
        return self._browser

    def _result(self, future: Future[Any], seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            try:
                return future.result(LOOKED_AT_EVERY_SECONDS)
            except TimeoutError:
                if time.monotonic() > deadline or self.megabytes() > self._megabytes_at_most:
                    raise SnapshotError(Reason.BROWSER_FAILED) from None

    def _threads(self) -> ThreadPoolExecutor:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="snapshots")
        return self._thread

    def _family(self) -> set[_Process]:
        """Return those that still run of the processes that were started, and what they started."""
        running = _list_processes()
        family = running & self._processes
        while more := {one for one in running - family if one.parent in {other.pid for other in family}}:
            family |= more
        return family


class _Process(NamedTuple):
    """A process of this machine. `started`: by the system's clock, so that another one of its number is none."""

    pid: int
    parent: int
    started: int


def _list_processes() -> set[_Process]:
    """List the running processes of this machine; one that only waits to be read out has ended."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            words = path.read_text().rpartition(")")[2].split()
            if words[0] != "Z":
                found.add(_Process(int(path.parent.name), int(words[1]), int(words[19])))
    return found


def _list_children() -> set[_Process]:
    return {one for one in _list_processes() if one.parent == os.getpid()}


def _folders_of(processes: set[_Process]) -> set[str]:
    """Return where a browser keeps its profile: playwright removes it, but not of one that is killed."""
    words: set[str] = set()
    for one in processes:
        with suppress(OSError):
            words |= {*Path(f"/proc/{one.pid}/cmdline").read_text(errors="replace").split("\0")}
    folders = {word.removeprefix(_FOLDER) for word in words if word.startswith(_FOLDER)}
    return {folder for folder in folders if Path(folder).name.startswith("playwright_")}


def remove_left_folders(place: Path) -> None:
    """Those of browsers that were killed together with their worker, so that nobody removed them."""
    used = _folders_of(_list_processes())
    before = time.time() - LEFT_AFTER_SECONDS
    for folder in (found for pattern in _TEMPORARY for found in place.glob(pattern)):
        with suppress(OSError):
            if str(folder) not in used and folder.stat().st_mtime < before:
                shutil.rmtree(folder, ignore_errors=True)


def _megabytes_of(process: _Process) -> int:
    """Where the system does not say what it shares with others: all that it has."""
    for name, field in (("smaps_rollup", "Pss"), ("status", "VmRSS")):
        with suppress(OSError):
            text = Path(f"/proc/{process.pid}/{name}").read_text()
            if found := re.search(rf"^{field}: +(\d+) kB", text, re.MULTILINE):
                return int(found[1]) // 1024
    return 0
