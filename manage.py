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

# They make what the settings do not start without, and with them any other command.
BEFORE_SETTINGS = {"generate_key": generate_key.Command, "init_env": init_env.Command}

# They say themselves what is wrong, or touch nothing.
WITHOUT_CHECKS = {"check", "help", "version", "--help", "-h", "--version"}

# What they store or answer is not for whoever types: it stays in the product's language.
OF_THE_PRODUCT = {"mail_door", "migrate"}


def speak() -> None:
    """Choose the language of a command by its environment: Chinese unless that names another one."""
    variables = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
    named = next((os.environ[name] for name in variables if os.environ.get(name)), "zh")
    translation.activate("zh-hans" if named.lower().startswith("zh") else "en")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "guanwecom.settings")
    command = sys.argv[1] if len(sys.argv) > 1 else "help"
    if command in BEFORE_SETTINGS:
        settings.configure(LOCALE_PATHS=[init_env.ROOT / "guanwecom" / "locale"])
        django.setup()
        speak()
        BEFORE_SETTINGS[command]().run_from_argv(sys.argv)
    else:
        try:
            if command in WITHOUT_CHECKS:
                startup.load_settings()
            else:
                startup.set_up_process(with_packages=False)  # a command asks those of packages itself
                if command not in OF_THE_PRODUCT:
                    speak()
            execute_from_command_line(sys.argv)
        except Error as error:
            if not is_database_away(error):
                raise
            sys.exit(f"{translation.gettext('The database does not answer')}: {' '.join(str(error).split())}")
