"""Recommended configurations and figures of a study in the Optuna dashboard."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from optuna.study import Study
from optuna_dashboard import save_note

from batchlab.search.storage import find_study
from batchlab.tracking.stores import optuna_artifacts


def write_note(study: Study, picks: Mapping[str, str], commands: Mapping[str, str]) -> None:
    """Write the study's note anew: each pick's description in Markdown and its command, by name."""
    lines = ["### Recommended configurations", ""]
    for name, description in picks.items():
        lines += [f"**{name}**: {description}", "", "```", commands[name], "```", ""]
    save_note(study, "\n".join(lines))


def attach_figures(mlruns: str, name: str, paths: Sequence[Path], address: Any = None) -> None:
    """Attach files to the study of that name, if there is one; a file of a name that is there already is replaced."""
    study = find_study(mlruns, name, address)
    if study is None:
        return
    folder = optuna_artifacts(mlruns)
    folder.mkdir(parents=True, exist_ok=True)
    store = FileSystemArtifactStore(folder)
    known = {meta.filename: meta.artifact_id for meta in get_all_artifact_meta(study)}
    for path in paths:
        if path.name in known:
            with path.open("rb") as file:
                store.write(known[path.name], file)
        else:
            upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=study)
