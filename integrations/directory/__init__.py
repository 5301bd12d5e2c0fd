"""The copy of a company's directory in Department and Member (phase one; `accounts` applies its policy in phase two).

`sync.request_run(corp=…, trigger=…, now=…)` requests a run. A job of the kind `sync.JOB`, whose function belongs to a
higher app, calls `sync.run_sync(run=…, job=…)`. After that the run is done, asks, failed or waits for its next try.

Between runs `events` updates the members that WeCom's events name; `incremental` notifies higher apps of people
who got another userid.

`sync.confirm_run` and `sync.refuse_run` answer a run that asks; `sync.admit_member` lets a userid that had been deleted
be used again.
"""
