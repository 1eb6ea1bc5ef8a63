"""Run every option on this device: each is checked (dry run), built, and trained for 20 steps, in one process.

python options.py GROUP     models, optimizers, precisions, compile, measures, numbers
"""

import sys
import traceback
from dataclasses import replace

import torch
from attempts import NETS, SHORT, attempt, some, train
from day import CUDA, config, error_of, say

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


def models():
    for name in some(NETS):
        attempt("models", name, *NETS[name])
    for name in some(("label_smoothing", "focal", "squared_error")):
        attempt("models", f"loss {name}", f"loss={name}")
    attempt("models", "streamed", *NETS["convnet"], "data.resident=false")
    attempt("models", "streamed by workers", *NETS["convnet"], "data.resident=false", "data.num_workers=2")
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
    for precision in ("tf32", "bfloat16", "float16") if CUDA else ("bfloat16",):
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
    for name in some(NETS):
        attempt("compile", f"{name} cuda_graph", *NETS[name], "compile=cuda_graph")
    for name in some(("mlp6x64", "resnet20")):
        attempt("compile", f"{name} auto", *NETS[name], "compile=auto")
        attempt("compile", f"{name} cuda_graph bfloat16", *NETS[name], "compile=cuda_graph", "precision=bfloat16")
    workers = ("data.resident=false", "data.num_workers=2")
    attempt("compile", "streamed cuda_graph", *NETS["convnet"], *workers, "compile=cuda_graph")
    attempt("compile", "lbfgs cuda_graph", "compile=cuda_graph", "optimizer=lbfgs")
    attempt("compile", "resnet20 cudnn_benchmark", *NETS["resnet20"], "cudnn_benchmark=true")
    from torch._dynamo import utils  # nothing may have fallen back to eager

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
    for name in some(("mlp6x64", "convnet none", "resnet20", "vit")):
        say("options", group="numbers", name=f"gradient {name}", outcome="done", **gradient_errors(name))
    for name in some(("mlp6x64", "convnet", "resnet20", "vit", "mobilenet")):
        finals = [train(*NETS[name])[0].weights for _ in range(2)]
        same = all(torch.equal(finals[0][key], finals[1][key]) for key in finals[0])
        far = max(float((finals[0][key].double() - finals[1][key].double()).abs().max()) for key in finals[0])
        say(
            "options", group="numbers", name=f"twice {name}", outcome="bit for bit" if same else f"differs by {far:.2g}"
        )


def gradient_errors(name):
    """Return relative errors of a network's gradient: on the device against float64, and of its parts."""
    from batchlab.training.build import build, use_settings
    from batchlab.training.plan import part_sizes

    typed = [*SHORT, *NETS[name]]
    here = build(config(*typed), 0)
    cpu = build(replace(config(*typed), device="cpu"), 0)
    true = exact_gradient(build(replace(config(*typed), device="cpu"), 0))
    row = {}
    for precision in ("tf32", "float32") if CUDA else ("float32",):
        use_settings(replace(here.config, precision=precision))
        whole, parts = gradient(here, [128]), gradient(here, part_sizes(128, 48))
        row |= {
            f"error {precision}": float((whole - true).norm() / true.norm()),
            f"parts {precision}": float((parts - whole).norm() / whole.norm()),
        }
    return row | {"error cpu": float((gradient(cpu, [128]) - true).norm() / true.norm())}


def exact_gradient(built):
    """Return the gradient of a network's first batch in float64."""
    model = built.train_step.model.double()
    x, y = built.stream.take(0, 128)
    model.eval()
    built.loss_function(model(x.double()), y).backward()
    return flat_gradient(model)


def gradient(built, sizes):
    """Return the gradient of a network's first batch, accumulated over parts of the given sizes."""
    from batchlab.training.gradient import accumulate

    built.train_step.model.eval()
    built.train_step.optimizer.zero_grad()
    accumulate(built.train_step, built.stream, 0, sizes)
    return flat_gradient(built.train_step.model)


def flat_gradient(model):
    """Return a network's gradient as one vector of float64 on the CPU."""
    return torch.cat([each.grad.flatten().double().cpu() for each in model.parameters() if each.grad is not None])


def guarded(group):
    import sklearn.metrics  # noqa: F401  (seconds that are no option's)

    try:
        GROUPS[group]()
    except Exception as error:
        say("options", group=group, name="GROUP", outcome="FAILED", cause=error_of(error))
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
