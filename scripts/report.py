"""A study's page: the answer, its figures and where they come from, from what was recorded. See --help."""

from batchlab.command import run_script
from batchlab.report_study.keys import Report

if __name__ == "__main__":
    run_script("report_study", Report)
