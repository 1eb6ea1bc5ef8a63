"""scripts/claims.py from the command line: measured, re-read, and flipped where a recorded number is broken."""

import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from batchlab.config.schema import REPOSITORY
from batchlab.experiments.arm_results import Arm, MeasuredRun
from batchlab.experiments.claims_page import records_of, write_page
from batchlab.experiments.claims_table import BEGIN, END, README_CLAIMS, renew_tables, short_table
from batchlab.experiments.experiment import Check, Claim, Experiment
from batchlab.experiments.verdict import corrected, judge_experiment


def experiment(name="grow", number=20, **keys):
    claim = Claim(number, "Growing is as good.", "somebody", "a minute.", "much.", "none.")
    asked = Check("accuracy", "difference", "final/test_accuracy", "a", minus="b", above=0.01, unit="pp")
    given = {"probe": None, "is_alone": False, "max_seeds": 24, "figure": {}, "preset": "small"} | keys
    return Experiment(name=name, claim=claim, arms={"a": [], "b": []}, checks=[asked], **given)


def arms(*values):
    def arm(name, scores):
        runs = [
            MeasuredRun({"batch_size": 8}, {"final/test_accuracy": score}, "done", dict, "0123456789abcdef")
            for score in scores
        ]
        return Arm(name, [runs])

    return {"a": arm("a", [0.9 + value for value in values]), "b": arm("b", [0.8] * len(values))}


def test_the_page_has_a_table_and_a_part_with_a_figure_for_each_claim(tmp_path):
    figure = {"title": "test accuracy", "metric": "final/test_accuracy", "y_title": "test accuracy"}
    outcome = judge_experiment(experiment(figure=figure), arms(0.0, 0.001, -0.001))
    page = write_page([outcome], {}, tmp_path / "claims.md")
    text = page.read_text()
    assert "| 20 | [Growing is as good.](#grow) | somebody | **supported** | 10 [9.752, 10.25] pp | 3 |" in text
    assert "1 supported, 0 contradicted, 0 open" in text
    assert "What this leaves out: much." in text
    assert "commit 0123456789ab" in text
    assert (tmp_path / "claims" / "grow.png").exists()
    (record,) = json.loads((tmp_path / "results" / "claims.json").read_text())
    assert record["verdict"] == "supported"
    assert record["effect"] == pytest.approx(0.1)


def test_more_seeds_are_asked_for_only_where_they_can_decide(config_of):
    on_cpu, on_gpu = config_of("device=cpu"), config_of("device=cuda")
    for a, b, can in ((on_cpu, on_cpu, True), (on_cpu, on_gpu, False)):
        asked = replace(experiment(), arms={"a": [a], "b": [b]})
        assert judge_experiment(asked, arms(0.0, 0.02)).can_be_decided is (can or torch.cuda.is_available())


def test_readme_and_documentation_show_what_was_measured():
    records = json.loads((REPOSITORY / "docs" / "results" / "claims.json").read_text())
    three, every = short_table(records, "docs/claims.md", README_CLAIMS), short_table(records, "claims.md")
    assert "\n".join([BEGIN, *three, END]) in (REPOSITORY / "README.md").read_text()
    assert "\n".join([BEGIN, *every, END]) in (REPOSITORY / "docs" / "testing_claims.md").read_text()
    assert (len(three), len(every)) == (5, 30)


def test_the_tables_in_short_are_written_between_their_marks(tmp_path):
    outcomes = [judge_experiment(experiment(*which), arms(0.0, 0.001, -0.001)) for which in ((), ("more_epochs", 8))]
    (tmp_path / "docs").mkdir()
    files = [tmp_path / "README.md", tmp_path / "docs" / "testing_claims.md"]
    for file in files:
        file.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    for _ in range(2):
        assert renew_tables(tmp_path, records_of(outcomes)) == files
    head = "| what is said | what came out here | effect [95 %] |\n|---|---|---|"
    for file, page, names in zip(
        files, ("docs/claims.md", "claims.md"), (["more_epochs"], ["more_epochs", "grow"]), strict=True
    ):
        rows = [
            f"| [Growing is as good.]({page}#{name}) | **supported** | accuracy: 10 [9.752, 10.25] pp |"
            for name in names
        ]
        assert file.read_text() == "\n".join(["before", "", BEGIN, head, *rows, END, "", "after", ""])


def test_what_needs_another_machine_says_so_and_stays_open(config_of, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    needs = replace(experiment(), arms={"a": [config_of("device=cuda")], "b": [config_of()]})
    outcome = judge_experiment(needs, {"a": Arm("a", [[]]), "b": arms(0.0, 0.0)["b"]})
    assert (outcome.conclusion, outcome.judged[0].reason) == ("open", "needs cuda")


def test_holm_counts_the_looks_and_the_claims():
    sure, unsure = (judge_experiment(experiment(), arms(*values)) for values in ((0.0, 0.0001), (0.0, 0.5, 0.1)))
    p_sure, p_unsure = corrected([sure, unsure])
    assert p_sure == pytest.approx(min(1.0, 8 * sure.p))
    assert p_unsure == pytest.approx(max(p_sure, min(1.0, 4 * unsure.p)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["names=[train_longr]"], "train_longer"),
        (["names=[lbfgs,lbfgs]"], "each experiment once"),
        (["preset=medium"], "small or full"),
        (["max_seeds=5"], "max_seeds=24"),
        (["budget_minutes=-1"], "budget_minutes=90"),
        (["num_workers=0"], "num_workers=2"),
        (["batch_size=32,64"], "about one configuration. Type batch_size=32"),
        (["experiment=lbfgs"], "Type python scripts/claims.py lbfgs"),
    ],
)
def test_wrong_input_costs_nothing(refused_by_script, arguments, said):
    assert said in refused_by_script("claims", *arguments)


def typed(mlruns, *arguments):
    command = [sys.executable, str(REPOSITORY / "scripts" / "claims.py"), *arguments, f"mlruns={mlruns}", "output=json"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=env)
    assert done.returncode == 0, done.stderr
    return {f"{record['experiment']}: {record['what']}": record for record in json.loads(done.stdout)}, done.stderr


@pytest.mark.slow
def test_data_that_is_not_there_costs_nothing(tmp_path):
    command = [sys.executable, str(REPOSITORY / "scripts" / "claims.py"), "train_longer", "data_root=/nowhere"]
    done = subprocess.run([*command, f"mlruns={tmp_path / 'mlruns'}"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "Type data.download=true" in done.stderr
    assert not (tmp_path / "mlruns").exists()


@pytest.mark.slow
def test_a_claim_is_measured_once_re_read_and_flipped_by_a_broken_number(tmp_path):
    found, _ = typed(tmp_path, "accumulation", "max_seeds=3")
    decides = "accumulation: largest relative difference of the gradients, no norm layers"
    main = found[decides]
    assert (main["verdict"], main["n"]) == ("supported", 3)
    assert found["accumulation: with batch norm"]["verdict"] == "contradicted"
    again, said = typed(tmp_path, "accumulation")
    assert again == found
    assert "look at n" not in said  # nothing was run
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        for table in ("metrics", "latest_metrics"):
            store.execute(f"update {table} set value = 0.5 + value where key = 'gradient/relative_difference'")
    broken, _ = typed(tmp_path, "accumulation", "max_seeds=0")
    assert broken[decides]["verdict"] == "contradicted"
