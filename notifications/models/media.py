"""Pictures and files: their recipes, their contents, the deliveries or incidents that use them, and uploads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from integrations.core import sentences
from notifications.models.lookups import Moment

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Self


class MakerQueue(models.TextChoices):
    """By which workers something is made; their names are those of the queues (notifications.delivery.attachments)."""

    CHARTS = "charts"
    SNAPSHOTS = "snapshots"


class MediumQuerySet(models.QuerySet["Medium"]):
    def due(self, now: datetime) -> Self:
        """Those to be made that nobody makes, and no task will make soon."""
        return self.filter(status=Medium.Status.WAITING, make_after__lte=now)

    def previews(self) -> Self:
        """Those of somebody who looks at a form."""
        return self.filter(run__isnull=True, incident__isnull=True)


class Medium(models.Model):
    """A picture or a file: of a run, made once for all its deliveries that have the same; or of an incident, the data
    over which it opened. Of a run whose message another system handed in it came with the message.

    Of neither: a preview in the administration, deleted after an hour.
    """

    class Kind(models.TextChoices):
        PICTURE = "picture", _("picture")
        XLSX = "xlsx", _("Excel file")
        CSV = "csv", _("CSV file")
        FILE = "file", _("file")

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        READY = "ready", pgettext_lazy("file", "ready")
        FAILED = "failed", _("failed")

    run = models.ForeignKey("Run", on_delete=models.CASCADE, null=True, related_name="media", db_index=False)
    incident = models.ForeignKey(
        "Incident", on_delete=models.CASCADE, null=True, related_name="pictures", db_index=False
    )
    kind = models.CharField(max_length=16, choices=Kind.choices)
    queue = models.CharField(
        max_length=16, choices=MakerQueue.choices, default=MakerQueue.CHARTS, db_default=MakerQueue.CHARTS
    )
    # Of the recipe: what is equal is made once (notifications.delivery.attachments.recipes).
    digest = models.CharField(max_length=64)
    # Empty once it was made.
    recipe = models.BinaryField()
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.WAITING)
    created_at = models.DateTimeField()
    # Nobody else makes it before this time; moved on by whoever makes it, or hands it to a task.
    make_after = models.DateTimeField()
    # How often somebody began: a recipe that ends its worker each time is given up.
    make_count = models.PositiveSmallIntegerField(default=0)
    made_at = models.DateTimeField(null=True)
    # A stored sentence for the report's owner (integrations.core.sentences).
    error = models.TextField(blank=True)
    # Of a picture of a page: it is tried until then, and messages wait for it as long. Empty: see jobs.PATIENCE.
    give_up_at = models.DateTimeField(null=True)
    # Of what came with a message, and of pictures of pages: its name, and what its content is. Else empty.
    name = models.CharField(max_length=200, default="", db_default="")
    content_type = models.CharField(max_length=100, default="", db_default="")
    # PNG, xlsx or csv, or what came with a message; of a picture that we drew also the SVG, compressed, and its size on
    # a page.
    content = models.BinaryField()
    svg = models.BinaryField()
    width = models.PositiveIntegerField(default=0)
    height = models.PositiveIntegerField(default=0)
    # Of a picture of a page: what of it WeCom shows above a message, cut to the shape that it wants. Else empty.
    cover = models.BinaryField(null=True)

    objects = MediumQuerySet.as_manager()

    class Meta:
        verbose_name = _("picture or file")
        verbose_name_plural = _("pictures and files")
        # Seen with the message that has it.
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["run", "digest"], name="one_medium_per_run_and_digest"),
            models.UniqueConstraint(fields=["incident", "digest"], name="one_medium_per_incident_and_digest"),
            models.CheckConstraint(
                condition=Q(run__isnull=True) | Q(incident__isnull=True), name="medium_of_a_run_or_an_incident"
            ),
        ]
        indexes = [
            # MediumQuerySet.due(), and what waits for a worker: notifications.delivery.attachments.jobs.
            models.Index(fields=["make_after"], condition=Q(status="waiting"), name="medium_waiting"),
            # Previews that are to be forgotten.
            models.Index(
                fields=["created_at"], condition=Q(run__isnull=True, incident__isnull=True), name="medium_preview"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.digest[:12]}"

    @property
    def extension(self) -> str:
        """Of its file, in lower case."""
        if self.name:
            return self.name.rpartition(".")[2].lower()
        return "png" if self.kind == self.Kind.PICTURE else self.kind

    @property
    def error_text(self) -> str:
        """Its error in the language in force."""
        return sentences.shown(self.error)


class Attachment(models.Model):
    """A medium on the page of a message, in its order. `alias`: the report's card of which it is."""

    delivery = models.ForeignKey("Delivery", on_delete=models.CASCADE, related_name="attachments", db_index=False)
    medium = models.ForeignKey(Medium, on_delete=models.CASCADE, related_name="+")
    position = models.PositiveSmallIntegerField()
    title = models.CharField(max_length=200)
    alias = models.CharField(max_length=64, blank=True)

    class Meta:
        verbose_name = _("picture or file of a message")
        verbose_name_plural = _("pictures and files of messages")
        default_permissions = ()
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["delivery", "position"], name="one_attachment_per_position"),
        ]

    def __str__(self) -> str:
        return self.title


class UploadQuerySet(models.QuerySet["Upload"]):
    def older_than(self, moment: Moment) -> Self:
        return self.filter(created_at__lte=moment)


class Upload(models.Model):
    """A picture or a file that a system handed in over the API, for messages that it will send; kept for a day.

    A message copies it, so that it may be used by several, and outlives none of them.
    """

    token = models.ForeignKey("ApiToken", on_delete=models.CASCADE, related_name="uploads")
    kind = models.CharField(max_length=16, choices=Medium.Kind.choices)
    name = models.CharField(max_length=200)
    # By its content, whatever the sender called it.
    content_type = models.CharField(max_length=100)
    size = models.PositiveIntegerField()
    width = models.PositiveIntegerField(default=0)
    height = models.PositiveIntegerField(default=0)
    # SHA-256 of the content, in hexadecimal digits.
    digest = models.CharField(max_length=64)
    content = models.BinaryField()
    created_at = models.DateTimeField(db_index=True)

    objects = UploadQuerySet.as_manager()

    class Meta:
        verbose_name = _("upload")
        verbose_name_plural = _("uploads")
        default_permissions = ()

    def __str__(self) -> str:
        return self.name
