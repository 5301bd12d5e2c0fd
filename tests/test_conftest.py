"""Guarantees for each test: no network, a real and empty Valkey, a database of its own, quick forms like Django's."""

import socket

import pytest
import redis
import requests
from django import forms
from django.contrib.auth.models import Group
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.template import Template
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from accounts.users.roles import Role

Failed = pytest.fail.Exception


def test_a_request_to_another_machine_fails_the_test() -> None:
    with pytest.raises(Failed, match=r"reach 'qyapi\.weixin\.qq\.com'"):
        requests.get("https://qyapi.weixin.qq.com/", timeout=1)


@pytest.mark.parametrize("method", ["connect", "connect_ex"])
def test_a_bare_socket_to_another_machine_fails_the_test(method: str) -> None:
    with socket.socket() as bare, pytest.raises(Failed, match=r"reach '192\.0\.2\.1'"):
        getattr(bare, method)(("192.0.2.1", 80))


@pytest.mark.parametrize("number", [1, 2])
def test_each_test_finds_valkey_empty(valkey_client: redis.Redis, number: int) -> None:
    assert valkey_client.dbsize() == 0

    valkey_client.set("left behind", number)


@pytest.mark.django_db
def test_the_copied_database_is_migrated_to_the_end() -> None:
    executor = MigrationExecutor(connection)

    assert executor.migration_plan(executor.loader.graph.leaf_nodes()) == []
    assert Group.objects.filter(name__in=list(Role)).count() == len(Role)


def test_a_select_is_rendered_as_by_django(monkeypatch: pytest.MonkeyPatch) -> None:
    choices = [("", "---"), ("a&'b", mark_safe("<i>")), ("<g>", [(7, gettext_lazy("No")), (True, 10_000), (None, "")])]
    attributes = {"id": "x", "class": 'y"', "required": True, "disabled": False, "data-n": 10_000}
    widget = forms.SelectMultiple(attrs=attributes, choices=choices)
    quick = widget.render("a'b", ["7", "a&'b"])
    monkeypatch.setattr(Template, "_render", lambda template, context: template.nodelist.render(context))

    assert quick == widget.render("a'b", ["7", "a&'b"])
