"""Alert rules and dashboard: they name existing metrics, and each rule links to its instructions, in both languages."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

import guanwecom.operations.middleware  # noqa: F401  # registers its counters, as the start of web does
from guanwecom.operations.middleware import _MONITOR_VIEWS
from tests.guanwecom.operations.conftest import read_metrics, ticked
from tests.programs import needs, run_program

DEPLOY = Path(settings.BASE_DIR) / "deploy"
_NAME = re.compile(r"\bguanwecom_[a-z_]+")


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text(encoding="utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((DEPLOY / "grafana" / "guanwecom.json").read_text(encoding="utf-8"))[
        "panels"
    ]
    return found


@pytest.fixture
def names(settings: Settings, running: None) -> set[str]:
    """Names that may occur in an expression."""
    ticked()
    found: set[str] = set()
    for family in text_string_to_metric_families(read_metrics(settings)):
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
        found |= {f"{family.name}{suffix}" for suffix in suffixes}
    return found


def test_rules_and_dashboard_name_metrics_that_there_are(names: set[str]) -> None:
    expressions = [rule["expr"] for rule in rules()]
    expressions += [target["expr"] for panel in panels() for target in panel["targets"]]
    assert {name for expression in expressions for name in _NAME.findall(expression)} - names == set()
    assert {name for rule in rules() for name in _NAME.findall(rule["annotations"]["runbook_url"])} == {
        "guanwecom_site_info"
    }
    assert len({panel["id"] for panel in panels()}) == len(panels())


@pytest.mark.parametrize("alert", ["GuanwecomHttpErrors", "GuanwecomHttpSlow"])
def test_what_monitors_are_answered_is_neither_an_error_nor_quick(alert: str) -> None:
    [expression] = [rule["expr"] for rule in rules() if rule["alert"] == alert]

    left_out = re.findall(r'view!~"([a-z|]+)"', expression)

    assert [set(views.split("|")) for views in left_out] == [_MONITOR_VIEWS] * expression.count("guanwecom_http")


@pytest.mark.parametrize("tree", ["en", "zh-cn"])
def test_each_rule_has_its_paragraph_and_leads_there(tree: str) -> None:
    guide = (Path(settings.BASE_DIR) / "docs" / tree / "alarms.md").read_text(encoding="utf-8")
    paragraphs = dict(re.findall(r"^## (\w+)\n\n(.+?)(?=\n\n## |\Z)", guide, re.S | re.M))

    assert list(paragraphs) == [rule["alert"] for rule in rules()]
    assert min(map(len, paragraphs.values())) > 30
    for rule in rules():
        assert f"docs/zh-cn/alarms.html#{rule['alert'].lower()}" in rule["annotations"]["runbook_url"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}


def promtool(*arguments: str, given: str = "") -> str:
    """Run promtool and return its output. Fail if it rejects its input."""
    done = run_program(["promtool", *arguments], cwd=DEPLOY / "prometheus", input=given)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs("promtool", package="prometheus")
def test_promtool_takes_the_rules_their_tests_and_the_metrics(settings: Settings, running: None) -> None:
    assert promtool("check", "metrics", given=read_metrics(settings)) == ""
    promtool("check", "rules", "rules.yml")
    promtool("test", "rules", "tests.yml")

    tests = yaml.safe_load((DEPLOY / "prometheus" / "tests.yml").read_text(encoding="utf-8"))["tests"]
    assert {rule["alert"] for rule in rules()} - {test["name"] for test in tests} == set()
