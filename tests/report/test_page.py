"""The page as text: what stands in it, and that it needs nothing else."""

import json
import math
import re

import pytest

from batchlab.report.page import embedded, estimate_text, number, page_of
from batchlab.report.study_page import contents_of


def drawn(study):
    return page_of(*contents_of(study, lambda run_ids, metrics: {}))


@pytest.fixture
def page(grid):
    return drawn(grid)


def test_every_panel_has_its_place_and_its_figure(page):
    sections = re.findall(r'<section id="panel-(\w+)"', page)
    assert sections == ["answer", "score", "seconds", "pareto", "throughput", "step_time", "provenance"]
    data = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, flags=re.DOTALL)
    assert set(json.loads(data[1])["figures"]) == set(sections) - {"answer", "provenance"}


def test_the_page_asks_for_nothing(page):
    without_scripts = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r'(src|href)="(?!data:|figures/)', without_scripts)
    assert "@import" not in without_scripts
    assert page.count("plotly.js v") == 1


def test_the_same_records_give_the_same_page(grid, page):
    assert drawn(grid) == page


def test_the_answer_stands_before_every_figure(page):
    assert page.index("batch size <b>128</b>") < page.index('id="panel-score"')
    assert "python train.py batch_size=128 lr=0.1" in page


def test_a_name_cannot_end_the_script_it_stands_in():
    text = embedded({"hover": "</script><b>", "value": math.nan})
    assert "</script>" not in text
    assert json.loads(text) == {"hover": "</script><b>", "value": None}


def test_numbers_are_short():
    assert [number(value) for value in (None, 64, 10.0, 5.6854, 1234.5)] == ["–", "64", "10", "5.69", "1,234"]
    assert estimate_text({"mean": 0.5, "low": None, "n": 1}, 4) == "0.5000"
    assert estimate_text({"mean": 0.5, "low": 0.4, "n": 3}) == "0.500 ± 0.100"
    assert estimate_text(None) == "–"
