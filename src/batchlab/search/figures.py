"""Figures beside a study in the Optuna dashboard, as artifacts of the study."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact

from batchlab.search.storage import find_study
from batchlab.tracking.stores import optuna_artifacts


def attach_figures(mlruns: str, name: str, paths: Sequence[Path], address: Any = None) -> None:
    """Lay files beside a study; one of a name that is there already is replaced.

    Args:
        mlruns: folder of results.
        name: of the study; nothing happens where it is no search.
        paths: of the files.
        address: of Optuna's store; None = optuna.db in `mlruns`.
    """
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
