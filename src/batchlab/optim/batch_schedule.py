"""How the batch moves along a run, and what that leaves of the lr schedule's decay."""


def constant(batch_size: int, decay: float, num_train: int) -> tuple[int, float]:
    """Return the same batch size at every step, and the lr schedule's factor as it is; arguments as in `grow`."""
    del num_train
    return batch_size, decay


def grow(batch_size: int, decay: float, num_train: int, *, max_batch_size: int | None) -> tuple[int, float]:
    """Multiply the batch where the learning rate would have dropped; at the maximum, let the rate drop.

    SGD's noise scale is lr * N / B, so B / decay at a constant lr moves it like lr * decay at a constant B.

    Args:
        batch_size: at the start.
        decay: factor that the lr schedule asks for now, in [0, 1].
        num_train: examples in the training split, N.
        max_batch_size: most examples of a batch; None = N / 10, as in the paper.

    Returns:
        batch size and lr factor of the next step; lr factor / batch size = decay / batch_size always.

    Source: Smith et al. 2018 (1711.00489), sections 3 and 5.1.
    """
    largest = max(batch_size, num_train // 10) if max_batch_size is None else max_batch_size
    grown = largest if decay * largest <= batch_size else round(batch_size / decay)
    return grown, decay * grown / batch_size
