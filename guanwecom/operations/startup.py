"""Refuses to start on invalid settings: one line for each fault, no traceback.

Django's own commands ask the system checks; gunicorn and celery would start whatever they say.
"""

from __future__ import annotations

import gc
import sys
from typing import NoReturn

import django
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

# So many more objects than went are made before Python looks for those that hold each other. Its own: 700 or 2,000.
COLLECTED_AFTER = 10_000
# What gunicorn takes for "the application cannot be loaded": with most others it starts workers again and again.
EXIT_CODE = 4


def set_up(*, with_packages: bool = True) -> None:
    """Read the settings, load the apps and ask the checks, all or our own (pass_checks)."""
    load_settings()
    django.setup()
    pass_checks(with_packages=with_packages)
    spare_collector()


def load_settings() -> None:
    """Read the settings; a bad one ends this process."""
    try:
        settings.DEBUG  # noqa: B018  # the first look at a setting reads all of them
    except ImproperlyConfigured as error:
        _refuse([str(error)])


def pass_checks(*, with_packages: bool = True) -> None:
    """Ask the system checks, once the apps are loaded; an error ends this process.

    `with_packages`: also those of Django and other packages, which look at our code and load all pages for it.
    """
    own = ("guanwecom.", "integrations.", "accounts.", "notifications.")
    asked = [one for one in checks.registry.registry.get_checks() if with_packages or one.__module__.startswith(own)]
    found = [message for one in asked for message in one(app_configs=None, databases=None)]
    errors = [message for message in found if message.is_serious() and not message.is_silenced()]
    if errors:
        _refuse([f"({error.id}) {error.msg} {error.hint or ''}".strip() for error in errors])


def spare_collector() -> None:
    """Have Python's garbage collector leave out what is loaded, and look less often. For processes that stay.

    What is loaded stays as long as the process. Looking through it again and again took a fifteenth of a worker's time.
    Forked processes also share more memory: the collector writes to all that it looks at.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTED_AFTER, *gc.get_threshold()[1:])


def _refuse(reasons: list[str]) -> NoReturn:
    for reason in reasons:
        sys.stderr.write(f"guanwecom does not start: {' '.join(reason.split())}\n")
    sys.stderr.flush()
    raise SystemExit(EXIT_CODE)
