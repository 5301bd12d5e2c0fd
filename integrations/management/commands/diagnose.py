"""Diagnose companies from the command line: `manage.py diagnose`, `manage.py diagnose --corp 3`."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from integrations.companies.diagnosis import results, runner
from integrations.companies.diagnosis.findings import Status
from integrations.companies.diagnosis.results import export_text
from integrations.jobs.runner import run_job
from integrations.models import Corp, Job


class Command(BaseCommand):
    help = "Run every check of every company here and now, and print what support needs to know (--verbosity 0: not)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--corp", type=int, metavar="ID", help="only this company, by the number in its address")
        parser.add_argument("--strict", action="store_true", help="fail when something is wrong")

    def handle(self, *args: Any, **options: Any) -> None:
        corps = Corp.objects.select_related("site_address")
        if options["corp"] is not None:
            corps = corps.filter(pk=options["corp"])
            if not corps:
                raise CommandError(_("There is no such company."))
        broken = [corp.name for corp in corps if not self._is_in_order(corp, is_printed=options["verbosity"] > 0)]
        if broken and options["strict"]:
            raise CommandError(_("Something is wrong with: %(companies)s") % {"companies": ", ".join(broken)})

    def _is_in_order(self, corp: Corp, *, is_printed: bool) -> bool:
        """Diagnose one corp: one check after the other, each with all that it sets free. Workers may do some of it."""
        runner.request_checks(corp=corp, checks=None, now=timezone.now())
        checks = Job.objects.filter(kind=runner.CHECK, corp=corp)
        while due := list(checks.filter(Q(status=Job.Status.RUNNING) | Q(pk__in=checks.due(timezone.now())))):
            for job in due:
                run_job(job.pk)
            time.sleep(0.1 if due[0].status == Job.Status.RUNNING else 0)
        if is_printed:
            self.stdout.write(export_text(corp, now=timezone.localtime()))
        runs = results.find_latest_runs(corp).values()
        return all(run.status != Status.WRONG and not run.is_unfinished for run in runs)
