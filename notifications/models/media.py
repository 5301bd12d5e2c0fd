"""Pictures and files: their recipes, their contents, what uses them, uploads, and pictures of pages of the BI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import User
from integrations.clients import snapshots
from integrations.core import sentences
from notifications.models.subscriptions import Report

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
    # Of the recipe: what is equal is made once (notifications.delivery.attachments).
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
    # Of a picture of a page: it is tried until then, and messages wait for it as long. Empty: the usual time.
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
            # MediumQuerySet.due(), and what waits for a worker: notifications.delivery.attachments.
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

    class Meta:
        verbose_name = _("upload")
        verbose_name_plural = _("uploads")
        default_permissions = ()

    def __str__(self) -> str:
        return self.name


class PagePicture(models.Model):
    """At most one of a report: a page or a card of the BI as it looks there, for each recipient with their own rights.

    As what it goes out is the push's message form: NEWS and NEWS_NOTICE have it as their cover, IMAGE is the picture
    alone, FILE a PDF; beside any other form it stands on the page of the message.
    """

    class Kind(models.TextChoices):
        PAGE = "page", pgettext_lazy("of the BI", "page")
        CARD = "card", _("card")

    class Width(models.TextChoices):
        DESKTOP = snapshots.Width.DESKTOP.value, _("as on a computer")
        PHONE = snapshots.Width.PHONE.value, _("as on a phone")

    class Theme(models.TextChoices):
        LIGHT = snapshots.Theme.LIGHT.value, _("light")
        DARK = snapshots.Theme.DARK.value, _("dark")

    report = models.OneToOneField(
        Report, on_delete=models.CASCADE, related_name="page_picture", verbose_name=_("report")
    )
    kind = models.CharField(_("page or card"), max_length=8, choices=Kind.choices, default=Kind.PAGE)
    # Of the page or card in the BI.
    bi_id = models.CharField(
        _("ID in the BI"),
        max_length=100,
        validators=[RegexValidator(r"^[^/?#%\s\\]+\Z", _("The ID alone, as it stands in the BI's address."))],
    )
    name = models.CharField(_("heading"), max_length=128, help_text=_("Above the picture, and the name of the file."))
    width = models.CharField(_("width"), max_length=8, choices=Width.choices, default=Width.DESKTOP)
    theme = models.CharField(_("colours"), max_length=8, choices=Theme.choices, default=Theme.LIGHT)
    is_cropped = models.BooleanField(
        _("only the cards"), default=True, help_text=_("Without the BI's own frame around them.")
    )
    # Empty: each recipient with their own rights. Written by notifications.delivery.runs.ownership alone; it counts
    # for pushes of this person only.
    shown_as = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("seen with the rights of")
    )
    # Who edited the push last of those by whose edit it ended that everybody saw it as its owner does.
    ended_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    ended_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("page picture")
        verbose_name_plural = _("page pictures")
        default_permissions = ()

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> str:
        """Of the page in the BI, without its first slash."""
        return f"{self.kind}/{self.bi_id}"
