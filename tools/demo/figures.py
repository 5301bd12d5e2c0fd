"""The invented figures of the demo's company: sales, stock and overdue receivables, by day up to yesterday.

A figure depends on its day and place alone, so a demo that starts again on another day shows the same past. Yesterday
is the exception: its sales are ordinary and one of its stocks is short, so that exactly one of the two alerts fires.
"""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import Any

REGIONS = ("华东区", "华南区", "华北区", "西南区")
# Sales of an ordinary day in yuan.
_DAILY_SALES = dict(zip(REGIONS, (486_000, 362_000, 314_000, 228_000), strict=True))
_YUAN_PER_ORDER = 164
SALES_DAYS, STOCK_DAYS, OVERDUE_DAYS = 62, 45, 30
# Sales in yuan. A day below it counts as slow: on one day in ten a third of the sales is missing.
SLOW_SALES = 1_150_000
_WAREHOUSES = ("上海仓", "广州仓", "北京仓", "成都仓")
_PRODUCTS = {"常温乳品": 9_400, "冷藏乳品": 3_100, "饮料": 12_600}
# A stock that lasts for fewer days is short.
SHORT_STOCK_DAYS = 3
_TOWNS = ("南塘", "西岭", "北桥", "东汇", "长汀", "白渡")
_TRADES = dict(zip(REGIONS, ("超市", "便利店", "商贸", "生鲜"), strict=True))


def make_sales_rows(today: date) -> list[dict[str, Any]]:
    """Return a row for each day and region with 日期, 区域, 销售额 in yuan and 订单数."""
    rows = []
    for day in _list_days_before(today, SALES_DAYS):
        is_slow = day.toordinal() % 10 == 3 and day != today - timedelta(days=1)
        weekday_factor = 1.18 if day.weekday() >= 5 else 0.96 + 0.02 * day.weekday()
        for region, usual in _DAILY_SALES.items():
            generator = _make_random("sales", day, region)
            sales = round(usual * weekday_factor * (0.66 if is_slow else 1) * generator.uniform(0.95, 1.06))
            orders = round(sales / _YUAN_PER_ORDER * generator.uniform(0.97, 1.03))
            rows.append({"日期": day.isoformat(), "区域": region, "销售额": sales, "订单数": orders})
    return rows


def make_stock_rows(today: date) -> list[dict[str, Any]]:
    """Return a row for each day, warehouse and product group with 日期, 仓库, 品类, 库存箱数 and 可售天数."""
    rows = []
    for day in _list_days_before(today, STOCK_DAYS):
        for place, warehouse in enumerate(_WAREHOUSES):
            for product, usual in _PRODUCTS.items():
                generator = _make_random("stock", day, warehouse, product)
                # A delivery comes each week; until then the stock shrinks.
                days_of_stock = 11.5 - (day.toordinal() + 2 * place) % 7 + generator.uniform(-0.6, 0.6)
                is_late = day.toordinal() % 10 == 6 or day == today - timedelta(days=1)
                if is_late and (warehouse, product) == ("成都仓", "冷藏乳品"):
                    days_of_stock = generator.uniform(1.6, 2.6)
                boxes = round(usual * days_of_stock / 9)
                row = {"日期": day.isoformat(), "仓库": warehouse, "品类": product}
                rows.append(row | {"库存箱数": boxes, "可售天数": round(days_of_stock, 1)})
    return rows


def make_overdue_rows(today: date) -> list[dict[str, Any]]:
    """Return a row for each day and customer that owes money, with 日期, 区域, 客户, 逾期金额 in yuan and 逾期天数."""
    rows = []
    for day in _list_days_before(today, OVERDUE_DAYS):
        for region, trade in _TRADES.items():
            for place, town in enumerate(_TOWNS):
                generator = _make_random("overdue", region, town)
                # Each customer pays after a cycle of its own; between payments debt and delay grow by the day.
                days = (day.toordinal() + generator.randrange(40)) % (16 + 5 * place)
                if days:
                    debt = round(generator.uniform(1_800, 9_600) * (1 + days / 12), 2)
                    row = {"日期": day.isoformat(), "区域": region, "客户": town + trade}
                    rows.append(row | {"逾期金额": debt, "逾期天数": days})
    return rows


def _list_days_before(today: date, count: int) -> list[date]:
    """Return the last `count` days before today, oldest first."""
    return [today - timedelta(days=number) for number in range(count, 0, -1)]


def _make_random(*place: object) -> random.Random:
    return random.Random("|".join(map(str, place)))  # noqa: S311  # invents figures, guards nothing
