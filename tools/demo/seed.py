"""Fill the database of a demo: `manage.py seed_demo --sandbox-seed companies.json`."""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.translation import gettext as _

from tools.demo import mail, seeding


class Command(BaseCommand):
    help = "Write two invented companies, 200 people and two subscriptions; the first message is due next minute."

    def add_arguments(self, parser: ArgumentParser) -> None:
        web_port, sandbox_port = os.environ.get("DEMO_WEB_PORT", "3001"), os.environ.get("DEMO_SANDBOX_PORT", "3002")
        parser.add_argument("--web-address", default=f"http://localhost:{web_port}/")
        parser.add_argument("--sandbox-address", default=f"http://127.0.0.1:{sandbox_port}")
        parser.add_argument(
            "--sandbox-seed", type=Path, help="write the same companies there, for python -m wecom_sandbox --seed"
        )
        parser.add_argument("--reset", action="store_true", help="remove the demo's rows first")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.ENVIRONMENT == "production":
            raise CommandError(_("The demo has a password that everybody knows: not in production."))
        if options["reset"]:
            seeding.reset()
        seeded = seeding.seed(
            web_address=options["web_address"], sandbox_address=options["sandbox_address"], now=timezone.now()
        )
        if options["sandbox_seed"] is not None:
            self._write(options["sandbox_seed"], seeding.sandbox_seed(seeded.companies))
        self._tell(seeded)

    def _write(self, path: Path, seed: dict[str, Any]) -> None:
        # The file holds the apps' Secrets.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(seed, file, ensure_ascii=False, indent=1)

    def _tell(self, seeded: seeding.Seeded) -> None:
        names = ", ".join(f"{corp.name} ({corp.corpid})" for corp in seeded.companies)
        self.stdout.write(f"companies: {names}, {seeded.people_count} people")
        self.stdout.write(f"administrator: {seeded.admin_username} / {seeded.password}")
        self.stdout.write(f"mail channel: {mail.USER} / {mail.PASSWORD}")
        self.stdout.write(f"employee: {seeded.employee_username} ({seeded.employee_name}) / {seeded.password}")
