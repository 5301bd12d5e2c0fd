"""How far the addresses may lead that somebody enters, or that another system sends."""

from __future__ import annotations

from django.conf import settings

from integrations.clients.sources.ssrf import Reach


def reach_for(*, allows_private_addresses: bool) -> Reach:
    """`allows_private_addresses`: whether a superuser has let it into the internal network. This machine belongs to it
    only where the settings say that everything runs on it."""
    if not allows_private_addresses:
        return Reach.PUBLIC
    return Reach.THIS_MACHINE if settings.DATA_ALLOW_LOOPBACK else Reach.PRIVATE
