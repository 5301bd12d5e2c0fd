"""How people may sign in, and who is locked out."""

from __future__ import annotations

from typing import ClassVar

from axes.models import AccessAttempt
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

THE_ONE = 1


class SignInPolicy(models.Model):
    """One row: whether passwords sign anybody in."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=THE_ONE, editable=False)
    password_enabled = models.BooleanField(
        _("sign-in with a password"),
        default=True,
        help_text=_("Off: everybody signs in with WeCom, administrators too."),
    )
    changed_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("sign-in policy")
        verbose_name_plural = _("sign-in policy")
        default_permissions = ("view", "change")
        constraints = [models.CheckConstraint(condition=Q(pk=THE_ONE), name="one_sign_in_policy")]

    def __str__(self) -> str:
        return str(_("sign-in policy"))


class Lockout(AccessAttempt):  # type: ignore[misc]  # axes has no types
    """Wrong passwords for one username from one place, as django-axes counts them. Deleting a row unlocks."""

    objects: ClassVar[models.Manager[Lockout]]

    class Meta:
        proxy = True
        verbose_name = _("wrong passwords")
        verbose_name_plural = _("wrong passwords")
        default_permissions = ("view", "delete")

    def __str__(self) -> str:
        return f"{self.username} · {self.ip_address or '—'}"
