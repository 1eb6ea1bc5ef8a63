"""A task: what is learned of a data set, and the metrics by which it is measured."""

from dataclasses import dataclass

from batchlab.tasks.metric import Metric


@dataclass(frozen=True)
class Task:
    """What is learned."""

    name: str
    metrics: tuple[Metric, ...]  # measured on val, and once on test; the first is its score unless another is typed

    @property
    def score(self) -> Metric:
        """Return the metric that it goes by unless another is typed."""
        return self.metrics[0]

    def find(self, name: str) -> Metric | None:
        """Return a metric by its name; None where the task has none of that name."""
        return next((metric for metric in self.metrics if metric.name == name), None)
