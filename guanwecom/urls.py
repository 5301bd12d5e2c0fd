"""URLs: the admin, and each app's own."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include("integrations.urls")),
    path("", include("accounts.urls")),
    path("", include("notifications.urls")),
]
