"""URLs: the admin with its index, and each app's own."""

from functools import partial

from django.contrib import admin
from django.urls import include, path

from accounts.admin.security import list_unsent_attentions
from accounts.directory.hooks import list_directory_attentions, list_directory_lines
from accounts.users import bi_identity
from guanwecom.admin import index_overview
from guanwecom.operations.monitoring import list_monitoring_attentions
from guanwecom.operations.pages import serve_metrics, show_engine_state
from integrations.admin.diagnosis import list_connection_attentions, list_connection_lines, list_source_attentions
from integrations.views import ENGINE_PATH
from notifications.admin.dashboard import list_push_lines, warn_of_pushes
from notifications.admin.today import list_today
from notifications.views.overview import collect_overview

# Here and not in AppConfig.ready() (guanwecom.apps), so that only processes that serve pages or make links load them.
admin.autodiscover()
# Functions that return the lines and the warnings of each app for the overview.
LINES = (list_connection_lines, list_directory_lines, list_push_lines)
ATTENTIONS = (
    list_monitoring_attentions,
    warn_of_pushes,
    list_directory_attentions,
    bi_identity.list_identity_attentions,
    list_unsent_attentions,
    list_connection_attentions,
    list_source_attentions,
)
index_overview.register(partial(collect_overview, lines_of=LINES, attentions_of=ATTENTIONS, list_today=list_today))

handler403 = "accounts.views.errors.render_forbidden_page"
handler500 = "guanwecom.operations.pages.show_failure"

urlpatterns = [
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path(ENGINE_PATH.lstrip("/"), show_engine_state, name="engine"),
    path("metrics", serve_metrics, name="metrics"),
    path("", include("integrations.urls")),
    path("", include("accounts.urls")),
    path("", include("notifications.urls")),
]
