"""Check a run by loading its data, building it and making one step; nothing is written."""

import shlex
from collections.abc import Iterator
from dataclasses import replace

import torch

from batchlab.config.identity import config_key
from batchlab.config.override_text import override_text, value_text
from batchlab.config.resolve import flat_params
from batchlab.config.schema import OPEN_GROUPS, Config
from batchlab.config.traits import LrScheduleTraits, OptimizerTraits, declared, own_settings
from batchlab.data.transforms import Prepare
from batchlab.errors import ConfigError, ConfigErrors, config_error, raised
from batchlab.models.norm import pass_sizes
from batchlab.system.device_memory import is_out_of_memory
from batchlab.system.torchrun_env import torchrun_env
from batchlab.training.build import can_be_graphed, has_programs, pick_device, resolve
from batchlab.training.cuda_graph import unrecordable
from batchlab.training.data_loading import is_resident, load_dataset
from batchlab.training.plan import ResolvedRun, num_examples_of
from batchlab.validation.first_step import check_first_step
from batchlab.validation.model_checks import check_model, model_of
from batchlab.validation.signature import check_signature
from batchlab.validation.task_rules import check_comparable, check_task

MOST_COMPILED = 16
"""Batch sizes of a run that are compiled: each takes half a minute or more."""
AMPERE = (8, 0)
"""Compute capability of the first GPUs that have bfloat16 and TF32 of their own."""


def check_data(config: Config) -> list[ConfigError]:
    """Return the errors that show when the data is loaded and the run is built: files, sizes, shapes, signatures.

    Those of the first stage that has any: signatures and device, data and sizes, model, optimizer. Running out of
    memory is no error: it is an outcome of the run.
    """
    return [_of_its_setting(config, error) for error in _errors(config)]


def _errors(config: Config) -> list[ConfigError]:
    try:
        if errors := list(_signatures_and_device(config)):
            return errors
        run = _resolved(config)
        for stage in (_data_and_sizes, _programs, check_model, _optimizer, _recording):
            if errors := list(stage(run)):
                return errors
        return []
    except ConfigErrors as error:
        return list(error.errors)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return []
    finally:
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()  # this process may only wait for others that train


def _of_its_setting(config: Config, error: ConfigError) -> ConfigError:
    """Turn an object's complaint into one of the setting with whose value of batchlab's option there is none."""
    group = error.key.removesuffix("._target_")
    if group == "data" or group not in OPEN_GROUPS:  # which would be read anew
        return error
    node = getattr(config, group)
    own = own_settings(group, node)
    for name in node if own and error.value == node["_target_"] else ():
        without = {key: value for key, value in node.items() if key != name}
        mended = without | ({name: own[name]} if name in own else {})
        if mended != node and not _errors(replace(config, **{group: mended})):
            key = f"{group}.{name}"
            fix = override_text(key, own[name]) if name in own else f"the command without {key}"
            return ConfigError(key, value_text(node[name]), f"{error.value} {error.allowed}", fix)
    return error


def check_source(config: Config) -> list[ConfigError]:
    """Return the errors that show when the data is loaded, whatever is trained on it."""
    try:
        errors = list(check_signature("data", config.data))
        if not errors:
            load_dataset(config.data)
        return errors
    except ConfigErrors as error:
        return list(error.errors)


def check_grid(configs: list[Config]) -> list[ConfigError]:
    """Return what is wrong with runs beside each other: losses of different kinds, or a run that stands there twice.

    The spread of a run that stands there twice would be counted as n.
    """
    losses = [[*flat_params(config).items()] for config in configs]
    varied = {key for each in losses for key, value in each if (key, value) not in losses[0]}
    for config in configs:
        if errors := list(check_comparable(sorted(varied), config.objectives, config.score)):
            return errors
    first: dict[tuple[str, str, int], Config] = {}
    for config in configs:
        data = load_dataset(config.data)
        batch_size = num_examples_of(config.batch_size, len(data.train))
        key = config_key(replace(config, batch_size=batch_size))
        for seed in range(config.seed, config.seed + config.num_seeds):
            if (run := (key, data.digest, seed)) in first:
                allowed = f"the grid has this run twice (batch_size={batch_size}, seed={seed})"
                return [ConfigError("-m", "", allowed, _once(first[run], config, configs))]
            first[run] = config
    return []


def _once(first: Config, again: Config, configs: list[Config]) -> str:
    """Return the override of the first key by which two equal runs differ, without the value of the second."""
    settings = [flat_params(config) for config in (first, again)]
    key = next(key for key in settings[0] if settings[0][key] != settings[1].get(key))
    values = dict.fromkeys(value_text(flat_params(config)[key]) for config in configs)
    values.pop(value_text(settings[1][key]))
    return "-m " + shlex.quote(f"{key}={','.join(values)}")


def _signatures_and_device(config: Config) -> Iterator[ConfigError]:
    for group in OPEN_GROUPS:
        yield from check_signature(group, getattr(config, group))
    for name, node in config.measure.sharpness.items():
        yield from check_signature(f"measure.sharpness.{name}", node)
    if config.device.startswith("cuda"):
        index = int(config.device.partition(":")[2] or 0)
        if index >= torch.cuda.device_count():
            allowed = f"this machine has {torch.cuda.device_count()} CUDA devices"
            yield ConfigError("device", config.device, allowed, "device=auto")
            return
    yield from _processes(config)
    if config.device == "mps" and not torch.backends.mps.is_available():
        yield ConfigError("device", config.device, "this machine has no MPS device", "device=auto")
    yield from _precision(config)
    if config.cudnn_benchmark and pick_device(config.device).type != "cuda":
        yield ConfigError("cudnn_benchmark", "true", "has no effect without a CUDA device", "cudnn_benchmark=false")


def _precision(config: Config) -> Iterator[ConfigError]:
    """Check that the device has numbers of that type, and that they go together with the optimizer."""
    name, is_cuda = config.precision, pick_device(config.device).type == "cuda" and torch.cuda.is_available()
    if name in ("float16", "tf32") and not is_cuda:
        fix = "precision=bfloat16" if name == "float16" else "precision=float32"
        yield ConfigError("precision", name, "needs a CUDA device", fix)
    elif name == "float16" and declared(OptimizerTraits, config.optimizer).multi_pass:
        allowed = "loss scaling does not go together with an optimizer that evaluates several times"
        yield ConfigError("precision", "float16", allowed, "precision=bfloat16")
    elif name in ("bfloat16", "tf32") and is_cuda:
        capability = torch.cuda.get_device_capability(pick_device(config.device))
        if capability < AMPERE:
            allowed = f"needs a GPU of compute capability 8.0 or newer, this one has {capability[0]}.{capability[1]}"
            fix = "precision=float16" if name == "bfloat16" else "precision=float32"
            yield ConfigError("precision", name, allowed, fix)


def _processes(config: Config) -> Iterator[ConfigError]:
    """Check for more processes than this machine has GPUs; torchrun's may be on other machines."""
    num = config.num_processes
    if num > 1 and pick_device(config.device).type == "cuda" and torchrun_env() is None:
        if num > torch.cuda.device_count():
            allowed = f"at most the number of this machine's CUDA devices, {torch.cuda.device_count()}"
            yield ConfigError("num_processes", num, allowed, "device=cpu too")
    elif num > 1 and pick_device(config.device).type == "mps":
        yield ConfigError("num_processes", num, "processes share a CPU or CUDA devices", "device=cpu too")


def _resolved(config: Config) -> ResolvedRun:
    """Resolve a configuration; whatever its schedules raise is a configuration error."""
    try:
        return resolve(config)
    except ConfigErrors:
        raise
    except Exception as error:
        targets = f"{config.lr_schedule['_target_']}, {config.batch_schedule['_target_']}"
        fix = "other settings of lr_schedule.* or batch_schedule.*"
        raise config_error("lr_schedule, batch_schedule", targets, raised(error), fix) from None


def _data_and_sizes(run: ResolvedRun) -> Iterator[ConfigError]:
    config, dataset = run.config, run.dataset
    num_train, largest = run.plan.num_train, run.batch_sizes[-1]
    most = config.batch_schedule.get("max_batch_size")
    for key, value in {"batch_size": config.batch_size, "batch_schedule.max_batch_size": most}.items():
        if isinstance(value, int) and value > num_train:
            allowed = f"at most {num_train}, the size of the training split"
            fix = "batch_size=full" if key == "batch_size" else f"{key}={num_train}"
            yield ConfigError(key, value, allowed, fix)
    num_workers = config.data.get("num_workers", "auto")
    if num_workers != "auto" and is_resident(config.data, dataset, pick_device(config.device)):
        allowed = "has no effect on data that lie on the device"
        yield ConfigError("data.num_workers", num_workers, allowed, "data.num_workers=auto")
    every = config.eval.every_examples
    if every is not None and every < largest <= num_train:
        allowed = f"at least the largest batch, {largest}"
        yield ConfigError("eval.every_examples", every, allowed, f"eval.every_examples={largest}")
    yield from check_task(run)


def _programs(run: ResolvedRun) -> Iterator[ConfigError]:
    """Check that not every batch of a schedule would be compiled anew, and that a step can be a CUDA graph."""
    config, num_sizes = run.config, len(run.batch_sizes)
    if has_programs(config, pick_device(config.device)) and num_sizes > MOST_COMPILED:
        allowed = f"a program is compiled for each batch size, and this schedule has {num_sizes} of them"
        yield ConfigError("compile", value_text(config.compile), allowed, "compile=false")
    if config.compile == "cuda_graph" and pick_device(config.device).type != "cuda":
        yield ConfigError("compile", "cuda_graph", "needs a CUDA device", "compile=false")
    elif config.compile == "cuda_graph" and not can_be_graphed(config):
        allowed = "records steps of one part in one process"
        yield ConfigError("compile", "cuda_graph", allowed, "compile=true, or micro_batch_size=none num_processes=1")


def _recording(run: ResolvedRun) -> Iterator[ConfigError]:
    if run.config.compile == "cuda_graph":
        yield from check_recording(run)


def check_recording(run: ResolvedRun) -> Iterator[ConfigError]:
    """Find what a CUDA graph of the model would not compute again."""
    model = model_of(run.config, run.dataset).train()
    inputs = Prepare(run.dataset, torch.device("cpu"))(
        run.dataset.train.inputs[torch.arange(max(2, pass_sizes(model)[1]))]
    )
    if why := unrecordable(model, inputs):
        yield ConfigError("compile", "cuda_graph", f"the model cannot be recorded: {why}", "compile=true")


def _optimizer(run: ResolvedRun) -> Iterator[ConfigError]:
    config = run.config
    yield from check_first_step(run, model_of(config, run.dataset).to(pick_device(config.device)))
    is_curved = not declared(LrScheduleTraits, config.lr_schedule).independent_of_length
    is_moved = is_curved or config.lr_schedule.get("warmup")
    if declared(OptimizerTraits, config.optimizer).reads_lr_once and is_moved:
        allowed = "has no effect: the optimizer reads lr once, as its first step size"
        yield ConfigError("lr_schedule", config.lr_schedule["_target_"], allowed, "lr_schedule=constant")
