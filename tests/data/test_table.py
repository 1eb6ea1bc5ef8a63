import gzip

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from batchlab.data.table import load_table
from batchlab.errors import ConfigErrors


def _load(path, target="y", drop=(), task="auto", **changed):
    fractions = {"val_fraction": 0.2, "test_fraction": 0.2, "split_seed": 0, **changed}
    return load_table(str(path), target, list(drop), task, **fractions)


@pytest.fixture
def frame():
    random = np.random.default_rng(0)
    columns = {
        "height": random.normal(5, 3, 200),
        "gaps": np.where(np.arange(200) % 5, random.normal(size=200), np.nan),
        "flag": random.random(200) < 0.5,
        "word": [["red", "green", None][number % 3] for number in range(200)],
        "same": 7,
        "y": np.arange(200) % 4 == 0,
    }
    return pd.DataFrame(columns)


def _write(frame, folder, name="t.csv"):
    frame.to_csv(folder / name, index=False, sep="\t" if ".tsv" in name else ",")
    return folder / name


@pytest.fixture
def flights(tmp_path):
    """Flights of which a fifth is late, some were cancelled, and whose other delays tell the target."""
    random, n = np.random.default_rng(0), 2000
    late = np.where(np.arange(n) % 5 == 0, random.integers(16, 200, n), random.integers(-30, 16, n))
    delay = pd.Series(late).where(np.arange(n) % 40 != 0).astype("Int64")
    columns = {
        "UniqueCarrier": np.array(list("ABCDEFGHIJKLMNO"))[np.arange(n) % 15],
        "AirTime": random.normal(110, 60, n).round(),
        "ArrDelay": delay,
        "DepDelay": delay + 1,
        "ActualElapsedTime": delay + 120,
    }
    return _write(pd.DataFrame(columns), tmp_path, "flights.csv.gz")


def test_late_flights_are_a_fifth_and_their_delay_is_no_feature(flights):
    data = _load(flights, "ArrDelay > 15", ["DepDelay", "ActualElapsedTime"])
    facts = "\n".join(data.facts)
    assert "50 of 2,000 rows dropped" in facts
    assert "majority class rate .82" in facts  # every fifth, less the cancelled ones, all of which would be among them
    features = facts[facts.index(" features:") : facts.index(" inputs:")]
    assert "AirTime" in features
    assert "Delay" not in features
    assert "Elapsed" not in features
    assert sum(len(split) for split in (data.train, data.val, data.test)) == 1950
    assert data.train.inputs[:].isfinite().all()


def test_delay_in_minutes_is_a_regression_and_the_carrier_a_classification(flights):
    delay = _load(flights, "ArrDelay")
    assert delay.num_classes is None
    assert delay.train.targets.dtype == torch.float32
    assert _load(flights, "UniqueCarrier").num_classes == 15


def test_formats_give_the_same_data(frame, tmp_path):
    paths = [_write(frame, tmp_path, name) for name in ("t.csv", "t.csv.gz", "t.tsv", "t.tsv.gz")]
    frame.to_parquet(tmp_path / "t.parquet")
    (tmp_path / "t.parquet.gz").write_bytes(gzip.compress((tmp_path / "t.parquet").read_bytes()))
    digests = {_load(path).digest for path in [*paths, tmp_path / "t.parquet", tmp_path / "t.parquet.gz"]}
    assert len(digests) == 1


def test_classes_have_the_same_share_in_each_split(frame, tmp_path):
    data = _load(_write(frame, tmp_path))
    for split in (data.train, data.val, data.test):
        assert split.targets.float().mean() == 0.25


def test_numbers_are_standardised_marked_where_missing_and_text_has_its_own_missing(frame, tmp_path):
    data = _load(_write(frame, tmp_path))
    # height, gaps, flag, one mark of missing gaps, three words
    assert data.input_shape == (7,)
    numbers, words = data.train.inputs[:, :4], data.train.inputs[:, 4:]
    torch.testing.assert_close(numbers.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(numbers.std(0, correction=0), torch.ones(4), atol=1e-5, rtol=0)
    assert torch.equal(words.sum(1), torch.ones(len(words)))
    assert any("constant columns left out: same" in fact for fact in data.facts)


def test_preprocessing_is_fitted_on_training_rows_alone(frame, tmp_path):
    before = _load(_write(frame, tmp_path))
    held_out = ~np.isin(frame["height"], _heights_of_training(frame, before))
    changed = frame.assign(height=frame["height"].mask(held_out, 1e6), word=frame["word"].mask(held_out, "new"))
    after = _load(_write(changed, tmp_path))
    assert 0 < held_out.sum() < len(frame)
    assert torch.equal(before.train.inputs[:], after.train.inputs[:])
    assert not torch.equal(before.val.inputs[:], after.val.inputs[:])
    assert (after.val.inputs[:, 4:] == 0).all(), "a word that training rows lack is no category"


def _heights_of_training(frame, data):
    # the standardised height keeps its order: the training rows are those whose affine map fits the inputs
    from batchlab.data.dataset import split_indices

    targets = torch.from_numpy(frame["y"].to_numpy(dtype=np.int64))
    train = split_indices(targets, 0.2, 0.2, 0)[0]
    heights = frame["height"].to_numpy()[train]
    expected = (heights - heights.mean()) / heights.std()
    np.testing.assert_allclose(data.train.inputs[:, 0], expected, atol=1e-5)
    return heights


def test_rare_words_share_a_column(tmp_path):
    words = [f"word{number % 120}" for number in range(1200)]
    frame = pd.DataFrame({"word": words, "y": np.arange(1200) % 7 < 2})
    assert _load(_write(frame, tmp_path)).input_shape == (50,)


@pytest.mark.parametrize(
    ("values", "task", "num_classes"),
    [
        (np.arange(200) % 20, "auto", 20),
        (np.arange(200) % 21, "auto", None),
        (np.arange(200) % 3 / 2, "auto", None),
        (np.arange(200) % 3 / 2, "classification", 3),
        (np.arange(200) % 3, "regression", None),
        (np.where(np.arange(200) % 2, "a", "b"), "auto", 2),
        (np.where(np.arange(200) % 9, np.arange(200) % 2, np.nan), "auto", 2),
    ],
)
def test_the_task_follows_from_the_target_or_is_said(frame, tmp_path, values, task, num_classes):
    data = _load(_write(frame.assign(y=values), tmp_path), task=task)
    assert data.num_classes == num_classes
    assert data.train.targets.dtype == (torch.float32 if num_classes is None else torch.int64)


def test_a_bool_target_with_gaps_keeps_its_two_classes(frame, tmp_path):
    data = _load(_write(frame.assign(y=frame["y"].astype(object).mask(frame.index < 20)), tmp_path))
    assert data.num_classes == 2
    assert "20 of 200 rows dropped: no target, y is missing" in data.facts
    assert any("2 classes False, True" in fact for fact in data.facts)


def test_infinite_and_extension_values_are_read(frame, tmp_path):
    frame = frame.assign(
        height=frame["height"].mask(frame.index < 10, np.inf),
        flag=frame["flag"].astype("boolean").mask(frame.index < 5),
        count=pd.array([None, *range(199)], dtype="Int64"),
        kind=pd.Categorical(["a", "b"] * 100),
    )
    frame.to_parquet(tmp_path / "t.parquet")
    data = _load(tmp_path / "t.parquet")
    assert data.train.inputs[:].isfinite().all()


def test_columns_of_other_kinds_are_mistakes_that_name_them(frame, tmp_path):
    frame.assign(when=pd.Timestamp("2020-01-01"), many=[[1]] * 200).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ConfigErrors, match=r"when \(datetime64.*many \(.*Type 'data\.drop=\[when,many\]'"):
        _load(tmp_path / "t.parquet")
    assert _load(tmp_path / "t.parquet", drop=["when", "many"]).num_classes == 2


def test_unknown_columns_of_target_and_drop_are_reported_together(frame, tmp_path):
    with pytest.raises(ConfigErrors) as error:
        _load(_write(frame, tmp_path), "yy > 1", ["heigth", "wurd"])
    fixes = [item.fix for item in error.value.errors]
    assert fixes == ["""'data.target="y > 1"'""", "'data.drop=[height,word]'"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"drop": ["y"]}, r"never a feature.*Type 'data\.drop=\[\]'"),
        ({"target": "same"}, "two classes"),
        ({"target": "height > 1e9"}, "every example is False"),
        ({"drop": ["height", "gaps", "flag", "word"]}, "one value in all training rows: same, empty"),
        ({"drop": ["height", "gaps", "flag", "word", "same", "empty"]}, "no column is left"),
        ({"task": "regresion"}, r"Type data\.task=regression"),
        ({"target": "word", "task": "regression"}, "is text"),
        ({"val_fraction": 0.7, "test_fraction": 0.4}, "below 1"),
        ({"target": "height", "task": "classification"}, "too rare"),
        ({"target": "empty"}, "no rows are left"),
    ],
)
def test_tables_that_cannot_be_learned_from_are_refused(frame, tmp_path, arguments, said):
    with pytest.raises(ConfigErrors, match=said):
        _load(_write(frame.assign(empty=np.nan), tmp_path), **arguments)


def test_files_that_cannot_be_read_say_why(frame, tmp_path):
    whole = _write(frame, tmp_path, "whole.csv.gz").read_bytes()
    contents = {
        "cut.csv.gz": (whole[: len(whole) // 2], "truncated"),
        "plain.csv.gz": (b"a,y\n1,2\n", "cannot be read"),
        "empty.csv": (b"", "is empty"),
        "header.csv": (b"a,y\n", "no rows"),
        "ragged.csv": (b"a,y\n1,2\n1,2,3,4\n", "row 2 has 4 cells, the header has 2 names"),
        "latin.csv": ("a,y\nä,1\n".encode("latin-1"), "cannot be read"),
        "text.parquet": (b"not a parquet file", "cannot be read"),
        "sheet.xlsx": (b"x", r"ends in \.csv"),
    }
    for name, (content, said) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigErrors, match=said):
            _load(tmp_path / name)
    with pytest.raises(ConfigErrors, match=r"no file.*Type data\.path=.*whole\.csv\.gz"):
        _load(tmp_path / "hole.csv.gz")
    with pytest.raises(ConfigErrors, match="a CSV or Parquet file is needed"):
        load_table(None, "y", [], "auto", 0.2, 0.2, 0)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ConfigErrors, match="folder"):
        _load(tmp_path / "folder.csv")


def test_the_list_of_a_configuration_is_a_list(frame, tmp_path):
    path = _write(frame, tmp_path)
    drop: list = OmegaConf.create(["height", 7])  # type: ignore[assignment]
    with pytest.raises(ConfigErrors, match="no column '7'"):
        load_table(str(path), "y", drop, "auto", 0.2, 0.2, 0)
    assert load_table(str(path), "y", drop[:1], "auto", 0.2, 0.2, 0).digest == _load(path, drop=["height"]).digest
