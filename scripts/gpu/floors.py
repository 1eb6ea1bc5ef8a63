"""Time one training step of the same network, done in different ways; a graph of the whole step is the floor.

python floors.py [mlp] [conv]
"""

import sys

import torch
from day import CUDA, DEVICE, error_of, per_call, say
from torch import nn

SMALL = not CUDA


def stepper(model, x, y, precision="float32", fused=False, optimizer="momentum", cache=True):
    made = {
        "momentum": lambda: torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, fused=fused or None),
        "adam": lambda: torch.optim.Adam(model.parameters(), lr=1e-5, fused=fused or None, capturable=CUDA),
    }[optimizer]()
    loss_of, dtype = nn.CrossEntropyLoss(), {"bfloat16": torch.bfloat16, "float32": None}[precision]

    def forward_backward():
        made.zero_grad()
        if dtype is None:
            out = model(x)
        else:
            with torch.autocast(DEVICE.type, dtype, cache_enabled=cache):
                out = model(x)
        loss = loss_of(out.float(), y)
        loss.backward()
        return loss.detach()

    def step():
        loss = forward_backward()
        made.step()
        return loss

    return step, forward_backward, made


def recorded(run, warm=3):
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(warm):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph


def row(what, variant, build):
    try:
        whole, host = per_call(build())
        say("floors", what=what, variant=variant, us=round(whole, 1), host_us=round(host, 1))
    except Exception as error:
        say("floors", what=what, variant=variant, failed=error_of(error))
    finally:
        torch.compiler.reset()
        if CUDA:
            torch.cuda.empty_cache()


def graph_of_gradient(model, x, y, **how):
    _, forward_backward, optimizer = stepper(model, x, y, fused=True, cache=False, **how)
    graph = recorded(forward_backward)
    params = list(model.parameters())
    grads = [each.grad for each in params]

    def run():
        graph.replay()
        for each, grad in zip(params, grads, strict=True):
            each.grad = grad
        optimizer.step()

    return run


def of_network(what, make, x, y, with_compile=True, **how):
    def fresh():
        torch.manual_seed(0)
        return make().to(DEVICE)

    row(what, "eager foreach", lambda: stepper(fresh(), x, y, **how)[0])
    row(what, "eager fused", lambda: stepper(fresh(), x, y, fused=True, **how)[0])
    if with_compile:
        row(what, "compile, fused", lambda: stepper(torch.compile(fresh()), x, y, fused=True, **how)[0])
    if CUDA:
        if with_compile:

            def reduced():
                step = stepper(torch.compile(fresh(), mode="reduce-overhead"), x, y, fused=True, **how)[0]

                def run():
                    torch.compiler.cudagraph_mark_step_begin()
                    step()

                return run

            row(what, "compile reduce-overhead, fused", reduced)
        row(what, "graph of forward and backward, eager fused", lambda: graph_of_gradient(fresh(), x, y, **how))
        row(
            what,
            "graph of the whole step = floor",
            lambda: recorded(stepper(fresh(), x, y, fused=True, cache=False, **how)[0]).replay,
        )
        if with_compile:
            row(
                what,
                "graph of the compiled whole step",
                lambda: recorded(stepper(torch.compile(fresh()), x, y, fused=True, cache=False, **how)[0], 5).replay,
            )


def mlp():
    from batchlab.models.mlp import mlp6x64

    for size in (32, 128) if SMALL else (32, 1024, 8192, 65536):
        x, y = torch.randn(size, 20, device=DEVICE), torch.randint(2, (size,), device=DEVICE)
        of_network(f"mlp6x64 B={size}", lambda: mlp6x64((20,), 2), x, y, with_compile=CUDA and size == 32)
    x, y = torch.randn(32, 20, device=DEVICE), torch.randint(2, (32,), device=DEVICE)
    of_network("mlp6x64 B=32 adam", lambda: mlp6x64((20,), 2), x, y, with_compile=False, optimizer="adam")


def conv():
    from batchlab.models.resnet20 import resnet20
    from batchlab.models.torchvision import Torchvision

    if SMALL:
        return of_convnet("resnet20 32px", lambda: resnet20((3, 32, 32), 10), 8, 32)
    of_convnet("resnet20 32px", lambda: resnet20((3, 32, 32), 10), 128, 32)
    of_convnet("mobilenet_v3_large 224px", lambda: Torchvision((3, 224, 224), 10), 128, 224)
    of_convnet("resnet50 224px", lambda: Torchvision((3, 224, 224), 10, "resnet50"), 128, 224)


PRECISIONS = (  # precision, channels_last, cudnn.benchmark, TF32 in convolutions
    ("float32", False, False, True),
    ("float32, no TF32 in convolutions", False, False, False),
    ("float32", False, True, True),
    ("bfloat16", False, False, True),
    ("bfloat16", True, False, True),
    ("bfloat16", True, True, True),
)


def of_convnet(name, make, size, pixels):
    what = f"{name} B={size}"
    x, y = torch.randn(size, 3, pixels, pixels, device=DEVICE), torch.randint(10, (size,), device=DEVICE)
    last = x.to(memory_format=torch.channels_last)

    def net(is_last):
        torch.manual_seed(0)
        model = make().to(DEVICE)
        return model.to(memory_format=torch.channels_last) if is_last else model

    def eager(precision, is_last):
        return lambda: stepper(net(is_last), last if is_last else x, y, precision.split(",")[0], fused=True)[0]

    for precision, is_last, benchmark, tf32 in PRECISIONS:
        torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = benchmark, tf32
        variant = f"{precision}{' channels_last' if is_last else ''}{' cudnn.benchmark' if benchmark else ''}"
        row(what, variant, eager(precision, is_last))
    if CUDA:
        graph = lambda: recorded(stepper(net(True), last, y, "bfloat16", fused=True, cache=False)[0]).replay  # noqa: E731
        row(what, "bfloat16 channels_last cudnn.benchmark, graph", graph)
    if CUDA and name.startswith("resnet20"):
        compiled = lambda: stepper(torch.compile(net(True)), last, y, "bfloat16", fused=True)[0]  # noqa: E731
        row(what, "bfloat16 channels_last compile", compiled)
    torch.backends.cudnn.benchmark = False


if __name__ == "__main__":
    for each in sys.argv[1:] or ("mlp", "conv"):
        {"mlp": mlp, "conv": conv}[each]()
