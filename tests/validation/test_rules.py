import pytest

from batchlab.errors import ConfigErrors, in_grammar
from batchlab.validation.rules import check_config

WRONG = [
    (["batch_size=0"], "batch_size"),
    (["batch_size=-8"], "batch_size"),
    (["batch_size=3.5"], "batch_size"),
    (["batch_size=abc"], "batch_size"),
    (["batch_size=true"], "batch_size"),
    (["micro_batch_size=0"], "micro_batch_size"),
    (["micro_batch_size=most"], "micro_batch_size"),
    (["memory.limit_bytes=2000000000"], "memory.limit_bytes"),
    (["memory.headroom=0.1", "micro_batch_size=32"], "memory.headroom"),
    (["memory.max_micro_batch_size=64"], "memory.max_micro_batch_size"),
    (["micro_batch_size=auto", "memory.limit_bytes=2GiB"], "memory.limit_bytes"),
    (["micro_batch_size=auto", "memory.limit_bytes=lots"], "memory.limit_bytes"),
    (["micro_batch_size=auto", "memory.limit_bytes=0"], "memory.limit_bytes"),
    (["micro_batch_size=auto", "memory.headroom=1"], "memory.headroom"),
    (["micro_batch_size=auto", "memory.headroom=nan"], "memory.headroom"),
    (["micro_batch_size=auto", "memory.max_micro_batch_size=0"], "memory.max_micro_batch_size"),
    (["checkpoint.every_seconds=0"], "checkpoint.every_seconds"),
    (["checkpoint.every_seconds=nan"], "checkpoint.every_seconds"),
    (["checkpoint.every_seconds=-1"], "checkpoint.every_seconds"),
    (["lr=0"], "lr"),
    (["lr=nan"], "lr"),
    (["lr=inf"], "lr"),
    (["lr=-1"], "lr"),
    (["+optimizer.lr=0.1"], "optimizer.lr"),
    (["epochs=0"], "epochs"),
    (["optimizer.momentum=nan"], "optimizer.momentum"),
    (["lr_schedule=cosine", "lr_schedule.final=nan"], "lr_schedule.final"),
    (["epochs=null"], "epochs"),
    (["budget=steps", "epochs=3"], "epochs"),
    (["budget=steps", "budget.num_steps=0"], "budget.num_steps"),
    (["budget=steps", "budget.seconds=3"], "budget.seconds"),
    (["objectives=[cost/calibrated_train_seconds]", "optimizer=lbfgs"], "objectives"),
    (["budget=seconds", "budget.seconds=nan"], "budget.seconds"),
    (["budget.kind=days"], "budget.kind"),
    (["eval.every_examples=64"], "eval.every_examples"),
    (["eval.every_examples=0"], "eval.every_examples"),
    (["seed=-1"], "seed"),
    (["seed=4294967296"], "seed"),
    (["num_seeds=10001"], "num_seeds"),
    (["num_threads=2000"], "num_threads"),
    (["epochs=1e308"], "epochs"),
    (["budget=steps", "budget.num_steps=10000000000000000"], "budget.num_steps"),
    (["study=.."], "study"),
    (["model._target_=null"], "model._target_"),
    (["measure.sharpness.lambda_max._target_=3"], "measure.sharpness.lambda_max._target_"),
    (["trust=[os/path]"], "trust"),
    (["num_seeds=0"], "num_seeds"),
    (["device=gpu"], "device"),
    (["precision=fp16"], "precision"),
    (["study=a/b"], "study"),
    (["data.resident=maybe"], "data.resident"),
    (["num_threads=0"], "num_threads"),
    (["lr_schedule.warmup=1"], "lr_schedule.warmup"),
    (["lr_schedule.warmup_from=0.2"], "lr_schedule.warmup_from"),
    (["lr_schedule=step", "lr_schedule.factor=0"], "lr_schedule.factor"),
    (["lr_schedule=step", "lr_schedule.milestones=[0.7,0.5]"], "lr_schedule.milestones"),
    (["lr_schedule=step", "lr_schedule.milestones=[]"], "lr_schedule.milestones"),
    (["lr_schedule=wsd", "lr_schedule.decay=0"], "lr_schedule.decay"),
    (["lr_scaling=linear", "lr_scaling.base_batch_size=0"], "lr_scaling.base_batch_size"),
    (["batch_schedule=grow"], "batch_schedule"),
    (["batch_schedule=grow", "lr_schedule=step", "batch_schedule.max_batch_size=64"], "batch_schedule.max_batch_size"),
    (["objectives=[]"], "objectives"),
    (["objectives=[final/test_accuracy]"], "objectives"),
    (["objectives=[accuracy]"], "objectives"),
    (["objectives=[up:final/val_accuracy]"], "objectives"),
    (["objectives=[target/seconds]"], "objectives"),
    (["objectives=[sharpness/trace]"], "objectives"),
    (["objectives=[sharpness/lambda_max]", "measure=none"], "objectives"),
    (["measure.num_examples=0"], "measure.num_examples"),
    (["measure.every_evals=0"], "measure.every_evals"),
    (["measure.batch_norm=training"], "measure.batch_norm"),
    (["measure=none", "measure.num_examples=100"], "measure.num_examples"),
    (["measure.sharpness.adaptive_sam.rho=-1"], "measure.sharpness.adaptive_sam.rho"),
    (["measure.sharpness.lambda_max.tolerance=nan"], "measure.sharpness.lambda_max.tolerance"),
    (["measure=sharpness", "measure.sharpness.keskar_1e-3.epsilon=0"], "measure.sharpness.keskar_1e-3.epsilon"),
    (
        ["measure=sharpness", "measure.sharpness.keskar_1e-3.num_restarts=0"],
        "measure.sharpness.keskar_1e-3.num_restarts",
    ),
    (["measure=sharpness", "measure.sharpness.trace.num_vectors=1.5"], "measure.sharpness.trace.num_vectors"),
    (["measure.sharpness.trace.num_vectors=10"], "measure.sharpness.trace"),
    (["loss=contrastive"], "measure"),
    (["loss=contrastive", "measure=none", "batch_size=1"], "batch_size"),
    (["loss=contrastive", "measure=none", "micro_batch_size=32"], "micro_batch_size"),
    (["loss=contrastive", "measure=none", "micro_batch_size=auto"], "micro_batch_size"),
]


@pytest.mark.parametrize(("overrides", "key"), WRONG, ids=[" ".join(overrides) for overrides, _ in WRONG])
def test_a_wrong_value_is_one_error_that_names_its_key_and_a_fix(config_of, overrides, key):
    errors = check_config(config_of(*overrides))
    assert [error.key for error in errors] == [key]
    assert errors[0].fix
    assert in_grammar(errors[0].value) in str(errors[0])


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["batch_size=full"],
        ["batch_size=1", "micro_batch_size=512"],
        [
            "micro_batch_size=auto",
            "memory.limit_bytes=2000000000",
            "memory.headroom=0",
            "memory.max_micro_batch_size=9",
        ],
        ["budget=target", "objectives=[target/seconds]"],
        ["objectives=[minimize:final/val_accuracy]"],
        ["objectives=[sharpness/lambda_max,sharpness/lr_lambda_max,sharpness/train_loss]"],
        [
            "measure=sharpness",
            "objectives=[sharpness/keskar_1e-3]",
            "measure.every_evals=2",
            "measure.batch_norm=train",
        ],
        ["measure=sharpness", "measure.num_examples=null", "measure.sharpness.keskar_subspace_1e-3.num_dimensions=3"],
        ["lr_schedule=cosine", "lr_schedule.warmup=0.1", "lr_schedule.warmup_from=0.5"],
        ["batch_schedule=grow", "lr_schedule=step"],
        ["device=cuda:3"],
    ],
)
def test_what_is_allowed_passes(config_of, overrides):
    assert check_config(config_of(*overrides)) == []


def test_several_errors_are_reported_together(config_of):
    config = config_of("batch_size=0", "lr=-1", "epochs=0", "precision=half", "objectives=[x]")
    assert len(check_config(config)) == 5


def test_a_value_that_must_be_given_is_asked_for(config_of):
    with pytest.raises(ConfigErrors, match=r"lr_scaling.noise_scale=\?\?\?: must be given"):
        config_of("lr_scaling=noise")


@pytest.mark.parametrize(
    ("typed", "num_bytes"),
    [("2GiB", 2 * 1024**3), ("1.5g", 1_500_000_000), ("512 MB", 512_000_000), ("x", 2 * 1024**3)],
)
def test_the_fix_of_a_size_in_words_is_bytes(config_of, typed, num_bytes):
    [error] = check_config(config_of("micro_batch_size=auto", f"memory.limit_bytes={typed}"))
    assert error.fix == f"memory.limit_bytes={num_bytes}"
