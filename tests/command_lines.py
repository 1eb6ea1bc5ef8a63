"""Random command lines of `train.py`: often nearly right; none that would train for hours or write elsewhere."""

from collections.abc import Iterator
from functools import lru_cache

from hydra import compose, initialize_config_dir
from hypothesis import strategies as st
from omegaconf import OmegaConf

from batchlab.config.registration import register_schema
from batchlab.config.schema import REPOSITORY

GROUPS = ("data", "model", "loss", "optimizer", "lr_scaling", "lr_schedule", "batch_schedule", "budget", "measure")
GROUPS += ("search", "experiment", "hydra/sweeper", "hydra/sweeper/sampler")

# what is valid and small, or not valid at all: nothing that would train for hours or take all memory
SCALARS = str.split(
    """0 1 2 3 7 16 64 100 500 -1 0.1 0.5 1.0 1e-3 1e308 1e-320 -0.0 nan inf -inf 1_000 0x10 1e1 9999999999999999999999
    true false null none auto full abc '' "" größe 名前 🙂 a\\,b a:b %s {} [] [1] [1,2,3] [[1]] [null] [a,b] {a:1}
    {a:{b:[1]}} {_target_:os.getcwd} .. ../x . nosuch.csv cpu cuda cuda:99999999999999 batch layer eval float16
    [final/val_accuracy] [cost/train_seconds,maximize:final/val_loss] torch.nn.Linear os.system"""
)
SCALARS += ["\udcff", '"a b"', "'it''s'", "x" * 300]
RESOLVED = str.split(
    """${lr} ${batch_size} ${nosuch} ${oc.env:NOSUCH} ${oc.env:HOME} ${hydra:runtime.cwd} ${now:%Y} ${ $ ${} \\${lr}
    ${.lr} ${quarter_of_train:} ${times:2,a} ${times:2,${lr}} ${seed} ${model} ${oc.decode:'{a:1}'} a${seed}b"""
)
SWEPT = str.split(
    """1,2 16,32 0.1,abc true,false choice(1,2) choice(a) choice() range(1,4) range(4,1) a,a interval(0,1) interval(1,0)
    interval(8,64) tag(log,interval(0.01,0.1)) tag(pow2,int(interval(8,64))) glob(*) sort(2,1) shuffle(1,2)
    int(interval(1,3)) tag(x,1,2) [1],[2] {a:1},{a:2}"""
)
ODD = ["", "=", "abc", "=3", "a=b=c", "--lr", "@", "a@b=c", "~lr", "~nosuch", "~model", "~hydra", "+", "++lr=1", "lr"]
ODD += [f"{group}={name}" for group in GROUPS for name in ("nosuch", "null", "_base", "../train", "a/b", "''")]
ODD += [f"hydra/sweeper/sampler={name}" for name in ("tpe", "random", "grid", "cmaes", "qmc", "nsgaii")]
ODD += ["model=mlp,convnet", "optimizer=sgd,adam", "hydra/launcher=nosuch", "model@loss=mlp"]
FLAGS = [["-m"], ["--multirun"], ["-cn", "nosuch"], ["-cd", "nosuch"], ["--cfg", "job"], ["-r"], ["--resolve"]]
NEEDED = {
    "model=simclr": "loss=contrastive measure=none",
    "loss=contrastive": "model=simclr measure=none",
    "lr_scaling=noise": "lr_scaling.noise_scale=500",
    "lr_scaling=adam_sqrt": "optimizer=adam",
    "batch_schedule=grow": "lr_schedule=step batch_size=16",
    "data=quadratic": "loss=squared_error data.num_examples=500",
    "data=synthetic": "data.num_examples=500",
    "data=surface": "model=surface loss=mean_output",
    "model=surface": "data=surface loss=mean_output",
    "loss=mean_output": "data=surface model=surface",
}
"""Options that go together."""
FEW = {"num_seeds": ("1", "2"), "hydra.sweeper.n_trials": ("1", "2", "3")}
"""Counts of what is trained: a larger one is valid, and would take as much longer."""
NOT_HERE = ("micro_batch_size=auto", "compile=true", "data.download=true", "hydra/sweeper=_arms", "model=torchvision")
"""Valid, and slow: tested elsewhere."""
OUTSIDE = ("mlruns", "hydra.run", "hydra.sweep", "hydra.output_subdir", "hydra.job.chdir", "hydra.searchpath")
"""Folders of what is written: they stay below the test's own."""


@lru_cache(maxsize=1)
def known() -> dict[str, tuple[object, list[str]]]:
    """Every key of a run, of every option and of a search's sweeper: a value that it has, and the option it is of."""
    register_schema()
    found: dict[str, tuple[object, list[str]]] = {}
    for group in GROUPS[:9]:
        for path in sorted((REPOSITORY / "conf" / group).glob("*.yaml")):
            node = OmegaConf.to_container(OmegaConf.load(path))
            node = node if "@package _global_" in path.read_text() else {group: node}
            found |= {key: (value, [f"{group}={path.stem}"]) for key, value in leaves(node)}
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        for words in (["search=joint"], []):
            node = OmegaConf.to_container(compose("train", words, return_hydra_config=True))
            found |= {key: (value, words) for key, value in leaves(node)}
    hydra = ("hydra.sweeper.", "hydra.mode", "hydra.verbose", "hydra.job.", "hydra.launcher.", "hydra.callbacks")
    return {key: found[key] for key in sorted(found) if not key.startswith("hydra.") or key.startswith(hydra)}


def leaves(node: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Dotted keys of a node and of everything below it, with their values."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{prefix}{key}", value
            yield from leaves(value, f"{prefix}{key}.")


@lru_cache(maxsize=1)
def options() -> list[list[str]]:
    """Every choice of every group, with what it needs."""
    paths = (path for group in GROUPS[:10] for path in sorted((REPOSITORY / "conf" / group).glob("*.yaml")))
    names = [f"{path.parent.name}={path.stem}" for path in paths]
    return [[name, *NEEDED.get(name, "").split()] for name in names]


def values() -> st.SearchStrategy[str]:
    """Texts of values: scalars, anything else that YAML or Hydra's grammar knows, and what neither does."""
    text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
    small = st.integers(-3, 64).map(str) | st.floats(width=32).map(str)
    return st.one_of(st.sampled_from(SCALARS), small, st.sampled_from(RESOLVED), st.sampled_from(SWEPT), text)


def plausible(key: str) -> st.SearchStrategy[list[str]]:
    """A key with a value of its kind, and the option that has it."""
    value, option = known()[key]
    if isinstance(value, bool):
        found = [True, False]
    elif isinstance(value, int | float):
        found = [value, 2 * value, value / 2, 1, 2, 16, 0.5, "1,2"]
    else:
        found = [1, 0.5, 16, "auto", "null"] if value is None or isinstance(value, dict) else [value]
    return st.sampled_from([[*option, f"{key}={each}".replace(" ", "").replace("'", "")] for each in found])


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """What stands after `python train.py`: often nearly right."""
    keys, strange = (
        st.sampled_from(list(known())),
        st.sampled_from(["nosuch", "model.nosuch", "a.b.c", "batchsize", "lr."]),
    )
    signs = st.sampled_from(["", "", "", "", "", "+", "++", "~"])
    setting = st.tuples(signs, keys | keys | strange, values()).map(lambda parts: [f"{parts[0]}{parts[1]}={parts[2]}"])
    right = st.sampled_from(options()) | keys.flatmap(plausible)
    word = draw(st.sampled_from([right, right, right | setting, setting | st.sampled_from(ODD).map(lambda odd: [odd])]))
    drawn = [each for words in draw(st.lists(word, min_size=1, max_size=3)) for each in words if is_bounded(each)]
    words = list({each.lstrip("+~").partition("=")[0]: each for each in reversed(drawn)}.values())
    measured = any(each.startswith("measure") for each in words)  # its default takes longer than everything else
    words += ["measure.num_examples=8" if measured and "measure=none" not in words else "measure=none"]
    if any("search=" in each or "sweeper" in each for each in words) and not any("n_trials" in each for each in words):
        words.append("hydra.sweeper.n_trials=2")
    flags = draw(st.sampled_from([[], [], [], [], [], ["-m"], ["-m"], ["-m"], draw(st.sampled_from(FLAGS))]))
    return [*flags, *dict.fromkeys(words)]


def is_bounded(word: str) -> bool:
    """Whether a word asks for nothing that takes minutes, or writes outside of the test's folder."""
    key, _, value = word.lstrip("+~").partition("=")
    few = FEW.get(key)
    is_few = few is None or value in few or not value.replace("_", "").isdigit()
    is_inside = not key.startswith(OUTSIDE) or not ("/" in value or ".." in value)
    has_workers = key == "hydra.sweeper.num_workers" and value.isdigit() and 0 < int(value) < 10**5
    return word.lstrip("+~").lower() not in NOT_HERE and is_few and is_inside and not has_workers
