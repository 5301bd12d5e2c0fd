"""The outside systems that we are connected to, as rows."""

from integrations.models.companies import DEFAULT_SITE_ADDRESS, Corp, SiteAddress, is_local_host
from integrations.models.console_writes import ConsoleWrite
from integrations.models.diagnosis import CheckRun
from integrations.models.public import CallbackEvent, VerificationFile

__all__ = [
    "DEFAULT_SITE_ADDRESS",
    "CallbackEvent",
    "CheckRun",
    "ConsoleWrite",
    "Corp",
    "SiteAddress",
    "VerificationFile",
    "is_local_host",
]
