"""The copy of a corp's directory in Department and Member (phase one; `accounts` applies its policy in phase two).

`sync.request_run(corp=…, trigger=…, now=…)` requests a run: a job of the kind JOB, whose function belongs to a higher
app, calls `sync.run_sync(run=…, job=…)`. Its result is done, asking, failed or waiting for its next try.

Between runs `events` updates the members named by WeCom's events; `incremental` notifies higher apps of people
who got another userid.

`sync.confirm_run` and `sync.refuse_run` answer a run that asks; `sync.admit_member` allows a userid that had been
deleted.
"""
