"""Fill the database of a demo: `python -m tools.demo.seed --sandbox-seed companies.json`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import django
from django.conf import settings
from django.utils import timezone

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "guanwecom.settings")
django.setup()

from tools.demo import seeding  # noqa: E402  # it imports models


def main(arguments: Sequence[str]) -> int:
    """Write two invented companies, 240 people, three pushes and two alerts. The first message is due next minute. In
    production refuse to start: the demo's password is public. Return the exit status."""
    web_port, sandbox_port = os.environ.get("DEMO_WEB_PORT", "3001"), os.environ.get("DEMO_SANDBOX_PORT", "3002")
    parser = argparse.ArgumentParser(prog="python -m tools.demo.seed", description=__doc__)
    parser.add_argument("--web-address", default=f"http://localhost:{web_port}/")
    parser.add_argument("--sandbox-address", default=f"http://127.0.0.1:{sandbox_port}")
    parser.add_argument("--sandbox-seed", type=Path, help="a file for the same companies, for python -m wecom_sandbox")
    options = parser.parse_args(arguments)
    if settings.ENVIRONMENT == "production":
        print("The demo has a password that everybody knows: not in production.", file=sys.stderr)
        return 1
    now = timezone.now()
    seeded = seeding.seed_database(web_address=options.web_address, sandbox_address=options.sandbox_address, now=now)
    if options.sandbox_seed is not None:
        # The file holds the apps' Secrets.
        descriptor = os.open(options.sandbox_seed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(seeding.make_sandbox_seed(seeded.companies, now=now), file, ensure_ascii=False, indent=1)
    names = ", ".join(f"{corp.name} ({corp.corpid})" for corp in seeded.companies)
    print(f"companies: {names}, {seeded.people_count} people")
    print(f"administrator: {seeded.admin_username} / {seeded.password}")
    print(f"mail channel: {seeding.MAIL_USER} / {seeding.MAIL_PASSWORD}")
    print(f"employee: {seeded.employee_username} ({seeded.employee_name}) / {seeded.password}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
