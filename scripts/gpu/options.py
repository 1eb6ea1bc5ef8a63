"""Run every option on this device: each is checked (dry run), built, and trained for 20 steps, in one process.

python options.py GROUP     models, optimizers, precisions, compile, measures, numbers
"""

import sys
import time
from dataclasses import replace

import torch
from day import CUDA, PATIENCE, Late, config, error_of, say, within

IMAGES = ["data=synthetic_images", f"data.num_examples={2048 if CUDA else 200}"]
SHORT = ["budget=steps", "budget.num_steps=20", "batch_size=128", "measure=none"]
TINY = [] if CUDA else ["batch_size=16", "budget.num_steps=2"]


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
    begun = time.perf_counter()
    try:
        with within(seconds * PATIENCE):
            result, losses = train(*typed)
        facts = {
            key.split("/")[1]: round(float(value), 6)
            for key, value in result.finals.items()
            if key
            in (
                "cost/train_seconds",
                "cost/peak_memory_bytes",
                "cost/warmup_seconds",
                "cost/compile_seconds",
                "final/train_loss",
            )
            or key.startswith(("sharpness", "noise"))
        }
        say(
            "options",
            group=group,
            name=name,
            outcome=result.outcome,
            cause=result.cause,
            took=round(time.perf_counter() - begun, 2),
            loss=losses[-1],
            missing=result.missing,
            **facts,
        )
        return result
    except (Exception, Late) as error:
        say(
            "options",
            group=group,
            name=name,
            outcome="FAILED",
            cause=error_of(error),
            took=round(time.perf_counter() - begun, 2),
        )
        import traceback

        traceback.print_exc()
    finally:
        if CUDA:
            torch.cuda.empty_cache()


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
OPTIMIZERS = [
    "sgd",
    "momentum",
    "nesterov",
    "adam",
    "adamw",
    "rmsprop",
    "rprop",
    "lbfgs",
    "muon",
    "lars",
    "lamb",
    "soap",
]


def some(names):
    """Return all names on a GPU, the first in a dry run: `tests/test_options.py` trains with every option on a CPU."""
    return list(names) if CUDA else list(names)[:1]


def models():
    for name in some(NETS):
        attempt("models", name, *NETS[name])
    for name in some(("label_smoothing", "focal", "squared_error")):
        attempt("models", f"loss {name}", f"loss={name}")
    attempt("models", "streamed", *NETS["convnet"], "data.resident=false")
    attempt("models", "micro 48", *NETS["convnet"], "micro_batch_size=48", *(["measure=brief"] if CUDA else []))
    attempt("models", "grow", "batch_schedule=grow", "lr_schedule=step")
    if CUDA:
        attempt("models", "cuda:0", "device=cuda:0")


def optimizers():
    for name in some(OPTIMIZERS):
        attempt("optimizers", name, f"optimizer={name}", *(["lr_schedule=constant"] if name == "rprop" else []))
        attempt("optimizers", f"{name} resnet20", *NETS["resnet20"], f"optimizer={name}")
    for name in some(("sgd", "momentum", "adam", "adamw")):
        attempt("optimizers", f"{name} fused", f"optimizer={name}", "+optimizer.fused=true")
    if CUDA:
        attempt("optimizers", "adam capturable", "optimizer=adam", "+optimizer.capturable=true")


def precisions():
    for precision in ("bfloat16", "float16") if CUDA else ("bfloat16",):
        for name in some(("mlp6x64", "convnet", "convnet ghost", "resnet20", "vit", "mobilenet", "simclr")):
            attempt("precisions", f"{name} {precision}", *NETS[name], f"precision={precision}")
        for name in some(("adam", "rprop", "muon", "lars", "lamb", "soap")):
            attempt("precisions", f"{name} {precision}", f"optimizer={name}", f"precision={precision}")
        attempt(
            "precisions", f"adam fused {precision}", "optimizer=adam", "+optimizer.fused=true", f"precision={precision}"
        )
        attempt(
            "precisions", f"micro 48 {precision}", *NETS["convnet"], "micro_batch_size=48", f"precision={precision}"
        )


def compiled():
    for name in some(("mlp6x64", "convnet", "resnet20", "vit", "mobilenet", "simclr")):
        attempt("compile", f"{name}", *NETS[name], "compile=true", seconds=90)
    if not CUDA:
        return
    attempt("compile", "resnet20 bfloat16", *NETS["resnet20"], "compile=true", "precision=bfloat16", seconds=90)
    attempt("compile", "mlp micro 48", "compile=true", "micro_batch_size=48", seconds=60)
    attempt("compile", "grow", "compile=true", "batch_schedule=grow", "lr_schedule=step", seconds=60)
    from torch._dynamo import utils  # nothing may have fallen back to eager: recompile_limit is 8 a process

    say("options", group="compile", name="dynamo frames", outcome=str(dict(utils.counters["frames"])))


def measures():
    for name in some(("mlp6x64", "convnet", "resnet20", "vit", "mobilenet")):
        attempt(
            "measures",
            f"{name} sharpness",
            *NETS[name],
            "measure=sharpness",
            f"measure.num_examples={512 if CUDA else 64}",
            seconds=60,
        )
    if not CUDA:
        return
    attempt(
        "measures",
        "convnet batch_norm=train",
        *NETS["convnet"],
        "measure=sharpness",
        "measure.batch_norm=train",
        "measure.num_examples=512",
    )


def numbers():
    """Compare gradients on the device with float64 on a CPU, parts with the whole, and two runs with each other."""
    from batchlab.training.build import build
    from batchlab.training.gradient import accumulate
    from batchlab.training.plan import part_sizes

    def gradient(built, sizes):
        built.train_step.model.eval()
        built.train_step.optimizer.zero_grad()
        accumulate(built.train_step, built.stream, 0, sizes)
        return torch.cat(
            [
                each.grad.flatten().double().cpu()
                for each in built.train_step.model.parameters()
                if each.grad is not None
            ]
        )

    for name in some(("mlp6x64", "convnet none", "resnet20", "vit")):
        typed = [*SHORT, *NETS[name]]
        here = build(config(*typed), 0)
        cpu = build(replace(config(*typed), device="cpu"), 0)
        exact = build(replace(config(*typed), device="cpu"), 0)
        exact.train_step.model.double()
        x, y = exact.stream.take(0, 128)
        exact.train_step.model.eval()
        exact.loss_function(exact.train_step.model(x.double()), y).backward()
        true = torch.cat([each.grad.flatten() for each in exact.train_step.model.parameters() if each.grad is not None])
        row = {}
        for tf32 in (True, False) if CUDA else (True,):
            torch.backends.cudnn.allow_tf32 = tf32
            whole, parts = gradient(here, [128]), gradient(here, part_sizes(128, 48))
            label = f"cudnn.allow_tf32={tf32}"
            row |= {
                f"error {label}": float((whole - true).norm() / true.norm()),
                f"parts {label}": float((parts - whole).norm() / whole.norm()),
            }
        torch.backends.cudnn.allow_tf32 = True
        row["error cpu"] = float((gradient(cpu, [128]) - true).norm() / true.norm())
        say("options", group="numbers", name=f"gradient {name}", outcome="done", **row)
    for name in some(("mlp6x64", "convnet", "resnet20", "vit", "mobilenet")):
        finals = [train(*NETS[name])[0].weights for _ in range(2)]
        same = all(torch.equal(finals[0][key], finals[1][key]) for key in finals[0])
        far = max(float((finals[0][key].double() - finals[1][key].double()).abs().max()) for key in finals[0])
        say(
            "options", group="numbers", name=f"twice {name}", outcome="bit for bit" if same else f"differs by {far:.2g}"
        )


def guarded(group):
    import sklearn.metrics  # noqa: F401  (seconds that are no option's)

    try:
        GROUPS[group]()
    except Exception as error:
        say("options", group=group, name="GROUP", outcome="FAILED", cause=error_of(error))
        import traceback

        traceback.print_exc()


GROUPS = {
    "models": models,
    "optimizers": optimizers,
    "precisions": precisions,
    "compile": compiled,
    "measures": measures,
    "numbers": numbers,
}
if __name__ == "__main__":
    for each in sys.argv[1:] or GROUPS:
        guarded(each)
