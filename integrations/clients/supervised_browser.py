"""A browser for each worker, in its own thread; it is killed and restarted when it hangs or takes too much memory."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from integrations.clients.snapshots import (
    DRAWN_WITHIN_SECONDS,
    Access,
    PageMarks,
    Picture,
    PictureOptions,
    PictureProblem,
    SnapshotBrowser,
    SnapshotError,
)

# A browser counts as hung if a call lasts this much longer than the page's time limit.
HANGS_AFTER_SECONDS = 20
STARTS_WITHIN_SECONDS = 30  # a browser that takes longer is killed
ENDS_WITHIN_SECONDS = 5
CHECKED_EVERY_SECONDS = 1.0
PICTURES_AT_MOST = 200  # then a new browser is started, because browsers leak memory
# A browser's folder is deleted if it is older than this and belongs to no running process.
ABANDONED_AFTER_SECONDS = 24 * 60 * 60
# Names of the temporary folders that Playwright makes, and the option of Chromium that names its profile folder.
_TEMPORARY_FOLDERS = ("playwright_*", "playwright-artifacts-*")
_FOLDER_FLAG = "--user-data-dir="


class SupervisedBrowser:
    """A browser that starts for the first picture and takes one picture after the other, for one thread only.

    The browser has a thread of its own, because Playwright leaves an event loop in its thread, where Django's database
    refuses to work, and because a waiting caller can kill a browser that hangs.
    """

    def __init__(self, executable: str, access: Access, *, megabytes_at_most: int = 1500) -> None:
        """Store the settings. `megabytes_at_most`: for all processes of the browser; above it, it is ended."""
        self._executable, self._access, self._megabytes_at_most = executable, access, megabytes_at_most
        self._thread: ThreadPoolExecutor | None = None
        self._browser: SnapshotBrowser | None = None
        self._processes: set[_Process] = set()
        self._picture_count = 0

    def take_picture(
        self, address: str, options: PictureOptions, marks: PageMarks, *, within_seconds: float = DRAWN_WITHIN_SECONDS
    ) -> Picture:
        """Take a picture, as SnapshotBrowser does. BROWSER_FAILED also means that it hangs or takes too much memory."""
        if self._picture_count >= PICTURES_AT_MOST or (
            self._browser and self.measure_megabytes() > self._megabytes_at_most
        ):
            self.close()
        if self._browser is None:
            remove_abandoned_folders(Path(tempfile.gettempdir()))
            earlier = _list_processes()
            starting = self._ensure_thread().submit(SnapshotBrowser, self._executable, self._access)
            try:
                self._browser = starting.result(STARTS_WITHIN_SECONDS)
            except TimeoutError:
                raise SnapshotError(PictureProblem.BROWSER_FAILED) from None
            finally:
                # The browser's processes: new children of this process, and later their descendants.
                self._processes = {one for one in _list_processes() - earlier if one.parent == os.getpid()}
                if self._browser is None:
                    self.kill()
        take_picture = partial(self._browser.take_picture, address, options, marks, within_seconds=within_seconds)
        try:
            future = self._ensure_thread().submit(take_picture)
            picture: Picture = self._wait_for(future, within_seconds + HANGS_AFTER_SECONDS)
        except SnapshotError as error:
            if error.reason == PictureProblem.BROWSER_FAILED:
                self.kill()
            raise
        self._picture_count += 1
        return picture

    def close(self) -> None:
        """End the browser. Kill its processes if it does not end by itself."""
        browser, self._browser = self._browser, None
        if browser is not None:
            with suppress(SnapshotError):
                self._wait_for(self._ensure_thread().submit(browser.close), HANGS_AFTER_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Kill the browser's processes and delete its folder; the next picture starts a new browser."""
        processes = self._list_processes_and_descendants()
        folders = _find_folders(processes)
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        deadline = time.monotonic() + ENDS_WITHIN_SECONDS
        while time.monotonic() < deadline and not _list_processes().isdisjoint(processes):
            time.sleep(0.02)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        if self._thread is not None:
            if self._browser is not None:
                # The browser is dead, but its thread still holds its objects and can close them now.
                wait([self._thread.submit(self._browser.close)], ENDS_WITHIN_SECONDS)
            self._thread.shutdown(wait=False, cancel_futures=True)
        self._thread, self._browser, self._processes, self._picture_count = None, None, set(), 0

    def measure_megabytes(self) -> int:
        """Return the memory of all processes of the browser; shared memory counts once."""
        total = 0
        for process in self._list_processes_and_descendants():
            # VmRSS counts shared memory in full; it is read if the system has no smaps_rollup.
            for name, field in (("smaps_rollup", "Pss"), ("status", "VmRSS")):
                with suppress(OSError):
                    text = Path(f"/proc/{process.pid}/{name}").read_text()
                    if found := re.search(rf"^{field}: +(\d+) kB", text, re.MULTILINE):
                        total += int(found[1]) // 1024
                        break
        return total

    def _wait_for(self, future: Future[Any], seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            try:
                return future.result(CHECKED_EVERY_SECONDS)
            except TimeoutError:
                if time.monotonic() > deadline or self.measure_megabytes() > self._megabytes_at_most:
                    raise SnapshotError(PictureProblem.BROWSER_FAILED) from None

    def _ensure_thread(self) -> ThreadPoolExecutor:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="snapshots")
        return self._thread

    def _list_processes_and_descendants(self) -> set[_Process]:
        """Return the started processes that still run, and their descendants."""
        running = _list_processes()
        found = running & self._processes
        while children := {one for one in running - found if one.parent in {other.pid for other in found}}:
            found |= children
        return found


class _Process(NamedTuple):
    """A process. `started` (clock ticks since boot) tells it apart from a later process with the same number."""

    pid: int
    parent: int
    started: int


def _list_processes() -> set[_Process]:
    """List the running processes of this machine, without zombies."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            words = path.read_text().rpartition(")")[2].split()
            if words[0] != "Z":
                found.add(_Process(int(path.parent.name), int(words[1]), int(words[19])))
    return found


def _find_folders(processes: set[_Process]) -> set[str]:
    """Return the profile folders of the browsers. Playwright removes them, except for a browser that was killed."""
    words: set[str] = set()
    for one in processes:
        with suppress(OSError):
            words |= {*Path(f"/proc/{one.pid}/cmdline").read_text(errors="replace").split("\0")}
    folders = {word.removeprefix(_FOLDER_FLAG) for word in words if word.startswith(_FOLDER_FLAG)}
    return {folder for folder in folders if Path(folder).name.startswith("playwright_")}


def remove_abandoned_folders(place: Path) -> None:
    """Remove the folders of browsers that were killed together with their worker."""
    used = _find_folders(_list_processes())
    before = time.time() - ABANDONED_AFTER_SECONDS
    for folder in (found for pattern in _TEMPORARY_FOLDERS for found in place.glob(pattern)):
        with suppress(OSError):
            if str(folder) not in used and folder.stat().st_mtime < before:
                shutil.rmtree(folder, ignore_errors=True)
