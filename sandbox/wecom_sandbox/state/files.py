"""Uploaded files, and those that the sandbox made."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

# Of all files; above, the oldest are forgotten.
BYTES_MOST = 512 * 1024 * 1024
FILES_MOST = 100_000


@dataclass(slots=True)
class Media:
    """`kind`: image, voice, video or file, or a picture, which is fetched by its address."""

    media_id: str
    corpid: str
    kind: str
    filename: str
    content_type: str
    body: bytes
    expires_at: float


class Files:
    """By their media_id. The newest one is kept however large it is."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Media] = OrderedDict()
        self._bytes = 0

    def add(self, media: Media) -> None:
        self._remove(media.media_id)
        self._kept[media.media_id] = media
        self._bytes += len(media.body)
        while len(self._kept) > FILES_MOST or (self._bytes > BYTES_MOST and len(self._kept) > 1):
            self._remove(next(iter(self._kept)))

    def get(self, media_id: str) -> Media | None:
        return self._kept.get(media_id)

    def forget_company(self, corpid: str) -> None:
        for media in [one for one in self if one.corpid == corpid]:
            self._remove(media.media_id)

    def _remove(self, media_id: str) -> None:
        media = self._kept.pop(media_id, None)
        self._bytes -= 0 if media is None else len(media.body)

    def __iter__(self) -> Iterator[Media]:
        """The oldest first."""
        return iter(self._kept.values())


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
