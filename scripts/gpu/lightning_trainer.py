"""Time the steps of a run that Lightning's Trainer trains."""

import time

import lightning
from day import CUDA, sync

QUIET = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "accelerator": "gpu" if CUDA else "cpu",
    "devices": 1,
}
"""Settings of Lightning's Trainer that writes and prints nothing."""


def trainer(built, loader):
    """Return a function that measures the seconds per step of Lightning's Trainer, after 20 steps."""

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = built.train_step.model

        def training_step(self, batch, _):
            return built.loss_function(self.model(batch[0]), batch[1])

        def configure_optimizers(self):
            return built.train_step.optimizer

    class Timer(lightning.Callback):
        started = ended = 0.0

        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 20:
                sync()
                self.started = time.perf_counter()

        def on_train_end(self, *_):
            sync()
            self.ended = time.perf_counter()

    def measure(count):
        timer, count = Timer(), max(count, 20)
        lightning.Trainer(max_steps=20 + count, callbacks=[timer], **QUIET).fit(Module(), loader)
        return (timer.ended - timer.started) / count

    return measure
