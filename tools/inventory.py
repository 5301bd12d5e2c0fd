"""The list of what users and operators can reach, compared with `tools/inventory.txt`.

`python -m tools.inventory` prints every URL, API path, setting, command, task, periodic entry and table.
`python -m tools.inventory --check` fails where an entry that "stays" is missing, or one exists that the list lacks.
A line of the list is `kind name — stays`, `… — goes` or `… — replaced by X`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import django
from celery import current_app
from django.apps import apps
from django.conf import settings
from django.core.management import get_commands
from django.urls import URLPattern, URLResolver, get_resolver

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "tools" / "inventory.txt"
APPS = ("guanwecom", "integrations", "accounts", "notifications")


def main(arguments: list[str]) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tools.static_settings")
    django.setup()
    found = sorted(find_entries())
    if arguments != ["--check"]:
        print(*found, sep="\n")
        return 0
    listed = dict(line.split(" — ", 1) for line in LIST.read_text().splitlines())
    problems = [f"missing: {name}" for name, fate in listed.items() if fate == "stays" and name not in found]
    problems += [f"not in the list: {name}" for name in found if name not in listed]
    print(*problems, *(f"still there: {name}" for name in found if listed.get(name, "stays") != "stays"), sep="\n")
    return 1 if problems else 0


def find_entries() -> set[str]:
    tasks = current_app.tasks
    current_app.loader.import_default_modules()
    return {
        *(f"url {entry}" for entry in find_urls(get_resolver().url_patterns)),
        *(f"api {entry}" for entry in find_api_paths()),
        *(f"setting {name}" for name in find_settings()),
        *(f"command {name}" for name, app in get_commands().items() if app in APPS),
        *(f"task {name}" for name in tasks if not name.startswith("celery.")),
        *(f"periodic {name}" for name in settings.CELERY_BEAT_SCHEDULE),
        *(f"table {model._meta.db_table}" for model in apps.get_models(include_auto_created=True)),
    }


def find_urls(patterns: list[URLPattern | URLResolver], prefix: str = "", space: str = "") -> Iterator[str]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from find_urls(pattern.url_patterns, path, f"{pattern.namespace}:" if pattern.namespace else space)
        else:
            yield f"{space}{pattern.name or '-'} /{path}"


def find_api_paths() -> Iterator[str]:
    from notifications.api.app import api  # noqa: PLC0415  # Django is set up by now

    for path, methods in api.get_openapi_schema()["paths"].items():
        yield from (f"{method.upper()} {path}" for method in methods)


def find_settings() -> list[str]:
    """A test compares `.env.example` with what settings.py reads."""
    return re.findall(r"^#?([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
