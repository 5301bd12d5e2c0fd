"""Does jobs inside a test, as a worker would."""

from __future__ import annotations

from django.utils import timezone

from integrations import tasks
from integrations.models import Job


def do_jobs(*kinds: str) -> None:
    """Do what is due, the oldest first, and what that brings, until nothing is. `kinds`: these alone."""
    done: set[tuple[int, int]] = set()
    while True:
        due = Job.objects.due(timezone.now()).order_by("pk")
        found = set((due.filter(kind__in=kinds) if kinds else due).values_list("pk", "try_count")) - done
        if not found:
            return
        done |= found
        for pk, _count in sorted(found):
            tasks.run_job(pk)
