"""URLs: the admin, and each app's own."""

from django.contrib import admin
from django.urls import include, path

from guanwecom.operations.views import engine
from integrations.views import ENGINE_PATH

handler403 = "accounts.views.errors.forbidden"

urlpatterns = [
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path(ENGINE_PATH.lstrip("/"), engine, name="engine"),
    path("", include("integrations.urls")),
    path("", include("accounts.urls")),
    path("", include("notifications.urls")),
]
