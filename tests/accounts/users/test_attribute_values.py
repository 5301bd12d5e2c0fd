"""User attributes: accepted values, who has which value, and setting values with the audit trail."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models import Attribute, AttributeValue, AuditEntry, User
from accounts.users.attributes import (
    ValueTakenError,
    check_definition,
    ensure_bi_login_id,
    find_holders,
    find_people_with,
    find_values,
    list_attributes_with_values,
    save_definition,
    set_values,
)
from integrations.models import Corp
from tests.accounts.conftest import make_person
from tests.statements import count_statements

Kind = Attribute.Kind
pytestmark = pytest.mark.django_db


def made(key: str = "region", **values: Any) -> Attribute:
    return Attribute.objects.create(**{"key": key, "name": f"{key}的名称", **values})


class TestWhatAnAttributeTakes:
    @pytest.mark.parametrize(
        ("kind", "text", "stored"),
        [
            (Kind.TEXT, "  华东 ", "华东"),
            (Kind.TEXT, "00123", "00123"),
            (Kind.TEXT, "=1+1", "=1+1"),
            (Kind.TEXT, "x" * 255, "x" * 255),
            (Kind.NUMBER, "1,200.50", "1200.5"),
            (Kind.NUMBER, "007", "7"),
            (Kind.NUMBER, "-0", "0"),
            (Kind.NUMBER, "-3", "-3"),
            (Kind.NUMBER, "1.38E+3", "1380"),
            (Kind.NUMBER, "1e29", "1" + "0" * 29),
            (Kind.CHOICE, "EAST", "East"),
        ],
    )
    def test_a_value_is_stored_tidied(self, kind: str, text: str, stored: str) -> None:
        attribute = Attribute(name="n", kind=kind, choices=["East"])

        assert attribute.cleaned([text]) == [stored]

    @pytest.mark.parametrize(
        ("kind", "text"),
        [
            (Kind.TEXT, "x" * 256),
            (Kind.TEXT, "a\x00b"),
            (Kind.TEXT, "a\u202eb"),
            (Kind.TEXT, "two\nlines"),
            (Kind.NUMBER, "twelve"),
            (Kind.NUMBER, "NaN"),
            (Kind.NUMBER, "Infinity"),
            (Kind.NUMBER, "1e30"),
            (Kind.NUMBER, "1e999999"),
            (Kind.NUMBER, "1e-31"),
            (Kind.CHOICE, "West"),
        ],
    )
    def test_a_value_is_refused(self, kind: str, text: str) -> None:
        attribute = Attribute(name="n", kind=kind, choices=["East"])

        with pytest.raises(ValidationError):
            attribute.cleaned([text])

    def test_empty_texts_and_repetitions_are_no_values_of_which_a_hundred_are_the_most(self) -> None:
        attribute = Attribute(name="n", is_many_valued=True)

        assert attribute.cleaned(["a", " ", "B", "A", ""]) == ["A", "B"]
        assert len(attribute.cleaned([str(number) for number in range(100)])) == 100
        with pytest.raises(ValidationError):
            attribute.cleaned([str(number) for number in range(101)])
        with pytest.raises(ValidationError):
            Attribute(name="n").cleaned(["a", "b"])

    def test_a_semicolon_separates_values_where_there_may_be_several(self) -> None:
        several, one = Attribute(name="n", is_many_valued=True), Attribute(name="n")

        assert several.parts("华东；华北;x\ny") == ["华东", "华北", "x", "y"]
        assert one.parts("a;b") == ["a;b"]
        with pytest.raises(ValidationError):
            several.cleaned(["a;b"])


class TestTheReadyMadeOne:
    def test_the_bi_s_login_id_is_there_from_the_start(self) -> None:
        found = Attribute.objects.bi_login_ids().get()

        assert (found.key, found.name, found.is_unique, found.kind) == ("bi_login_id", "BI loginId", True, Kind.TEXT)

    def test_another_one_may_take_its_place(self) -> None:
        Attribute.objects.bi_login_ids().delete()
        other = made("login", is_bi_login_id=True)

        ensure_bi_login_id()

        assert Attribute.objects.get() == other

    def test_there_is_one_at_most(self) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            made("login", is_bi_login_id=True)


class TestReading:
    def test_one_person_s_page(self, person: User, region: Attribute) -> None:
        set_values(attribute=region, values={person.pk: ["华北", "华东"]})
        login = Attribute.objects.bi_login_ids().get()

        with CaptureQueriesContext(connection) as queries:
            page = list_attributes_with_values(user_id=person.pk)

        assert page == [(login, []), (region, ["华北", "华东"])]
        assert len(queries) == 2

    def test_everybody_s_values_and_some_people_s(self, person: User, region: Attribute) -> None:
        other, _nobody = make_person("hanmei"), make_person("nobody")
        set_values(attribute=region, values={person.pk: ["华北", "华东"], other.pk: ["East"]})

        assert find_values(attribute=region) == {person.pk: ["华北", "华东"], other.pk: ["East"]}
        assert find_values(attribute=region, users=[other.pk]) == {other.pk: ["East"]}
        assert find_values(attribute=region, users=User.objects.filter(username="lilei")) == {
            person.pk: ["华北", "华东"]
        }

    def test_who_has_one_of_some_values(self, person: User, region: Attribute) -> None:
        other = make_person("hanmei")
        set_values(attribute=region, values={person.pk: ["华北", "华东"], other.pk: ["East"]})

        assert list(find_people_with(attribute=region, values=["华东"])) == [person]
        assert set(find_people_with(attribute=region, values=["east ", "华北"])) == {person, other}
        assert list(find_people_with(attribute=region, values=["华"])) == []
        assert list(find_people_with(attribute=region, values=[])) == []

    def test_holders_are_found_a_thousand_at_a_time(self, person: User, number: Attribute) -> None:
        set_values(attribute=number, values={person.pk: ["A0042"]})

        with CaptureQueriesContext(connection) as queries:
            found = find_holders(attribute=number, values=["a0042", *(f"B{one}" for one in range(999))])

        assert found == {"a0042": {person.pk}}
        assert len(queries) == 1


class TestSetting:
    def test_values_are_replaced_and_taken_away_with_both_and_the_company_in_the_trail(
        self, corp: Corp, person: User, region: Attribute
    ) -> None:
        assert set_values(attribute=region, values={person.pk: ["华北"]}) == 1
        before = list(AttributeValue.objects.values_list("pk", flat=True))
        assert set_values(attribute=region, values={person.pk: ["华北"]}) == 0
        assert list(AttributeValue.objects.values_list("pk", flat=True)) == before
        # A person who no longer exists is skipped.
        assert set_values(attribute=region, values={person.pk: ["华东", "East"], 10**9: ["华北"]}) == 1
        assert find_values(attribute=region) == {person.pk: ["华东", "East"]}
        assert set_values(attribute=region, values={person.pk: []}) == 1

        assert find_values(attribute=region) == {}
        entries = AuditEntry.objects.filter(model="accounts.user", object_id=person.pk, action="changed").order_by("pk")
        assert [(entry.changes, entry.corp_id) for entry in entries] == [
            ([["区域", None, "华北"]], corp.pk),
            ([["区域", "华北", "华东; East"]], corp.pk),
            ([["区域", "华东; East", None]], corp.pk),
        ]

    def test_a_wrong_value_leaves_everybody_as_before(self, person: User, region: Attribute) -> None:
        other = make_person("hanmei")

        with pytest.raises(ValidationError):
            set_values(attribute=region, values={person.pk: ["华东"], other.pk: ["West"]})

        assert not AttributeValue.objects.exists()
        assert not AuditEntry.objects.filter(model="accounts.user", action="changed").exists()

    def test_values_go_with_the_person_and_with_the_attribute(self, person: User, region: Attribute) -> None:
        other = make_person("hanmei")
        set_values(attribute=region, values={person.pk: ["华东"], other.pk: ["华北"]})

        person.delete()
        assert find_values(attribute=region) == {other.pk: ["华北"]}
        region.delete()
        assert not AttributeValue.objects.exists()

    def test_the_queries_do_not_grow_with_the_people(self, region: Attribute) -> None:
        people = User.objects.bulk_create(User(username=f"p{number}") for number in range(62))
        counts = []

        for some in (people[:2], people[2:]):
            counts.append(count_statements(set_values, attribute=region, values={one.pk: ["华东"] for one in some}))

        assert counts[0] == counts[1]


class TestValuesOfOnePerson:
    def test_a_value_of_somebody_else_is_refused(self, person: User, number: Attribute) -> None:
        other = make_person("hanmei")
        set_values(attribute=number, values={person.pk: ["A1"]})

        with pytest.raises(ValueTakenError) as refused:
            set_values(attribute=number, values={other.pk: ["a1"]})

        assert refused.value.taken == {other.pk: ("a1", person.pk)}
        assert find_values(attribute=number) == {person.pk: ["A1"]}

    def test_two_people_cannot_get_the_same(self, person: User, number: Attribute) -> None:
        other = make_person("hanmei")

        with pytest.raises(ValueTakenError) as refused:
            set_values(attribute=number, values={person.pk: ["A1"], other.pk: ["A1"]})

        assert refused.value.taken == {other.pk: ("A1", person.pk)}
        assert not AttributeValue.objects.exists()

    def test_two_people_may_swap_theirs_and_change_its_spelling(self, person: User, number: Attribute) -> None:
        other = make_person("hanmei")
        set_values(attribute=number, values={person.pk: ["A1"], other.pk: ["A2"]})

        assert set_values(attribute=number, values={person.pk: ["a2"], other.pk: ["A1"]}) == 2
        assert set_values(attribute=number, values={person.pk: ["A2"]}) == 1
        assert find_values(attribute=number) == {person.pk: ["A2"], other.pk: ["A1"]}

    def test_the_database_holds_the_rule(self, person: User, number: Attribute) -> None:
        other = make_person("hanmei")
        set_values(attribute=number, values={person.pk: ["A1"]})

        with pytest.raises(IntegrityError), transaction.atomic():
            AttributeValue.objects.create(
                user=other, attribute=number, value="a1", folded="a1", is_unique=number.is_unique
            )


class TestChangingADefinition:
    @pytest.mark.parametrize(("column", "value"), [("kind", Kind.TEXT), ("is_many_valued", False), ("is_unique", True)])
    def test_what_the_values_do_not_fit_is_refused(
        self, person: User, region: Attribute, column: str, value: object
    ) -> None:
        set_values(attribute=region, values={person.pk: ["华东", "华北"], make_person("hanmei").pk: ["华东"]})
        setattr(region, column, value)

        with pytest.raises(ValidationError) as refused:
            check_definition(attribute=region)

        assert set(refused.value.message_dict) == {column}

    def test_the_values_follow_the_rule_that_they_belong_to_one_person(self, person: User) -> None:
        team = made("team")
        set_values(attribute=team, values={person.pk: ["A"]})
        team.is_unique = True
        check_definition(attribute=team)

        save_definition(attribute=team)

        assert AttributeValue.objects.get().is_unique
        team.is_unique = False
        save_definition(attribute=team)
        assert not AttributeValue.objects.get().is_unique
