"""Test the largest batch that is found against a real limit: another process takes all but some GB of the device.

python memory.py [GB=10]
"""

import os
import subprocess
import sys
import time

from day import CUDA, PATIENCE, error_of, say

HOG = """
import sys, time, torch
keep = float(sys.argv[1]) * 1e9
free, _ = torch.cuda.mem_get_info()
hog = torch.empty(int(free - keep), dtype=torch.uint8, device='cuda')
print('ready', flush=True)
time.sleep(600)
"""
TRAIN = """
import sys
sys.path.insert(0, sys.argv[1])
from day import config
from batchlab.training.build import build
from batchlab.run.training_run import run_to_end, run
from batchlab.system.device_memory import peak_bytes
import torch
here = config(*sys.argv[3:], f"batch_size={sys.argv[2]}", "budget=steps", "budget.num_steps=4", "measure=none")
built = build(here, 0)
result = run_to_end(run(built, with_test=False))
extra = f", reserved {torch.cuda.max_memory_reserved() / 1e9:.2f} GB" if torch.cuda.is_available() else ""
print(result.outcome, result.cause, f"{result.finals['cost/peak_memory_bytes'] / 1e9:.2f} GB{extra}")
"""
HERE = os.path.dirname(os.path.abspath(__file__))


def main() -> None:
    keep = float(sys.argv[1]) if sys.argv[1:] else 10.0
    hog = None
    if CUDA:
        hog = subprocess.Popen([sys.executable, "-c", HOG, str(keep)], stdout=subprocess.PIPE, text=True)
        assert hog.stdout is not None
        say("memory", what="hog", said=hog.stdout.readline().strip())
    try:
        from day import config

        from batchlab.profiling.largest_batch import largest_batch, sentence

        pixels, count = ("224", "2000") if CUDA else ("32", "600")
        data = ["data=synthetic_images", f"data.image_size={pixels}", f"data.num_examples={count}"]
        cases = (
            {"mobilenet bfloat16": [*data, "model=torchvision", "precision=bfloat16"]}
            if CUDA
            else {"resnet20": [*data, "model=resnet20"]}
        )
        for name, typed in cases.items():
            begun = time.perf_counter()
            try:
                limit = None if CUDA else 1_100_000_000
                probe = largest_batch(config(*typed), None, limit, timeout=120 * PATIENCE)
                say(
                    "memory",
                    what=name,
                    found=probe.size,
                    capped_by=probe.capped_by,
                    sentence=sentence(probe),
                    took=round(time.perf_counter() - begun, 1),
                    tested=[
                        [each.size, round(each.bytes / 1e9, 3), each.cause[:80], round(each.seconds, 1)]
                        for each in probe.tested
                    ],
                )
                for factor in (1.0, 1.25):
                    size = int(probe.size * factor)
                    ran = subprocess.run(
                        [sys.executable, "-c", TRAIN, HERE, str(size), *typed],
                        capture_output=True,
                        text=True,
                        timeout=120 * PATIENCE,
                        check=False,
                    )
                    say(
                        "memory",
                        what=name,
                        size=size,
                        over_found=factor,
                        said=(ran.stdout.strip().splitlines() or [""])[-1],
                        rc=ran.returncode,
                        error=(ran.stderr.strip().splitlines() or [""])[-1][:300] if ran.returncode else "",
                    )
            except Exception as error:
                say("memory", what=name, failed=error_of(error), took=round(time.perf_counter() - begun, 1))
    finally:
        if hog is not None:
            hog.kill()


if __name__ == "__main__":
    main()
