"""A report over a database of its own, and the worker that fetches its data."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from accounts.models import Attribute, AttributeValue, User
from integrations.models import Card, DataSource
from notifications.models import OwnRowsRule, Report, ReportCard, ReportChart
from tests.conftest import program_environ
from tests.e2e.stack import BIN, Program, running


@contextmanager
def data_worker(root: Path, folder: Path, env: dict[str, str] | None = None) -> Iterator[Program]:
    """Start the worker as docs/en/data-sources.md does. Without `env` it uses the test's database."""
    celery = [str(BIN / "celery"), "-A", "guanwecom", "worker", "-Q", "data", "-n", "data@%h", "--loglevel", "INFO"]
    command = [*celery, "--pool", "threads", "--concurrency", "2", "--without-mingle"]
    with running("data", command, env=env or program_environ(), folder=folder, cwd=root) as program:
        yield program


def sales_report(database: str) -> Report:
    """Create a report of sales by region with a chart, in which people see their own rows.

    `database` is the address of a PostgreSQL.
    """
    with psycopg.connect(database) as connection:
        connection.execute("DROP TABLE IF EXISTS sales")
        connection.execute("CREATE TABLE sales (区域 text, 门店 text, 销售额 double precision)")
        rows = [("华东", "上海", 128.5), ("华东", "杭州", 96), ("华南", "广州", 64)]
        connection.cursor().executemany("INSERT INTO sales VALUES (%s, %s, %s)", rows)
    source = DataSource.objects.create(name="数据仓库", kind="sql", sql_url=database, allows_private_addresses=True)
    card = Card.objects.create(source=source, name="门店销售额", sql="SELECT * FROM sales", units={"销售额": "万元"})
    body = "共 {{ sales.sum('销售额') }} 万元"
    report = Report.objects.create(title="销售日报", body=body, is_template=True, figures="")
    ReportCard.objects.create(report=report, card=card, alias="sales", title="门店销售额")
    ReportChart.objects.create(report=report, alias="sales", kind="bar", title="各门店销售额", x="门店", y="销售额")
    region = Attribute.objects.create(key="region", name="区域")
    OwnRowsRule.objects.create(report=report, alias="sales", column="区域", attribute=region)
    person = User.objects.create(username="hanmeimei", name="韩梅梅")
    AttributeValue.objects.create(user=person, attribute=region, value="华东", folded="华东", position=0)
    return report
