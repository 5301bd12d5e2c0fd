"""Pages that show a company whose Secret was reset in WeCom, or a BI that is down."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from wecom_sandbox.testing import Sandbox

from accounts.models import User
from integrations.clients.errors import ConfigurationError
from integrations.companies.diagnosis import checks
from integrations.core import hooks
from integrations.core.client_factory import token_store, wecom_client
from integrations.models import CardData, CheckRun, Corp
from notifications.delivery.rendering.render import render_run
from notifications.delivery.sending.send import send_deliveries
from notifications.models import CorpQueue, Delivery, Run, Subscription
from tests.notifications.admin.conftest import client_of
from tests.notifications.factories import make_corp, make_manager, make_person, make_run, make_subscription
from tests.notifications.reports.places import card_of, make_data_report
from tests.sandbox_process import AGENTID, CORPID, SECRET, company

pytestmark = pytest.mark.django_db
REFUSED = "企业微信拒绝了 Secret：可能填写错误、已被重置、属于其他公司，或应用已停用。"


@pytest.fixture
def wecom_sandbox_seed() -> object:
    return {"companies": [company()]}


@pytest.fixture
def corp(wecom_sandbox: Sandbox) -> Corp:
    corp = make_corp(name="北山制造", corpid=CORPID, agentid=AGENTID, secret=SECRET, api_base_url=wecom_sandbox.url)
    token_store().forget(CORPID, AGENTID)
    return corp


@pytest.fixture
def push(corp: Corp) -> Subscription:
    return make_subscription(make_person(corp, "LiLei"), make_person(corp, "hanmeimei"), name="日报")


def reset_secret(sandbox: Sandbox) -> None:
    sandbox.control("POST", f"companies/{CORPID}/apps/{AGENTID}/secret")


def ask_for_run(subscription: Subscription, trigger: str = "manual", person: User | None = None) -> Run:
    return make_run(subscription, timezone.now(), trigger=trigger, requested_by=person)


def send(run: Run) -> None:
    ids = render_run(run_id=run.pk, now=timezone.now())
    send_deliveries(ids, clock=timezone.now, is_stopping=lambda: False)


def live_part(client: Client, page: str) -> dict[str, Any]:
    """Request the page's live part from the address that the page itself polls."""
    shown = client.get(page).content.decode()
    [tag] = [tag for tag in re.findall(r"<(?!aside)[^>]* data-live[^>]*>", shown) if "data-unfinished" in tag]
    return dict(client.get(tag.partition('data-url="')[2].partition('"')[0]).json())


def words(html: str) -> str:
    return " ".join(re.sub("<[^>]+>", " ", html).split())


def facts(html: str) -> dict[str, str]:
    return dict(re.findall(r"<dt>([^<]+)</dt><dd>(?:<[^>]+>)?([^<]*)", html))


def test_a_run_that_waits_for_a_refused_company_says_so_without_being_reloaded(
    root: Client, push: Subscription, wecom_sandbox: Sandbox
) -> None:
    reset_secret(wecom_sandbox)
    run = ask_for_run(push)
    page = reverse("admin:notifications_run_change", args=[run.pk])

    before = live_part(root, page)
    send(run)
    after = live_part(root, page)

    assert words(before["html"]) == "等待 正在准备：读取数据、确定接收人。"
    assert "接收人" not in facts(before["parts"]["log-parts"])
    assert "消息尚未生成。" in before["parts"]["log-parts"]
    assert words(after["html"]) == "进行中 正在发送：0 / 2 更新 Secret"
    assert 'value="0" max="2"' in after["html"]
    assert facts(after["parts"]["log-parts"])["接收人"] == "2"
    assert "“北山制造”：凭证被拒绝 · 自" in after["parts"]["log-parts"]
    assert REFUSED in after["parts"]["log-parts"]
    assert "无人可送达" not in after["parts"]["log-parts"]
    assert after["is_unfinished"] is True
    assert after["parts"]["log-parts"].strip() in root.get(page).content.decode()
    Run.objects.filter(pk=run.pk).update(status="finished")
    state = reverse("admin:notifications_run_state", args=[run.pk])
    over = root.get(state).json()
    assert words(over["html"]).startswith("完成 0 人送达")
    assert over["is_unfinished"] is False
    assert f'data-unfinished data-every="2000" data-url="{state}"' not in root.get(page).text


def test_a_run_whose_data_does_not_come_says_why_and_to_superusers_also_what_of_the_network_answers(
    root: Client, push: Subscription, corp: Corp
) -> None:
    push.report = make_data_report(corp=corp)
    push.save()
    run = ask_for_run(push)
    send(run)
    page = reverse("admin:notifications_run_change", args=[run.pk])
    data = CardData.objects.filter(card=card_of(push.report))

    data.update(problem_code="unreachable", problem_facts={"reason": "refused"})
    waiting = live_part(root, page)
    data.update(status="failed", finished_at=timezone.now())
    send(run)
    failed = root.get(reverse("admin:notifications_run_state", args=[run.pk])).json()

    assert words(waiting["html"]).startswith(f"等待 没有取到“{card_of(push.report)}”的数据：")
    assert words(waiting["html"]).endswith("系统会自动重试。 打开数据")
    assert words(failed["html"]).startswith(f"失败 没有取到“{card_of(push.report)}”的数据：")
    assert words(failed["html"]).endswith("打开数据")
    assert failed["is_unfinished"] is False
    assert "接收人" not in facts(failed["parts"]["log-parts"])
    assert "没有生成消息。" in failed["parts"]["log-parts"]
    editor = client_of(make_manager(corp))
    subscription_page = reverse("admin:notifications_subscription_change", args=[push.pk])
    for shown_on in (page, subscription_page, reverse("admin:notifications_run_changelist")):
        superuser_s, editor_s = (client.get(shown_on).content.decode() for client in (root, editor))
        assert "该主机的这个端口拒绝连接" in superuser_s, shown_on
        assert "超级用户可看到更多信息" not in superuser_s, shown_on
        assert "该主机的这个端口拒绝连接" not in editor_s, shown_on
        assert "超级用户可看到更多信息" in editor_s, shown_on


def test_sending_to_oneself_ends_with_what_happened(root: Client, push: Subscription, wecom_sandbox: Sandbox) -> None:
    page = reverse("admin:notifications_subscription_change", args=[push.pk])
    reset_secret(wecom_sandbox)
    run = ask_for_run(push, "trial", push.users.get(wecom_accounts__userid="LiLei"))
    first = live_part(root, page)

    send(run)
    then = live_part(root, page)

    assert 'data-label="接收人">—</td>' in first["html"]
    assert 'data-label="接收人">1</td>' in then["html"]
    assert "<td>“北山制造”：凭证被拒绝 · 自" in then["html"]
    CorpQueue.objects.update(blocked_since=None)
    Delivery.objects.update(status="accepted")
    Run.objects.update(status="finished")
    assert root.get(reverse("admin:notifications_subscription_runs", args=[push.pk])).json()["is_unfinished"] is False


def states_of_steps(client: Client, corp: Corp) -> dict[str, str]:
    answer = client.get(reverse("admin:integrations_corp_steps", args=[corp.pk])).json()
    return {name: re.sub("<[^>]+>", "", html).strip() for name, html in answer["parts"].items()}


def untimed(line: str) -> str:
    return re.sub(r"\d\d:\d\d", "HH:MM", line)


def test_a_refused_secret_is_said_of_the_company_wherever_it_stands(
    root: Client, corp: Corp, push: Subscription, wecom_sandbox: Sandbox
) -> None:
    check = {"connection_version": 1, "requested_at": timezone.now(), "finished_at": timezone.now(), "status": "ok"}
    CheckRun.objects.bulk_create(CheckRun(corp=corp, check_name=name, **check) for name in ("token", "agentid"))
    assert states_of_steps(root, corp)["state-of-credentials"] == "完成"
    reset_secret(wecom_sandbox)

    send(ask_for_run(push))

    line = checks.find_refusals([corp])[corp.pk].line
    assert untimed(line) == "凭证被拒绝 · 自 HH:MM 起有 2 人次在等待 · 更新 Secret"
    page = reverse("admin:integrations_corp_change", args=[corp.pk])
    steps, shown = states_of_steps(root, corp), root.get(page).content.decode()
    assert (steps["state-of-credentials"], steps["state-of-diagnosis"]) == ("失败", "失败")
    assert " ".join(steps["corp-state"].split()) == "失败 " + line.replace(" · ", " ")
    assert steps["corp-reach"] == "该公司的员工目前收不到任何消息。问题解决后，等待中的消息会自动发出。"
    assert '<a class="button" href="#credentials">更新 Secret</a>' in shown
    assert "接收消息。" not in shown
    overview = root.get("/admin/").context["overview"]
    assert [(one.value, one.tone) for one in overview["cards"][0][1] if one.tone] == [(line, "bad")]
    told = [one for one in overview["attentions"] if "北山制造" in one.sentence]
    assert [(one.sentence, one.url) for one in told] == [(f"“北山制造”：{line}", f"{page}#credentials")]
    refused = 'pill-bad">失败</span> <span class="meta">凭证被拒绝<'
    assert refused in root.get(reverse("admin:integrations_corp_changelist")).content.decode()


@pytest.mark.parametrize(
    ("fault", "cause", "remedy", "step"),
    [
        ({"kind": "ip_refused"}, "服务器 IP 被拒绝", "添加企业可信IP", "trusted_ip"),
        ({"kind": "errcode", "code": 48006}, "调用被拒绝（48006）", "运行诊断", "diagnosis"),
        ({"kind": "close_before"}, "企业微信没有响应", "测试连接", "credentials"),
    ],
)
def test_each_refusal_names_its_cause_and_its_remedy(
    root: Client, corp: Corp, push: Subscription, wecom_sandbox: Sandbox, fault: Any, cause: str, remedy: str, step: str
) -> None:
    wecom_sandbox.fault(endpoint="message/send", **fault)

    send(ask_for_run(push))

    [refusal] = checks.find_refusals([corp]).values()
    line = f"{cause} · 自 HH:MM 起有 2 人次在等待 · {remedy}"
    assert (refusal.cause, untimed(refusal.line), refusal.anchor) == (cause, line, step)


def test_a_message_without_an_answer_does_not_speak_for_a_company_that_answers_since(
    corp: Corp, push: Subscription, wecom_sandbox: Sandbox
) -> None:
    wecom_sandbox.fault(endpoint="message/send", kind="close_before", count=1)
    send(ask_for_run(push))
    assert checks.find_refusals([corp])[corp.pk].cause == "企业微信没有响应"

    send(ask_for_run(push))

    assert Delivery.objects.unsettled().count() == 1
    assert checks.find_refusals([corp]) == {}


def test_a_secret_that_is_refused_at_sign_in_is_said_though_nobody_waits_for_a_message(
    root: Client, corp: Corp, wecom_sandbox: Sandbox
) -> None:
    reset_secret(wecom_sandbox)

    with pytest.raises(ConfigurationError):
        wecom_client(corp).user_get("LiLei")

    assert untimed(checks.find_refusals([corp])[corp.pk].line) == "凭证被拒绝 · HH:MM 前不再请求 · 更新 Secret"


def test_what_is_mended_is_said_at_once_where_no_message_waits(corp: Corp) -> None:
    CorpQueue.objects.create(corp=corp, blocked_since=timezone.now(), blocked_errcode=40001)
    assert checks.find_refusals([corp])[corp.pk].cause == "凭证被拒绝"
    hooks.calls().probe_company_at_once(corp.pk, timezone.now())
    assert checks.find_refusals([corp]) == {}
