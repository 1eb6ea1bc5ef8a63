"""How a table is split: rare classes, copies, groups, time, files of their own."""

import numpy as np
import pandas as pd
import pytest

from batchlab.errors import ConfigErrors
from tests.data.tables import fact, load, load_as_told, write

PARTS = ("train", "val", "test")


def sizes(data):
    return [len(getattr(data, name)) for name in PARTS]


@pytest.mark.parametrize("seed", range(8))
def test_a_rare_class_stands_in_each_split_and_is_said(frame, tmp_path, seed):
    names = np.where(np.isin(frame.index, [3, 77, 150]), "rare", "big")
    data = load(write(frame.assign(y=names), tmp_path / "t"), split_seed=seed)
    assert [int((getattr(data, name).targets == 1).sum()) for name in PARTS] == [1, 1, 1]
    assert "rare (1 in train, 1 in val, 1 in test)" in fact(data, "classes with fewer than 3 rows")


def test_copies_of_rows_are_counted(frame, tmp_path):
    copied = pd.concat([frame.head(20)] * 10)
    data = load(write(copied, tmp_path / "t"))
    said = fact(data, "copies of others")
    assert said.startswith("180 of 200 rows are copies of others")
    assert "31 of 31 rows of val and 30 of 30 rows of test have a copy in train" in said
    assert not [line for line in data.facts if "gives the target" in line]


def test_rows_of_a_group_stay_in_one_split_and_the_group_is_no_feature(frame, tmp_path):
    people = np.arange(200) // 5
    data = load(write(frame.assign(a=people, who=people), tmp_path / "t"), group="who", drop=["b"])
    assert data.input_shape == (1,)
    found = [set(getattr(data, name).inputs.flatten().tolist()) for name in PARTS]
    assert sum(map(len, found)) == len(set.union(*found)) == 40
    assert "by groups of who (40 of them): 140 train, 30 val, 30 test" in fact(data, "split by")


def test_a_seed_is_offered_that_gives_each_split_each_class(frame, tmp_path):
    groups = np.arange(200) // 20
    path = write(frame.assign(y=np.isin(groups, [1, 4, 6, 8]), who=groups), tmp_path / "t")
    num_refused = 0
    for seed in range(6):
        try:
            load(path, group="who", split_seed=seed)
        except ConfigErrors:
            num_refused += 1
            said, data = load_as_told(path, group="who", split_seed=seed)
            assert "has no row of class" in said
            assert all(len(getattr(data, name).targets.unique()) == 2 for name in PARTS)
    assert num_refused


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_by_time_the_earliest_rows_are_train_and_the_latest_test(frame, tmp_path, suffix):
    order = np.random.default_rng(1).permutation(200)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(order // 2, unit="D")
    data = load(write(frame.assign(a=order // 2, when=days), tmp_path / "t", suffix), time="when", drop=["b"])
    train, val, test = (getattr(data, name).inputs.flatten() for name in PARTS)
    assert train.max() < val.min()
    assert val.max() < test.min()
    assert sizes(data) == [140, 30, 30]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"group": "a", "time": "b"}, "a split has one rule"),
        ({"group": "y"}, "the target needs it"),
        ({"time": "word"}, "200 rows have no number there, and no date"),
        ({"time": "same"}, "no rows are left for train"),
        ({"group": "same"}, "no rows are left for"),
        ({"num_train": 1}, "at least 2, one row of each class"),
        ({"num_train": 0}, "an integer from 1"),
    ],
)
def test_rules_that_cannot_split_are_refused_and_the_fix_mends_them(frame, tmp_path, arguments, said):
    path = write(frame.assign(word="x", same=1), tmp_path / "t")
    message, _ = load_as_told(path, **arguments)
    assert said in message


def test_an_unknown_group_is_offered_the_nearest_column(frame, tmp_path):
    path = write(frame.assign(person=np.arange(200) // 5), tmp_path / "t")
    said, data = load_as_told(path, group="persn")
    assert "there is no column 'persn'" in said
    assert data.input_shape == (2,)


def test_files_of_val_and_test_are_those_splits(frame, tmp_path):
    whole, val, test = (
        write(frame[rows], tmp_path / name)
        for name, rows in (("t", slice(0, 120)), ("v", slice(120, 150)), ("w", slice(150, 200)))
    )
    data = load(whole, val_path=str(val), test_path=str(test))
    assert sizes(data) == [120, 30, 50]
    assert data.val.targets.tolist() == frame.y[120:150].tolist()
    assert sizes(load(whole, val_path=str(val))) == [102, 30, 18]
    assert sizes(load(whole, test_path=str(test))) == [102, 18, 50]
    with pytest.raises(ConfigErrors, match="has no effect"):
        load(whole, val_path=str(val), test_path=str(test), time="a")


def test_a_file_of_val_with_other_columns_or_words_is_refused_and_mended(frame, tmp_path):
    whole, other = write(frame, tmp_path / "t"), write(frame.rename(columns={"b": "c"}), tmp_path / "v")
    said, data = load_as_told(whole, val_path=str(other))
    assert "it lacks b and adds c" in said
    assert sizes(data) == [139, 31, 30]
    worded = write(frame.assign(a=frame.a.astype(str).mask(frame.index < 5, "?")), tmp_path / "q")
    said, data = load_as_told(whole, val_path=str(worded))
    assert "a looks like a number (5 cells: ?)" in said
    assert "(first in row 1 of data.val_path)" in fact(data, "set to the median")


def test_at_most_so_many_training_rows_are_drawn_with_each_class(frame, tmp_path):
    path = write(frame.assign(y=np.where(frame.index < 10, 1, 0)), tmp_path / "t")
    data, all_rows = load(path, num_train=20), load(path, num_train=1000)
    assert sizes(data) == [20, 31, 30]
    assert data.train.targets.sum() == 1
    assert all_rows.digest == load(path).digest
    assert data.val.targets.equal(all_rows.val.targets)
    assert load(path, num_train=20, split_seed=1).digest != data.digest
