"""The prepared font: it draws the same picture as the packaged one, and no foreign file is used."""

from __future__ import annotations

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
PACKAGED = "Noto Sans CJK SC"


def picture(folder: str, family: str) -> bytes:
    """Draw TEXTS. Call it in a separate process only."""
    import vl_convert  # a process that has it must not be forked

    vl_convert.register_font_directory(folder)
    lines = "".join(f'<text x="4" y="{30 * line + 24}">{text}</text>' for line, text in enumerate(TEXTS))
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="400" height="100" font-family="{family}">{lines}</svg>'
    png: bytes = vl_convert.svg_to_png(svg, scale=2)
    return png


def drawn(folder: Path, family: str) -> bytes:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(picture, str(folder), family).result(timeout=120)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("temporary")
def test_draws_what_the_packaged_font_draws() -> None:
    packaged = drawn(Path(str(resources.files("noto_cjk_sans_otc"))), PACKAGED)

    assert drawn(renderer.folder(), drawing.PREPARED_FONT) == packaged
    assert drawn(Path("/nowhere"), "a font that nobody has") != packaged


@pytest.mark.usefixtures("temporary")
def test_is_prepared_once_and_again_where_it_was_cleaned_up() -> None:
    [file] = renderer.folder().iterdir()
    before = file.stat().st_ino

    assert [one.stat().st_ino for one in renderer.folder().iterdir()] == [before]

    file.unlink()
    assert [one.name for one in renderer.folder().iterdir()] == [file.name]


def test_takes_no_font_from_a_folder_that_somebody_else_laid(temporary: Path) -> None:
    ours = renderer.folder()
    assert ours.stat().st_mode & 0o777 == 0o700

    laid = ours.rename(temporary / "laid")
    ours.symlink_to(laid)

    assert renderer.folder() == Path(str(resources.files("noto_cjk_sans_otc")))


def test_draws_with_the_packaged_font_where_none_can_be_written(
    temporary: Path, caplog: pytest.LogCaptureFixture
) -> None:
    packaged = Path(str(resources.files("noto_cjk_sans_otc")))
    ours = renderer.folder()
    laid = ours.rename(temporary / "laid")
    ours.write_text("no folder")

    assert [renderer.folder(), renderer.folder()] == [packaged, packaged]

    assert len(caplog.messages) == 1
    assert "drawings take longer" in caplog.messages[0]
    ours.unlink()
    laid.rename(ours)
    assert renderer.folder() == ours


def test_a_full_disk_keeps_no_part_of_the_font(temporary: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        found = renderer.folder()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert found == Path(str(resources.files("noto_cjk_sans_otc")))
    [ours] = temporary.iterdir()
    assert list(ours.iterdir()) == []
