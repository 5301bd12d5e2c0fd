"""Templates reach only what they are given, and none uses up time or memory."""

import contextlib

import pytest
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from notifications.reports.templates import renderer
from notifications.reports.templates.values import TemplateError
from tests.notifications.reports.tables import given, one_cell, sales

# From PayloadsAllTheThings and HackTricks (for Jinja2 and other engines), and our own: some of each way.
ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ true.__class__ }}",
    "{{ [].append(1) }}",
    "{{ sales.__class__ }}",
    "{{ sales['__class__'] }}",
    "{{ sales._table }}",
    "{{ sales.sum.__globals__ }}",
    "{{ sales.sum._call }}",
    "{{ sales.sum.func }}",
    "{{ sales.sum.args }}",
    "{{ sales.sum.keywords }}",
    "{{ sales.rows[0].__init__ }}",
    "{{ sales.rows[0]._row }}",
    "{{ sales.rows[0]['__class__'] }}",
    "{{ ['a', 'b']|join_texts }}",
    "{{ ['a', 'b']|_join_texts }}",
    "{{ sales.as_of.__class__ }}",
    "{{ sales.as_of.tzinfo }}",
    "{{ sales.as_of.replace(year=1) }}",
    "{{ today.strftime('%Y') }}",
    "{{ last_week.__dict__ }}",
    "{{ change.__call__ }}",
    "{{ change.func }}",
    "{{ change(1, 2).__class__ }}",
    "{{ self.__init__.__globals__.__builtins__.__import__('os').popen('id').read() }}",
    "{{ self._TemplateReference__context }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ _rendering }}",
    "{{ context }}",
    "{{ loop }}",
    "{{ range(10) }}",
    "{% for x in sales.rows %}{{ loop.__class__ }}{% endfor %}",
    "{% for x in sales.rows %}{{ loop._iterable }}{% endfor %}",
    "{% for x in sales.rows %}{{ loop.previtem }}{% endfor %}",
    "{% for x in sales.rows recursive %}{{ loop(sales.rows) }}{% endfor %}",
    "{% for x in sales.rows %}{{ loop.cycle(1, 2) }}{% endfor %}",
    "{% for x in 'abc' %}{% endfor %}",
    "{% for a, b in sales.rows %}{% endfor %}",
    "{% import 'os' as os %}",
    "{% from 'os' import popen %}",
    "{% include '/etc/passwd' %}",
    "{% extends 'base.html' %}",
    "{% macro m() %}{% endmacro %}",
    "{% call m() %}{% endcall %}",
    "{% block b %}{% endblock %}",
    "{% filter upper %}x{% endfilter %}",
    "{% set x %}y{% endset %}",
    "{% set _x = 1 %}",
    "{% for row in sales.rows|_charge_rounds %}{% endfor %}",
    "{% set a, b = 1, 2 %}",
    "{% set ns.x = 1 %}",
    "{% autoescape false %}x{% endautoescape %}",
    "{% raw %}{% endraw %}{% do sales %}",
    "{% with x = 1 %}{% endwith %}",
    "{{ '%s' % sales }}",
    "{{ '{0.__class__}'.format(sales) }}",
    "{{ 'a'|format }}",
    "{{ 'a'|map('upper') }}",
    "{{ sales.rows|map(attribute='__class__')|list }}",
    "{{ 'x'|safe }}",
    "{{ sales is callable }}",
    "{{ sales.sum(*['销售额']) }}",
    "{{ sales.sum(**{'column': '销售额'}) }}",
    "{{ {'a': 1} }}",
    "{{ [sales] }}",
    "{{ sales.rows[0:2] }}",
    "{{ 'abc'[0] }}",
    "{{ '\\N{LATIN SMALL LETTER A}'.upper() }}",
    "{{ 1.real }}",
]
# Templates that would exhaust time or memory without limits.
BOMBS = [
    "{{ 'a' * 10000000000 }}",
    "{{ ['a'] * 10000000000 }}",
    "{{ 10 ** 10 ** 10 }}",
    "{{ 9 // 0 }}",
    "{{ '%0999999999d' % 1 }}",
    "{{ 'a'|center(10000000000) }}",
    "{{ range(10000000000)|list }}",
    "{% for i in range(10000000000) %}x{% endfor %}",
    "{% set a = 'aaaaaaaaaa' %}" + "{% set a = a ~ a %}" * 60 + "{{ a }}",
    "{% set a = 10 %}" + "{% set a = a * a %}" * 60 + "{{ a }}",
    "{% set a = 10 %}" + "{% set a = a + a %}" * 200 + "{{ a }}",
    "{{ " + "9" * 5000 + " }}",
    "{{ " + "9" * 100 + " + 1 }}",
    "{{ " + "(" * 2000 + "1" + ")" * 2000 + " + foo }}",
    "{{ " + "not " * 2000 + "1 }}",
    "{{ 1" + " + 1" * 2000 + " }}",
    "{{ sales" + ".head(5)" * 1000 + ".count }}",
    "{% if 1 %}" * 300 + "{% endif %}" * 300,
    "x" * 10_001,
    "".join(f"{{% for r{n} in sales.rows %}}" for n in range(7)) + "x" + "{% endfor %}" * 7,
    "".join(f"{{% for r{n} in sales.rows %}}" for n in range(12)) + "{% endfor %}" * 12,
    "{% for a in sales.rows %}{% for b in sales.rows %}{% set x = sales.sum('销售额') %}{% endfor %}{% endfor %}" * 90,
    "{{ 1|round(1000000000) }}",
    "{{ 1|thousands(1000000000) }}",
    "{{ today|days(99999999999) }}",
    "{{ today + 99999999999 }}",
    "{{ today|date('" + "Y" * 5000 + "') }}",
    "{% for r in sales.rows %}{{ '" + "x" * 9000 + "' }}{% endfor %}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_no_template_reaches_beyond_what_it_is_given(source: str) -> None:
    with pytest.raises(TemplateError):
        renderer.render_template(source, given(), "markdown")


@pytest.mark.parametrize("source", BOMBS, ids=range(len(BOMBS)))
def test_no_template_keeps_the_machine_busy(source: str) -> None:
    """Templates that would need more time or memory than there is are refused."""
    with pytest.raises(TemplateError):
        renderer.render_template(source, given(sales(days=1000)), "text")


@pytest.mark.parametrize("source", [*ESCAPES[::20], "{{ 7*7 }}", "{% if 1 %}x{% endif %}", "{# x #}"])
def test_what_stands_in_a_cell_is_never_a_template(source: str) -> None:
    shown = renderer.render_template("{{ sales.value('名称') }}", given(one_cell(source)), "")

    assert shown == source


@settings(deadline=None)
@examples(st.text(st.sampled_from(list("{}%#|()[]'\"._ -+*/~=<>0a\n")) | st.characters(), max_size=60))
def test_any_text_is_rendered_or_refused(text: str) -> None:
    for source in (text, f"{{{{ {text} }}}}", f"{{% {text} %}}"):
        with contextlib.suppress(TemplateError):
            renderer.render_template(source, given(), "text")
