"""URLs of notifications."""

from django.urls import path

from notifications import views

urlpatterns = [
    path("", views.home, name="home"),
    path("subscriptions/", views.my_subscriptions, name="my-subscriptions"),
    path("subscriptions/<int:pk>/choice/", views.choose, name="choose-subscription"),
    path("m/<str:mark>/", views.message, name="message"),
]
