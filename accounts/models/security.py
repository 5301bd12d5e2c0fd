"""Signed-in sessions as people see them, lockouts, and the sign-in policy."""

from __future__ import annotations

from typing import ClassVar

from axes.models import AccessAttempt
from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

USER_AGENT_CHARACTERS = 255


class SignedInSession(models.Model):
    """One browser in which a person is signed in. Written at sign-in and then at most every few minutes."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    # Under which Django's session is stored, to end it from another browser: a digest of what the cookie holds.
    session_key = models.CharField(max_length=40, unique=True)
    # Through which company; empty after sign-in by password.
    corp = models.ForeignKey("integrations.Corp", on_delete=models.SET_NULL, null=True, related_name="+")
    user_agent = models.CharField(max_length=USER_AGENT_CHARACTERS, blank=True)
    began_at = models.DateTimeField()
    last_used_at = models.DateTimeField()

    class Meta:
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        # People see their own; no page of the administration shows them.
        default_permissions = ()
        indexes = [
            # A person's sessions, the last used first.
            models.Index(F("user"), F("last_used_at").desc(), name="session_of_person"),
            # The nightly purge.
            models.Index(fields=["last_used_at"], name="session_last_used"),
        ]

    def __str__(self) -> str:
        return f"{timezone.localtime(self.began_at):%Y-%m-%d %H:%M}"


# --- How people may sign in, and who is locked out ---

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
