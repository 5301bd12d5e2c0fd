"""Resolves the recipients of an order (a push or an alert rule): who can be reached, and whom a sender may reach."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import and_, or_
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import (
    BooleanField,
    Case,
    Exists,
    ExpressionWrapper,
    FilteredRelation,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)

from accounts.models import Attribute, AttributeValue, User, WeComAccount, barred_by_wecom, fold_value
from accounts.users.roles import find_visible_people, sees_all
from integrations.core.sentences import Sentence
from integrations.directory import departments
from integrations.models import Corp, Department, Member
from notifications.models import (
    AlertRule,
    ApiToken,
    AttributeRule,
    Channel,
    InboundChannel,
    Operator,
    Receipt,
    RulesMatch,
    Subscription,
    SubscriptionChoice,
    WithRecipients,
)
from notifications.sources import NO_CONTENTS, Audience, ExpectedContents, Rule, RunContents, SkipReason

if TYPE_CHECKING:
    from integrations.models.fields import Person


Reason = Receipt.Reason
_REASONS_BY_CHOICE = {SubscriptionChoice.Kind.PAUSED: Reason.PAUSED, SubscriptionChoice.Kind.DECLINED: Reason.DECLINED}
INCOMPLETE = frozenset({Reason.NO_ACCOUNT, Reason.NO_COMPANY, Reason.NO_USERID, Reason.BAD_USERID})
# Reasons that somebody can correct on the person's page in the administration.
SET_ON_PERSON = INCOMPLETE | {Reason.NO_VALUE, Reason.NO_BI_IDENTITY}
NAMES_AT_ONCE = 1000
PEOPLE_AT_ONCE = 5000
AUDIENCES_AT_ONCE = 100
COUNTED_AT_MOST = 5000
DEPARTMENTS_NAMED = 5
ADDRESS_CHARACTERS = 128


@dataclass(frozen=True, slots=True)
class Recipient:
    """A person of an audience. `reason` says why the person cannot be reached. If it is None, the person gets the
    message at `corp_id` and `userid`, or by mail. `address`: as in the person's receipt. `fallback_reason`: why the
    second channel is used. `detail`: more about the reason, if known."""

    user_id: int
    corp_id: int | None
    userid: str
    address: str
    reason: Receipt.Reason | None
    channel: str = Channel.WECOM
    email: str = ""
    fallback_reason: Receipt.Reason | None = None
    detail: Sentence | None = None

    def skip(self, skip_reason: SkipReason) -> Recipient:
        """Return the person with the reason why they get nothing."""
        address = f"user:{self.user_id}"
        return replace(self, reason=skip_reason.reason, detail=skip_reason.detail, address=address)

    @property
    def reason_text(self) -> str:
        """The reason in the current language; empty if there is none."""
        return str(self.detail or (self.reason and self.reason.label) or "")


@dataclass(frozen=True)
class Reachability:
    """Numbers of people whom a message would and would not reach. `unreachable`: the first people not reached.

    `unlinked_count`: members of the chosen departments without an account here; `removed`: the first chosen departments
    that no longer exist. `reasons`: of all unreachable people. `first_id`: key of the first reachable person, or None.
    `note`: about the data that decides. `is_count_known`: False if nobody can say yet how many reachable people get it;
    `note` says why.
    """

    reachable_count: int
    unreachable_count: int
    unreachable: list[tuple[str, Recipient]] = field(default_factory=list)
    unlinked_count: int = 0
    removed: list[str] = field(default_factory=list)
    reasons: frozenset[Receipt.Reason] = frozenset()
    first_id: int | None = None
    note: str = ""
    is_count_known: bool = True

    @property
    def concerns_somebody(self) -> bool:
        """Return whether a subscription makes sense although it reaches nobody now: a pause may end at any time, and
        data changes."""
        return bool(self.reachable_count or self.reasons & (Receipt.BY_CHOICE | Receipt.OF_CONTENT))


def make_trial_audience(order: WithRecipients, user_id: int | None) -> Audience:
    """Return an audience of one person on the order's channel, or in the app if the order goes to a group's robot."""
    is_to_group = order.channel == Channel.ROBOT
    return Audience(
        user_ids=() if user_id is None else (user_id,),
        corp_id=order.only_corp_id,
        channel=Channel.WECOM if is_to_group else order.channel,
        fallback_channel=order.fallback_channel,
    )


def read_audience(order: WithRecipients) -> Audience:
    """Return the present audience of a subscription or an alert rule."""
    return read_audiences([order])[order.pk]


def read_audiences(orders: Sequence[WithRecipients]) -> dict[int, Audience]:
    """Return the present audiences of `orders` of one model, by their keys. Makes four queries."""
    if not orders:
        return {}
    named: dict[tuple[str, int], list[int]] = defaultdict(list)
    for field_name in ("users", "groups", "departments"):
        relation: Any = getattr(type(orders[0]), field_name)
        names = (relation.field.m2m_column_name(), relation.field.m2m_reverse_name())
        rows = relation.through.objects.filter(**{f"{names[0]}__in": [order.pk for order in orders]})
        for pk, key in rows.order_by(names[1]).values_list(*names):
            named[field_name, pk].append(key)
    rules = read_rules_by_order(orders)
    return {
        order.pk: Audience(
            user_ids=tuple(named["users", order.pk]),
            group_ids=tuple(named["groups", order.pk]),
            to_everyone=order.to_everyone,
            corp_id=order.only_corp_id,
            department_ids=tuple(named["departments", order.pk]),
            with_subdepartments=order.with_subdepartments,
            rules=rules[order.pk],
            rules_match=order.rules_match,
            channel=order.channel,
            fallback_channel=order.fallback_channel,
            robot_id=order.robot_id,
            subscription_id=order.pk if isinstance(order, Subscription) else None,
        )
        for order in orders
    }


def resolve_audience(audience: Audience, *, only: int | None = None) -> Iterator[Recipient]:
    """Yield each person once, by company, then by id: the same rows always give the same order.

    "Everyone" means active people with a complete account whom WeCom lets in, in the audience's company if it names
    one. People named directly, by a group or by attribute rules are always recipients, with a reason if they cannot be
    reached. A department means its present members whom WeCom lets in; a removed department means nobody. `only`: yield
    only this person, if chosen.
    """
    if audience.channel == Channel.ROBOT:
        return
    people = User.objects.filter(match_chosen(audience))
    yield from read_recipients(audience, people if only is None else people.filter(pk=only))


def find_recipients(audience: Audience, contents: RunContents | None) -> Iterator[Recipient]:
    """Yield the recipients of `resolve_audience`, with the reason for reachable people who get nothing of `contents`.
    Sending uses it, and so do pages that say beforehand how many people get a message. `contents`: None if the contents
    are not known yet."""
    yield from apply_contents(resolve_audience(audience), contents)


def apply_contents(people: Iterable[Recipient], contents: RunContents | None) -> Iterator[Recipient]:
    """Yield `people`, with the reason for reachable people who get nothing of `contents`."""
    if contents is None or not contents.depends_on_person:
        yield from people
        return
    people = list(people)
    contents.preload_people([person.user_id for person in people if person.reason is None])
    for person in people:
        skip_reason = None if person.reason is not None else contents.find_skip_reason(person.user_id)
        yield person if skip_reason is None else person.skip(skip_reason)


def resolve_audiences(audiences: Mapping[int, Audience]) -> dict[int, list[Recipient]]:
    """Resolve several audiences like `resolve_audience`, by the same keys. It needs a fixed number of queries for every
    hundred different audiences. Equal audiences share their list, unless somebody has paused one of them. An audience
    of more than COUNTED_AT_MOST people is left out: a page must not wait for it."""
    plain = {key: replace(one, subscription_id=None) for key, one in audiences.items()}
    different = list(dict.fromkeys(plain.values()))
    tree = departments.DepartmentTree.of_departments({pk for one in different for pk in one.department_ids})
    named: dict[int, list[Audience]] = defaultdict(list)
    for start in range(0, len(different), AUDIENCES_AT_ONCE):
        part = enumerate(different[start : start + AUDIENCES_AT_ONCE], start)
        first, *others = (
            User.objects.filter(
                pk__in=User.objects.filter(Q(pk__in=[]) if one.channel == Channel.ROBOT else match_chosen(one, tree))
                .order_by()
                .values("pk")[: COUNTED_AT_MOST + 1]
            )
            .order_by()
            .values_list(Value(number, IntegerField()), "pk")
            for number, one in part
        )
        for number, user_id in first.union(*others, all=True):
            named[user_id].append(different[number])
    people = User.objects.filter(pk__in=named) if len(named) <= PEOPLE_AT_ONCE else User.objects.all()
    rows = {row.pk: row for row in _read_people(people, Value(""))} if named else {}
    found: dict[Audience, list[Recipient]] = {one: [] for one in different}
    for user_id, row in rows.items():
        for audience in named.get(user_id, ()):
            found[audience].append(_make_recipient(audience, row))
    choices: dict[int | None, dict[int, str]] = defaultdict(dict)
    subscription_ids = [one.subscription_id for one in audiences.values()]
    chosen_by = SubscriptionChoice.objects.filter(subscription__in=subscription_ids, user__in=rows)
    for subscription_id, user_id, kind in chosen_by.values_list("subscription_id", "user_id", "kind"):
        choices[subscription_id][user_id] = kind
    resolved = {key: found[one] for key, one in plain.items() if len(found[one]) <= COUNTED_AT_MOST}
    for key in resolved:
        audience = audiences[key]
        if kinds := choices[audience.subscription_id]:
            resolved[key] = [
                _make_recipient(audience, rows[one.user_id]._replace(choice=kinds[one.user_id]))
                if one.user_id in kinds
                else one
                for one in resolved[key]
            ]
    return resolved


def read_recipients(audience: Audience, people: QuerySet[User]) -> Iterator[Recipient]:
    """Yield each of `people` as the audience's channels reach them, or with the reason why they do not."""
    choice: Subquery | Value = Value("")
    if audience.subscription_id is not None:
        chosen = SubscriptionChoice.objects.filter(subscription=audience.subscription_id, user=OuterRef("pk"))
        choice = Subquery(chosen.values("kind")[:1])
    for row in _read_people(people, choice):
        yield _make_recipient(audience, row)


def _read_people(people: QuerySet[User], choice: Subquery | Value) -> Iterator[Any]:
    """Yield a row with the _COLUMNS of each person. `choice`: the person's choice about the push."""
    primary = FilteredRelation("wecom_accounts", condition=Q(wecom_accounts__is_primary=True))
    people = people.annotate(account=primary).order_by("account__corp_id", "pk")
    left = Q(account__left_at__isnull=False)
    barred = barred_by_wecom("account__corp_id", "account__userid_folded")
    people = people.annotate(is_barred=Case(When(left, then=Value(True)), default=barred), choice=choice)
    return people.values_list(*_COLUMNS, named=True).iterator(chunk_size=PEOPLE_AT_ONCE)


def count_reachability(
    audience: Audience, *, seen_by: Person, named: int = 20, expected: ExpectedContents = NO_CONTENTS
) -> Reachability:
    """Count whom a subscription for `audience` would reach. `expected`: what it would send, if known. The first `named`
    unreachable people whom `seen_by` may see are listed; all are counted."""
    reachable_count, unreachable, first_id = int(audience.robot_id is not None), [], None
    for recipient in find_recipients(audience, expected.contents):
        if recipient.reason is None:
            reachable_count += 1
            first_id = first_id or recipient.user_id
        else:
            unreachable.append(recipient)
    listed: list[tuple[str, Recipient]] = []
    # In steps: there may be thousands, and a database limits the values in one condition.
    for start in range(0, len(unreachable), NAMES_AT_ONCE):
        by_key = {one.user_id: one for one in unreachable[start : start + NAMES_AT_ONCE]}
        people = find_visible_people(seen_by).filter(pk__in=by_key).order_by("pk")[: named - len(listed)]
        listed += [(str(person), by_key[person.pk]) for person in people]
        if len(listed) >= named:
            break
    unlinked_count, removed = 0, list[str]()
    if audience.department_ids:
        account = WeComAccount.objects.filter(corp=OuterRef("corp"), userid_folded=OuterRef("userid_folded"))
        members = Member.objects.eligible().filter(~Exists(account), departments__in=_find_covered(audience))
        unlinked_count = members.values("pk").distinct().count()
        gone = Department.objects.filter(pk__in=list(audience.department_ids), removed_at__isnull=False)
        removed = [str(one) for one in gone[:DEPARTMENTS_NAMED]]
    return Reachability(
        reachable_count,
        len(unreachable),
        listed,
        unlinked_count,
        removed,
        reasons=frozenset(one.reason for one in unreachable if one.reason is not None),
        first_id=first_id,
        note=str(expected.note or ""),
        is_count_known=expected.is_known or not reachable_count,
    )


_COLUMNS = (
    *("pk", "is_active", "account__pk", "account__corp_id", "account__userid", "account__userid_folded"),
    *("account__corp__is_enabled", "is_barred", "choice", "email"),
)


def match_chosen(audience: Audience, tree: departments.DepartmentTree | None = None) -> Q:
    """Return the condition on User for the people whom an audience names, reachable or not. `tree`: the departments of
    the audience's companies, if the caller has read them."""
    named = Q(pk__in=audience.user_ids)
    if audience.group_ids:
        membership = User.groups.through.objects.filter(group_id__in=audience.group_ids, user_id=OuterRef("pk"))
        named |= Q(Exists(membership))
    if audience.to_everyone:
        linked = WeComAccount.objects.complete().filter(~barred_by_wecom(), is_primary=True, user_id=OuterRef("pk"))
        if audience.corp_id is not None:
            linked = linked.filter(corp_id=audience.corp_id)
        named |= Q(Exists(linked), is_active=True)
    if audience.department_ids:
        accounts = WeComAccount.objects.in_departments(_find_covered(audience, tree))
        named |= Q(pk__in=accounts.order_by().values("user_id"))
    if audience.rules:
        named |= match_rules(audience.rules, audience.rules_match)
    return named


def _find_covered(audience: Audience, tree: departments.DepartmentTree | None = None) -> set[int]:
    """Return the keys of the audience's departments, with those below them if the audience includes these."""
    tree = tree or departments.DepartmentTree.of_departments(audience.department_ids)
    return tree.find_covered(audience.department_ids, with_subdepartments=audience.with_subdepartments)


def _make_recipient(audience: Audience, row: Any) -> Recipient:
    """Make the recipient from a person's row of _COLUMNS."""
    userid, reason = row.account__userid, None
    if not row.is_active:
        reason = Reason.USER_DISABLED
    elif row.choice:
        reason = _REASONS_BY_CHOICE[SubscriptionChoice.Kind(row.choice)]
    elif row.is_barred:  # checked before the second channel: nothing goes to somebody who has left
        reason = Reason.BARRED
    elif row.account__pk is None:
        reason = Reason.NO_ACCOUNT
    elif row.account__corp_id is None:
        reason = Reason.NO_COMPANY
    elif not userid:
        reason = Reason.NO_USERID
    elif "|" in userid or userid.startswith("@"):  # WeCom would read several people, or everybody
        reason = Reason.BAD_USERID
    elif audience.corp_id not in {None, row.account__corp_id}:
        reason = Reason.OTHER_CORP
    elif not row.account__corp__is_enabled:
        reason = Reason.CORP_DISABLED
    address = f"user:{row.pk}" if reason else f"{row.account__corp_id}:{row.account__userid_folded}"
    by_app = Recipient(row.pk, row.account__corp_id, userid or "", address, reason)
    return _choose_channel(audience, row.email, by_app)


def make_mail_address(user_id: int, email: str) -> str:
    """Return the address of a mail in receipts. It contains the person, because two people may share a mail address."""
    return f"mail:{user_id}:{email}"[:ADDRESS_CHARACTERS]


def _choose_channel(audience: Audience, email: str, by_app: Recipient) -> Recipient:
    """Return the person as the audience's channels reach them: by the app, or by mail if that is the second channel."""
    is_mailed = audience.channel == Channel.EMAIL
    if by_app.reason in Receipt.BY_CHOICE:
        return replace(by_app, channel=Channel.EMAIL) if is_mailed else by_app
    if not is_mailed and (by_app.reason is None or audience.fallback_channel != Channel.EMAIL):
        return by_app
    is_let_in = by_app.reason not in {Reason.USER_DISABLED, Reason.BARRED}
    if is_let_in and email:
        address = make_mail_address(by_app.user_id, email)
        fallback_reason = None if is_mailed else by_app.reason
        return replace(
            by_app, reason=None, channel=Channel.EMAIL, email=email, address=address, fallback_reason=fallback_reason
        )
    if is_mailed:
        reason = Reason.NO_EMAIL if is_let_in else by_app.reason
        return replace(by_app, reason=reason, channel=Channel.EMAIL, address=f"user:{by_app.user_id}")
    return by_app


# --- Rules that choose people by their attributes ---


def read_rules(order: WithRecipients) -> tuple[Rule, ...]:
    """Return the rules of a subscription or an alert rule. Makes one query."""
    return read_rules_by_order([order])[order.pk]


def read_rules_by_order(orders: Sequence[WithRecipients]) -> dict[int, tuple[Rule, ...]]:
    """Return the rules of `orders` of one model, by their keys. Makes one query."""
    column = f"{orders[0].rule_column}_id"
    found: dict[int, list[Rule]] = {order.pk: [] for order in orders}
    rows = AttributeRule.objects.filter(**{f"{column}__in": found}).select_related("attribute").order_by("pk")
    for row in rows:
        found[getattr(row, column)].append(Rule(row.attribute, Operator(row.operator), tuple(row.values)))
    return {pk: tuple(rules) for pk, rules in found.items()}


def save_rules(order: WithRecipients, rules: Iterable[Rule]) -> bool:
    """Set the rules of a subscription or an alert rule and keep those that exist. Return whether anything changed.
    Rules are written one by one, so that the audit trail names each."""
    wanted = list(rules)
    with transaction.atomic():
        kept = []
        rows = list(AttributeRule.objects.filter(**{order.rule_column: order}).select_related("attribute"))
        for row in rows:
            setattr(row, order.rule_column, order)  # `order` knows its former company, for the audit trail
            same = Rule(row.attribute, Operator(row.operator), tuple(row.values))
            if same in wanted:
                wanted.remove(same)
                kept.append(row)
            else:
                row.delete()
        for rule in wanted:
            fields = {order.rule_column: order, "operator": rule.operator, "values": list(rule.values)}
            AttributeRule.objects.create(attribute=rule.attribute, **fields)
        return bool(wanted) or len(kept) < len(rows)


def find_rules_naming(attribute: Attribute, folded_values: Collection[str]) -> list[str]:
    """Describe the rules that compare `attribute` with one of these values. Makes one query."""
    rows = AttributeRule.objects.filter(attribute=attribute).order_by("pk")
    rows = rows.select_related("attribute", "subscription", "alert_rule")
    named = set(folded_values)
    return [str(row) for row in rows if not named.isdisjoint(map(fold_value, row.values))]


def match_rules(rules: Sequence[Rule], match: str) -> Q:
    """Return the condition on User for people who match all, or any, of `rules`; nobody if there are none."""
    conditions = []
    for rule in rules:
        own_values = AttributeValue.objects.of(rule.attribute).filter(user=OuterRef("pk"))
        folded = [fold_value(value) for value in rule.values]
        if rule.operator == Operator.CONTAINS and not rule.attribute.is_many_valued:
            conditions.append(Q(Exists(own_values.filter(folded__contains=folded[0]))))
            continue
        condition = Q(Exists(own_values.filter(folded__in=folded)))
        if rule.operator == Operator.IS and rule.attribute.is_many_valued:  # this value and no other
            condition &= ~Q(Exists(own_values.exclude(folded__in=folded)))
        conditions.append(condition)
    return reduce(or_ if match == RulesMatch.ANY else and_, conditions) if conditions else Q(pk__in=[])


def find_orders_by_attributes(person: User, model: type[Subscription] | type[AlertRule] = Subscription) -> list[int]:
    """Return the ids of the orders of `model` whose rules the person matches. Makes at most two queries, and one for
    each hundred orders. A rule on an attribute without a value cannot match, so only orders with a rule on one of the
    person's attributes are read."""
    own = AttributeValue.objects.filter(user=person).values("attribute")
    candidates = AttributeRule.objects.filter(attribute__in=own, **{f"{model.rule_column}__isnull": False}).order_by()
    orders: list[Any] = list(model._default_manager.filter(pk__in=candidates.values(model.rule_column)))
    rules = read_rules_by_order(orders) if orders else {}
    found: list[int] = []
    for start in range(0, len(orders), AUDIENCES_AT_ONCE):
        part = orders[start : start + AUDIENCES_AT_ONCE]
        conditions = [ExpressionWrapper(match_rules(rules[one.pk], one.rules_match), BooleanField()) for one in part]
        matches = User.objects.filter(pk=person.pk).values_list(*conditions).get()
        found += [one.pk for one, is_match in zip(part, matches, strict=True) if is_match]
    return found


# --- People whom a sender may reach: people whom its owner may reach, within the sender's own limit ---


def find_reachable_people(
    sender: ApiToken | InboundChannel, *, through: Corp | None = None, among: Audience | None = None
) -> QuerySet[User]:
    """Return the people whom messages of an API token or an inbound channel may reach: only `through` this company and
    only `among` these people, if given.

    A message goes through the company of the account that receives a person's messages, and the owner must see that
    company. People without such an account are known only to those who see all companies.
    """
    people, chosen = User.objects.all(), list[Audience]([] if among is None else [among])
    limits: list[QuerySet[Corp] | list[int]] = [] if through is None else [[through.pk]]
    if isinstance(sender, InboundChannel):
        limits += [] if sender.corp_id is None else [[sender.corp_id]]
        if sender.reach == InboundChannel.Reach.CHOSEN:
            chosen.append(find_chosen_audience(sender))
    elif sender.sends_to == ApiToken.SendReach.CORPS:
        limits.append(list(sender.send_corps.values_list("pk", flat=True)))
    elif sender.sends_to == ApiToken.SendReach.CHOSEN:
        chosen.append(_make_audience(sender.send_users, sender.send_groups, sender.send_departments))
    else:
        ApiToken.SendReach(sender.sends_to)  # raises ValueError for a choice of a newer release, which may be narrower
    if not sees_all(sender.owner):
        limits.append(Corp.objects.visible_to(sender.owner))
    for corps in limits:
        accounts = WeComAccount.objects.filter(corp__in=corps, is_primary=True)
        people = people.filter(pk__in=accounts.order_by().values("user_id"))
    for audience in chosen:
        people = people.filter(match_chosen(audience))
    return people


def find_chosen_audience(channel: InboundChannel) -> Audience:
    """Return the people chosen on the channel's page, reachable or not."""
    audience = _make_audience(channel.users, channel.groups, channel.departments)
    return replace(audience, with_subdepartments=channel.with_subdepartments)


def _make_audience(users: Any, groups: Any, departments: Any) -> Audience:
    return Audience(
        user_ids=users.order_by().values("pk"),
        group_ids=list(groups.values_list("pk", flat=True)),
        department_ids=tuple(departments.values_list("pk", flat=True)),
    )
