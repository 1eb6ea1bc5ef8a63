"""What the Optuna dashboard says of a study: the recommended configurations, as a note."""

from collections.abc import Mapping, Sequence

from optuna.study import Study
from optuna_dashboard import save_note


def write_notes(study: Study, picks: Mapping[str, str], overrides: Mapping[str, Sequence[str]]) -> None:
    """Write the study's note anew, unless it says the same already.

    Args:
        study: whose.
        picks: name -> a line on it.
        overrides: name -> what to type for it.
    """
    lines = ["### Recommended configurations", ""]
    for name, said in picks.items():
        lines += [f"**{name}**: {said}", "", "```", f"python train.py {' '.join(overrides[name])}", "```", ""]
    save_note(study, "\n".join(lines))
