#!/usr/bin/env python
"""Django's command line for guanwecom."""

import os
import sys

import django
from django.conf import settings
from django.core.management import execute_from_command_line
from django.db import Error
from django.utils import translation

from guanwecom.management.commands import init_env
from guanwecom.operations import startup
from integrations.core.background import is_database_away
from integrations.management.commands import generate_key

# Commands that make the keys and the .env without which the settings cannot be read. They run before the settings.
BEFORE_SETTINGS = {"generate_key": generate_key.Command, "init_env": init_env.Command}

# Commands that need no checks before them: they run the checks themselves, or do nothing with data.
WITHOUT_CHECKS = {"check", "help", "version", "--help", "-h", "--version"}

# Commands that store texts, or answer other programs: these texts stay in the product's language.
IN_PRODUCT_LANGUAGE = {"mail_door", "migrate"}


def activate_language() -> None:
    """Choose the language of a command's output: Chinese unless the environment names another one."""
    variables = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
    named = next((os.environ[name] for name in variables if os.environ.get(name)), "zh")
    translation.activate("zh-hans" if named.lower().startswith("zh") else "en")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "guanwecom.settings")
    command = sys.argv[1] if len(sys.argv) > 1 else "help"
    if command in BEFORE_SETTINGS:
        settings.configure(LOCALE_PATHS=[init_env.ROOT / "guanwecom" / "locale"])
        django.setup()
        activate_language()
        BEFORE_SETTINGS[command]().run_from_argv(sys.argv)
    else:
        try:
            if command in WITHOUT_CHECKS:
                startup.load_settings()
            else:
                startup.set_up_process(with_packages=False)  # Django's own command runs those of packages
                if command not in IN_PRODUCT_LANGUAGE:
                    activate_language()
            execute_from_command_line(sys.argv)
        except Error as error:
            if not is_database_away(error):
                raise
            sys.exit(f"{translation.gettext('The database does not answer')}: {' '.join(str(error).split())}")
