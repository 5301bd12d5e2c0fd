"""Users, their WeCom accounts, sessions and authenticator apps, the sign-in policy and locks."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar, Self

from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from integrations.models.companies import Corp
from integrations.models.directory import Member
from integrations.models.fields import EncryptedTextField, Person, fold_userid
from integrations.models.installation import SINGLETON_PK

# Values that User.withhold_rights() sets.
WITHHELD = {"is_staff": False, "is_superuser": False, "manages_all_corps": False}


class User(AbstractUser):
    """A person, who signs in by password, or with WeCom through one of their WeCom accounts."""

    first_name = None  # type: ignore[assignment]  # Chinese names have one part: `name`
    last_name = None  # type: ignore[assignment]  # see above
    name = models.CharField(_("full name"), max_length=64, blank=True)
    mobile = models.CharField(_("mobile"), max_length=32, blank=True)
    manages_all_corps = models.BooleanField(
        _("manages all companies"), default=False, help_text=_("Sees every WeCom company in the administration.")
    )
    managed_corps = models.ManyToManyField(
        Corp,
        blank=True,
        related_name="+",
        verbose_name=_("manages companies"),
        help_text=_("Sees only these WeCom companies in the administration."),
    )

    # Not stored: true if the session does not carry the person's rights (accounts.authentication.sessions).
    has_withheld_rights = False

    # The username that the directory made because the userid was already somebody's username
    # (accounts.directory.linking).
    made_username = models.CharField(max_length=150, blank=True, default="", db_default="", editable=False)

    # Incremented to end all sessions of the person at once, see _get_session_auth_hash.
    session_epoch = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        verbose_name = _("person")
        verbose_name_plural = _("people")
        permissions = [("assign_roles", gettext_noop("Can hand out roles"))]
        indexes = [
            # Match members with people, if the policy allows it (accounts.directory).
            models.Index(Lower("username"), name="users_by_folded_username"),
            models.Index(Lower("email"), condition=~Q(email=""), name="users_by_folded_email"),
            models.Index(fields=["mobile"], condition=~Q(mobile=""), name="users_by_mobile"),
            # Suggests people to an administrator; runs never match by name.
            models.Index(fields=["name"], condition=~Q(name=""), name="users_by_name"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.username})" if self.name else self.username

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """Return the hash that each session stores and Django compares at each request. While session_epoch is 0 it is
        Django's own hash."""
        if not self.session_epoch:
            django_hash: str = super()._get_session_auth_hash(secret=secret)  # type: ignore[misc]  # not in the stubs
            return django_hash
        value = f"{self.password}:{self.session_epoch}"
        return salted_hmac("accounts.models.User.session", value, secret=secret, algorithm="sha256").hexdigest()

    def withhold_rights(self) -> None:
        """Reduce the rights of this object to those of an employee. The stored rights do not change."""
        self.has_withheld_rights = True
        for name, value in WITHHELD.items():
            setattr(self, name, value)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Leave the stored rights unchanged if this object's rights are withheld."""
        if self.has_withheld_rights:
            names = kwargs.get("update_fields") or {field.name for field in self._meta.concrete_fields}
            kwargs["update_fields"] = set(names) - {*WITHHELD, "id"}
        super().save(*args, **kwargs)

    def refresh_from_db(self, *args: Any, **kwargs: Any) -> None:
        super().refresh_from_db(*args, **kwargs)
        if self.has_withheld_rights:
            self.withhold_rights()

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        return not self.has_withheld_rights and super().has_perm(perm, obj)

    def has_module_perms(self, app_label: str) -> bool:
        return not self.has_withheld_rights and super().has_module_perms(app_label)

    def get_all_permissions(self, obj: Any = None) -> set[str]:
        return set() if self.has_withheld_rights else super().get_all_permissions(obj)

    def has_rights_outside(self, *, corp_id: int) -> bool:
        """Return whether the person has rights in other companies than this one. One query at most, none for
        employees."""
        if self.is_superuser or self.manages_all_corps:
            return True
        return self.is_staff and self.managed_corps.exclude(pk=corp_id).exists()

    @property
    def has_made_username(self) -> bool:
        """True if the directory made the username, and nobody has changed it since."""
        return bool(self.made_username) and self.made_username == self.username

    def get_full_name(self) -> str:
        return self.name or self.username

    def get_short_name(self) -> str:
        return self.get_full_name()


class WeComAccountQuerySet(models.QuerySet["WeComAccount"]):
    def complete(self) -> Self:
        """Keep accounts with company and userid: only they can sign in and receive messages."""
        return self.filter(corp__isnull=False).exclude(userid_folded="")

    def for_userid(self, userid: str) -> Self:
        """Keep accounts with this userid. Userids of WeCom ignore case."""
        return self.filter(userid_folded=fold_userid(userid))

    def without_corp(self) -> Self:
        return self.filter(corp__isnull=True)

    def signing_in(self) -> Self:
        """Keep complete accounts that may sign in: their company allows sign-in, and WeCom does not bar them."""
        return self.complete().filter(~barred_by_wecom(), corp__in=Corp.objects.signing_in())

    def in_departments(self, department_ids: Collection[int]) -> Self:
        """Keep accounts whose members may have access and are in one of these departments (keys of Department)."""
        members = Member.objects.eligible().filter(departments__in=list(department_ids))
        same_member = members.filter(corp=OuterRef("corp"), userid_folded=OuterRef("userid_folded"))
        return self.complete().filter(Exists(same_member))

    def shut_out(self) -> Self:
        """Keep accounts of people who may not sign in: barred, or unlinked because they left the company."""
        return self.filter(barred_by_wecom() | Q(left_at__isnull=False))

    def visible_to(self, person: Person) -> Self:
        return self.filter(Q(corp__isnull=True) | Q(corp__in=Corp.objects.keys_visible_to(person)))


def barred_by_wecom(corp: str = "corp_id", userid_folded: str = "userid_folded") -> Exists:
    """Return the condition for accounts whose member is deleted, disabled, out of scope, or waits for an administrator.

    Only members in the copied directory of a company whose directory policy is on are barred. `corp`, `userid_folded`:
    columns of the outer query. One look-up in an index.
    """
    is_barred = ~Q(presence=Member.Presence.IN_SCOPE) | Q(status=Member.Status.DISABLED) | Q(waits_since__isnull=False)
    members = Member.objects.filter(corp=OuterRef(corp), userid_folded=OuterRef(userid_folded))
    return Exists(members.filter(is_barred, corp__directory_policy__mode__in=("link", "create")))


class WeComAccount(models.Model):
    """A person's userid in one corp: the two attributes 企业微信公司名称 and 企业微信账号. Either may be empty."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="wecom_accounts", verbose_name=_("person"))
    corp = models.ForeignKey(
        Corp,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="wecom_accounts",
        verbose_name=_("WeCom company name"),
    )
    userid = models.CharField(
        _("WeCom account"),
        max_length=64,
        blank=True,
        help_text=_("The account in WeCom's contacts: neither the WeChat ID nor the display name."),
    )
    userid_folded = models.CharField(max_length=64, blank=True, editable=False)
    is_primary = models.BooleanField(
        _("receives messages"), default=True, help_text=_("If a person has several accounts, messages go to this one.")
    )
    # Company and userid of the last sign-in through this account. The sign-in proves nothing for a changed account.
    proven_corp_id = models.BigIntegerField(null=True, editable=False)
    proven_userid = models.CharField(max_length=64, blank=True, editable=False)
    signed_in_at = models.DateTimeField(_("last sign-in with WeCom"), null=True, editable=False)
    # When the directory unlinked the person because WeCom had deleted the member. Such people receive no messages by
    # other channels either, unlike people who were never linked. A new userid clears it.
    left_at = models.DateTimeField(null=True, editable=False)

    objects = WeComAccountQuerySet.as_manager()

    class Meta:
        verbose_name = _("WeCom account")
        verbose_name_plural = _("WeCom accounts")
        constraints = [
            models.UniqueConstraint(
                fields=["corp", "userid_folded"], condition=~Q(userid_folded=""), name="one_account_per_wecom_identity"
            ),
            models.UniqueConstraint(fields=["user"], condition=Q(is_primary=True), name="one_primary_account_per_user"),
            models.CheckConstraint(
                condition=Q(left_at__isnull=True) | Q(userid_folded=""), name="no_userid_once_the_person_left"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.corp or '—'} / {self.userid or '—'}"

    def save(self, *args: object, **kwargs: object) -> None:
        """Set the folded userid, also with `update_fields`. A userid clears `left_at`: the person is in WeCom again."""
        self.userid = self.userid.strip()
        self.userid_folded = fold_userid(self.userid)
        if self.userid_folded:
            self.left_at = None
        update_fields = kwargs.get("update_fields")
        if update_fields is not None and "userid" in update_fields:  # type: ignore[operator]  # Django's own keyword
            kwargs["update_fields"] = {*update_fields, "userid_folded", "left_at"}  # type: ignore[misc]  # see above
        super().save(*args, **kwargs)  # type: ignore[arg-type]  # passed on as they came


class TotpDevice(models.Model):
    """An authenticator app, which shows a new code every half minute. The row is created with the first right code."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="+")
    # In base32, as apps expect it.
    key = EncryptedTextField(_("key"))
    confirmed_at = models.DateTimeField(_("set up"))
    # True if the app was set up in a session that had more proof than a sign-in with WeCom. Otherwise an administrator
    # of WeCom may have set it up, so its codes add no rights to a sign-in with WeCom
    # (accounts.authentication.sessions).
    is_independent = models.BooleanField(default=False, db_default=False)
    # The half minute of the last accepted code. That code and earlier ones are refused.
    last_counter = models.BigIntegerField(default=0)
    # Wrong codes in a row, and the time of the last one.
    failed_count = models.PositiveIntegerField(default=0)
    failed_at = models.DateTimeField(null=True)
    # Digests of the unused recovery codes. Each code is accepted once.
    recovery_digests = models.JSONField(default=list)

    class Meta:
        verbose_name = _("authenticator app")
        verbose_name_plural = _("authenticator apps")
        # People see their own; the administration does not list them.
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.user)


USER_AGENT_CHARACTERS = 255


class SignedInSession(models.Model):
    """A browser in which a person is signed in. Written at sign-in and at use, at most every few minutes."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    # The key of the stored session: a digest of the cookie's value. With it another browser can end the session.
    session_key = models.CharField(max_length=40, unique=True)
    # The company of the sign-in; empty after sign-in by password.
    corp = models.ForeignKey("integrations.Corp", on_delete=models.SET_NULL, null=True, related_name="+")
    user_agent = models.CharField(max_length=USER_AGENT_CHARACTERS, blank=True)
    began_at = models.DateTimeField()
    last_used_at = models.DateTimeField()

    class Meta:
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        # People see their own; the administration does not show them.
        default_permissions = ()
        indexes = [
            # Serves a person's sessions, the last used first.
            models.Index(F("user"), F("last_used_at").desc(), name="session_of_person"),
            # Serves the nightly purge.
            models.Index(fields=["last_used_at"], name="session_last_used"),
        ]

    def __str__(self) -> str:
        return f"{timezone.localtime(self.began_at):%Y-%m-%d %H:%M}"


# --- Sign-in policy and locks ---


class SignInPolicy(models.Model):
    """The single row of the policy: whether people may sign in with passwords."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=SINGLETON_PK, editable=False)
    password_enabled = models.BooleanField(
        _("sign-in with a password"),
        default=True,
        help_text=_("Off: everybody signs in with WeCom, including administrators."),
    )
    changed_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("sign-in policy")
        verbose_name_plural = _("sign-in policy")
        default_permissions = ("view", "change")
        constraints = [models.CheckConstraint(condition=Q(pk=SINGLETON_PK), name="one_sign_in_policy")]

    def __str__(self) -> str:
        return str(_("sign-in policy")).capitalize()


class Lockout(AccessAttempt):  # type: ignore[misc]  # axes has no types
    """Wrong passwords for one username from one place, counted by django-axes. Deleting a row unlocks."""

    objects: ClassVar[models.Manager[Lockout]]

    class Meta:
        proxy = True
        verbose_name = _("wrong passwords")
        verbose_name_plural = _("wrong passwords")
        default_permissions = ("view", "delete")

    def __str__(self) -> str:
        return f"{self.username} · {self.ip_address or '—'}"
