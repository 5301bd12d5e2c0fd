"""URLs of integrations."""

from django.urls import path

from integrations import views

urlpatterns = [path(views.HEALTH_PATH.lstrip("/"), views.health, name="health")]
