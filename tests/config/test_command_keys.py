"""Keys of the commands: what they may be agrees with what the commands do."""

import pytest

from batchlab.config.command_keys import KEYS
from batchlab.config.keys import keys_of
from batchlab.experiments.verdict import LOOKS
from batchlab.profiling.timing import MIN_BLOCKS

DECLARED = {(name, each.name): each for name, kind in KEYS.items() for each in keys_of(kind)}


def test_limits_are_those_of_the_looks_and_of_the_blocks():
    assert DECLARED["claims", "max_seeds"].words == (0, *LOOKS)
    assert DECLARED["benchmark", "num_blocks"].is_allowed(MIN_BLOCKS)
    assert not DECLARED["benchmark", "num_blocks"].is_allowed(MIN_BLOCKS - 1)


def test_every_default_is_allowed_and_so_is_the_fix_of_a_wrong_value():
    for each in DECLARED.values():
        assert each.is_allowed(each.default), each.name
        assert each.fix is None or each.is_allowed(each.fix), each.name


@pytest.mark.parametrize("value", ["train", [], ["train", "test"], [None], True])
def test_a_list_has_at_least_one_value_and_none_that_is_not_allowed(value):
    error = DECLARED["benchmark", "modes"].error(value)
    assert error is not None
    assert error.fix.strip("'") == "modes=[train]"


def test_a_type_a_range_and_a_key_of_a_run_are_errors_of_one_message(refused_by_script):
    said = refused_by_script("advise", "budget_seconds=-1", "target=abc", "method=magic", "num_seeds=0")
    assert [line.partition("=")[0].strip() for line in said.splitlines()[1:]] == [
        *("num_seeds", "target", "budget_seconds", "method")
    ]
