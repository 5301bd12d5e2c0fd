"""URLs: the admin, and each app's own."""

from django.contrib import admin
from django.urls import include, path

from guanwecom.admin import index_overview
from guanwecom.operations.pages import engine, metrics
from guanwecom.overview import whole_overview
from integrations.views import ENGINE_PATH

# Only processes that serve pages or make links load this module; AppConfig.ready() loads no pages (guanwecom.apps).
admin.autodiscover()
index_overview.register(whole_overview)

handler403 = "accounts.views.errors.forbidden"
handler500 = "guanwecom.operations.pages.failed"

urlpatterns = [
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path(ENGINE_PATH.lstrip("/"), engine, name="engine"),
    path("metrics", metrics, name="metrics"),
    path("", include("integrations.urls")),
    path("", include("accounts.urls")),
    path("", include("notifications.urls")),
]
