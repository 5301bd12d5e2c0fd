"""Pictures and files: their recipes, contents and uses, and pictures of pages of the BI."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import User
from integrations.clients import snapshots
from integrations.core import sentences


class MakerQueue(models.TextChoices):
    """The queues whose workers make media (notifications.delivery.attachments)."""

    CHARTS = "charts"
    SNAPSHOTS = "snapshots"


_MEDIA_TYPES = {
    "picture": "image/png",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv",
}


class MediumQuerySet(models.QuerySet["Medium"]):
    def due(self, now: datetime) -> Self:
        """Media to make that no worker is making, and no task will make soon."""
        return self.filter(status=Medium.Status.WAITING, make_after__lte=now)

    def previews(self) -> Self:
        """Media of previews, which belong to no run, no incident and no token."""
        return self.filter(run__isnull=True, incident__isnull=True, token__isnull=True)


class Medium(models.Model):
    """A picture or a file of a run, of an incident or of an API token; without any of these, a preview.

    The medium of a run is made once for all deliveries that carry it, or came with the incoming message. The one of an
    incident shows the data for which the incident opened. The one of a token is an upload over the API: it is kept for
    a day, and each message that uses it gets a copy. A preview in the administration is deleted after an hour.
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
    token = models.ForeignKey("ApiToken", on_delete=models.CASCADE, null=True, related_name="uploads", db_index=False)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    queue = models.CharField(
        max_length=16, choices=MakerQueue.choices, default=MakerQueue.CHARTS, db_default=MakerQueue.CHARTS
    )
    # A digest of the recipe, so that equal recipes are made once (notifications.delivery.attachments). For a file that
    # came from another system, a digest of the content.
    digest = models.CharField(max_length=64)
    # Emptied once the medium is made.
    recipe = models.BinaryField()
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.WAITING)
    created_at = models.DateTimeField()
    # No other worker makes it before this time. Making it, or queueing a task for it, sets a later time.
    make_after = models.DateTimeField()
    # The number of tries begun: a recipe that crashes its worker each time is given up.
    make_count = models.PositiveSmallIntegerField(default=0)
    made_at = models.DateTimeField(null=True)
    # A stored sentence for the report's owner (integrations.core.sentences).
    error = models.TextField(blank=True)
    # For a picture of a page: the end of the tries, until which messages wait for it. Empty: the usual time.
    give_up_at = models.DateTimeField(null=True)
    # Name and type of a file that came from another system, or of a picture of a page; else empty. The type was
    # detected from the content, not from the sender's name for it.
    name = models.CharField(max_length=200, default="", db_default="")
    content_type = models.CharField(max_length=100, default="", db_default="")
    # PNG, xlsx, csv, or a message's file. A picture that we drew also has its compressed SVG and its size on a page.
    content = models.BinaryField()
    svg = models.BinaryField()
    width = models.PositiveIntegerField(default=0)
    height = models.PositiveIntegerField(default=0)
    # For a picture of a page: the part shown above a message, cropped to WeCom's aspect ratio. Else empty.
    cover = models.BinaryField(null=True)

    objects = MediumQuerySet.as_manager()

    class Meta:
        verbose_name = _("picture or file")
        verbose_name_plural = _("pictures and files")
        # No permissions of its own, because people see a medium with its message.
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["run", "digest"], name="one_medium_per_run_and_digest"),
            models.UniqueConstraint(fields=["incident", "digest"], name="one_medium_per_incident_and_digest"),
            models.CheckConstraint(
                condition=Q(run__isnull=True) | Q(incident__isnull=True), name="medium_of_a_run_or_an_incident"
            ),
            models.CheckConstraint(
                condition=Q(token__isnull=True) | Q(run__isnull=True, incident__isnull=True),
                name="upload_of_no_run_and_no_incident",
            ),
        ]
        indexes = [
            # MediumQuerySet.due(), and media that wait for a worker: notifications.delivery.attachments.
            models.Index(fields=["make_after"], condition=Q(status="waiting"), name="medium_waiting"),
            # Previews to delete.
            models.Index(
                fields=["created_at"],
                condition=Q(run__isnull=True, incident__isnull=True, token__isnull=True),
                name="medium_preview",
            ),
            # The waiting uploads of a token (notifications.inbound.accept), and those to delete (notifications.tasks).
            models.Index(fields=["token", "created_at"], condition=Q(token__isnull=False), name="medium_upload"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.digest[:12]}"

    @property
    def media_type(self) -> str:
        """The MIME type of the content."""
        return self.content_type or _MEDIA_TYPES[self.kind]

    @property
    def extension(self) -> str:
        """The extension of the file's name, in lower case."""
        usual = "png" if self.kind == self.Kind.PICTURE else self.kind
        return self.name.rpartition(".")[2].lower() or usual

    @property
    def error_text(self) -> str:
        """The error in the active language."""
        return sentences.translate_stored(self.error)


class PictureKind(models.TextChoices):
    PAGE = "page", pgettext_lazy("of the BI", "page")
    CARD = "card", pgettext_lazy("of the BI", "card")


class PictureWidth(models.TextChoices):
    DESKTOP = snapshots.Width.DESKTOP.value, _("as on a computer")
    PHONE = snapshots.Width.PHONE.value, _("as on a phone")


class PictureTheme(models.TextChoices):
    LIGHT = snapshots.Theme.LIGHT.value, _("light")
    DARK = snapshots.Theme.DARK.value, _("dark")


class WithPagePicture(models.Model):
    """Base of reports: at most one picture of a BI page or card, with the rights of each recipient or of the owner.

    The push's message form decides how it is sent: NEWS and NEWS_NOTICE as their cover, IMAGE as the picture alone,
    FILE as a PDF; other forms show it on the message's page.
    """

    picture_kind = models.CharField(
        _("page or card"), max_length=8, choices=PictureKind.choices, default=PictureKind.PAGE
    )
    # The id of the page or card in the BI; empty: no picture.
    picture_bi_id = models.CharField(
        _("ID in the BI"),
        max_length=100,
        blank=True,
        default="",
        validators=[RegexValidator(r"^[^/?#%\s\\]+\Z", _("The ID alone, as it stands in the BI's address."))],
        help_text=_("Empty: no picture."),
    )
    picture_name = models.CharField(
        _("heading of the picture"),
        max_length=128,
        blank=True,
        default="",
        help_text=_("Shown above the picture, and used as the name of the file."),
    )
    picture_width = models.CharField(
        _("width"), max_length=8, choices=PictureWidth.choices, default=PictureWidth.DESKTOP
    )
    picture_theme = models.CharField(
        _("colours"), max_length=8, choices=PictureTheme.choices, default=PictureTheme.LIGHT
    )
    picture_is_cropped = models.BooleanField(
        _("only the cards"), default=True, help_text=_("Without the BI's own frame around them.")
    )
    # The person with whose rights all recipients see the page; empty: each recipient's own rights count. Written only
    # by delivery.runs.ownership. It has an effect only in pushes that this person owns.
    picture_shown_as = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("shown with the rights of")
    )
    # The editor whose edit emptied `picture_shown_as`.
    picture_ended_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    picture_ended_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True
