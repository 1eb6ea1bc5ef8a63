"""A search as a person types it: the command, the command again, and the command done wrong."""

import json
import re
from pathlib import Path

import pytest
import yaml
from optuna import load_study

from batchlab.commands.train.preflight import preflight
from batchlab.config.objectives import CALIBRATED
from batchlab.config.registration import register_schema
from batchlab.search.storage import open_storage
from batchlab.search.study import FrozenTrial, TrialState
from batchlab.tracking.study_reader import study_runs

SHORT = ("search=joint", "data=digits", "epochs=1,2,3", "hydra.sweeper.sampler.seed=1")


def trials_of(mlruns: Path, study: str = "joint-digits-mlp") -> list[FrozenTrial]:
    return load_study(study_name=study, storage=open_storage(str(mlruns))).get_trials(deepcopy=False)


def tables(text: str) -> str:
    return text[text.index("Pareto front") :]


@pytest.mark.slow
def test_a_search_ends_in_picks_that_run_and_goes_on_where_it_was(type_command, tmp_path):
    first = type_command(*SHORT, "hydra.sweeper.n_trials=4")
    assert first.returncode == 0, first.stderr
    assert "best_score" in tables(first.stdout)
    again = type_command(*SHORT, "hydra.sweeper.n_trials=4")
    assert tables(again.stdout) == tables(first.stdout)
    assert "Retraining" not in again.stdout
    more = type_command(*SHORT, "hydra.sweeper.n_trials=6")
    assert re.findall(r"^trial (\d+):", more.stdout, flags=re.MULTILINE) == ["4", "5"]
    trials = trials_of(tmp_path / "mlruns")
    assert [trial.number for trial in trials] == list(range(6))
    assert all(len(trial.user_attrs["mlflow_run_ids"]) == 1 for trial in trials)
    folder = tmp_path / "mlruns" / "reports" / "joint-digits-mlp"
    saved = yaml.safe_load((folder / "best" / "best_score.yaml").read_text())
    run = type_command("-cd", str(folder), "+best=best_score")
    assert run.returncode == 0, run.stderr
    assert re.search(rf"^ *│ +{saved['batch_size']} │ *{saved['lr']:.4g} │", run.stdout, flags=re.MULTILINE)


@pytest.mark.slow
def test_another_space_under_the_same_name_is_refused_with_the_difference(type_command, tmp_path):
    assert type_command(*SHORT, "hydra.sweeper.n_trials=1", "hydra.sweeper.prune=false").returncode == 0
    other = type_command("search=joint", "data=digits", "epochs=1,2", "hydra.sweeper.n_trials=1", "optimizer=adam")
    assert other.returncode == 2
    assert (
        "epochs=1, 2: the study joint-digits-mlp was begun with 1, 2, 3. Type study=joint-digits-mlp-2" in other.stderr
    )
    assert "optimizer._target_=torch.optim.Adam" in other.stderr
    assert len(trials_of(tmp_path / "mlruns")) == 1


WRONG = {
    "search=join": "Type search=joint",
    "search=joint batch_size=64,4096": "at most 1257, the size of the training split. Type batch_size=64",
    "search=joint batch_size=tag(pow2,int(interval(16,8192)))": "batch_size=8192: at most 1257",
    "search=joint lr=interval(0,1)": "lr=0.0: a number above 0",
    "search=joint optimizer=adam optimizer.momentum=interval(0.1,0.9)": "no configuration of this search has that key",
    "search=joint seed=1,2": "Type num_seeds=3",
    "search=joint data=digits,synthetic": "a study is about one data set",
    "search=joint measure=none,brief": "does not change what a run does",
    "search=joint objectives=cost/train_seconds,final/val_loss": "'objectives=[cost/train_seconds,final/val_loss]'",
    "search=joint measure=none objectives=[sharpness/lambda_max]": "of sharpness there are none",
    "search=joint lr=0.1 batch_size=32 epochs=3": "there is nothing to search",
    "search=joint lr=tag(lg,interval(0.1,1))": "tags are log and pow2",
    "search=joint hydra.sweeper.n_trials=0": "an integer from 1",
    "search=joint hydra.sweeper.n_trials=many": "n_trials",
    "search=joint objectives=[final/test_accuracy]": "select on val",
    "search=joint hydra/sweeper/sampler=grid": "a grid needs a list",
    "hydra/sweeper=batchlab lr=0.1,0.2": "a search needs a multirun. Type -m",
    "search=joint hydra/launcher=joblib hydra.sweeper.num_workers=2": "brings its own processes",
    "search=joint lr_scaling=linear hydra.sweeper.first_points=[sqrt]": "moves the lr with the batch size already",
    "search=joint hydra.sweeper.sampler.n_startup_trials=few": "optuna.samplers.TPESampler: refused",
    "search=joint hydra.sweeper.custom_search_space=nosuch.f": "custom_search_space=nosuch.f: raised",
    "search=joint hydra.sweeper._target_=hydra._internal.core_plugins.basic_sweeper.BasicSweeper": "does not take it",
    "search=joint hydra.sweeper.pruner={_target_:optuna.pruners.No} objectives=[final/val_loss]": "No: refused",
    "search=joint trust=[a],[b]": "does not change what a run does",
    "search=joint hydra.sweeper.storage=postgresql+psycopg://me:secret@127.0.0.1:9/x": "me:***@127.0.0.1:9/x",
    "search=joint hydra.sweeper.storage=sqlite:////nowhere/study.db": "there is no folder /nowhere",
    "search=joint hydra.sweeper.storage=nosuch://host/db": "Can't load plugin",
    "search=joint hydra.sweeper.storage=study.db": "Type hydra.sweeper.storage=sqlite:///study.db",
    "search=joint hydra/sweeper/sampler=cmaes lr=0.1,0.2 objectives=[final/val_loss]": "No module named 'cmaes'",
}


@pytest.mark.parametrize("typed", WRONG)
def test_a_wrong_search_costs_nothing_and_says_what_to_type(monkeypatch, capsys, tmp_path, typed):
    register_schema()
    monkeypatch.setenv("BATCHLAB_MLRUNS", str(tmp_path / "mlruns"))
    with pytest.raises(SystemExit) as stop:
        preflight(typed.split())
    assert stop.value.code == 2
    said = capsys.readouterr()
    assert WRONG[typed] in said.err
    assert "secret" not in said.out + said.err
    assert not (tmp_path / "mlruns").exists()


@pytest.mark.slow
def test_workers_side_by_side_are_judged_by_step_times_that_were_measured_alone(type_command, tmp_path):
    typed = ["search=joint", "epochs=1,2", "batch_size=16,32", "model.width=16,64", "lr=0.02", "measure=none"]
    typed += ["hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=8", "hydra.sweeper.prune=false"]
    done = type_command(*typed, "hydra.sweeper.num_workers=2")
    assert done.returncode == 0, done.stderr
    assert "step times measured alone on this host, times steps" in done.stdout
    assert "s if alone" in tables(done.stdout)
    mlruns = tmp_path / "mlruns"
    table = json.loads((mlruns / "step_times.json").read_text())
    assert sorted(entry["facts"]["model.width"] for entry in table.values()) == [16, 64]  # each once, by one worker
    assert all(entry["measured"]["is_alone"] for entry in table.values())
    trials, runs = trials_of(mlruns), study_runs(str(mlruns), "joint-digits-mlp")
    by_number = {run["tags"]["optuna.trial_number"]: run for run in runs if "pick" not in run["tags"]}
    for trial in trials:
        run = by_number[str(trial.number)]
        (entry,) = (
            each for each in table.values() if str(each["facts"]["model.width"]) == run["params"]["model.width"]
        )
        alpha, beta = (entry["cost"][f"{name}_seconds"]["value"] for name in ("alpha", "beta"))
        step = alpha + beta * int(run["params"]["batch_size"])
        assert not entry["cost"]["beyond"] or entry["cost"]["beyond"][0][0] >= 32
        assert trial.values[0] == pytest.approx(run["metrics"]["cost/num_steps"] * step)
        assert run["metrics"]["cost/train_seconds"] > 0
        assert run["metrics"]["cost/workers_on_host"] in (1, 2)
    assert len({tuple(trial.params.values()) for trial in trials}) == 8
    assert max(run["metrics"]["cost/workers_on_host"] for run in runs) == 2
    assert all(CALIBRATED in run["metrics"] for run in runs)  # the picks' fresh seeds too

    again = type_command(*typed, "hydra.sweeper.num_workers=0")
    assert again.returncode == 0, again.stderr
    assert tables(again.stdout) == tables(done.stdout)
    other = type_command(*typed, "objectives=[cost/train_seconds,final/val_accuracy]")
    assert other.returncode == 2
    assert "was begun with minimize cost/calibrated_train_seconds" in other.stderr


@pytest.mark.slow
def test_momentum_is_searched_under_the_optimizer_that_has_it(type_command, tmp_path):
    typed = ["optimizer=momentum,adam", "optimizer.momentum=interval(0.5,0.9)", "lr=0.01", "epochs=1"]
    done = type_command("search=joint", *typed, "hydra.sweeper.n_trials=6", "hydra/sweeper/sampler=random")
    assert done.returncode == 0, done.stderr
    for trial in trials_of(tmp_path / "mlruns"):
        assert ("optimizer.momentum" in trial.params) == (trial.params["optimizer"] == "momentum")
    assert {trial.params["optimizer"] for trial in trials_of(tmp_path / "mlruns")} == {"momentum", "adam"}


@pytest.mark.slow
def test_a_known_point_is_not_trained_again(type_command, tmp_path):
    done = type_command("search=joint", "lr=0.02", "epochs=1", "batch_size=64,128", "hydra.sweeper.n_trials=4")
    assert done.returncode == 0, done.stderr
    trials = trials_of(tmp_path / "mlruns")
    known = [trial for trial in trials if "measured_by" in trial.user_attrs]
    assert len(known) == 2
    assert all(trial.values == trials[trial.user_attrs["measured_by"]].values for trial in known)
    assert all("mlflow_run_ids" not in trial.user_attrs for trial in known)


@pytest.mark.slow
def test_sharpness_is_an_objective_like_another(type_command, tmp_path):
    typed = ["search=joint", "objectives=[sharpness/lambda_max,final/val_accuracy]", "epochs=1", "model.width=16"]
    done = type_command(*typed, "hydra.sweeper.n_trials=3", "hydra/sweeper/sampler=random")
    assert done.returncode == 0, done.stderr
    assert all(trial.values[0] > 0 for trial in trials_of(tmp_path / "mlruns"))
    other = type_command(*typed, "hydra.sweeper.n_trials=4", "measure.num_examples=100")
    assert other.returncode == 2
    assert "measure.num_examples" in other.stderr


@pytest.mark.slow
def test_one_objective_is_pruned_by_optunas_own_pruner(type_command, tmp_path):
    pruner = "hydra.sweeper.pruner={_target_:optuna.pruners.ThresholdPruner,lower:0.7,n_warmup_steps:1}"
    typed = ["objectives=[final/val_accuracy]", "batch_size=16,32", "epochs=4", "lr=0.0001,0.02"]
    done = type_command("search=joint", *typed, pruner, "hydra.sweeper.n_trials=9", "hydra/sweeper/sampler=grid")
    assert done.returncode == 0, done.stderr
    assert "the same command goes on" not in done.stdout  # four points are all there are
    trials = trials_of(tmp_path / "mlruns")
    pruned = [trial for trial in trials if trial.state is TrialState.PRUNED]
    assert pruned
    assert {trial.params["place(lr)"] for trial in pruned} == {0}
    assert all(trial.user_attrs["result"]["last_train_seconds"] > 0 for trial in pruned)
    assert all("last_val_accuracy" in trial.user_attrs["result"] for trial in pruned)
