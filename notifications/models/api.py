"""API tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from django.contrib.auth.models import Group
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from accounts.users.roles import find_people_with_changeable_rights
from integrations.models import Corp, Department
from integrations.models.fields import EncryptedTextField, Person
from notifications.models.recipients import WithSuccessor
from notifications.models.subscriptions import Subscription

MAX_DAILY_LIMIT = 1_000_000


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def usable(self, now: datetime) -> Self:
        """Tokens neither revoked nor expired, whose owner may still enter the administration."""
        return self.filter(revoked_at__isnull=True, expires_at__gt=now, owner__is_active=True, owner__is_staff=True)

    def visible_to(self, person: Person) -> Self:
        """Tokens of `person`, and of people whose rights `person` may change."""
        own = Q(owner=person.pk) if isinstance(person, User) else Q(pk__in=[])
        # Check only the owners, not every user.
        owners = find_people_with_changeable_rights(person).filter(pk__in=self.model._base_manager.values("owner"))
        return self.filter(own | Q(owner__in=owners))


class ApiToken(WithSuccessor):
    """A token that lets another system do part of what its owner may do. The secret itself is not stored.

    `reach` is a column of its own: deleting a company may empty `corps`, and an empty list must not mean everything.
    """

    class Reach(models.TextChoices):
        EVERYTHING = "everything", _("everything that the owner sees")
        CORPS = "corps", _("only these companies")
        SUBSCRIPTIONS = "subscriptions", _("only these pushes")

    class SendReach(models.TextChoices):
        EVERYONE = "everyone", _("everyone whom the owner may reach")
        CORPS = "corps", _("only people of these companies")
        CHOSEN = "chosen", _("only the people chosen here")

    name = models.CharField(
        _("name"), max_length=128, help_text=_("Which system uses it, for example the data warehouse's scheduler.")
    )
    owner = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+", verbose_name=_("owner"))
    # SHA-256 of the secret, in hexadecimal digits. A secret of 256 random bits needs no salt.
    digest = models.CharField(max_length=64, unique=True, editable=False)
    prefix = models.CharField(_("begins with"), max_length=16, editable=False)
    # Key of the form that made it: a form submitted twice makes one token.
    form_key = models.CharField(max_length=32, unique=True, editable=False)
    may_run = models.BooleanField(_("may run pushes"), default=True)
    may_read = models.BooleanField(_("may read pushes and runs"), default=True)
    may_alert = models.BooleanField(
        _("may trigger checks of alert rules"),
        default=False,
        help_text=_("For example after a data update."),
    )
    may_send = models.BooleanField(
        _("may send messages"),
        default=False,
        db_default=False,
        help_text=_("For systems that send messages to people. Each request names the message and its recipients."),
    )
    reach = models.CharField(_("reaches"), max_length=16, choices=Reach.choices, default=Reach.SUBSCRIPTIONS)
    corps = models.ManyToManyField(Corp, blank=True, related_name="+", verbose_name=_("companies"))
    subscriptions = models.ManyToManyField(Subscription, blank=True, related_name="+", verbose_name=_("pushes"))
    # The people whom its messages reach, among those whom its owner may reach.
    sends_to = models.CharField(
        _("messages to"), max_length=16, choices=SendReach.choices, default=SendReach.CORPS, db_default=SendReach.CORPS
    )
    send_corps = models.ManyToManyField(Corp, blank=True, related_name="+", verbose_name=_("companies of recipients"))
    send_users = models.ManyToManyField(User, blank=True, related_name="+", verbose_name=_("recipients"))
    send_groups = models.ManyToManyField(Group, blank=True, related_name="+", verbose_name=_("groups of recipients"))
    send_departments = models.ManyToManyField(
        Department,
        blank=True,
        related_name="+",
        verbose_name=_("departments of recipients"),
        help_text=_("Including all their subdepartments."),
    )
    daily_limit = models.PositiveIntegerField(
        _("messages per day at most"),
        default=1000,
        db_default=1000,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_DAILY_LIMIT)],
        help_text=_("Counted per person: a message to five people counts as five."),
    )
    # Off by default: otherwise the token's maker could call services that only this server can reach.
    allows_private_addresses = models.BooleanField(
        _("webhooks may go into the internal network"),
        default=False,
        db_default=False,
        help_text=_(
            "Only a superuser may tick this. It lets this server call addresses that the internet cannot reach."
        ),
    )
    # Signs its webhooks. It is shown once, like the secret.
    signing_secret = EncryptedTextField(blank=True, default="", db_default="", editable=False)
    created_at = models.DateTimeField(_("created"))
    expires_at = models.DateTimeField(_("expires"))
    revoked_at = models.DateTimeField(_("revoked"), null=True, editable=False)
    # Updated at most once a minute.
    last_used_at = models.DateTimeField(_("last used"), null=True, editable=False)
    last_used_from = models.GenericIPAddressField(_("last used from"), null=True, editable=False)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        ordering = ["-pk"]
        default_permissions = ("view", "add", "change")

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
