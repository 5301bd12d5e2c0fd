"""The history of a row, which names changes in the reader's language."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.backends.base import SessionBase
from django.test import Client, RequestFactory
from django.utils.text import capfirst
from django.utils.translation import gettext, override

from accounts.models import User
from notifications.models import Report
from tests.browser_form import read_page_version

ADMINS = list(admin.site._registry.items())


@pytest.mark.parametrize(("model", "model_admin"), ADMINS, ids=[model._meta.label for model, _admin in ADMINS])
def test_each_field_of_each_form_is_named_in_chinese(
    db: None, rf: RequestFactory, model: Any, model_admin: Any
) -> None:
    request = rf.get("/")
    request.user = User(username="root", is_staff=True, is_superuser=True)
    request.session = SessionBase()
    form = model_admin.get_form(request, None, change=True)()

    form.changed_data = list(form.fields)  # all that Django asks the form for

    message = model_admin.construct_change_message(request, form, [])

    texts = {text for part in message for entry in part.values() for text in entry.get("fields", ())}
    with override("zh-hans"):
        shown = {capfirst(gettext(text)) for text in texts}
        # The page of a push adds the fields of its message.
        assert {capfirst(str(field.label or name)) for name, field in form.fields.items()} <= shown


def test_a_change_is_told_in_the_language_of_who_reads(admin_client: Client) -> None:
    report = Report.objects.create(title="日报", body="…")

    parts = {
        f"{part}-{count}_FORMS": "0"
        for part in ("report_cards", "charts", "own_rows_rules")
        for count in ("TOTAL", "INITIAL")
    }
    path = f"/admin/notifications/report/{report.pk}/change/"
    typed = {"title": "周报", "body": "……", "link": "", "corp": "", "skips_people_without_rows": "on", **parts}
    admin_client.post(path, {**typed, **read_page_version(admin_client, path)})

    entry = LogEntry.objects.get()
    with override("zh-hans"):
        assert entry.get_change_message() == "已修改标题 和 正文。"
    with override("en"):
        assert entry.get_change_message() == "Changed title and body."
