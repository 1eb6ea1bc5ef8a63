"""Keys of scripts/benchmark.py beside those of a run."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Benchmark:
    """Keys of scripts/benchmark.py beside those of a run."""

    batch_sizes: Any = "auto"
    """A list of integers and full, range(96,161), coulom, or auto = powers of two and the whole training split."""
    devices: Any = field(default_factory=lambda: ["auto"])
    """Devices that are compared."""
    modes: Any = field(default_factory=lambda: ["train"])
    """train and inference."""
    feeds: Any = None
    """resident: one batch that stays on the device; loader: the run's own stream of examples; null = resident, and
    loader where several processes each take their share of the stream."""
    cudnn_benchmark: Any = field(default_factory=lambda: [False])
    """Values of torch.backends.cudnn.benchmark that are compared, on CUDA."""
    image_size: int | None = None
    """Time images of so many pixels on a side, made on the spot (data=synthetic_images)."""
    num_multiprocessors: int | None = None
    """Of the GPU, for batch_sizes=coulom; null = asked from it."""
    wave_shape: Any = None
    """[C, H, W] of the layer that batch_sizes=coulom is about, e.g. [64,32,32]; null = of an input."""
    num_blocks: int = 20
    """Each times everything once."""
    budget_seconds: float = 60.0
    """Blocks are cut short after so long."""
    clock: str = "wall"
    """On a CPU: wall, or process (the process's own seconds, with num_threads=1, which no neighbour stretches)."""
    output: str = "text"
    """text, or json."""
