"""Work that WeCom does after its answer: imports of the directory."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

# Results of so many jobs of a company are kept, and so many ids of all companies are known.
RESULTS_KEPT, _KNOWN = 5, 1000


@dataclass(slots=True)
class Job:
    """`kind`: sync_user, replace_user … `result`: the rows; None: forgotten.

    `pending`: answers that still say that it began, though it is done.
    """

    corpid: str
    agentid: int | None
    kind: str
    total: int
    result: list[dict[str, object]] | None
    pending: int = 0
    is_under_way: bool = False
    jobid: str = field(default_factory=lambda: f"sim-job-{secrets.token_urlsafe(24)}")

    @property
    def percentage(self) -> int:
        """How much of it is done, below 100."""
        return min(99, 100 * len(self.result or ()) // max(1, self.total))


class Jobs:
    """All jobs of all companies; of each company the newest RESULTS_KEPT have results."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()

    def add(self, job: Job) -> None:
        self._jobs[job.jobid] = job
        like = [one for one in self._jobs.values() if one.corpid == job.corpid]
        for old in like[:-RESULTS_KEPT]:
            old.result = None
        if len(self._jobs) > _KNOWN:
            self._jobs.popitem(last=False)

    def forget_company(self, corpid: str) -> None:
        for job in [one for one in self if one.corpid == corpid]:
            del self._jobs[job.jobid]

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def find(self, jobid: str, *, corpid: str) -> Job | None:
        job = self._jobs.get(jobid)
        return job if job is not None and job.corpid == corpid else None
