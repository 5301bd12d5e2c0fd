"""The product's addresses, and Django's own login view for benchmarks.sign_in."""

from __future__ import annotations

from django.contrib.auth.views import LoginView
from django.urls import include, path

urlpatterns = [path("bare/", LoginView.as_view()), path("", include("guanwecom.urls"))]
