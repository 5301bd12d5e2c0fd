"""The product's settings for benchmarks.sign_in: contenders differ only in how they sign in."""

from __future__ import annotations

import os

from guanwecom.settings import *  # noqa: F403  # the same settings, except for those below
from guanwecom.settings import BASE_DIR, DATABASES, TEMPLATES

ROOT_URLCONF = "benchmarks.sign_in_urls"
# The cheapest hasher: the time of a hash is no part of the comparison.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SIGN_INS_PER_COMPANY = 1_000_000
CONTENDER = os.environ["SIGN_IN_CONTENDER"]

# As in production: static files are known from the start, not searched for in the source.
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = False
STATIC_ROOT = BASE_DIR / "guanwecom" / "static"

if CONTENDER == "bare":
    AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
    AXES_ENABLED = False
    TEMPLATES = [{**TEMPLATES[0], "DIRS": [BASE_DIR / "benchmarks" / "templates"]}]
    DATABASES = {"default": {**DATABASES["default"], "CONN_HEALTH_CHECKS": False}}
    SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"  # the product's sessions are built on it
    # As `django-admin startproject` writes it.
    MIDDLEWARE = [
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ]
