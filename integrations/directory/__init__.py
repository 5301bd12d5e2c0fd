"""The copy of a corp's directory in Department and Member (phase one; `accounts` applies its policy in phase two).

`request_run(corp=…, trigger=…, now=…)` requests a run: a job of the kind JOB, whose function belongs to a higher app,
calls `run_sync(run=…, job=…)`. Its result is done, asking, failed or waiting for its next try.

Between runs `events` updates the members named by WeCom's events; `incremental` notifies higher apps of people
who got another userid.

`confirm_run` and `refuse_run` answer a run that asks; `admit_member` allows a userid that had been deleted.
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
