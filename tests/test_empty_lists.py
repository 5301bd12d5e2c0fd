"""Empty lists that say what they are for and what comes first, unless a search or a filter has emptied them."""

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from accounts.models import DepartmentGroup, DirectoryPolicy, LinkConflict, Lockout, PeopleImport, User
from integrations.models import Card, Corp, DataSource, Job, Member, SyncRun
from notifications.models import Delivery, Receipt, Report, Robot, Run, Subscription

pytestmark = pytest.mark.django_db
LISTS = (
    *(Corp, SyncRun, Member, LinkConflict, DirectoryPolicy, DepartmentGroup, Lockout, PeopleImport),
    *(Job, DataSource, Card, Report, Subscription, Run, Delivery, Receipt, Robot),
)


@pytest.fixture
def client() -> Client:
    browser = Client(headers={"accept-language": "zh-hans"})
    browser.force_login(User.objects.create_superuser("root"), backend="django.contrib.auth.backends.ModelBackend")
    return browser


def path_of(model: type) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")  # type: ignore[attr-defined]  # of every model


@pytest.mark.parametrize("model", LISTS, ids=lambda model: model.__name__)
def test_every_list_that_can_be_empty_says_what_it_is_for(client: Client, model: type) -> None:
    page = client.get(path_of(model)).text

    assert page.count(f'<p class="empty-list">{admin.site._registry[model].empty_list}</p>') == 1  # type: ignore[attr-defined]  # ours


def test_a_search_that_finds_nothing_says_so_and_a_list_with_rows_does_not(client: Client) -> None:
    searched = client.get(path_of(Corp), {"q": "nobody"}).text
    assert '<p class="empty-list no-match">没有符合搜索和筛选条件的内容。</p>' in searched
    assert "empty-list-do" not in searched
    Corp.objects.create(name="北山制造", corpid="ww0123456789abcdef", agentid=1000002, secret="the-secret")
    assert "empty-list" not in client.get(path_of(Corp)).text
