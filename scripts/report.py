"""A study's page: the answer, its figures and where they come from, from what was recorded. See --help."""

from batchlab.commands.report.report_keys import Report
from batchlab.system.signals import note_signals

if __name__ == "__main__":
    note_signals()
    from batchlab.commands.command_line import run_script  # a second, in which a signal is only noted

    run_script("report", Report)
