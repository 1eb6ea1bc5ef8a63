"""Follow the leader in every process of a run but the first: build its runs, make its steps."""

import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from batchlab.config.resolve import typed
from batchlab.distributed.launch import join, join_torchrun, local_rank
from batchlab.distributed.messages import LeaderCommand, Ranks, count_of, joined, receive
from batchlab.distributed.rank_state import gather_states, load_broadcast_state
from batchlab.run.training_run import step_aside
from batchlab.system.device_memory import is_out_of_memory
from batchlab.training.build import Built, build
from batchlab.training.gradient import whole_gradient
from batchlab.training.loop import set_lr

ASIDE: dict[LeaderCommand, Callable[[Built], object]] = {
    LeaderCommand.WARM_UP: step_aside,
    LeaderCommand.SEND_STATE: gather_states,
    LeaderCommand.LOAD_STATE: load_broadcast_state,
}
"""What is announced beside steps and the end."""


def follow() -> int:
    """Make the leader's runs until it has no more; returns the exit code."""
    try:
        while (message := receive()) is not None:
            if (built := _built(message)) is not None:
                _obey(built)
    except RuntimeError as error:
        if is_out_of_memory(error):
            print(f"out of memory: {str(error).splitlines()[0]}", file=sys.stderr)
            return 1
        if "Connection closed" in str(error) or "Connection reset" in str(error):
            print("The first process of the run is gone.", file=sys.stderr)
            return 1
        raise
    dist.destroy_process_group()
    return 0


def _built(message: dict[str, Any]) -> Built | None:
    """Build the run that the leader sent; None where some process could not."""
    built = None
    try:
        config = typed(message["config"])
        if config.device == "cuda":
            config.device = f"cuda:{local_rank()}"
        built = build(config, message["seed"])
    except Exception:  # the leader has checked everything that can be seen where it is
        traceback.print_exc()
    if count_of(built is None) or built is None:
        return None
    return joined(built)


def _obey(built: Built) -> None:
    """Make the steps of one run."""
    train_step, ranks = built.train_step, built.train_step.ranks
    assert isinstance(ranks, Ranks)
    base_lrs, known_factor = [group["lr"] for group in train_step.optimizer.param_groups], 1.0
    while True:
        say, start, batch_size, factor = ranks.hear()
        if say is LeaderCommand.END:
            return
        try:
            if say in ASIDE:
                ASIDE[say](built)
                continue
            if factor != known_factor:
                known_factor = set_lr(train_step.optimizer, base_lrs, factor)
            train_step.model.train()
            micro = built.plan.micro_batch_size
            train_step.step(partial(whole_gradient, train_step, built.stream, start, batch_size, micro))
        except torch.OutOfMemoryError:
            if not ranks.has_failed:
                raise


def main() -> int:
    """Run a process that `launch.Followers` started: folder, rank and number of processes stand on the command line."""
    folder, rank, num_processes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    (folder / f"{rank}.ready").touch()
    join(folder, rank, num_processes)
    return follow()


def main_of_torchrun() -> int:
    """Run a process that torchrun started beside the leader."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the leader ends the run; torchrun ends whoever is left
    join_torchrun()
    return follow()


if __name__ == "__main__":
    sys.exit(main())
