"""A Hydra application that knows nothing of batchlab, searched by `hydra/sweeper=batchlab`."""

import subprocess
import sys

import pytest

APPLICATION = """
import sys
import hydra

@hydra.main(version_base=None, config_path=".", config_name="conf")
def main(config):
    if config.lr < 0.05:
        raise RuntimeError("too small a rate\\nand a second line")
    return [(config.lr - 0.1) ** 2 + 0.01 * config.depth, config.depth][: config.num_values]

if __name__ == "__main__":
    main()
    print("heavy:", sorted({"torch", "mlflow", "pandas", "sklearn"} & set(sys.modules)))
"""
CONF = """
defaults:
  - override hydra/sweeper: batchlab
  - _self_
lr: 0.1
depth: 1
num_values: 1
hydra:
  sweeper:
    n_trials: 12
    direction: [minimize]
    study_name: mine
    sampler: {seed: 0}
    max_failure_rate: 0.9
    params: {lr: "tag(log,interval(0.01,1))", depth: "range(1,4)"}
"""


@pytest.fixture
def sweep(tmp_path):
    """A function: overrides -> what the application did and printed."""
    (tmp_path / "app.py").write_text(APPLICATION)
    (tmp_path / "conf.yaml").write_text(CONF)

    def run(*overrides: str) -> subprocess.CompletedProcess[str]:
        typed = [sys.executable, "app.py", "-m", *overrides]
        return subprocess.run(typed, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)

    return run


@pytest.mark.slow
def test_a_search_ends_with_the_best_trials_the_failures_and_the_place_of_its_study(sweep, tmp_path):
    done = sweep()
    assert done.returncode == 0, done.stderr
    assert "mine: 12 trials: " in done.stdout
    assert "the best trials: minimize value_0" in done.stdout
    assert "RuntimeError: too small a rate" in done.stdout
    assert f"Study mine in sqlite:///{tmp_path}/mlruns/optuna.db" in done.stdout
    assert "12 trials, 12 of them done" in sweep().stdout


@pytest.mark.slow
def test_a_search_of_another_application_imports_neither_torch_nor_mlflow(sweep):
    assert "heavy: []" in sweep("hydra.sweeper.n_trials=2", "lr=0.1").stdout


@pytest.mark.slow
def test_several_values_are_a_front_and_too_many_failures_end_the_search_with_its_table(sweep):
    both = sweep("num_values=2", "hydra.sweeper.direction=[minimize,minimize]", "hydra.sweeper.study_name=both")
    assert "Pareto front" in both.stdout, both.stderr
    failing = sweep("lr=0.01,0.3,0.011", "hydra.sweeper.study_name=failing", "hydra.sweeper.max_failure_rate=0")
    assert failing.returncode == 1
    assert "allows. Trial" in failing.stderr
    assert "crashed: lr 0.01" in failing.stdout


@pytest.mark.slow
def test_a_search_in_which_all_crashed_exits_with_1_however_short_it_was(sweep):
    failing = sweep("lr=0.01", "hydra.sweeper.n_trials=2")
    assert failing.returncode == 1
    assert "2 of 2 trials crashed" in failing.stderr
    assert "RuntimeError: too small a rate" in failing.stdout


@pytest.mark.slow
def test_a_study_of_another_space_is_one_error_a_key(sweep):
    assert sweep("hydra.sweeper.n_trials=1", "lr=0.1").returncode == 0
    other = sweep("hydra.sweeper.n_trials=1", "lr=0.1", "depth=2")
    assert other.returncode == 2
    assert other.stderr.startswith("1 error; ")
    assert "depth=2: the study mine was begun with 1, 2, 3. Type hydra.sweeper.study_name=mine-2" in other.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("hydra.sweeper.direction=up", "minimize or maximize, one per objective"),
        ("hydra.sweeper.direction=[minimize,up]", "Type 'hydra.sweeper.direction=[minimize,minimize]'"),
        ("hydra.sweeper.study_name=", "1 error; nothing was run, nothing was written.\n  hydra.sweeper.study_name"),
        ("hydra.sweeper.study_name=", "Type hydra.sweeper.study_name=app"),
        ("hydra.sweeper.sampler.sed=1", "Type hydra.sweeper.sampler.seed=1"),
        (
            "hydra.sweeper.storage=postgresql+psycopg://me:secret@127.0.0.1:9/x",
            "me:***@127.0.0.1:9/x: cannot be opened",
        ),
    ],
)
def test_a_key_that_cannot_be_followed_is_one_message_without_a_traceback(sweep, tmp_path, override, said):
    refused = sweep(override)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "secret" not in refused.stdout + refused.stderr
    assert not (tmp_path / "mlruns" / "optuna.db").exists()
