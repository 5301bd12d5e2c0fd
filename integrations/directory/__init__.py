"""Copies the directory of a corp into Department and Member (phase one; `accounts` applies its policy in phase two).

`request_run(corp=…, trigger=…, now=…)` when somebody or the clock wants one: a job of the kind JOB, whose function a
higher app has, calls `run_sync(run=…, job=…)`. Its result is done, asking, failed or waiting for its next try.

Between runs `event_consumer` updates the members that WeCom's events name; `renames` tells higher apps of people
who got another userid.

`confirm_run` and `refuse_run` answer a run that asks; `admit_member` answers for a userid that had been deleted.
"""

from integrations.directory.sync import (
    JOB,
    admit_member,
    confirm_run,
    note_seen,
    refuse_run,
    request_run,
    run_sync,
)

__all__ = [
    "JOB",
    "admit_member",
    "confirm_run",
    "note_seen",
    "refuse_run",
    "request_run",
    "run_sync",
]
