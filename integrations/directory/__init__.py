"""Copies the directory of a corp into Department and Member (phase one; `accounts` applies its policy in phase two).

Order of calls for a task of a higher app:

1. `request_run(corp=…, trigger=…, now=…)` when somebody or the clock wants one; queue its key.
2. In the worker `run_sync(run_id=…, clock=…)`. Its result is done, asking, failed or waiting for its next try.
3. If it is done, `changes_of(run)` names whom to link, create, disable; `after` goes on where that was interrupted.
4. Every minute or so queue `due_runs(now=…)`: new ones, those to be tried again, those whose worker died.

Between runs `event_consumer` updates the members that WeCom's events name; `renames` tells higher apps of people
who got another userid.

`confirm_run` and `refuse_run` answer a run that asks; `admit_member` answers for a userid that had been deleted.
"""

from integrations.directory.sync import (
    admit_member,
    changes_of,
    confirm_run,
    due_runs,
    note_seen,
    refuse_run,
    request_run,
    run_sync,
)

__all__ = [
    "admit_member",
    "changes_of",
    "confirm_run",
    "due_runs",
    "note_seen",
    "refuse_run",
    "request_run",
    "run_sync",
]
