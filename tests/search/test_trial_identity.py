"""What decides that a point was measured before."""

from batchlab.commands.train import job
from batchlab.training.build import resolve


def test_a_point_of_another_gpu_model_is_trained_again(config_of, monkeypatch):
    run, names = resolve(config_of()), iter(["cuda: A", "cuda: A", "cuda: B"])
    monkeypatch.setattr(job, "device_name", lambda _: next(names))
    first, again, other = (job.trial_identity(run) for _ in range(3))
    assert first == again != other
