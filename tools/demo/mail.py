"""A mail channel of the demo: any program of this machine can send a mail to people's phones."""

from __future__ import annotations

from accounts.models import User
from notifications.inbound.channels import FIRST_SCHEMES
from notifications.inbound.signatures import kept_of
from notifications.models import InboundChannel

NAME = "邮件（演示）"
# Known to everybody on purpose, as the demo's other password: its mail door listens on this machine only.
USER, PASSWORD = "demo", "guanwecom-demo"  # noqa: S105  # see above


def seed(owner: User) -> None:
    scheme = FIRST_SCHEMES[InboundChannel.Kind.MAIL]
    InboundChannel.objects.get_or_create(
        public_id=USER,
        defaults={
            "name": NAME,
            "kind": InboundChannel.Kind.MAIL,
            "scheme": scheme,
            "digest": kept_of(PASSWORD, scheme).digest,
            "owner": owner,
            "is_enabled": True,
        },
    )


def reset() -> None:
    InboundChannel.objects.filter(public_id=USER).delete()
