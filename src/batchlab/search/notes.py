"""What the Optuna dashboard says of a study: the recommended configurations, as a note."""

from collections.abc import Mapping

from optuna.study import Study
from optuna_dashboard import save_note


def write_note(study: Study, picks: Mapping[str, str], commands: Mapping[str, str]) -> None:
    """Write the study's note anew.

    Args:
        study: whose.
        picks: name -> what is known of it, as Markdown.
        commands: name -> what to type for it.
    """
    lines = ["### Recommended configurations", ""]
    for name, said in picks.items():
        lines += [f"**{name}**: {said}", "", "```", commands[name], "```", ""]
    save_note(study, "\n".join(lines))
