"""Large batches end in sharper places by Keskar's measure and the Hessian, and hardly by adaptive SAM."""

import statistics

import pytest

from batchlab.config.schema import REPOSITORY
from batchlab.run.training_run import run, run_to_end
from batchlab.training.build import build

DATA = REPOSITORY.parent / "shared" / "data"
SETTINGS = [
    *("data=fashion_mnist", f"data_root={DATA}", "data.num_train=8000", "model.norm=batch", "optimizer=adam"),
    *("lr=0.001", "epochs=40", "eval.every_examples=80000", "measure=sharpness", "num_threads=1"),
]


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "FashionMNIST").exists(), reason=f"{DATA}/FashionMNIST is missing")
def test_large_batches_are_sharper_by_phi_and_lambda_max_but_not_by_adaptive_sam(config_of):
    """Keskar et al. 2017, table 3, on Fashion-MNIST; geometric means over three seeds, in two and a half minutes."""
    finals = {
        size: [run_to_end(run(build(config_of(*SETTINGS, f"batch_size={size}"), seed))).finals for seed in range(3)]
        for size in (64, 800)
    }
    mean = {
        size: {
            name: statistics.geometric_mean(each[name] for each in finals[size])
            for name in finals[size][0]
            if name.startswith("sharpness/") and not name.endswith("_converged")
        }
        for size in finals
    }
    ratio = {name: mean[800][name] / mean[64][name] for name in mean[64]}
    assert ratio["sharpness/keskar_1e-3"] >= 5
    assert ratio["sharpness/lambda_max"] >= 5
    # ten seeds gave 0.96 [0.58, 1.60], three 0.59: beside factors of ten it is one, give or take the seeds
    assert 1 / 3 <= ratio["sharpness/adaptive_sam"] <= 3
