"""The audit trail: who changed what, when and from where."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class AuditEntry(models.Model):
    """A change or a sign-in. A row never changes, except that `is_unsent` is cleared; it is deleted after
    settings.AUDIT_RETENTION_DAYS. Names are stored beside keys, so that an entry stays readable after its subject is
    deleted."""

    class Action(models.TextChoices):
        CREATED = "created", pgettext_lazy("audit", "created")
        CHANGED = "changed", pgettext_lazy("audit", "changed")
        DELETED = "deleted", pgettext_lazy("audit", "deleted")
        DONE = "done", pgettext_lazy("audit", "done")
        SIGNED_IN = "signed-in", pgettext_lazy("audit", "signed in")
        SIGN_IN_FAILED = "sign-in-failed", pgettext_lazy("audit", "sign-in failed")
        LOCKED_OUT = "locked-out", pgettext_lazy("audit", "locked out")
        UNLOCKED = "unlocked", pgettext_lazy("audit", "unlocked")

    at = models.DateTimeField(_("time"), default=timezone.now)
    # No constraint in the database: entries stay after the person or company is deleted. Keys are never reused.
    actor = models.ForeignKey(
        "User",
        on_delete=models.DO_NOTHING,
        null=True,
        related_name="+",
        db_constraint=False,
        db_index=False,
        verbose_name=_("administrator"),
    )
    # Empty for commands, background tasks, and people who are not signed in.
    actor_name = models.CharField(_("administrator"), max_length=255, blank=True)
    ip = models.GenericIPAddressField(_("IP address"), null=True)
    action = models.CharField(_("action"), max_length=16, choices=Action.choices)
    # app_label.model_name
    model = models.CharField(_("kind"), max_length=100, blank=True)
    object_id = models.BigIntegerField(null=True)
    subject = models.CharField(_("what"), max_length=255, blank=True)
    # [[field, before, after], …]; null for a missing value. Secrets are masked before they are stored.
    changes = models.JSONField(_("changes"), default=list)
    note = models.CharField(_("note"), max_length=500, blank=True)
    # The company concerned; empty for none or several.
    corp = models.ForeignKey(
        "integrations.Corp",
        on_delete=models.DO_NOTHING,
        null=True,
        related_name="+",
        db_constraint=False,
        db_index=False,
        verbose_name=_("WeCom company name"),
    )
    # True until the syslog server, if one is set, has the entry. A database trigger permits no change but clearing it.
    is_unsent = models.BooleanField(default=False, editable=False)

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit trail")
        ordering = ["-pk"]
        default_permissions = ("view",)
        indexes = [
            # Serves the list for administrators of some companies.
            models.Index(fields=["corp", "-id"], name="audit_by_corp"),
            # Serves the history of one row.
            models.Index(fields=["model", "object_id", "-id"], name="audit_by_object"),
            # Serves the list of one day, and the purge.
            models.Index(fields=["at"], name="audit_by_time"),
            # Serves the sending, oldest first, and the count of unsent entries with the time of the oldest.
            models.Index(fields=["id", "at"], condition=Q(is_unsent=True), name="audit_unsent"),
        ]

    def __str__(self) -> str:
        return f"{timezone.localtime(self.at):%Y-%m-%d %H:%M:%S} {self.get_action_display()} {self.subject}".rstrip()
