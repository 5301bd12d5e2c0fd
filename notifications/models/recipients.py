"""Abstract models: recipients and channel of subscriptions and alert receivers; the successor of what has an owner."""

from __future__ import annotations

from django.contrib.auth.models import Group
from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import User
from integrations.models import Department
from notifications.models.robots import Robot


class Channel(models.TextChoices):
    WECOM = "wecom", _("WeCom")
    ROBOT = "robot", _("WeCom group robot")
    EMAIL = "email", pgettext_lazy("channel", "e-mail")


class RulesMatch(models.TextChoices):
    """How several attribute rules of one subscription or receiver are joined."""

    ALL = "all", _("who matches all rules")
    ANY = "any", _("who matches any rule")


class Addressed(models.Model):
    """Names recipients (notifications.subscriptions.recipients.named_audience). Its attribute rules:
    notifications.models.attribute_rules.
    """

    to_everyone = models.BooleanField(_("everyone linked to WeCom"), default=False)
    users = models.ManyToManyField(User, blank=True, related_name="+", verbose_name=_("users"))
    groups = models.ManyToManyField(Group, blank=True, related_name="+", verbose_name=_("groups"))
    departments = models.ManyToManyField(
        Department,
        blank=True,
        related_name="+",
        verbose_name=_("departments of WeCom"),
        help_text=_("Whoever is there when a run begins, as the last synchronisation of the directory showed it."),
    )
    with_subdepartments = models.BooleanField(_("with the departments below them"), default=True)
    rules_match = models.CharField(
        _("of the attribute rules"), max_length=3, choices=RulesMatch.choices, default=RulesMatch.ALL
    )
    channel = models.CharField(_("channel"), max_length=16, choices=Channel.choices, default=Channel.WECOM)
    robot = models.ForeignKey(
        Robot,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("group robot"),
        help_text=_("Only for the channel “group robot”: everybody in its group reads it."),
    )
    fallback_channel = models.CharField(
        _("second channel"),
        max_length=16,
        blank=True,
        choices=[(Channel.EMAIL.value, Channel.EMAIL.label)],
        help_text=_("For people whom WeCom cannot reach."),
    )

    class Meta:
        abstract = True

    @property
    def only_corp_id(self) -> int | None:
        """The company whose people alone are meant; None: those of every company."""
        raise NotImplementedError


class Succeeded(models.Model):
    """Has an owner, and may have somebody who takes over (notifications.delivery.runs.ownership)."""

    successor = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("successor")
    )

    class Meta:
        abstract = True
