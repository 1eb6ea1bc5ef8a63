import pandas as pd
import pytest

from batchlab.data.expression import evaluate_target
from batchlab.errors import ConfigErrors


@pytest.fixture
def frame():
    columns = {
        "delay": [20.0, None, 3.0, 15.0],
        "carrier": ["AA", "UA", None, "AA"],
        "two words": [1, 2, 3, 4],
    }
    return pd.DataFrame(columns)


@pytest.mark.parametrize(
    ("target", "expected", "used"),
    [
        ("delay", [20.0, None, 3.0, 15.0], ["delay"]),
        ("two words", [1, 2, 3, 4], ["two words"]),
        ("delay > 15", [True, None, False, False], ["delay"]),
        ("not delay > 15", [False, None, True, True], ["delay"]),
        ("delay > 2 and carrier == 'AA'", [True, None, None, True], ["delay", "carrier"]),
        ("(delay > 15) | (carrier in ['UA', 'AA'])", [True, None, None, True], ["delay", "carrier"]),
        ("`two words` * 2 - 1", [1, 3, 5, 7], ["two words"]),
        ("1 < `two words` <= 3", [False, True, True, False], ["two words"]),
    ],
)
def test_expressions_are_evaluated_and_missing_stays_missing(frame, target, expected, used):
    values, columns = evaluate_target(frame, target)
    assert [None if pd.isna(value) else value for value in values] == expected
    assert columns == used


@pytest.mark.parametrize(
    "target",
    [
        "__import__('os').system('false')",
        "delay.mean()",
        "@delay > 1",
        "delay.__class__",
        "(lambda: 1)()",
        "[x for x in delay]",
        "delay[0]",
        "delay if 1 else 2",
        "delay := 3",
        "delay > ",
        "9 ** 9 ** 9 > delay",
        "f'{delay}'",
    ],
)
def test_anything_but_arithmetic_and_comparison_is_refused(frame, target):
    with pytest.raises(ConfigErrors, match=r"data\.target"):
        evaluate_target(frame, target)


def test_an_unknown_column_gets_the_nearest_name_in_a_form_to_type(frame):
    with pytest.raises(ConfigErrors, match="no column 'delai'") as error:
        evaluate_target(frame, "delai > 15")
    assert error.value.errors[0].fix == """'data.target="delay > 15"'"""
    with pytest.raises(ConfigErrors, match=r"Type data\.target=carrier$"):
        evaluate_target(frame, "carier")


@pytest.mark.parametrize("target", [None, "", "1 > 2", "carrier > 15"])
def test_what_gives_no_value_for_each_row_is_refused(frame, target):
    with pytest.raises(ConfigErrors, match=r"data\.target"):
        evaluate_target(frame, target)
