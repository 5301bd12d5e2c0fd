"""URLs of notifications."""

from django.urls import path

from notifications import views

urlpatterns = [
    path("", views.home, name="home"),
    path("m/<str:mark>/", views.message, name="message"),
]
