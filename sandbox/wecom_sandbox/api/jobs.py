"""What all jobs share: their result is asked for, and an event tells that they are done."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from wecom_sandbox.api.call import Call
from wecom_sandbox.errors import ApiError
from wecom_sandbox.state.events import Callback, Outgoing, event
from wecom_sandbox.state.jobs import Job

# Rows that are done before other calls have their turn.
ROWS_AT_ONCE = 100


def start(
    call: Call,
    kind: str,
    *,
    total: int,
    rows: Iterable[dict[str, object] | None],
    callback: Callback | None = None,
) -> str:
    """The id of a job that does `rows`, of which each is something done and most have a result.

    `callback`: who hears of its end, where it is told at all. Where nobody hears of it, the first answers to the
    question for the result say that it began (setting job_pending_answers): a program must ask again.
    """
    agentid = None if call.app is None else call.app.agentid
    pending = 0 if callback is not None else call.world.settings.job_pending_answers
    job = Job(call.company.corpid, agentid, kind, total, [], pending, is_under_way=True)
    call.world.jobs.add(job)
    call.world.in_slices(_work(call, job, rows, callback))
    return job.jobid


def _work(
    call: Call, job: Job, rows: Iterable[dict[str, object] | None], callback: Callback | None
) -> Generator[None, None, None]:
    """Ends early where its company is gone, or everything was forgotten."""
    world = call.world
    result: list[dict[str, object]] = []
    job.result = result
    jobs, outbox = world.jobs, world.outbox
    for number, row in enumerate(rows, 1):
        if row is not None:
            result.append(row)
        if number % ROWS_AT_ONCE == 0:
            yield
            if world.jobs is not jobs or world.companies.get(job.corpid) is not call.company:
                return
    job.total, job.is_under_way = len(result), False
    if callback is not None:
        told = {"JobId": job.jobid, "JobType": job.kind, "ErrCode": 0, "ErrMsg": "ok"}
        elements = event(job.corpid, job.agentid, "batch_job_result", now=world.now(), BatchJob=told)
        outbox.add(Outgoing(job.corpid, job.agentid, elements, callback=callback))


def ask(call: Call) -> tuple[Job, bool]:
    """The job of `jobid` in the query, and whether it is done. Raises ApiError 40063, 40088 or 40089."""
    jobid = call.query.get("jobid", "")
    if not jobid:
        raise ApiError(40063)
    job = call.world.jobs.find(jobid, corpid=call.company.corpid)
    if job is None or job.agentid != (None if call.app is None else call.app.agentid):
        raise ApiError(40088)
    if job.result is None:
        raise ApiError(40089)
    if job.is_under_way:
        return job, False
    if job.pending:
        job.pending -= 1
        return job, False
    return job, True
