"""Check how many files and packages are on the three flows of docs/en/architecture.md: `python -m tools.trace`.

Each flow is a test, traced from the functions where a view, a task or a consumer begins its part. The test's
preparations, the site's middleware, other steps of a tick and code that runs at import are not counted. Celery is set
up before, as in a running process.

A package is an entry of an app's root: a folder such as accounts/views with all below it, or a module beside it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from pathlib import Path, PurePath
from types import FrameType
from typing import NamedTuple

import pytest
from celery import current_app

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("guanwecom", "integrations", "accounts", "notifications")


class Flow(NamedTuple):
    """A flow through the product: its test, the functions at which its parts begin, and its limits."""

    title: str
    test: str
    starts: tuple[str, ...]
    files_at_most: int
    packages_at_most: int


FLOWS = (
    Flow(
        "a code to a session",
        "tests/accounts/authentication/test_sign_in.py::test_signs_in_and_lands_on_the_page_asked_for",
        ("accounts/views/wecom.py:callback",),
        files_at_most=20,
        packages_at_most=9,
    ),
    Flow(
        "a slot to a receipt",
        "tests/notifications/test_tasks.py::test_a_tick_brings_what_is_due_all_the_way",
        ("notifications/tasks.py:_claim_due",),
        files_at_most=32,
        packages_at_most=11,
    ),
    Flow(
        "an alert to a changed card",
        "tests/notifications/alerts/test_notices.py::test_reminders_come_until_somebody_acknowledges_it",
        (
            "notifications/alerts/incidents.py:receive_alerts",
            "notifications/alerts/notify.py:request_notices",
            "notifications/delivery/rendering/render.py:render_runs",
            "notifications/delivery/sending/queue.py:hand_out_deliveries",
            "notifications/delivery/sending/send.py:send_deliveries",
            "integrations/views.py:events",
            "integrations/callbacks.py:process_events",
            "notifications/alerts/card_updates.py:claim_due_cards",
            "notifications/alerts/card_updates.py:update_cards",
        ),
        files_at_most=46,
        packages_at_most=16,
    ),
)


class Trace:
    """A pytest plugin that records the files whose functions a test calls, without its fixtures. `starts`: maps a
    test's id to "FILE:FUNCTION" entries, whose calls are counted with all below."""

    def __init__(self, starts: Mapping[str, Collection[str]]) -> None:
        self.files: dict[str, set[str]] = {}
        self._starts = starts

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        files = self.files[item.nodeid] = set()
        current_app.conf.get("broker_url")  # reads the settings
        record = self.make_recorder(files, self._starts[item.nodeid])
        # Python 3.11 reaches only this thread and those that begin later.
        set_profile = getattr(threading, "setprofile_all_threads", threading.setprofile)
        sys.setprofile(record)
        set_profile(record)
        try:
            return (yield)
        finally:
            sys.setprofile(None)
            set_profile(None)

    @staticmethod
    def make_recorder(files: set[str], starts: Collection[str]) -> Callable[[FrameType, str, object], None]:
        """Return a function for sys.setprofile that adds to `files`."""
        depth = 0

        def record(frame: FrameType, event: str, _argument: object) -> None:
            nonlocal depth
            if event not in ("call", "return"):
                return
            file, function = _find_own_file(frame.f_code.co_filename), frame.f_code.co_name
            if not file or function == "<module>":
                return
            if f"{file}:{function}" in starts:
                depth += 1 if event == "call" else -1
            if event == "call" and depth:
                files.add(file)

        return record


@cache
def _find_own_file(path: str) -> str:
    """Return the path relative to the clone; empty for files outside the four packages."""
    if not PurePath(path).is_relative_to(ROOT):
        return ""
    relative = PurePath(path).relative_to(ROOT)
    return str(relative) if relative.parts[0] in PACKAGES else ""


def find_package(file: str) -> str:
    return "/".join(PurePath(file).parts[:2])


def main() -> int:
    """Print every flow. Return 1 if one is too long."""
    os.chdir(ROOT)
    starts = {flow.test: flow.starts for flow in FLOWS}
    recorder = Trace(starts)
    if pytest.main(["-q", "--no-header", *starts], plugins=[recorder]) != pytest.ExitCode.OK:
        sys.exit("A test failed: nothing is measured.")
    exit_code = 0
    for flow in FLOWS:
        files = recorder.files[flow.test]
        packages = sorted({find_package(file) for file in files})
        print(f"\n{flow.title}: {len(files)} files, {len(packages)} packages")
        for package in packages:
            inside = sorted(file.removeprefix(package)[1:] for file in files if find_package(file) == package)
            print(f"  {package}: {', '.join(name or 'itself' for name in inside)}")
        if len(files) > flow.files_at_most or len(packages) > flow.packages_at_most:
            print(f"  Too long: at most {flow.files_at_most} files, {flow.packages_at_most} packages.")
            exit_code = 1
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
