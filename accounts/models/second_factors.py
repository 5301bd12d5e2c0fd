"""The authenticator app of somebody who may enter the administration."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models.users import User
from integrations.models.fields import EncryptedTextField


class TotpDevice(models.Model):
    """One app that shows codes which change by the half minute. Made once its first code was right."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="+")
    # In base32, as apps take it.
    key = EncryptedTextField(_("key"))
    confirmed_at = models.DateTimeField(_("set up"))
    # Set up in a session that not WeCom alone had opened. Any other may be of somebody who decides what WeCom says: its
    # codes give no rights that a sign-in with WeCom does not (accounts.authentication.sessions).
    is_independent = models.BooleanField(default=False, db_default=False)
    # The half minute of the last code that was taken: none is taken twice, and none before it.
    last_counter = models.BigIntegerField(default=0)
    # Wrong codes in a row, and when the last one came.
    failed_count = models.PositiveIntegerField(default=0)
    failed_at = models.DateTimeField(null=True)
    # Digests of the recovery codes that are left; each is good once.
    recovery_digests = models.JSONField(default=list)

    class Meta:
        verbose_name = _("authenticator app")
        verbose_name_plural = _("authenticator apps")
        # People see their own; no list of the administration shows them.
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.user)
