"""The product's addresses, and beside them those of the other contenders of benchmarks.sign_in."""

from __future__ import annotations

import os

from django.contrib.auth.views import LoginView
from django.urls import URLPattern, URLResolver, include, path

CONTENDER = os.environ["SIGN_IN_CONTENDER"]
urlpatterns: list[URLPattern | URLResolver] = [path("", include("guanwecom.urls"))]
if CONTENDER in {"bare", "shell"}:
    urlpatterns.insert(0, path("bare/", LoginView.as_view()))
if CONTENDER == "allauth":
    urlpatterns.insert(0, path("allauth/", include("allauth.urls")))
