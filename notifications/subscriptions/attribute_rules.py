"""Finds the people that match attribute rules, with indexed queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import reduce
from operator import and_, or_
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.models import Attribute, AttributeValue, User, fold_value
from notifications.models import Addressed, AlertReceiver, AttributeRule, Operator, RulesMatch, Subscription
from notifications.models.attribute_rules import owned_by
from notifications.sources import Rule


def rules_of(order: Addressed) -> tuple[Rule, ...]:
    """Return the rules of a subscription or an alert receiver. One query."""
    return rules_by_order([order])[order.pk]


def rules_by_order(orders: Sequence[Addressed]) -> dict[int, tuple[Rule, ...]]:
    """Map the key of each of `orders`, which are of one model, to its rules. One query."""
    column = "subscription_id" if isinstance(orders[0], Subscription) else "receiver_id"
    found: dict[int, list[Rule]] = {order.pk: [] for order in orders}
    rows = AttributeRule.objects.filter(**{f"{column}__in": found}).select_related("attribute").order_by("pk")
    for row in rows:
        found[getattr(row, column)].append(Rule(row.attribute, Operator(row.operator), tuple(row.values)))
    return {pk: tuple(rules) for pk, rules in found.items()}


def rules_list(rules: Iterable[Rule]) -> SafeString:
    """In words, one below the other; a dash where there are none."""
    lines = [(str(rule.attribute), rule.operator.label, "; ".join(rule.values)) for rule in rules]
    return format_html_join("", "<div>{} {} {}</div>", lines) or format_html("{}", "—")


def save_rules(order: Addressed, rules: Iterable[Rule]) -> bool:
    """Give a subscription or a receiver exactly these rules; those that it has already stay. Returns whether anything
    changed.

    One by one, so that the audit trail names each.
    """
    wanted = list(rules)
    with transaction.atomic():
        kept = []
        rows = list(AttributeRule.objects.of(order).select_related("attribute"))
        [owner] = owned_by(order)
        for row in rows:
            setattr(row, owner, order)  # which knows the companies that it was moved between
            same = Rule(row.attribute, Operator(row.operator), tuple(row.values))
            if same in wanted:
                wanted.remove(same)
                kept.append(row)
            else:
                row.delete()
        for rule in wanted:
            AttributeRule.objects.create(
                **owned_by(order),
                attribute=rule.attribute,
                operator=rule.operator,
                values=list(rule.values),
            )
        return bool(wanted) or len(kept) < len(rows)


def rules_naming(attribute: Attribute, folded_values: Collection[str]) -> list[str]:
    """Those, in words, that compare `attribute` with one of these values. One query."""
    rows = AttributeRule.objects.filter(attribute=attribute).order_by("pk")
    rows = rows.select_related("attribute", "subscription", "receiver")
    named = set(folded_values)
    return [str(row) for row in rows if not named.isdisjoint(map(fold_value, row.values))]


def matching(rules: Sequence[Rule], match: str) -> Q:
    """The condition on User for people who match all, or any, of `rules`; nobody where there are none."""
    if not rules:
        return Q(pk__in=[])
    return reduce(or_ if match == RulesMatch.ANY else and_, map(_condition, rules))


def concerned_by_rules(person: User, model: type[Subscription] | type[AlertReceiver] = Subscription) -> list[int]:
    """Ids of the orders of `model` whose rules the person matches. Two queries: rules on attributes without a value of
    the person cannot match, so the others need not be read, except where all must."""
    values: dict[int, set[str]] = defaultdict(set)
    for attribute_id, folded in AttributeValue.objects.filter(user=person).values_list("attribute_id", "folded"):
        values[attribute_id].add(folded)
    if not values:
        return []
    column = "subscription" if model is Subscription else "receiver"
    touched = AttributeRule.objects.filter(attribute__in=values, **{f"{column}__isnull": False}).order_by()
    rows: QuerySet[Any] = AttributeRule.objects.filter(**{f"{column}__in": touched.values(column)})
    answers: dict[tuple[int, str], list[bool]] = defaultdict(list)
    for row in rows.select_related("attribute").annotate(match=F(f"{column}__rules_match"), order_key=F(column)):
        rule = Rule(row.attribute, Operator(row.operator), tuple(row.values))
        answers[row.order_key, row.match].append(matches(rule, values[row.attribute_id]))
    return [key for (key, match), found in answers.items() if (any(found) if match == RulesMatch.ANY else all(found))]


def matches(rule: Rule, folded_values: Collection[str]) -> bool:
    """As _condition, for one person whose values are known."""
    wanted = {fold_value(value) for value in rule.values}
    if rule.operator == Operator.CONTAINS and not rule.attribute.is_many_valued:
        return any(part in value for part in wanted for value in folded_values)
    has_one = not wanted.isdisjoint(folded_values)
    if rule.operator == Operator.IS and rule.attribute.is_many_valued:
        return has_one and wanted.issuperset(folded_values)
    return has_one


def _condition(rule: Rule) -> Q:
    """Of an attribute with several values "is" means: this one and no other."""
    theirs = AttributeValue.objects.of(rule.attribute).filter(user=OuterRef("pk"))
    folded = [fold_value(value) for value in rule.values]
    if rule.operator == Operator.CONTAINS and not rule.attribute.is_many_valued:
        return Q(Exists(theirs.filter(folded__contains=folded[0])))
    condition = Q(Exists(theirs.filter(folded__in=folded)))
    if rule.operator == Operator.IS and rule.attribute.is_many_valued:
        condition &= ~Q(Exists(theirs.exclude(folded__in=folded)))
    return condition
