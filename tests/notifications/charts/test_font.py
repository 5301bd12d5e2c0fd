"""The copied font: it draws the same picture as the packaged one, and no foreign file is used."""

import multiprocessing
import resource
import tempfile
from concurrent.futures import ProcessPoolExecutor
from importlib import resources
from pathlib import Path

import pytest

from notifications.charts import drawing, renderer

# Ligatures, kerning, digits between letters, combining characters, and letters that differ by country.
TEXTS = ("日销售额 1,234.5万元", "office waffle ffi AVATAR a1b2", "e\u0301 か\u309a \u1112\u1161\u11ab 骨直返曜 ½ ①")
PACKAGED = Path(str(resources.files("noto_cjk_sans_otc")))


def draw_texts(folder: str, family: str) -> bytes:
    """Draw TEXTS. Call it in a separate process only."""
    import vl_convert  # a process that has it must not be forked

    vl_convert.register_font_directory(folder)
    lines = "".join(f'<text x="4" y="{30 * line + 24}">{text}</text>' for line, text in enumerate(TEXTS))
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="400" height="100" font-family="{family}">{lines}</svg>'
    png: bytes = vl_convert.svg_to_png(svg, scale=2)
    return png


def draw_in_process(folder: Path, family: str) -> bytes:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(draw_texts, str(folder), family).result(timeout=120)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("temporary")
def test_the_copy_draws_what_the_packaged_font_draws() -> None:
    packaged = draw_in_process(PACKAGED, drawing.USUAL_FONT)

    assert draw_in_process(renderer.prepare_font(), drawing.OWN_FONT) == packaged
    assert draw_in_process(Path("/nowhere"), drawing.OWN_FONT) != packaged


def test_the_copy_is_made_once_and_again_after_a_cleanup(temporary: Path) -> None:
    [file] = renderer.prepare_font().iterdir()
    before = file.stat().st_ino

    assert [one.stat().st_ino for one in renderer.prepare_font().iterdir()] == [before]

    file.unlink()
    assert [one.name for one in renderer.prepare_font().iterdir()] == [file.name]
    assert [one.stat().st_mode & 0o777 for one in temporary.iterdir()] == [0o700]


@pytest.mark.parametrize("obstacle", ["a link of somebody else", "a file", "a full disk"])
def test_without_a_copy_the_packaged_font_is_used(
    obstacle: str, temporary: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = renderer.prepare_font()
    if obstacle == "a full disk":
        next(folder.iterdir()).unlink()
    else:
        elsewhere = folder.rename(temporary / "elsewhere")
        folder.symlink_to(elsewhere) if obstacle == "a link of somebody else" else folder.write_text("")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
        found = renderer.prepare_font()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert found == PACKAGED
    assert "drawings take longer" in caplog.text
    assert obstacle != "a full disk" or list(folder.iterdir()) == []
