"""The scripts that measure batchlab's own costs go with its modules."""

import importlib.util
from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent / "scripts" / "bench"


@pytest.mark.parametrize("path", sorted(BENCH.glob("*.py")), ids=lambda path: path.stem)
def test_every_bench_script_finds_what_it_imports_and_says_what_it_measures(path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    spec = importlib.util.spec_from_file_location(f"bench_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.__doc__
