"""Draws charts and nothing else, in as many processes as are told: what `chart_push` is compared with.

`python -m benchmarks.chart_loop {library,ours} KIND CHARTS PROCESSES` prints JSON. `library`: one call of vl-convert
for each PNG, of the spec or of the SVG that we write ourselves, with the font as it is packaged. `ours`: the product's
own drawing, PNG and SVG.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from importlib import resources
from typing import Any

import django
from django.utils import translation

from benchmarks.chart_specs import LANGUAGE, spec_of


def draw(drawer: str, kind: str, people: range) -> tuple[float, float, float]:
    """When the first and the last were drawn, by the system's clock, and the processor's time; one before them has
    warmed it up."""
    one = _drawn_by(drawer)
    one(spec_of(kind, -1))
    started, before = time.time(), time.process_time()
    for person in people:
        one(spec_of(kind, person))
    return started, time.time(), time.process_time() - before


def _drawn_by(drawer: str) -> Any:
    django.setup()
    from notifications.charts import renderer, theme

    translation.activate(LANGUAGE)
    if drawer == "ours":
        return lambda spec: renderer.draw(spec, scale=theme.SCALE)
    import vl_convert  # a process that has it must not be forked

    vl_convert.register_font_directory(str(resources.files("noto_cjk_sans_otc")))
    return lambda spec: (
        vl_convert.svg_to_png(spec["svg"], scale=theme.SCALE)
        if "svg" in spec
        else vl_convert.vegalite_to_png(spec, scale=theme.SCALE, allowed_base_urls=[])
    )


def main() -> int:
    drawer, kind, charts, processes = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    shares = [range(first, charts, processes) for first in range(processes)]
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        times = list(pool.map(draw, [drawer] * processes, [kind] * processes, shares))
    seconds = max(end for _start, end, _used in times) - min(start for start, _end, _used in times)
    milliseconds = sum(used for _start, _end, used in times) / charts * 1000
    print(json.dumps({"a_second": round(charts / seconds, 2), "processor_milliseconds": round(milliseconds, 1)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
