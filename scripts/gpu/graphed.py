"""Prototype: a train step whose forward and backward pass is a CUDA graph, recorded once for one batch size.

Drops into `fit` and `time_cells` as it is: `compute_loss` replays, `backward` has nothing left to do. One part a step,
float32 or bfloat16 (a float16 scale is read at replay, too), one process. The optimizer stays eager: use fused=True.
"""

from dataclasses import replace

import torch


def graphed(train_step, stream, batch_size: int):
    inputs, targets = (each.clone() for each in stream.take(0, batch_size))
    params = [each for each in train_step.model.parameters() if each.requires_grad]
    buffers = [(each, each.clone()) for each in train_step.model.buffers()]
    train_step.model.train()

    def once():
        for each in params:
            each.grad = None
        loss = train_step.compute_loss(inputs, targets)
        train_step.backward(loss)
        return loss.detach()

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            once()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = once()
    grads = [each.grad for each in params]
    with torch.no_grad():
        for each, value in buffers:  # batch norm has counted the warm-up
            each.copy_(value)

    def compute_loss(new_inputs, new_targets):
        inputs.copy_(new_inputs)
        targets.copy_(new_targets)
        graph.replay()
        for each, grad in zip(params, grads, strict=True):  # zero_grad took them away
            each.grad = grad
        return loss

    return replace(train_step, compute_loss=compute_loss, backward=lambda _loss: None)
