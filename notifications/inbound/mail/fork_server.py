"""Modules that the fork server of notifications.inbound.mail.reader loads once for all mails."""

import signal
from importlib import import_module

import django
from django.conf import settings
from django.utils import translation

# The mail door itself ends its children, once the mails under way are stored.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
django.setup()
import_module("notifications.inbound.mail.reader")
translation.activate(settings.LANGUAGE_CODE)
