"""Diagnose companies from the command line: `manage.py diagnose`, `manage.py diagnose --corp 3`."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.translation import gettext as _

from integrations.companies.diagnosis import checks
from integrations.jobs.runner import run_job
from integrations.models import CheckRun, Corp, Job


class Command(BaseCommand):
    help = "Run every check of every company now, and print what support needs to know (not with --verbosity 0)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--corp", type=int, metavar="ID", help="only this company, by the number in its address")
        parser.add_argument("--strict", action="store_true", help="fail when something is wrong")

    def handle(self, *args: Any, **options: Any) -> None:
        corps = Corp.objects.select_related("site_address")
        if options["corp"] is not None and not (corps := corps.filter(pk=options["corp"])):
            raise CommandError(_("There is no such company."))
        failing = []
        bad = {CheckRun.Status.WRONG, CheckRun.Status.WAITING, CheckRun.Status.RUNNING}
        for corp in corps:
            # Run all checks here, also those that start once another one has passed; wait for checks of a worker.
            checks.request_checks(corp=corp, checks=None, now=timezone.now())
            jobs = Job.objects.unfinished().filter(kind=checks.DIAGNOSIS, corp=corp).order_by("-status", "pk")
            while job := jobs.exclude(status=Job.Status.WAITING, due_at__gt=timezone.now()).first():
                run_job(job.pk)
                time.sleep(0.1 if job.status == Job.Status.RUNNING else 0)
            if options["verbosity"] > 0:
                self.stdout.write(checks.export_text(corp, now=timezone.localtime()))
            if any(run.status in bad for run in checks.find_latest_runs(corp).values()):
                failing.append(corp.name)
        if failing and options["strict"]:
            raise CommandError(_("Something is wrong with: %(companies)s") % {"companies": ", ".join(failing)})
