"""How a program of ours ends: its exit code, and a traceback only where an exception is the program's own."""

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from hydra.errors import CompactHydraException, ConfigCompositionException, OverrideParseException

from batchlab.system.environment_errors import in_words
from batchlab.system.signals import check_stop, stop_code


def exit_code(work: Callable[[], object]) -> int:
    """Do the work and say why it failed, if it did.

    Returns:
        What `work` returned if that is an integer, else 0; 1 where an exception or a fault ended it, 2 where Hydra
        cannot compose what was typed; 130 or 143 where a signal was received, whatever a store has made of it.
    """
    try:
        done = work()
        code = done if isinstance(done, int) else 0
    except KeyboardInterrupt:
        code = 130
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except Exception as error:
        code = 2 if isinstance(error, ConfigCompositionException | OverrideParseException) else 1
        _say(error)
    return stop_code() or code


def _say(error: Exception) -> None:
    if said := in_words(error):
        print(said, file=sys.stderr)
    elif isinstance(error, CompactHydraException):
        print(*filter(None, (error, error.__cause__)), sep="\n", file=sys.stderr)
    elif not stop_code():  # else it is what the signal has left of a library's call
        traceback.print_exception(type(error), error, _from_job_on(error.__traceback__))


def _from_job_on(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without Hydra's frames above the job, which say nothing of it."""
    found, each = trace, trace
    while each is not None:
        found = each.tb_next if each.tb_frame.f_code.co_name == "run_job" else found
        each = each.tb_next
    return found or trace


@contextmanager
def faults_end_the_command() -> Iterator[None]:
    """End the command at a fault inside a job: it is not the job's, and would meet every other job as well.

    Raises:
        KeyboardInterrupt, SystemExit: where a signal was received, and came out of a store as its error.
        SystemExit: with 1, after the fault was said.
    """
    try:
        yield
    except Exception as error:
        check_stop()
        if not (said := in_words(error)):
            raise
        print(said, file=sys.stderr)
        raise SystemExit(1) from error
