"""The product's settings for the contenders of benchmarks.sign_in: each has its own way in, and all else in common."""

from __future__ import annotations

import os

from guanwecom.settings import *  # noqa: F403  # the same settings, but for what follows
from guanwecom.settings import BASE_DIR, DATABASES, TEMPLATES

ROOT_URLCONF = "benchmarks.sign_in_urls"
# The cheapest that there is: it is the rest of a sign-in that is compared.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SIGN_INS_PER_COMPANY = 1_000_000
CONTENDER = os.environ["SIGN_IN_CONTENDER"]

# As in production: static files are known from the start, not looked for among those of the source.
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = False
STATIC_ROOT = BASE_DIR / "guanwecom" / "static"

if CONTENDER == "bare":
    AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
    AXES_ENABLED = False
    TEMPLATES = [{**TEMPLATES[0], "DIRS": [BASE_DIR / "benchmarks" / "templates"]}]
    DATABASES = {"default": {**DATABASES["default"], "CONN_HEALTH_CHECKS": False}}
    SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"  # on which the product's is built
    # What `django-admin startproject` writes.
    MIDDLEWARE = [
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ]
