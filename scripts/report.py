"""A study's page: the answer, its figures and where they come from, from what was recorded. See --help."""

from batchlab.report_study.keys import Report
from batchlab.stopping import note_signals

if __name__ == "__main__":
    note_signals()
    from batchlab.command import run_script  # a second, in which a signal is only noted

    run_script("report_study", Report)
