"""What all jobs share: their result is asked for, and an event tells that they are done."""

from __future__ import annotations

from wecom_sandbox.api.call import Call
from wecom_sandbox.errors import ApiError
from wecom_sandbox.state.events import Outgoing, event
from wecom_sandbox.state.jobs import Job
from wecom_sandbox.state.world import Callback


def start(
    call: Call, kind: str, *, total: int, result: list[dict[str, object]], callback: Callback | None = None
) -> str:
    """The id of a job, which was done already. `callback`: who hears of its end, where it is told at all.

    Where nobody hears of it, the first answers to the question for the result say that it is under way
    (setting job_pending_answers): a program must ask again.
    """
    agentid = None if call.app is None else call.app.agentid
    pending = 0 if callback is not None else call.world.settings.job_pending_answers
    job = Job(call.company.corpid, agentid, kind, total, result, pending)
    call.world.jobs.add(job)
    if callback is not None:
        told = {"JobId": job.jobid, "JobType": kind, "ErrCode": 0, "ErrMsg": "ok"}
        elements = event(call.company.corpid, agentid, "batch_job_result", now=call.now, BatchJob=told)
        call.world.outbox.add(Outgoing(call.company.corpid, agentid, elements, callback=callback))
    return job.jobid


def ask(call: Call, *, is_export: bool) -> tuple[Job, bool]:
    """The job of `jobid` in the query, and whether it is done. Raises ApiError 40063, 40088 or 40089."""
    jobid = call.query.get("jobid", "")
    if not jobid:
        raise ApiError(40063)
    job = call.world.jobs.find(jobid, corpid=call.company.corpid, is_export=is_export)
    if job is None or job.agentid != (None if call.app is None else call.app.agentid):
        raise ApiError(40088)
    if job.result is None:
        raise ApiError(40089)
    if job.pending:
        job.pending -= 1
        return job, False
    return job, True
