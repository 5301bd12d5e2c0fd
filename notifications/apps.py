from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

EMPLOYEE_TABS = (
    ("home", _("Messages")),
    ("alerts", _("Alerts")),
    ("my-subscriptions", pgettext_lazy("tab of employees", "Pushes")),
)


class NotificationsConfig(AppConfig):
    name = "notifications"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = _("Pushes and alerts")

    def ready(self) -> None:
        from accounts.directory.sync import members_without_access
        from accounts.users import companies
        from accounts.users.attributes import values_dropped
        from accounts.views.errors import tabs
        from integrations.callbacks import consumers
        from integrations.core import hooks
        from integrations.datasources.fetch import card_data_finished
        from notifications.alerts.actions import CLICKS_CONSUMER
        from notifications.alerts.evaluation import decide_checks_of_card
        from notifications.alerts.notices import AlertRunSource
        from notifications.delivery import maintenance  # noqa: F401  # registers its checks
        from notifications.delivery.limiter import past_call_sources
        from notifications.delivery.rendering.report_contents import SubscriptionSource
        from notifications.delivery.runs import ownership
        from notifications.delivery.runs.owner_notices import NoticeSource
        from notifications.delivery.runs.recall import readdress_deliveries, withdraw_recipients
        from notifications.delivery.sending.queue import find_newest_success, find_refused_calls, probe_company_at_once
        from notifications.delivery.sending.send import read_past_calls
        from notifications.inbound.accept import MessageSource
        from notifications.receivers import describe_effects_of_disabling, grant_to_roles, track_changes
        from notifications.sources import run_sources
        from notifications.subscriptions.recipients import find_rules_naming
        from notifications.tasks import enqueue_waiting_runs

        past_call_sources.register(read_past_calls)
        for source in (SubscriptionSource, AlertRunSource, NoticeSource, MessageSource):
            run_sources.register(source.for_run)
        functions = ownership.find_owned, ownership.find_objections, ownership.hand_over
        companies.ownership.register(companies.Ownership(*functions, ownership.let_successors_take_over))
        consumers.register(CLICKS_CONSUMER)
        card_data_finished.register(decide_checks_of_card)
        card_data_finished.register(enqueue_waiting_runs)
        values_dropped.register(find_rules_naming)
        members_without_access.register(withdraw_recipients)
        members_without_access.register(ownership.replace_deleted_owners)
        hooks.member_renamed.register(readdress_deliveries)
        hooks.calls.register(hooks.Calls(find_refused_calls, probe_company_at_once, find_newest_success))
        hooks.corp_disabling.register(describe_effects_of_disabling)
        hooks.landing_pages.register(hooks.LandingPage("", _("Home"), in_menu=True))
        for tab in EMPLOYEE_TABS:
            tabs.register(tab)
        grant_to_roles()
        track_changes()
