"""The picture of a page of the BI that a report carries, and whose rights it is taken with."""

from __future__ import annotations

from django.core.validators import RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import User
from integrations.clients import snapshots
from notifications.models.subscriptions import Report


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
    # Empty: each recipient with their own rights. Written by notifications.delivery.runs.page_rights alone; it counts
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
