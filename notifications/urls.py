"""URLs of notifications."""

from django.urls import path

from notifications import alert_views, media_views, views
from notifications.api.site import api
from notifications.metrics_view import metrics

urlpatterns = [
    path("", views.home, name="home"),
    path("subscriptions/", views.my_subscriptions, name="my-subscriptions"),
    path("subscriptions/<int:pk>/choice/", views.choose, name="choose-subscription"),
    path("alerts/", alert_views.alerts, name="alerts"),
    path("alerts/<int:pk>/", alert_views.alert, name="alert"),
    path("alerts/<int:pk>/<int:picture>.<str:extension>", alert_views.picture, name="alert-picture"),
    path("alerts/<int:pk>/act/", alert_views.act, name="act-on-alert"),
    path("api/v1/", api.urls),
    path("metrics", metrics, name="metrics"),
    path("m/<str:mark>/", views.message, name="message"),
    path("m/<str:mark>/<int:position>.<str:extension>", media_views.attachment, name="attachment"),
    path("p/<str:signed>.png", media_views.picture, name="picture"),
]
