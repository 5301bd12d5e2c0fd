#!/usr/bin/env python
"""Django's command line for guanwecom."""

import os
import sys

from django.core.management import execute_from_command_line

from integrations.management.commands import generate_key

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "guanwecom.settings")
    if sys.argv[1:2] == ["generate_key"]:
        # Why apart? It makes a value without which the settings do not start, and with them any other command.
        generate_key.Command().run_from_argv(sys.argv)
    else:
        execute_from_command_line(sys.argv)
