"""Panels as files."""

import pytest

from batchlab.report.export import export_panel
from batchlab.report.panel import Axis, Panel, Trace, colours

PANEL = Panel(
    "seconds",
    "time to the target by batch size",
    Axis("batch size", is_log=True),
    Axis("seconds", is_log=True),
    [
        Trace("measured", [16, 256, 4096], [2.7, 0.6, 2.0], [2.5, 0.5, 1.8], [2.9, 0.7, 2.3], style="points"),
        Trace("law", [16, 256, 4096], [2.6, 0.6, 2.1], style="line"),
        Trace("law", [4096, 8192], [2.1, 4.0], style="line", is_dashed=True),
        Trace("sure", [16, 4096], [2.6, 2.1], [2.0, 1.9], [3.0, 2.5], style="band"),
    ],
)


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_panel_becomes_a_file_of_the_format_and_the_same_one_again(tmp_path, suffix, start):
    first, again = (export_panel(PANEL, tmp_path / name, (suffix,))[0] for name in ("first", "again"))
    assert first.name == f"seconds.{suffix}"
    assert first.read_bytes().startswith(start)
    assert first.read_bytes() == again.read_bytes()


def test_an_svg_names_what_it_shows(tmp_path):
    (path,) = export_panel(PANEL, tmp_path, ("svg",))
    text = path.read_text()
    for words in ("time to the target by batch size", "batch size", "seconds", "measured", "law"):
        assert words in text  # as comments beside the glyphs


def test_traces_of_one_name_share_a_colour():
    found = colours(PANEL)
    assert list(found) == ["measured", "law", "sure"]
    assert len(set(found.values())) == 3


def test_names_stand_beside_their_points(tmp_path):
    panel = Panel(
        "arms", "accuracy", Axis(""), Axis("test accuracy"), [Trace("arms", ["small", "lr_scaled"], [0.8, 0.9])]
    )
    (path,) = export_panel(panel, tmp_path, ("svg",))
    text = path.read_text()
    assert "lr scaled" in text
    assert "test accuracy" in text
