"""Imports of people, and their rows. The uploaded file is stored in the job that reads it."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models.users import User
from integrations.models import Corp


class PeopleImport(models.Model):
    """An uploaded file. It is checked in the background without changes, and written once confirmed."""

    class Status(models.TextChoices):
        WAITING = "waiting", pgettext_lazy("import", "being checked")
        UNCONFIRMED = "asking", pgettext_lazy("import", "waits for your confirmation")
        CONFIRMED = "confirmed", pgettext_lazy("import", "being written")
        DONE = "done", pgettext_lazy("import", "done")
        REFUSED = "refused", pgettext_lazy("import", "cannot be read")
        STOPPED = "stopped", pgettext_lazy("import", "stopped, nothing changed")
        DISCARDED = "discarded", pgettext_lazy("import", "discarded")

    class Mode(models.TextChoices):
        ALL = "all", _("all or nothing")
        SKIP = "skip", _("skip the refused rows")

    class Match(models.TextChoices):
        USERNAME = "username", _("username = account in the file")
        EMAIL = "email", _("e-mail")
        MOBILE = "mobile", _("mobile")
        ATTRIBUTE = "attribute", _("employee number")

    status = models.CharField(_("status"), max_length=12, choices=Status.choices, default=Status.WAITING)
    mode = models.CharField(_("refused rows"), max_length=8, choices=Mode.choices, blank=True)
    file_name = models.CharField(_("file"), max_length=255)
    # The company of the accounts in a file from WeCom's console: the file itself does not name it.
    corp = models.ForeignKey(
        Corp, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("WeCom company name")
    )
    match_by = models.CharField(_("people are found by"), max_length=12, choices=Match.choices, default=Match.USERNAME)
    clears_empty = models.BooleanField(_("empty cells clear existing values"), default=False)
    creates_people = models.BooleanField(_("create people who are missing"), default=False, db_default=False)
    requested_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    requested_by_name = models.CharField(_("administrator"), max_length=255)
    requested_at = models.DateTimeField(_("uploaded"), default=timezone.now)
    # The person who confirmed it, not always the one who uploaded it. The import is written with their rights.
    confirmed_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    confirmed_by_name = models.CharField(_("confirmed by"), max_length=255, blank=True)
    confirmed_from = models.GenericIPAddressField(null=True, editable=False)
    confirmed_at = models.DateTimeField(_("confirmed at"), null=True)
    finished_at = models.DateTimeField(pgettext_lazy("time", "finished"), null=True)
    layout = models.CharField(max_length=8, blank=True, editable=False)
    # [[header, meaning], …] in the order of the file; an unused column has an empty meaning.
    titles = models.JSONField(default=list, editable=False)
    row_count = models.PositiveIntegerField(_("rows"), default=0)
    # {"same": 3, "change": 2, "refused": 1, …}: numbers of rows by ImportRow.Outcome, and of unchanged ones.
    counts = models.JSONField(default=dict, editable=False)
    # Why the file was refused, or the writing stopped: a key in accounts.explanations, and values for its sentence.
    reason = models.CharField(max_length=32, blank=True, editable=False)
    words = models.JSONField(default=dict, editable=False)

    class Meta:
        verbose_name = _("import of people")
        verbose_name_plural = _("imports of people")
        ordering = ["-pk"]
        default_permissions = ("view", "add")

    def __str__(self) -> str:
        return f"{self.file_name} · {timezone.localtime(self.requested_at):%Y-%m-%d %H:%M}"


class ImportRow(models.Model):
    """A row of the file that would create or change a person, or is refused. Rows without changes are only counted."""

    class Outcome(models.TextChoices):
        CREATE = "create", pgettext_lazy("import", "would be created")
        CHANGE = "change", pgettext_lazy("import", "would change")
        REFUSED = "refused", pgettext_lazy("import", "refused")
        APPLIED = "applied", pgettext_lazy("import", "changed")
        CREATED = "created", pgettext_lazy("import", "created")

    run = models.ForeignKey(PeopleImport, on_delete=models.CASCADE, related_name="rows", db_index=False)
    # The row's number in the spreadsheet, from 1.
    number = models.PositiveIntegerField(_("row"))
    outcome = models.CharField(_("outcome"), max_length=8, choices=Outcome.choices)
    # The person of the row: the key of the user who was found, and a name to show.
    user_id = models.BigIntegerField(null=True)
    name = models.CharField(_("person"), max_length=255)
    # Maps the meaning of a column to the text of its cell.
    cells = models.JSONField(default=dict)
    # [[column, before, after], …] as shown before the confirmation.
    changes = models.JSONField(default=list)
    reason = models.CharField(max_length=32, blank=True)
    words = models.JSONField(default=dict)

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["run", "outcome", "number"], name="import_rows_by_outcome")]

    def __str__(self) -> str:
        return f"{self.number} {self.outcome}"
