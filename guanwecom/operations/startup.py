"""Start of a process: read the settings and run the system checks. Faults end the process, with a line for each.

Django's commands run the system checks themselves. gunicorn and celery would start with any settings.
"""

from __future__ import annotations

import gc
import sys
from typing import NoReturn

import django
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

# The garbage collector runs after this many more objects were created than deleted. Python's default: 700 or 2,000.
COLLECTION_THRESHOLD = 10_000
# gunicorn stops if a worker exits with this code (APP_LOAD_ERROR). With most others it starts new workers for ever.
EXIT_CODE = 4


def set_up_process(*, with_packages: bool = True) -> None:
    """Read the settings, load the apps and run the checks. `with_packages`: as for run_checks."""
    load_settings()
    django.setup()
    run_checks(with_packages=with_packages)
    tune_garbage_collector()


def load_settings() -> None:
    """Read the settings. An invalid setting ends this process."""
    try:
        settings.DEBUG  # noqa: B018  # reading one setting loads all
    except ImproperlyConfigured as error:
        _exit_with([str(error)])


def run_checks(*, with_packages: bool = True) -> None:
    """Run the system checks after the apps are loaded. An error ends this process. `with_packages`: also run the checks
    of Django and other packages, which load all pages."""
    own = ("guanwecom.", "integrations.", "accounts.", "notifications.")
    registered = checks.registry.registry.get_checks()
    selected = [check for check in registered if with_packages or check.__module__.startswith(own)]
    messages = [message for check in selected for message in check(app_configs=None, databases=None)]
    errors = [message for message in messages if message.is_serious() and not message.is_silenced()]
    if errors:
        _exit_with([f"({error.id}) {error.msg} {error.hint or ''}".strip() for error in errors])


def tune_garbage_collector() -> None:
    """Exclude loaded objects from Python's garbage collection, and collect less often. For long-lived processes.

    Loaded objects stay as long as the process, and scanning them took a fifteenth of a worker's time. Forked processes
    also share more memory: the collector writes to all objects that it scans.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTION_THRESHOLD, *gc.get_threshold()[1:])


def _exit_with(reasons: list[str]) -> NoReturn:
    for reason in reasons:
        sys.stderr.write(f"guanwecom does not start: {' '.join(reason.split())}\n")
    sys.stderr.flush()
    raise SystemExit(EXIT_CODE)
