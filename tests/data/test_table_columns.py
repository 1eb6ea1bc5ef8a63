"""Tables as people bring them: what is read, what is refused with its fix, and what is said."""

import numpy as np
import pandas as pd
import pytest

from batchlab.errors import ConfigErrors
from tests.data.tables import fact, load, load_as_told, typed, write


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda lines, sep: [lines[0], *(line + sep for line in lines[1:])],
            "rows have 4 cells, the header has 3 names",
        ),
        (lambda lines, sep: [*lines[:5], lines[5] + sep, *lines[6:]], "row 5 has 4 cells, the header has 3 names"),
        (lambda lines, sep: [*lines[:5], "1" + sep + "2", *lines[6:]], "row 5 has 2 cells, the header has 3 names"),
        (lambda lines, sep: [*lines[:5], "1", "2", *lines[7:]], "row 5 has 1 cell, the header has 3 names (2 of 200"),
    ],
)
def test_rows_with_other_numbers_of_cells_than_names_are_refused(frame, tmp_path, suffix, change, said):
    path = write(frame, tmp_path / "t", suffix)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(change(lines, "\t" if suffix == ".tsv" else ",")) + "\n")
    with pytest.raises(ConfigErrors) as refused:
        load(path)
    assert said in str(refused.value)


def test_empty_lines_and_lines_within_quotes_are_no_odd_rows(frame, tmp_path):
    path = write(frame.assign(a="two\nlines, one cell", b=frame.b), tmp_path / "t")
    path.write_text(path.read_text() + "\n  \n")
    assert len(load(path).train) == 139


@pytest.mark.parametrize(
    ("header", "said"),
    [("a,a,y", "several columns have the same name: a"), ("0.5,-1.25,1", "not like names of columns: 0.5, -1.25, 1")],
)
def test_names_that_repeat_or_are_no_names_are_refused(frame, tmp_path, header, said):
    path = write(frame, tmp_path / "t")
    path.write_text(header + "\n" + path.read_text().partition("\n")[2])
    with pytest.raises(ConfigErrors, match=said):
        load(path)


def test_integers_are_names(frame, tmp_path):
    path = write(frame.set_axis(range(3), axis=1), tmp_path / "t")
    assert load(path, 2, drop=[0]).input_shape == (1,)
    assert load(path, "`2` > 0", group=None).input_shape == (2,)


@pytest.mark.parametrize("words", [("None", "Mild", "Severe"), ("NA", "EU", "AS"), ("null", "nan", "x")])
def test_words_of_a_text_target_are_classes_unless_they_are_said_to_be_missing(frame, tmp_path, words):
    first = words[0]
    path = write(
        frame.assign(y=[words[row % 3] for row in range(200)]).mask(frame.index.to_series() == 7), tmp_path / "t"
    )
    data = load(path)
    assert "1 of 200 rows dropped: no target, y is missing" in data.facts
    assert f"3 classes {', '.join(sorted(words))}" in fact(data, "classification")
    assert f"y {first} (67)" in fact(data, "words, not missing")
    missing = typed(fact(data, "words, not missing").partition("mean missing: ")[2])["missing"]
    data = load(path, missing=[word for word in missing if word == first])
    assert data.num_classes == 2
    assert f"y {first} (67)" in fact(data, "taken as missing")
    assert "68 of 200 rows dropped" in fact(data, "rows dropped")


@pytest.mark.parametrize("word", ["?", "NA", "nan", "null", " ?", "n.d."])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_few_words_among_numbers_are_refused_and_the_fix_makes_them_missing(frame, tmp_path, word, suffix):
    is_word = frame.index < 5
    path = write(frame.assign(a=frame.a.astype(str).mask(is_word, word)), tmp_path / "t", suffix)
    said, data = load_as_told(path)
    assert f"a looks like a number (5 cells: {word})" in said
    assert data.digest == load(write(frame.assign(a=frame.a.mask(is_word)), tmp_path / "empty")).digest


def test_a_number_that_means_missing_can_be_typed(frame, tmp_path):
    numbers = frame.a.where(frame.index >= 5, -999)
    data = load(write(frame.assign(a=numbers), tmp_path / "t"), missing=[-999])
    assert data.digest == load(write(frame.assign(a=frame.a.where(frame.index >= 5)), tmp_path / "empty")).digest
    assert "no cell holds n/a (data.missing)" in load(tmp_path / "t.csv", missing=["n/a"]).facts


def test_a_target_of_numbers_with_words_is_mended_before_it_is_evaluated(frame, tmp_path):
    path = write(frame.assign(a=frame.a.astype(str).mask(frame.index < 5, "?")), tmp_path / "t")
    said, data = load_as_told(path, "a > 0")
    assert said.count("Type") == 1
    assert "5 of 200 rows dropped" in fact(data, "rows dropped")


def test_few_numbers_with_a_word_stay_words_and_are_said(frame, tmp_path):
    children = ["3+" if row % 40 == 3 else str(row % 3) for row in range(200)]
    data = load(write(frame.assign(a=children), tmp_path / "t"))
    assert "a looks like a number (5 cells: 3+), taken as text" in data.facts


@pytest.mark.parametrize("write_number", ["{:,.0f}", "{:.1f}%", "${:,.2f}"])
def test_numbers_with_signs_are_refused_as_columns_and_as_target(frame, tmp_path, write_number):
    values = [write_number.format(1000 + 37.1 * row) for row in range(200)]
    path = write(frame.assign(a=values), tmp_path / "t")
    said, data = load_as_told(path)
    assert "a (looks like a number written as " in said
    assert data.input_shape == (1,)
    with pytest.raises(ConfigErrors, match=r"data\.target=a: it looks like a number written as"):
        load(path, "a")


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d/%m/%Y", "%Y-%m-%dT%H:%M", "%d %b %Y"])
def test_dates_are_refused_from_csv_as_from_parquet(frame, tmp_path, form):
    dated = frame.assign(when=pd.date_range("2024-01-01", periods=200))
    said, data = load_as_told(write(dated.assign(when=dated.when.dt.strftime(form)), tmp_path / "t"))
    assert "when (looks like a date)" in said
    other, same = load_as_told(write(dated, tmp_path / "t", ".parquet"))
    assert "when (datetime64)" in other
    assert data.digest == same.digest


def test_mistakes_of_several_columns_are_one_message(frame, tmp_path):
    odd = frame.assign(when="2024-01-01", c=frame.a.astype(str).mask(frame.index < 5, "?"))
    said, _ = load_as_told(write(odd, tmp_path / "t"), drop=["aa"])
    assert said.count("Type") == 2


def test_columns_that_look_like_ids_copies_or_leaks_are_named_and_the_fix_drops_them(frame, tmp_path):
    odd = frame.assign(
        id=np.arange(200) * 7, code=[f"c{row}" for row in range(200)], twin=frame.a, told=np.where(frame.y, "yes", "no")
    )
    data = load(write(odd.assign(delay=frame.y * 5 + frame.b.rank() / 1000), tmp_path / "t"))
    assert fact(data, "as an id has").startswith("id, code: ")
    assert fact(data, "the content of another column").startswith("twin: ")
    assert fact(data, "gives the target").startswith("told, delay: ") or fact(data, "gives the target").startswith(
        "delay"
    )
    for said in ("as an id has", "the content of another column", "gives the target"):
        names = typed(fact(data, said).partition("without: ")[2])["drop"]
        left = load(tmp_path / "t.csv", drop=names)
        assert not [line for line in left.facts if said in line]


def test_a_column_that_gives_a_number_as_a_line_is_named(frame, tmp_path):
    data = load(write(frame.assign(y=frame.b * 60 - 3), tmp_path / "t"))
    assert fact(data, "gives the target").startswith("b: ")


def test_ordinary_columns_are_not_suspected(frame, tmp_path):
    data = load(write(frame.assign(kind=[["u", "v"][row % 7 < 3] for row in range(200)]), tmp_path / "t"))
    assert not [line for line in data.facts if "id has" in line or "another column" in line or "gives the" in line]
    assert not [line for line in data.facts if "copies" in line]
    assert "3 features: numbers a, b; text kind (2 words)" in data.facts


def test_integers_of_many_values_are_said_to_be_numbers_and_can_be_classes(frame, tmp_path):
    path = write(frame.assign(y=np.arange(200) % 30), tmp_path / "t")
    said = fact(load(path), "taken as numbers")
    assert said == "y: integers with 30 values, taken as numbers; classes: data.task=classification"
    assert load(path, **typed(said.partition("classes: ")[2])).num_classes == 30


def test_class_names_stand_as_they_are(frame, tmp_path):
    data = load(write(frame.assign(y=12_345_678 + frame.y), tmp_path / "t"))
    assert "2 classes 12345678, 12345679" in fact(data, "classification")


@pytest.mark.parametrize("name", ["class", "petal length (cm)", "two words", "None"])
def test_odd_names_work_in_target_and_drop(frame, tmp_path, name):
    path = write(frame.rename(columns={"a": name}), tmp_path / "t")
    assert load(path, drop=[name]).input_shape == (1,)
    assert load(path, name).num_classes is None
    said, data = load_as_told(path, f"{name} > 0")
    assert f"`{name}` > 0" in said
    assert data.num_classes == 2


@pytest.mark.parametrize("beside", ["num.csv", "num.parquet", "num.tsv.gz"])
def test_a_path_without_its_ending_is_offered_with_it(frame, tmp_path, beside):
    (tmp_path / beside).write_text("")
    with pytest.raises(ConfigErrors) as refused:
        load(tmp_path / "num")
    assert refused.value.errors[0].fix == f"data.path={tmp_path / beside}"


def test_a_number_that_is_the_same_in_every_row_is_no_target(frame, tmp_path):
    with pytest.raises(ConfigErrors, match=r"it is 7\.5 in every row: nothing can be learned"):
        load(write(frame.assign(y=7.5), tmp_path / "t.csv"), "y", task="regression")
