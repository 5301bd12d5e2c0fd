"""URLs of notifications."""

from django.urls import path

from notifications.api import incoming
from notifications.api.app import api
from notifications.views import inbox, media

urlpatterns = [
    path("", inbox.home, name="home"),
    path("subscriptions/", inbox.my_subscriptions, name="my-subscriptions"),
    path("subscriptions/<int:pk>/choice/", inbox.choose, name="choose-subscription"),
    path("alerts/", inbox.alerts, name="alerts"),
    path("alerts/<int:pk>/", inbox.alert, name="alert"),
    path("alerts/<int:pk>/<int:picture>.<str:extension>", inbox.picture, name="alert-picture"),
    path("alerts/<int:pk>/act/", inbox.act, name="act-on-alert"),
    path("api/v1/", api.urls),
    path("in/<str:public_id>", incoming.receive_call, name="inbound"),
    path("m/<str:mark>/", inbox.message, name="message"),
    path("m/<str:mark>/mail/", inbox.whole_mail, name="whole-mail"),
    path("m/<str:mark>/<int:position>.<str:extension>", media.attachment, name="attachment"),
    path("p/<str:signed>.png", media.picture, name="picture"),
]
