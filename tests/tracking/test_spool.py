"""The file of a run: whole lines, one writer, found by others when the writer is gone."""

import json
import math
import multiprocessing
import os
import resource
import signal
from pathlib import Path

import pytest

from batchlab.system.environment_errors import EnvironmentFailure
from batchlab.tracking.spool import End, Header, Spool, Value, begin, read, reopen

LOSS = Value("val/loss", 0.5, 1_000, 3)


def begun(folder: Path, name: str = "0" * 32) -> Spool:
    return begin(folder, Header(name, "study", "B32", 1_000, "", {"outcome": ""}, {"lr": "0.1"}))


def test_a_value_stands_in_the_file_when_append_returns(tmp_path):
    spool = begun(tmp_path / "deep")
    spool.append([Value("val/loss", math.nan, 1, 3)])
    lines = [json.loads(line) for line in spool.path.read_text().splitlines()]
    assert lines[0]["header"]["study"] == "study"
    assert lines[1]["values"][0]["key"] == "val/loss"
    assert math.isnan(lines[1]["values"][0]["value"])
    assert [value.step for value in spool.waiting] == [3]
    spool.sent()
    assert spool.waiting == []


def test_what_is_read_is_what_was_written(tmp_path):
    spool = begun(tmp_path)
    spool.append([LOSS])
    spool.note("in mlflow")
    spool.finish(End("FINISHED", 2_000, {"outcome": "done"}))
    content = read(spool.path)
    assert (content.header, content.values, content.run_id) == (spool.header, [LOSS], "in mlflow")
    assert (content.end, content.is_cut) == (End("FINISHED", 2_000, {"outcome": "done"}), False)


def test_nobody_opens_the_file_of_a_living_process(tmp_path):
    spool = begun(tmp_path)
    assert reopen(spool.path) is None
    spool.close()
    assert reopen(spool.path).header == spool.header


def test_the_file_of_a_killed_process_is_free_though_its_forked_child_lives(tmp_path):
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    writer = context.Process(target=_parent_of_a_child, args=(tmp_path, theirs))
    writer.start()
    path, child = ours.recv()
    assert reopen(Path(path)) is None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    found = reopen(Path(path))
    os.kill(child, signal.SIGKILL)
    assert (found.waiting, found.end) == ([LOSS], None)


def _parent_of_a_child(folder: Path, ready) -> None:
    spool = begun(folder)
    spool.append([LOSS])
    child = os.fork()
    if child:
        ready.send((str(spool.path), child))
    signal.pause()


@pytest.mark.parametrize("cut", [b"", b'{"val', b'{"values": [{"key": "val/loss"}]}\n', b"\0\0\0\n"])
def test_a_line_that_is_not_whole_is_left_out_and_written_over(tmp_path, cut):
    spool = begun(tmp_path)
    spool.append([LOSS])
    spool.close()
    whole = spool.path.read_bytes()
    spool.path.write_bytes(whole + cut)
    found = reopen(spool.path)
    assert (found.waiting, found.was_cut) == ([LOSS], cut != b"")
    found.finish(End("KILLED", 2_000, {}))
    assert spool.path.read_bytes().startswith(whole)
    assert read(spool.path).end.status == "KILLED"


@pytest.mark.parametrize("text", ["", "not ours\n", "[1]\n", '{"header": {"study": "x"}}\n', "\0" * 100])
def test_a_file_that_is_none_of_ours_is_left_alone(tmp_path, text):
    path = tmp_path / f"{'a' * 32}.jsonl"
    path.write_text(text)
    assert reopen(path) is None
    assert path.read_text() == text


def test_a_line_that_does_not_fit_leaves_the_file_as_it_was(tmp_path):
    spool = begun(tmp_path)
    spool.append([LOSS])
    before = spool.path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
    try:
        with pytest.raises(EnvironmentFailure, match=r"0.jsonl: File too large. Lost: this run from here on"):
            spool.append([LOSS])
        assert spool.path.read_bytes() == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    spool.append([LOSS])
    assert read(spool.path).values == [LOSS, LOSS]
