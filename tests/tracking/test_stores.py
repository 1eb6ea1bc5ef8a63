"""Where results lie."""

import os

from batchlab.tracking.stores import report_folder


def test_pages_of_two_studies_never_share_a_folder(tmp_path, monkeypatch):
    mlruns = str(tmp_path)
    first = report_folder(mlruns, "Digits")
    first.mkdir(parents=True)
    assert report_folder(mlruns, "Digits") == first
    folded = first.with_name("digits")  # as a file system that ignores case has it
    folded.mkdir()
    monkeypatch.setattr(os, "listdir", lambda folder: ["Digits"])
    assert report_folder(mlruns, "digits") not in (first, folded)
    assert report_folder(mlruns, "digits").parent == first.parent
