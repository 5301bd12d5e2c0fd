"""A browser that is already signed in, for tests of something else."""

from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client
from playwright.sync_api import BrowserContext
from pytest_django.live_server_helper import LiveServer


def signed_in(context: BrowserContext, live_server: LiveServer, username: str = "root") -> str:
    """Sign in a superuser, creating them if needed. Return the site's address on localhost, without a slash."""
    users = get_user_model().objects
    user = users.filter(username=username).first() or users.create_superuser(username)
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    base = live_server.url.replace("127.0.0.1", "localhost")
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": base}])
    return base
