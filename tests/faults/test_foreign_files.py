"""Files that are none of ours, or damaged, in the places of our databases: named, refused, left as they are."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.processes import QUICK, ended, start

pytestmark = pytest.mark.slow


def garbage(path: Path) -> None:
    path.write_bytes(b"not a database at all\n" * 1000)


def another_programs(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE invoices (number INTEGER)")
        connection.commit()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def of_another_release(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'f00'")
        connection.commit()


DAMAGES = {
    garbage: "or a damaged one (file is not a database)",
    another_programs: "but has tables of its own (invoices)",
    truncated: "or a damaged one (database disk image is malformed)",
    of_another_release: "is of another release of",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder of results with both databases, as a search leaves it."""
    folder = tmp_path_factory.mktemp("made")
    ended(start(folder, "search=joint", *QUICK[:2], "study=foreign", "epochs=1", "hydra.sweeper.n_trials=2"))
    return folder / "mlruns"


@pytest.mark.parametrize("name", ["mlflow.db", "optuna.db"])
@pytest.mark.parametrize(
    ("program", "damage"), [*(("train.py", damage) for damage in DAMAGES), ("scripts/report.py", garbage)]
)
def test_a_database_that_is_not_ours_is_named_and_left_as_it_is(tmp_path, made, name, damage, program):
    mlruns = tmp_path / "mlruns"
    mlruns.mkdir()
    for each in ("mlflow.db", "optuna.db"):
        with closing(sqlite3.connect(made / each)) as old, closing(sqlite3.connect(mlruns / each)) as new:
            old.backup(new)
    path = mlruns / name
    if damage is another_programs:
        path.unlink()
    damage(path)
    before = path.read_bytes()
    typed = ("study=foreign",) if program != "train.py" else ("search=joint", *QUICK[:2], "study=foreign", "epochs=1")
    output = ended(start(tmp_path, *typed, program=program), 2)
    assert str(path) in output
    assert DAMAGES[damage] in output
    assert "Type mlruns=/another/folder" in output
    assert path.read_bytes() == before


def test_a_database_that_is_damaged_under_a_run_loses_nothing_of_it(tmp_path):
    """MLflow's database is taken away from under a command: the run waits in the spool."""
    ended(start(tmp_path, *QUICK, "study=foreign", "epochs=1"))
    database = tmp_path / "mlruns" / "mlflow.db"
    code = tmp_path / "breaking.py"
    code.write_text(
        "import os\n"
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, num_classes):\n"
        "        super().__init__(); self.layer = nn.Linear(64, num_classes); self.calls = 0\n"
        "    def forward(self, x):\n"
        "        self.calls += 1\n"
        "        if self.calls == 30: open(os.environ['BROKEN'], 'r+b').write(b'x' * 4096)\n"
        "        return self.layer(x.flatten(1))\n"
    )  # fmt: skip
    typed = ("model=own", "model._target_=breaking.Net", "study=foreign", "epochs=3", *QUICK)
    output = ended(start(tmp_path, *typed, PYTHONPATH=str(tmp_path), BROKEN=str(database)), 1)
    assert f"1 run in {tmp_path}/mlruns/spool: {database}: " in output
    assert len(list((tmp_path / "mlruns" / "spool").glob("*.jsonl"))) == 1
    for remains in (tmp_path / "mlruns").glob("mlflow.db*"):
        remains.unlink()
    assert "1 run of earlier commands" in ended(start(tmp_path, *QUICK, "study=foreign", "epochs=1", "seed=1"))
