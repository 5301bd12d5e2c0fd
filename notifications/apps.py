from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class NotificationsConfig(AppConfig):
    name = "notifications"
    verbose_name = _("Subscriptions and pushes")

    def ready(self) -> None:
        # Why here? Importing the first registers its checks; models can be imported only after all apps are loaded.
        from accounts.directory.leavers import register_leaver_follower
        from accounts.directory.transfer_batches import register_move_effect
        from accounts.users.attribute_definitions import register_value_uses
        from accounts.views import navigation
        from integrations.callbacks.registry import register_consumer
        from integrations.core.hooks import (
            register_attention,
            register_connection_listener,
            register_disable_effect,
            register_index_card,
            register_landing_page,
            register_rename_follower,
        )
        from integrations.datasources.fetch import register_follower
        from notifications.admin.dashboard import push_attentions, push_lines
        from notifications.alerts.callbacks import CLICKS_CONSUMER
        from notifications.alerts.evaluation import follow
        from notifications.alerts.messages import AlertSource
        from notifications.delivery.limiter import register_history
        from notifications.delivery.maintenance import checks  # noqa: F401  # see above
        from notifications.delivery.rendering.subscription_source import TRIGGERS, source_of_subscription
        from notifications.delivery.runs.owner_notices import NoticeSource
        from notifications.delivery.runs.recall import readdress, withdraw
        from notifications.delivery.sending.circuit_breaker import probe_at_once
        from notifications.delivery.sending.limit_history import calls_until_now
        from notifications.models import Run
        from notifications.receivers import disabling_holds_back, grant_to_roles, moving_leaves_behind, track_orders
        from notifications.sources import register_source
        from notifications.subscriptions.attribute_rules import rules_naming
        from notifications.tasks import enqueue_waiting_runs

        register_history(calls_until_now)
        register_source(TRIGGERS, source_of_subscription)
        register_source([Run.Trigger.ALERT], AlertSource)
        register_source([Run.Trigger.NOTICE], NoticeSource)
        register_consumer(CLICKS_CONSUMER)
        register_follower(follow)
        register_value_uses(rules_naming)
        register_follower(enqueue_waiting_runs)
        register_leaver_follower(withdraw)
        register_rename_follower(readdress)
        register_disable_effect(disabling_holds_back)
        register_connection_listener(probe_at_once)
        register_index_card(push_lines)
        register_attention(push_attentions)
        register_move_effect(moving_leaves_behind)
        # Why one? Sign-in leads to the messages anyway: a second entry for them would open the same page.
        register_landing_page(path="", label=_("Home"), in_menu=True)
        navigation.register_tab(url_name="home", label=_("Messages"), place=10)
        navigation.register_tab(url_name="alerts", label=_("Alerts"), place=15)
        navigation.register_tab(url_name="my-subscriptions", label=_("Subscriptions"), place=20)
        grant_to_roles()
        track_orders()
