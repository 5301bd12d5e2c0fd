"""The outside systems that we are connected to, as rows."""

from integrations.models.companies import DEFAULT_SITE_ADDRESS, Corp, SiteAddress, is_local_host
from integrations.models.public import CallbackEvent, VerificationFile
from integrations.models.testing import ConnectionTest

__all__ = [
    "DEFAULT_SITE_ADDRESS",
    "CallbackEvent",
    "ConnectionTest",
    "Corp",
    "SiteAddress",
    "VerificationFile",
    "is_local_host",
]
