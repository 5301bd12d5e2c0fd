"""Attribute rules in the subscription's form: parsing of the rows, and the errors for each row."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.test import Client
from django.urls import reverse
from django.utils import translation

from accounts.models import Attribute
from accounts.users.attributes import set_values
from integrations.models import Corp
from notifications.admin.subscription_forms import RulesField, RulesWidget
from notifications.models import AttributeRule, Operator, Report, Subscription
from notifications.sources import Rule
from notifications.subscriptions.recipients import read_rules, save_rules
from tests.integrations.pages import version_on
from tests.notifications.admin.conftest import client_of
from tests.notifications.admin.test_admin import values
from tests.notifications.factories import make_manager, make_person, make_report, make_subscription

pytestmark = pytest.mark.django_db
PREVIEW = reverse("admin:notifications_subscription_preview")


@pytest.fixture
def title() -> Attribute:
    return Attribute.objects.create(key="title", name="职位")


@pytest.fixture
def level() -> Attribute:
    return Attribute.objects.create(key="level", name="级别", kind="choice", choices=["P1", "P2"])


def rows(*lines: tuple[Any, str, str]) -> dict[str, str]:
    sent: dict[str, str] = {}
    for number, (attribute, operator, text) in enumerate(lines):
        sent |= {
            f"rules-{number}-attribute": str(getattr(attribute, "pk", attribute)),
            f"rules-{number}-operator": operator,
            f"rules-{number}-values": text,
        }
    return sent


def cleaned(*lines: tuple[Any, str, str]) -> list[Rule]:
    return RulesField(required=False).clean(RulesWidget().value_from_datadict(rows(*lines), {}, "rules"))


def complaint(*lines: tuple[Any, str, str]) -> list[str]:
    with translation.override("en"), pytest.raises(ValidationError) as raised:
        cleaned(*lines)
    return list(raised.value.messages)


def test_rows_become_rules(title: Attribute, level: Attribute) -> None:
    manager = (title, "contains", " 经理 ")
    assert cleaned(manager, (level, "one_of", "p1; P2;p1"), ("", "is", " "), manager) == [
        Rule(title, Operator.CONTAINS, ("经理",)),
        Rule(level, Operator.ONE_OF, ("P1", "P2")),
    ]


def test_what_is_wrong_is_said_of_each_row(title: Attribute, level: Attribute) -> None:
    number = Attribute.objects.create(key="age", name="年龄", kind="number")

    found = complaint(
        ("", "is", "经理"),
        (999_999, "is", "x"),
        ("9" * 30, "is", "x"),
        (title, "like", "x"),
        (title, "is", ""),
        (level, "is", "P9"),
        (level, "contains", "P"),
        (number, "is", "many"),
        (title, "contains", "a\u0000b"),
        (title, "is", "x" * 256),
        (title, "one_of", ";".join(map(str, range(501)))),
    )

    assert found == [
        "Rule 1: choose the attribute.",
        "Rule 2: choose the attribute.",
        "Rule 3: choose the attribute.",
        "Rule 4: choose the comparison.",
        "Rule 5: enter a value.",
        "Rule 6: “P9” is not among the choices.",
        "Rule 7: “contains” is for texts and for attributes with several values.",
        "Rule 8: “many” is not a number.",
        "Rule 9: “a\u0000b” cannot be part of a value.",
        "Rule 10: At most 255 characters.",
        "Rule 11: at most 500 values.",
    ]
    # Rows beyond the last are not read, and a form without the table leaves it out.
    sent = rows(*[(title, "is", f"v{number}") for number in range(25)])
    assert len(RulesWidget().value_from_datadict(sent, {}, "rules")) == 20
    assert RulesWidget().value_omitted_from_data(QueryDict("name=x"), {}, "rules")
    assert not RulesWidget().value_omitted_from_data(QueryDict("rules-3-attribute="), {}, "rules")


class TestPage:
    @pytest.fixture
    def subscription(self, corp: Corp) -> Subscription:
        return make_subscription(make_person(corp, "zhang"), report=make_report(corp=corp))

    def test_saves_shows_and_takes_away(self, root: Client, subscription: Subscription, title: Attribute) -> None:
        page = reverse("admin:notifications_subscription_change", args=[subscription.pk])
        form = values(subscription.report, *subscription.users.all(), rules_match="any")
        rule = rows((title, "one_of", "<经理>; 总监"))

        saved = root.post(page, {**form, **rule, "page_version": version_on(root, page)})
        shown = root.get(page).content.decode()
        again = root.post(page, {**form, **rule, "name": "新名", "page_version": version_on(root, page)})
        stored = read_rules(subscription)
        root.post(page, {**form, **rows(("", "is", "")), "name": "新名", "page_version": version_on(root, page)})

        assert (saved.status_code, again.status_code) == (302, 302)
        assert 'value="&lt;经理&gt;; 总监"' in shown
        assert f'<option value="{title.pk}" selected>职位</option>' in shown
        subscription.refresh_from_db()
        assert (subscription.rules_match, subscription.name) == ("any", "新名")
        assert stored == (Rule(title, Operator.ONE_OF, ("<经理>", "总监")),)
        assert not AttributeRule.objects.exists()

    def test_the_preview_counts_before_anything_is_saved(
        self, root: Client, subscription: Subscription, title: Attribute
    ) -> None:
        matched = make_person(subscription.report.corp, "li")
        set_values(attribute=title, values={matched.pk: ["经理"]})
        form = {**values(subscription.report), **rows((title, "is", "经理")), "_id": subscription.pk}

        Report.objects.update(title="<b>日报</b>")
        answer = root.post(PREVIEW, form, headers={"accept-language": "en"}).json()

        assert "1 person" in answer["outlook"]
        assert ("&lt;b&gt;日报" in answer["message"], "<b>日报" in answer["message"]) == (True, False)
        assert not AttributeRule.objects.exists()

    def test_whoever_may_only_look_reads_them(self, corp: Corp, subscription: Subscription, title: Attribute) -> None:
        save_rules(subscription, [Rule(title, Operator.IS, ("<经理>",))])
        reader = client_of(make_manager(corp, permissions="view_"))

        page = reader.get(reverse("admin:notifications_subscription_change", args=[subscription.pk]))

        assert page.status_code == 200
        assert "&lt;经理&gt;" in page.content.decode()
        assert "rules-0-attribute" not in page.content.decode()
