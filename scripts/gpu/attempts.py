"""Train networks for 20 steps, checked (dry run) and built first, and say what became of each attempt."""

import time
import traceback

import torch
from day import CUDA, PATIENCE, Late, config, error_of, say, within

IMAGES = ["data=synthetic_images", f"data.num_examples={2048 if CUDA else 200}"]
SHORT = ["budget=steps", "budget.num_steps=20", "batch_size=128", "measure=none"]
TINY = [] if CUDA else ["batch_size=16", "budget.num_steps=2"]
NETS = {
    "mlp": ["model=mlp"],
    "mlp6x64": ["model=mlp6x64"],
    "surface": ["data=surface", "model=surface", "loss=mean_output", "batch_size=16", "optimizer=sgd"],
    "convnet": [*IMAGES, "model=convnet"],
    "convnet ghost": [*IMAGES, "model=convnet", "model.norm=ghost_batch", "model.ghost_size=16"],
    "convnet layer": [*IMAGES, "model=convnet", "model.norm=layer"],
    "convnet none": [*IMAGES, "model=convnet", "model.norm=none"],
    "resnet20": [*IMAGES, "model=resnet20"],
    "vit": [*IMAGES, "model=vit"],
    "mobilenet": [*IMAGES, "model=torchvision"],
    "resnet18": [*IMAGES, "model=torchvision", "model.name=resnet18"],
    "simclr": [*IMAGES, "model=simclr", "loss=contrastive"],
}
FACTS = (
    "cost/train_seconds",
    "cost/peak_memory_bytes",
    "cost/warmup_seconds",
    "cost/compile_seconds",
    "final/train_loss",
)


def some(names):
    """Return all names on a GPU, the first in a dry run: `tests/test_options.py` trains with every option on a CPU."""
    return list(names) if CUDA else list(names)[:1]


def train(*typed):
    from batchlab.run.training_run import run, run_to_end
    from batchlab.training.build import build
    from batchlab.training.evaluation import Evaluation
    from batchlab.validation.dry_run import check_data

    here = config(*SHORT, *typed, *TINY)
    if mistakes := check_data(here):
        raise ValueError("; ".join(map(str, mistakes)))
    losses = []

    def note(at):
        point = at.point if isinstance(at, Evaluation) else at
        losses.append(point.train_loss)

    result = run_to_end(run(build(here, 0)), note)
    return result, losses


def attempt(group, name, *typed, seconds=60):
    """Train a network within some seconds and say its outcome, an error included."""
    begun = time.perf_counter()

    def ended(outcome, cause, **facts):
        took = round(time.perf_counter() - begun, 2)
        say("options", group=group, name=name, outcome=outcome, cause=cause, took=took, **facts)

    try:
        with within(seconds * PATIENCE):
            result, losses = train(*typed)
        facts = facts_of(result.finals)
        ended(result.outcome, result.cause, loss=losses[-1], missing=result.missing, **facts)
        return result
    except (Exception, Late) as error:
        ended("FAILED", error_of(error))
        traceback.print_exc()
    finally:
        if CUDA:
            torch.cuda.empty_cache()


def facts_of(finals):
    """Return the finals that are said of an attempt: last part of the name -> rounded value."""
    return {
        key.split("/")[1]: round(float(value), 6)
        for key, value in finals.items()
        if key in FACTS or key.startswith(("sharpness", "noise"))
    }
