"""Make the page of metrics: what each metric of a run means."""

from collections.abc import Iterator

from batchlab.tasks.objectives import DIRECTIONS
from scripts.docs_markdown import table

METRICS = {
    "train/loss": "mean loss of the training steps since the last evaluation",
    "train/<score>": "the score (accuracy, RMSE, ...) on up to 2,000 training examples",
    "train/lr": "learning rate of the step",
    "train/batch_size": "batch size of the step",
    "val/loss": "loss on the validation split",
    "val/<score>": "the score on the validation split",
    "progress/epochs": "passes over the training split so far",
    "progress/examples": "examples processed so far",
    "progress/train_seconds": "training seconds so far",
    "noise/gradient_noise_scale": "gradient noise scale tr(Σ)/|G|², in examples; the final with its 95 % interval",
    "final/train_loss": "loss on up to 10,000 training examples at the end of the budget",
    "final/val_loss": "loss on the validation split at the end of the budget; of regression in standardised units",
    "final/val_accuracy": "share of examples whose class is right",
    "final/val_balanced_accuracy": "recall, mean over classes",
    "final/val_f1": "harmonic mean of precision and recall; two classes: of class 1, else the mean over classes",
    "final/val_precision": "precision; two classes: of class 1, else the mean over classes",
    "final/val_recall": "recall; two classes: of class 1, else the mean over classes",
    "final/val_auroc": "area under the ROC curve; one class against the rest, mean over classes",
    "final/val_auprc": "average precision; one class against the rest, mean over classes",
    "final/val_rmse": "root of the mean squared error, in the target's own unit",
    "final/val_mae": "mean absolute error, in the target's own unit",
    "final/val_r2": "share of the target's variance that is explained; below 0 where the mean is better",
    "final/test_<metric>": "each metric of val on the test split, measured once at the end; refused as an objective",
    "cost/train_seconds": "seconds of optimizer steps, on a device that has finished its work",
    "cost/calibrated_train_seconds": "step times measured alone on this host, times steps",
    "cost/eval_seconds": "seconds of evaluations; not in cost/train_seconds",
    "cost/measure_seconds": "seconds of gradient noise and sharpness; not in cost/train_seconds",
    "cost/warmup_seconds": "seconds of one pass of each shape before the first step",
    "cost/compile_seconds": "the same with compile=true, where it is the compilation",
    "cost/total_seconds": "seconds of the whole run, recording included",
    "cost/num_steps": "optimizer steps",
    "cost/num_examples": "examples processed; each pass of L-BFGS counts",
    "cost/examples_per_second": "cost/num_examples over cost/train_seconds",
    "cost/peak_memory_bytes": "peak memory of the device; on a CPU that of the whole process",
    "cost/workers_on_host": "most trainings of batchlab on the host at the run's beginning and end",
    "target/seconds": "training seconds to the target (budget=target); NaN where it was not reached",
    "target/epochs": "passes to the target",
    "target/steps": "optimizer steps to the target",
    "target/examples": "examples to the target",
    "sharpness/train_loss": "loss on the sample that sharpness is measured on; sharpness compares only at equal loss",
    "sharpness/lambda_max": "largest eigenvalue of the Hessian",
    "sharpness/lr_lambda_max": "that times lr; near 2 at the edge of stability",
    "sharpness/trace": "trace of the Hessian (Hutchinson)",
    "sharpness/sam": "rise of the loss in the steepest direction at distance rho",
    "sharpness/adaptive_sam": "the same with distances relative to the weights",
    "sharpness/keskar_1e-3": "Keskar's φ: largest rise of the loss in a box of relative half width 10⁻³",
    "sharpness/keskar_5e-4": "the same in a box of half width 5·10⁻⁴",
    "sharpness/keskar_subspace_1e-3": "φ in a random subspace of 100 dimensions, 10⁻³",
    "sharpness/keskar_subspace_5e-4": "φ in a random subspace of 100 dimensions, 5·10⁻⁴",
}
"""What each metric of a run means."""


def metrics_page() -> str:
    """Return the reference of metrics: name, which way is better, meaning."""
    better = {"minimize": "smaller", "maximize": "larger"}
    rows = [(f"`{name}`", better.get(DIRECTIONS.get(name, ""), ""), text) for name, text in METRICS.items()]
    return "\n\n".join(
        [
            "# Metrics",
            "Every run records these in MLflow. Those with a direction are finals that may be an objective of a "
            "search; `minimize:x` or `maximize:x` overrides it. How they are measured: "
            "[How to read the numbers](../measurement.md).",
            *curves_and_finals(rows),
        ]
    )


def curves_and_finals(rows: list[tuple[str, str, str]]) -> Iterator[str]:
    """Yield the tables of metrics by the first part of their names."""
    titles = {
        "train": "Curves, at evaluations",
        "final": "Finals",
        "cost": "Cost",
        "target": "To a target",
        "sharpness": "Sharpness",
    }
    beside = {"val": "train", "progress": "train", "noise": "train"}
    for prefix, title in titles.items():
        of_it = [row for row in rows if beside.get(first := row[0][1:].partition("/")[0], first) == prefix]
        yield f"## {title}"
        yield table(("metric", "better", "meaning"), of_it)
