"""Tables of tests: written, loaded, and loaded again with the fixes of what was refused."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from batchlab.data.table import load_table
from batchlab.errors import ConfigErrors

SETTINGS = {"drop": [], "task": "auto", "val_fraction": 0.15, "test_fraction": 0.15, "split_seed": 0}


def load(path, target="y", **changed):
    return load_table(**{**SETTINGS, "path": str(path), "target": target, **changed})


def typed(words):
    """What a line of overrides, as a shell reads it, sets among the arguments."""
    overrides = [OverridesParser.create().parse_override(word) for word in shlex.split(words)]
    return {each.key_or_group.removeprefix("data."): each.value() for each in overrides}


def load_as_told(path, target="y", **changed):
    """Load, type the fixes of what is refused, and load again; what was said, and the data."""
    with pytest.raises(ConfigErrors) as refused:
        load(path, target, **changed)
    mended = {"target": target, **changed}
    for error in refused.value.errors:
        mended |= typed(error.fix)
    return str(refused.value), load(path, **mended)


def write(frame, path, suffix=".csv"):
    path = path.with_suffix(suffix)
    if suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    return path


def fact(data, said):
    (found,) = [line for line in data.facts if said in line]
    return found
