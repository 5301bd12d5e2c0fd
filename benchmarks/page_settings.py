"""The product's settings for benchmarks.pages: static files are known from the start, as in production."""

from __future__ import annotations

from guanwecom.settings import *  # noqa: F403  # the same settings, except for those below
from guanwecom.settings import BASE_DIR

WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = False
STATIC_ROOT = BASE_DIR / "guanwecom" / "static"
