"""Refuses to start with invalid settings: one line for each fault, no traceback.

Django's own commands run the system checks; gunicorn and celery would start in any case.
"""

from __future__ import annotations

import gc
import sys
from typing import NoReturn

import django
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

# Threshold of Python's garbage collector: newly created objects minus deleted ones. Python's default: 700 or 2,000.
COLLECTED_AFTER = 10_000
# gunicorn reads this as "the application cannot be loaded"; with most other codes it restarts workers for ever.
EXIT_CODE = 4


def set_up(*, with_packages: bool = True) -> None:
    """Read the settings, load the apps and run the checks, all or only our own (pass_checks)."""
    load_settings()
    django.setup()
    pass_checks(with_packages=with_packages)
    spare_collector()


def load_settings() -> None:
    """Read the settings. A bad one ends this process."""
    try:
        settings.DEBUG  # noqa: B018  # the first look at a setting reads all of them
    except ImproperlyConfigured as error:
        _refuse([str(error)])


def pass_checks(*, with_packages: bool = True) -> None:
    """Run the system checks, once the apps are loaded. An error ends this process. `with_packages`: also run the checks
    of Django and other packages, which load all pages to inspect our code."""
    own = ("guanwecom.", "integrations.", "accounts.", "notifications.")
    asked = [one for one in checks.registry.registry.get_checks() if with_packages or one.__module__.startswith(own)]
    found = [message for one in asked for message in one(app_configs=None, databases=None)]
    errors = [message for message in found if message.is_serious() and not message.is_silenced()]
    if errors:
        _refuse([f"({error.id}) {error.msg} {error.hint or ''}".strip() for error in errors])


def spare_collector() -> None:
    """Exclude loaded objects from Python's garbage collection, and collect less often. For long-lived processes.

    Loaded objects stay as long as the process, and scanning them took a fifteenth of a worker's time. Forked processes
    also share more memory: the collector writes to all objects that it scans.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTED_AFTER, *gc.get_threshold()[1:])


def _refuse(reasons: list[str]) -> NoReturn:
    for reason in reasons:
        sys.stderr.write(f"guanwecom does not start: {' '.join(reason.split())}\n")
    sys.stderr.flush()
    raise SystemExit(EXIT_CODE)
