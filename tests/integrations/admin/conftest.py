"""The viewer of the admin pages."""

import pytest
from django.test import Client
from pytest_django import Settings


@pytest.fixture
def root(admin_client: Client) -> Client:
    return admin_client


@pytest.fixture
def chinese_root(root: Client) -> Client:
    root.defaults["HTTP_ACCEPT_LANGUAGE"] = "zh-CN"
    return root


@pytest.fixture
def _one_host(settings: Settings) -> None:
    """The host of the test's browser alone."""
    settings.EXTRA_ALLOWED_HOSTS = ["testserver"]
