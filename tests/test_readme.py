"""What README and documentation say, typed: their commands run, their tables name every option and every test."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from batchlab.commands.train.preflight import preflight
from batchlab.config.registration import register_schema
from batchlab.config.schema import OPEN_GROUPS, REPOSITORY, Config
from batchlab.tasks.objectives import DIRECTIONS
from scripts.docs_metrics import METRICS
from scripts.docs_reference import pages

DOCS = REPOSITORY / "docs"
RESULTS = DOCS / "results"
PAGES = {page.name: page.read_text() for page in (REPOSITORY / "README.md", *sorted(DOCS.glob("*.md")))}
BLOCKS = re.compile(r'^```(\w*)(?: title="([^"]*)")?\n(.*?)^```$', flags=re.MULTILINE | re.DOTALL)
OWN = ("$", "mynet", "myparts", "myconf", "customers", "mlruns")
"""What stands in a command that needs files which its page has written before."""
BEFORE = {
    "README.md": ["python make_data.py"],
    "data_and_models.md": ["python make_data.py"],
    "reports.md": [
        "python train.py -m batch_size=64,128 epochs=1",
        "python train.py search=joint epochs=1,2 hydra.sweeper.n_trials=2",
    ],
}
"""What a page takes for granted."""


def files_of(text: str) -> dict[str, str]:
    """The files that a page shows, by name."""
    return {name: content for _, name, content in BLOCKS.findall(text) if name}


def commands_of(text: str) -> list[str]:
    """The commands of a page in order, those of the shell too; make's are those of the Makefile."""
    shown = "".join(content for language, _, content in BLOCKS.findall(text) if language == "console")
    return [line for line in re.findall(r"^\$ (.*)$", shown, flags=re.MULTILINE) if not line.startswith("make ")]


COMMANDS = {name: commands_of(text) for name, text in PAGES.items() if name != "README.md"}
ELSEWHERE = {line for lines in COMMANDS.values() for line in lines if not line.startswith("export ")}
COMMANDS["README.md"] = [line for line in commands_of(PAGES["README.md"]) if line not in ELSEWHERE]
"""The commands of each page; README.md's that stand on a page, too, are run there."""
TYPED = [(name, line) for name, lines in COMMANDS.items() for line in lines if line.startswith("python train.py")]
REFUSED = [(name, line) for name, line in TYPED if "exit code" in line]
TRAINED = [line for name, line in TYPED if (name, line) not in REFUSED and not any(word in line for word in OWN)]


def test_the_pages_have_commands():
    assert len(TRAINED) >= 10
    assert len(REFUSED) == 1


LONG = ("tutorial.md", "advise.md", "testing_claims.md", "search.md", "reports.md")
"""Pages whose commands take minutes; README.md, `tests/commands/`, `search/` and `experiments/` type their like."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name, lines in COMMANDS.items() if lines],
)
def test_the_commands_of_a_page_run_in_their_order(name, tmp_path):
    for file, content in (files_of(PAGES["tutorial.md"]) | files_of(PAGES[name])).items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(content)
    for program in ("train.py", "scripts"):
        (tmp_path / program).symlink_to(REPOSITORY / program)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = os.environ | {"BATCHLAB_MLRUNS": str(tmp_path / "mlruns"), "OMP_NUM_THREADS": "1", "PATH": path}
    exports = []
    for line in [*BEFORE.get(name, []), *COMMANDS[name]]:
        if line.startswith("export "):
            exports.append(line)
            continue
        typed = ["bash", "-c", "\n".join([*exports, line])]
        done = subprocess.run(typed, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600)
        expected = 2 if "# exit code 2" in line else 0
        assert done.returncode == expected, f"{line}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize(("name", "command"), REFUSED)
def test_a_command_that_is_refused_says_what_the_page_shows(type_command, name, command):
    done = type_command(*shlex.split(command.partition("  # ")[0])[2:])
    assert done.returncode == 2
    assert done.stderr == PAGES[name].split(f"$ {command}\n", 1)[1].split("```", 1)[0]


WITHOUT_DATA = [
    line for text in PAGES.values() for line in re.findall(r"^python train.py .*/where/.*$", text, re.MULTILINE)
]


@pytest.mark.parametrize("command", WITHOUT_DATA)
def test_a_command_whose_data_is_elsewhere_is_right_but_for_its_data(type_command, command):
    done = type_command(*shlex.split(command)[2:])
    assert done.returncode == 2
    assert done.stderr.startswith("1 error; nothing was run")
    assert "  data.root=/where/it/is" in done.stderr


@pytest.mark.parametrize("command", TRAINED)
def test_a_command_of_the_pages_passes_the_gates(command, monkeypatch, tmp_path):
    register_schema()
    monkeypatch.setenv("BATCHLAB_MLRUNS", str(tmp_path))
    assert preflight(shlex.split(command)[2:]) is not None


GROUPS = sorted(path.name for path in (REPOSITORY / "conf").iterdir() if path.is_dir() and path.name != "experiment")


@pytest.mark.parametrize("group", GROUPS)
def test_the_documentation_names_every_option(group):
    (row,) = re.findall(rf"^\| `{group}` \|(.*)$", PAGES["data_and_models.md"], flags=re.MULTILINE)
    for path in (REPOSITORY / "conf" / group).glob("*.yaml"):
        assert f"`{path.stem}`" in row, f"{group}={path.stem}"


def test_the_reference_names_every_key_and_every_metric():
    keys, metrics = pages()["reference/keys.md"], pages()["reference/metrics.md"]
    for field in fields(Config):
        assert field.name in OPEN_GROUPS or re.search(rf"`{field.name}[`.]", keys), field.name
    assert not DIRECTIONS.keys() - METRICS, "METRICS of scripts/docs_metrics.py says what each of them is"
    assert all(f"| `{name}` |" in metrics for name in METRICS)


def test_the_readme_is_short_and_its_links_lead_somewhere():
    assert len(PAGES["README.md"].encode()) <= 8192
    for link in re.findall(r"\]\(([^)#]+)", PAGES["README.md"]):
        assert (REPOSITORY / link).exists(), link


def test_the_list_of_decisions_has_every_one():
    index = (DOCS / "decisions" / "index.md").read_text()
    assert sorted(re.findall(r"\]\(([\w-]+\.md)\)", index)) == sorted(
        path.name for path in (DOCS / "decisions").glob("*.md") if path.name != "index.md"
    )


def test_files_and_modules_that_the_pages_name_are_there():
    source = REPOSITORY / "src" / "batchlab"
    packages = "|".join(sorted(path.name for path in source.iterdir() if path.is_dir()))
    text = "".join(
        page.read_text() for page in (REPOSITORY / "README.md", *DOCS.rglob("*.md")) if page.parent != RESULTS
    )
    files = set(re.findall(r"`((?:tests|scripts)/[\w/]+\.py)`", text))
    modules = set(re.findall(rf"`((?:{packages})/[\w/]+(?:\.py)?)`", text))
    assert len(files) > 5
    assert len(modules) > 20
    assert not [name for name in files if not (REPOSITORY / name).exists()]
    assert not [
        name for name in modules if not (source / name).with_suffix(".py").exists() and not (source / name).is_dir()
    ]


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_a_network(tmp_path):
    typed = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(typed, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        assert not re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="?(?:https?:)?//', page.read_text()), page


def test_every_test_that_the_table_of_faults_names_is_there():
    named = set(re.findall(r"`(test_\w+)`", PAGES["faults.md"]))
    tests = "\n".join(path.read_text() for path in (REPOSITORY / "tests").rglob("test_*.py"))
    assert len(named) > 40
    assert named <= set(re.findall(r"^def (test_\w+)", tests, flags=re.MULTILINE))
