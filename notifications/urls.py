"""URLs of notifications."""

from django.urls import path

from notifications.api import incoming
from notifications.api.app import api
from notifications.views import inbox, media

urlpatterns = [
    path("", inbox.show_home, name="home"),
    path("subscriptions/", inbox.list_own_subscriptions, name="my-subscriptions"),
    path("subscriptions/<int:pk>/choice/", inbox.store_choice, name="choose-subscription"),
    path("alerts/", inbox.list_alerts, name="alerts"),
    path("alerts/<int:pk>/", inbox.show_alert, name="alert"),
    path("alerts/<int:pk>/<int:picture>.<str:extension>", inbox.show_alert_picture, name="alert-picture"),
    path("alerts/<int:pk>/act/", inbox.act_on_alert, name="act-on-alert"),
    path("api/v1/", api.urls),
    path("in/<str:public_id>", incoming.receive_call, name="inbound"),
    path("m/<str:mark>/", inbox.show_message, name="message"),
    path("m/<str:mark>/mail/", inbox.show_mail, name="whole-mail"),
    path("m/<str:mark>/<int:position>.<str:extension>", media.serve_attachment, name="attachment"),
    path("p/<str:signed>.png", media.serve_picture, name="picture"),
]
