"""What accounts registers with integrations, with Django and with its own pages once all apps are loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import apps as installed_apps
from django.contrib.auth.signals import user_logged_in
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _

from accounts import (
    audit,
    bi,
    checks,  # noqa: F401  # importing it registers its checks
    link_requests,
    navigation,
)
from accounts.attributes import notice_of_first_enabling
from accounts.authentication.sign_ins import note_sign_in
from accounts.bi import external_ids
from accounts.companies import disabling_stops, rests_on_corpid
from accounts.directory.actions import directory_action
from accounts.directory.events import PEOPLE_CONSUMER
from accounts.directory.index_card import directory_attentions, directory_lines
from accounts.directory.renaming import follow_rename, may_follow
from accounts.move_pages import move_action
from accounts.policy import disabling_shuts_out
from accounts.ready_made import ensure_bi_login_id
from accounts.roles import ensure_roles
from accounts.tracked import track_people_and_companies
from accounts.views.bi import home_entries
from accounts.views.confirmation import gate
from accounts.visibility import corps_of
from integrations import panels, seen_forms
from integrations.bi.entry import is_open
from integrations.bi.external_ids import register as register_external_ids
from integrations.confirmed_changes import register_gate
from integrations.directory.followers import register_rename_follower, register_rename_guard
from integrations.events.registry import register_consumer
from integrations.visibility import register_corp_filter

if TYPE_CHECKING:
    from django.apps import AppConfig


def register(app: AppConfig) -> None:
    """Called once, by AppConfig.ready."""
    _follow_wecom()
    _show_on_pages()
    _after_migrating(app)
    register_corp_filter(corps_of)
    register_gate(gate)
    register_external_ids(external_ids)
    seen_forms.register_last_saved(audit.last_saved)
    track_people_and_companies()
    user_logged_in.connect(note_sign_in, dispatch_uid="accounts.sign_ins")


def _follow_wecom() -> None:
    register_consumer(PEOPLE_CONSUMER)
    register_rename_guard(may_follow)
    register_rename_follower(follow_rename)


def _show_on_pages() -> None:
    panels.register_landing_page(path="bi/", label=_("First page of the BI"), is_offered=is_open)
    panels.register_disable_effect(disabling_stops)
    panels.register_disable_effect(disabling_shuts_out)
    panels.register_sign_in_guard(disabling_shuts_out)
    panels.register_corpid_user(rests_on_corpid)
    panels.register_corp_action(directory_action)
    panels.register_corp_action(move_action)
    panels.register_index_card(directory_lines, place=5)
    panels.register_attention(directory_attentions)
    panels.register_first_enabling_notice(notice_of_first_enabling)
    panels.register_attention(link_requests.attentions)
    panels.register_attention(bi.attentions)
    navigation.register_home_entry(home_entries)
    navigation.register_tab(url_name="account", label=_("Account"), place=90)


def _after_migrating(app: AppConfig) -> None:
    # Why after the last app? Each one's permissions exist after its own signal only.
    last = [one for one in installed_apps.get_app_configs() if one.models_module is not None][-1]
    post_migrate.connect(ensure_roles, sender=last, dispatch_uid="accounts.roles")
    post_migrate.connect(ensure_bi_login_id, sender=app, dispatch_uid="accounts.bi_login_id")
