"""Recipients by attributes: who matches, the number of queries, and that rules are stored as entered."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from accounts.models import Attribute, AuditEntry, User
from accounts.users.attributes import check_definition, set_values
from notifications.models import AttributeRule, Operator, RulesMatch
from notifications.sources import Audience, Rule
from notifications.subscriptions.addressees import find_own_subscriptions
from notifications.subscriptions.recipients import read_rules, resolve_audience, save_rules
from tests.audit import clear_trail
from tests.notifications.admin.conftest import client_of
from tests.notifications.factories import make_corp, make_person, make_report, make_subscription, make_superuser

pytestmark = pytest.mark.django_db
IS, CONTAINS, ONE_OF = Operator.IS, Operator.CONTAINS, Operator.ONE_OF


@pytest.fixture
def title(db: None) -> Attribute:
    return Attribute.objects.create(key="title", name="职位")


@pytest.fixture
def regions(db: None) -> Attribute:
    return Attribute.objects.create(key="regions", name="区域", is_many_valued=True)


def make_people(corp: Any, attribute: Attribute, *values: list[str]) -> list[User]:
    people = [make_person(corp, f"{attribute.key}{number}") for number in range(len(values))]
    set_values(attribute=attribute, values={person.pk: texts for person, texts in zip(people, values, strict=True)})
    return people


def choose_people(*rules: Rule, match: str = RulesMatch.ALL, **more: Any) -> list[int]:
    return [one.user_id for one in resolve_audience(Audience(rules=rules, rules_match=match, **more))]


@pytest.mark.parametrize(
    ("is_many", "operator", "values", "expected"),
    [
        (False, IS, ("销售经理",), [0]),
        (False, IS, ("经理",), []),
        (False, IS, ("ceo",), [2]),
        (False, CONTAINS, ("经理",), [0, 1]),
        (False, CONTAINS, ("CE",), [2]),
        (False, CONTAINS, ("%",), [3]),
        (False, CONTAINS, ("_",), []),
        (False, ONE_OF, ("销售经理", "ceo"), [0, 2]),
        (False, ONE_OF, ("总监",), []),
        (True, IS, ("华北",), [0]),
        (True, CONTAINS, ("华北",), [0, 1]),
        (True, CONTAINS, ("华",), []),
        (True, ONE_OF, ("华北", "华南"), [0, 1, 2]),
    ],
)
def test_a_rule_finds_people_by_one_or_several_values(
    is_many: bool, operator: Operator, values: Any, expected: list[int], title: Attribute, regions: Attribute
) -> None:
    held = [["销售经理"], ["大区经理"], ["CEO"], ["100%"], []]
    if is_many:
        held = [["华北"], ["华东", "华北"], ["华南"], ["西南"], []]
    attribute = regions if is_many else title
    people = make_people(make_corp(), attribute, *held)

    assert choose_people(Rule(attribute, operator, values)) == [people[number].pk for number in expected]


def test_several_rules_are_joined_by_all_or_any_in_one_query(
    title: Attribute, regions: Attribute, django_assert_num_queries: Any
) -> None:
    both, only_title, only_region, _neither = make_people(make_corp(), title, ["经理"], ["经理"], ["助理"], ["助理"])
    set_values(attribute=regions, values={both.pk: ["华北"], only_region.pk: ["华北"]})
    rules = (Rule(title, IS, ("经理",)), Rule(regions, CONTAINS, ("华北",)))

    assert choose_people(*rules) == [both.pk]
    with django_assert_num_queries(1):
        assert choose_people(*rules * 5, match=RulesMatch.ANY) == [both.pk, only_title.pk, only_region.pk]
    assert choose_people() == choose_people(match=RulesMatch.ANY) == []


class TestSaving:
    def test_keeps_what_is_the_same_and_notes_the_rest(self, title: Attribute, regions: Attribute) -> None:
        subscription = make_subscription(report=make_report(corp=make_corp()))
        first, second = Rule(title, IS, ("经理",)), Rule(regions, ONE_OF, ("华北", "华南"))
        assert save_rules(subscription, [first, second])
        kept = AttributeRule.objects.get(operator="is").pk
        clear_trail()
        assert not save_rules(subscription, [first, second])
        assert not AuditEntry.objects.exists()

        changed = save_rules(subscription, [first, Rule(regions, CONTAINS, ("华北",))])

        assert changed
        assert AttributeRule.objects.get(operator="is").pk == kept
        assert read_rules(subscription) == (first, Rule(regions, CONTAINS, ("华北",)))
        entries = AuditEntry.objects.filter(model="notifications.attributerule").order_by("pk")
        assert [(entry.action, entry.corp_id) for entry in entries] == [
            ("deleted", subscription.report.corp_id),
            ("created", subscription.report.corp_id),
        ]


class TestDefinitions:
    """The use of an attribute is shown on its page, and an attribute in use is protected."""

    @pytest.fixture
    def level(self, db: None) -> Attribute:
        return Attribute.objects.create(key="level", name="职级", kind="choice", choices=["p5", "P6", "P7", "P8"])

    @pytest.fixture
    def rule(self, title: Attribute) -> AttributeRule:
        save_rules(make_subscription(name="经理日报"), [Rule(title, IS, ("经理",))])
        return AttributeRule.objects.get()

    def test_the_page_that_deletes_one_names_the_rule(self, rule: AttributeRule) -> None:
        root, page = client_of(make_superuser()), f"/admin/accounts/attribute/{rule.attribute_id}/delete/"

        shown, sent = root.get(page), root.post(page, {"post": "yes"})

        assert (shown.status_code, sent.status_code) == (200, 200)
        assert "经理日报" in shown.content.decode()
        assert AttributeRule.objects.filter(pk=rule.pk, attribute=rule.attribute).exists()

    def refusals(self, attribute: Attribute) -> dict[str, list[str]]:
        try:
            check_definition(attribute=attribute)
        except ValidationError as error:
            return dict(error.message_dict)
        return {}

    @pytest.mark.parametrize(
        ("changes", "is_refused"),
        [({"kind": "number"}, True), ({"is_many_valued": True}, True), ({"name": "岗位"}, False)],
    )
    def test_what_a_rule_compares_stays_what_it_is(
        self, changes: dict[str, Any], is_refused: bool, rule: AttributeRule
    ) -> None:
        for name, value in changes.items():
            setattr(rule.attribute, name, value)

        refusals = self.refusals(rule.attribute)

        assert list(refusals) == list(changes) * is_refused
        assert ("经理日报" in str(refusals)) is is_refused

    @pytest.mark.parametrize(
        ("operator", "left", "is_refused"),
        [
            (IS, ["p6", "p7"], False),
            (IS, ["p5", "p6"], True),
            (ONE_OF, ["p5", "p6", "p7", "p8"], False),
            (ONE_OF, ["p6", "p7"], True),
        ],
    )
    def test_a_choice_that_a_rule_names_stays(
        self, operator: Operator, left: list[str], is_refused: bool, level: Attribute
    ) -> None:
        values = ("P7",) if operator == IS else ("P7", "P5")
        save_rules(make_subscription(name="高级别"), [Rule(level, operator, values)])
        save_rules(make_subscription(name="其他"), [Rule(level, IS, ("P6",))])
        level.choices = left

        said = str(self.refusals(level).get("choices", ""))

        assert ("高级别" in said, "其他" in said) == (is_refused, False)


def test_my_subscriptions_show_what_my_attributes_bring_me(title: Attribute, regions: Attribute) -> None:
    [person] = make_people(make_corp(), title, ["经理"])
    here, elsewhere = Rule(title, IS, ("经理",)), Rule(regions, IS, ("华北",))
    mine, any_of = make_subscription(), make_subscription(rules_match=RulesMatch.ANY)
    for subscription, rules in (
        *((mine, [here]), (any_of, [here, elsewhere])),
        *((make_subscription(), [here, elsewhere]), (make_subscription(), [elsewhere])),
    ):
        save_rules(subscription, rules)

    assert {one.pk for one in find_own_subscriptions(person)} == {mine.pk, any_of.pk}
