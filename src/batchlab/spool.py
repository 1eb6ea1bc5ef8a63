"""A file per run to which everything is appended first; MLflow is a sink that drains it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Value:
    """One value of one metric.

    Attributes:
        key: metric name, e.g. ``val/accuracy``.
        value: may be NaN.
        timestamp_ms: milliseconds since 1970.
        step: optimizer step; 0 for finals.
    """

    key: str
    value: float
    timestamp_ms: int
    step: int


class Spool:
    """Append-only JSON lines; what was appended is on its way to disk when `append` returns.

    Args:
        path: the run's file; its folder is made.
        header: what a reader needs to know the run by: study, MLflow run, params.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("a")
        self._drained: list[Value] = []
        self._write({"header": header})

    def append(self, values: list[Value]) -> None:
        """Write values down; they wait for `drain`."""
        self._write({"values": [asdict(value) for value in values]})
        self._drained += values

    def waiting(self) -> list[Value]:
        """Values that no sink has taken yet."""
        return list(self._drained)

    def drained(self) -> None:
        """A sink took all that waited."""
        self._drained = []

    def close(self, remove: bool) -> None:
        """Close the file; remove it where everything has reached the sink."""
        self._file.close()
        if remove:
            self.path.unlink()

    def _write(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record, default=str) + "\n")
        self._file.flush()
