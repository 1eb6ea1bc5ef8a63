"""Progress of a search whose trials run in other processes: a line per trial, one bar."""

from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from rich.progress import MofNCompleteColumn, TimeElapsedColumn

from batchlab.search.settings import Settings
from batchlab.search.space import Space, in_words
from batchlab.search.study import FINISHED, is_done
from batchlab.system.progress import Bar, make_console


class SearchProgress:
    """Progress bar of a study, read from its storage."""

    def __init__(self, study: Study, settings: Settings, space: Space) -> None:
        self._study, self._settings, self._space = study, settings, space
        self._shown = {trial.number for trial in study.get_trials(deepcopy=False, states=FINISHED)}
        self._console = make_console()
        self._bar = Bar(self._console, settings.study, settings.num_trials, (MofNCompleteColumn(), TimeElapsedColumn()))
        self._bar.update(state="workers are starting")

    def __enter__(self) -> "SearchProgress":
        self._bar.__enter__()
        return self

    def __exit__(self, *ended: Any) -> None:
        self._bar.__exit__(*ended)

    def show(self) -> int:
        """Bring the terminal up to date; returns how many trials are done."""
        trials = self._study.get_trials(deepcopy=False)
        for trial in trials:
            if trial.state in FINISHED and trial.number not in self._shown:
                self._shown.add(trial.number)
                self._console.print(describe(trial, self._settings.metrics, self._space))
        most = self._settings.num_trials
        done = [each for each in trials if is_done(each) and each.user_attrs.get("slot", each.number) < most]
        running = sum(trial.state is TrialState.RUNNING for trial in trials)
        state = f"{running} running" if running or done else "workers are starting"
        self._bar.update(completed=len(done), state=state)
        return len(done)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text)


def describe(trial: FrozenTrial, metrics: tuple[str, ...], space: Space) -> str:
    """Describe a finished trial in a line: what was tried, and how it ended."""
    tried = in_words(space.lines(trial.params))
    if trial.state is TrialState.COMPLETE:
        values = zip(metrics, trial.values, strict=True)
        ending = ", ".join(f"{name} {value:.4g}" for name, value in values)
        if (twin := trial.user_attrs.get("measured_by")) is not None:
            ending += f" (measured by trial {twin})"
    elif trial.state is TrialState.PRUNED:
        result = trial.user_attrs.get("result") or {}
        cause = result.get("cause") or trial.user_attrs.get("cause", "")
        ending = f"{result.get('outcome', 'lost')}: {cause}"
    else:
        ending = trial.user_attrs.get("lost") or f"crashed: {trial.user_attrs.get('cause', '')}"
    return f"trial {trial.number}: {tried}: {ending}"
