"""Registers the models of the audit trail, with the companies of their rows, and connects hooks and signals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import apps as installed_apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.contrib.auth.signals import user_logged_in
from django.db.models.signals import post_migrate, post_save
from django.utils.translation import gettext_lazy as _

from accounts.audit import services, signals
from accounts.authentication.passwords import warn_before_shutting_out
from accounts.authentication.sessions import reset_session_at_sign_in
from accounts.directory.sync import apply_events, follow_rename
from accounts.models import Attribute, DepartmentGroup, DirectoryPolicy, SignInPolicy, User, WeComAccount
from accounts.users.attributes import ensure_bi_login_id
from accounts.users.bi_identity import list_external_ids
from accounts.users.companies import describe_disabling
from accounts.users.roles import describe_contacts, ensure_roles, make_corp_condition
from accounts.views import errors
from integrations.bi import is_open
from integrations.companies.links import name_verification_file
from integrations.core import hooks
from integrations.core.hooks import LandingPage, People
from integrations.directory.events import members_changed
from integrations.models import BiConnection, Card, Corp, DataSource, SiteAddress
from integrations.models.fields import corp_conditions

if TYPE_CHECKING:
    from django.apps import AppConfig


def track_models() -> None:
    signals.track_model(Corp, corps=lambda corp: [corp.pk], left_out=_CORP_STATE)
    signals.describe_field(
        Corp, "verification_files", lambda files: ", ".join(name_verification_file(file["code"]) for file in files)
    )
    signals.track_model(
        SiteAddress,
        corps=lambda address: list(Corp.objects.at_address(address).values_list("pk", flat=True)) if address.pk else [],
        left_out=("changed_at",),
    )
    signals.track_model(
        User,
        # The companies of the person's accounts, and those that they manage; none for people who manage all.
        corps=lambda person: (
            []
            if person.pk is None or person.is_superuser or person.manages_all_corps
            else services.find_corps_of(pk=person.pk)
        ),
        new_corps=lambda person: [],  # a new person has no account and manages no company yet
        left_out=("last_login", "date_joined", "session_epoch"),
        secrets=("password",),
        m2m=("managed_corps", "groups", "user_permissions"),
    )
    signals.track_model(
        WeComAccount,
        # Without None: a move from or to no company concerns only the other company. The person's rights are read from
        # the database, since this object's may be withheld (User.withhold_rights).
        corps=lambda account: (
            {
                account.corp_id,
                *services.find_corps_of(pk=account.user_id, is_superuser=False, manages_all_corps=False),
            }
            - {None}
        ),
        left_out=("userid_folded", "left_at", *_PROOF),
        name=services.name_account,
    )
    signals.track_model(DirectoryPolicy, corps=lambda policy: [policy.corp_id], left_out=("changed_at",))
    signals.track_model(Attribute, corps=lambda attribute: [])
    signals.track_model(BiConnection, corps=lambda bi: [], left_out=_BI_TEST)
    signals.track_model(DataSource, corps=lambda source: [source.corp_id], left_out=("created_at", "changed_at"))
    signals.track_model(Card, corps=lambda card: [card.source.corp_id], left_out=("created_at", "changed_at"))
    signals.track_model(DepartmentGroup, corps=lambda rule: [rule.department.corp_id])
    signals.track_model(SignInPolicy, corps=lambda policy: [], left_out=("changed_at",))
    signals.track_model(Group, corps=lambda group: [], m2m=("permissions",))
    post_save.connect(signals.record_admin_log_entry, sender=LogEntry, dispatch_uid="accounts.tracked.done")


_CORP_STATE = (
    *("connection_version", "created_at", "first_enabled_at"),
    *("staged_state", "staged_by", "staged_at", "staged_finding", "in_force_since"),
)
_BI_TEST = ("checked_at", "checked_version", "check_results", "connection_version", "key_saved_at", "changed_at")
_PROOF = ("proven_corp_id", "proven_userid", "signed_in_at")


# --- Registrations with integrations and with Django once all apps are loaded ---


def register(app: AppConfig) -> None:
    """Register everything. AppConfig.ready calls it once."""
    members_changed.register(apply_events)
    hooks.member_renamed.register(follow_rename)
    hooks.landing_pages.register(LandingPage("bi/", _("First page of the BI"), is_offered=is_open))
    hooks.corp_disabling.register(describe_disabling)
    hooks.corp_disabling.register(warn_before_shutting_out)
    errors.tabs.register(("account", _("Account")))  # a tab of employees' pages
    # Run after the last app: Django creates each app's permissions at the post_migrate of that app.
    last = [config for config in installed_apps.get_app_configs() if config.models_module is not None][-1]
    post_migrate.connect(ensure_roles, sender=last, dispatch_uid="accounts.users.roles")
    post_migrate.connect(ensure_bi_login_id, sender=app, dispatch_uid="accounts.bi_login_id")
    corp_conditions.register(make_corp_condition)
    hooks.people.register(
        People(
            list_external_ids=list_external_ids,
            describe_contacts=describe_contacts,
            is_corpid_in_use=lambda corp: WeComAccount.objects.complete().filter(corp=corp).exists(),
            warn_before_shutting_out=warn_before_shutting_out,
            find_last_save=services.find_last_save,
        )
    )
    track_models()
    user_logged_in.disconnect(dispatch_uid="update_last_login")  # accounts.authentication.sessions writes last_login
    user_logged_in.connect(reset_session_at_sign_in, dispatch_uid="accounts.sign_ins")
