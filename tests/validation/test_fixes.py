"""Every fix that a message offers is typed as it is printed, and what it stands beside is gone then."""

import numpy as np
import pandas as pd
import pytest

from batchlab.commands.train.preflight import preflight
from batchlab.config.registration import register_schema
from tests.search.test_search import WRONG
from tests.validation.fixes import errors_of, key_of, retyped
from tests.validation.wrong_commands import WRONG_COMMANDS

NOT_TYPED = ("other settings of ", "PYTHONPATH=. in front of python", "the value itself", "another range of ")
"""What mends where only a person knows the value, or where it is not typed behind the command."""
NEEDS_A_NETWORK = "data.download=true"
TABLES = [
    "data.path=odd.csv data.target=kind data.drop=[weight]",
    "data.path=odd.csv data.target=kind",
    "data.path=odd.csv data.target='petal length (mm)'",
    "data.path=odd.csv data.target='\"petal width (mm)\" > 3'",
    "data.path=odd.csv data.target=kind data.drop=[when,kind]",
    "data.path=odd.csv data.target=kind data.drop=when",
    "data.path=odd.csv data.target=kind data.task=clasification data.drop=[when]",
    "data.path=odd.csv data.target=3 data.drop=[when]",
    "data.path=even.csv,odd.csv data.target=kind data.drop=[when] -m",
    "data.path=even.csv,even.csv data.target=kind data.drop=[when] -m",
    "data.path=odd.csv data.target=kind data.drop=[when] batch_size=3 micro_batch_size=2 model.norm=batch",
]
CASES = [
    *WRONG_COMMANDS,
    *((typed.split(), said) for typed, said in WRONG.items() if "storage" not in typed),
]


@pytest.fixture
def message_of(monkeypatch, capsys, tmp_path):
    """A function: command line -> the message of the pre-flight, empty where nothing is wrong."""
    register_schema()
    monkeypatch.setenv("BATCHLAB_MLRUNS", str(tmp_path / "mlruns"))
    monkeypatch.chdir(tmp_path)
    draws = np.random.default_rng(0)
    columns = {"petal length (mm)": draws.random(60), "petal width (mm)": draws.random(60) * 6, "3": draws.random(60)}
    for name in ("odd", "even"):
        frame = pd.DataFrame(columns | {"kind": ["a", "b", "c"] * 20, "when": "2020-01-01"})
        frame.assign(when=pd.to_datetime(frame.when)).to_csv(f"{name}.csv", index=False)

    def check(arguments: list[str]) -> str:
        try:
            preflight(list(arguments))
        except SystemExit as stop:
            assert stop.code == 2  # noqa: PT017  (a right command does not stop)
        return capsys.readouterr().err

    return check


def type_fixes(message_of, arguments: list[str]) -> int:
    """Number of errors whose fix was typed."""
    num_typed = 0
    for said, fix in errors_of(message_of(arguments)):
        typed = retyped(arguments, said, fix)
        if typed is None:
            assert fix.startswith(NOT_TYPED), f"{said}: nobody can type {fix!r}"
        elif NEEDS_A_NETWORK not in typed:
            num_typed += 1
            key, _, rule = said.partition(": ")
            left = [other.partition(": ") for other, _ in errors_of(message_of(typed))]
            assert (key_of(key), rule) not in [(key_of(other), its) for other, _, its in left], typed
    return num_typed


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [case[0] for case in CASES], ids=lambda words: ascii(" ".join(words)))
def test_a_fix_that_is_typed_as_printed_mends_its_error(message_of, arguments):
    type_fixes(message_of, arguments)


@pytest.mark.slow
@pytest.mark.parametrize("typed", TABLES)
def test_fixes_of_tables_with_odd_columns_mend_them(message_of, typed):
    import shlex

    type_fixes(message_of, ["data=table", *shlex.split(typed)])


@pytest.mark.slow
def test_most_messages_have_a_fix_that_can_be_typed(message_of):
    assert type_fixes(message_of, ["lr=0", "batch_size=-8", "model=convnt", "batchsize=3"]) == 4
    assert type_fixes(message_of, ["-m", "batch_size=32,", "64"]) == 1
    assert type_fixes(message_of, ["-m", "seed=0,1", "num_seeds=2"]) == 1


def test_two_tables_of_one_size_are_two_runs(message_of):
    rows = pd.read_csv("odd.csv").assign(kind=["b", "a", "c"] * 20)
    rows.to_csv("even.csv", index=False)
    typed = ["-m", "data=table", "data.path=odd.csv,even.csv", "data.target=kind", "data.drop=[when]"]
    assert message_of([*typed, "batch_size=8"]) == ""
