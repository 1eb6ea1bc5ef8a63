from dataclasses import dataclass
from types import ModuleType

import pytest
import yaml
from annotated_types import Interval
from omegaconf import OmegaConf

from batchlab.config.identity import config_key, curve_key, settings_affecting
from batchlab.config.keys import COUNT, MISSING, Affects, Key, key, keys_of
from batchlab.config.schema import OPEN_GROUPS, REPOSITORY, declared_key, declared_keys
from batchlab.models import mlp
from batchlab.profiling.micro_batch import memory_key
from batchlab.profiling.step_table import untimed
from batchlab.training.build import resolve

OURS = {
    group: sorted(
        {
            str(node["_target_"])
            for path in (REPOSITORY / "conf" / group).glob("*.yaml")
            for settings in [yaml.safe_load(path.read_text()) or {}]
            for node in [settings.get(group, settings), *(settings.get("sharpness") or {}).values()]
            if str(node.get("_target_", "")).startswith("batchlab.")
        }
    )
    for group in (*OPEN_GROUPS, "measure")
}


@dataclass
class Example:
    count: int | None = key(None, "examples", COUNT)
    share: float = key(0.5, "share", Interval(gt=0, le=1), Affects.IDENTITY)
    size: object = key("auto", "size", (COUNT, "auto", "none"), kind=int)
    name: str = key("x", "name", pattern=(r"\w+", "letters"))
    own: int = 3


def declared(name: str) -> Key:
    return next(each for each in keys_of(Example, "my.") if each.name == f"my.{name}")


@pytest.mark.parametrize(
    ("name", "right", "wrong", "allowed"),
    [
        ("count", [None, 1, 10**15], [0, 1.0, True, 10**15 + 1, "3"], "null or an integer from 1"),
        ("share", [1, 0.1], [0, None, float("nan"), 1.1, True], "a number above 0 and at most 1"),
        ("size", ["auto", "none", 7], ["nothing", 0, None, 2.5], "an integer from 1, auto or none"),
        ("name", ["y"], ["", "a b", 3], "letters"),
    ],
)
def test_a_declaration_says_which_values_are_allowed(name, right, wrong, allowed):
    assert declared(name).allowed == allowed
    assert all(map(declared(name).is_allowed, right))
    assert not any(map(declared(name).is_allowed, wrong))


def test_the_error_of_a_value_names_its_key_and_offers_a_value_that_is_right():
    error = declared("size").error("autos", "my.other")
    assert error is not None
    assert (error.key, error.value, error.fix) == ("my.other", "autos", "my.other=auto")
    above = declared("count").error(2 * 10**15)
    assert above is not None
    assert above.allowed.startswith("at most 1,000,000,000,000,000")


def test_a_field_without_declaration_is_no_declared_key_and_omegaconf_takes_the_others():
    assert [each.name for each in keys_of(Example)] == ["count", "share", "size", "name"]


def test_the_value_that_an_error_offers_is_allowed():
    for each in declared_keys():
        fix = each.default if each.fix is None else each.fix
        assert fix == MISSING or each.is_allowed(fix), each.name


def test_defaults_of_conf_are_allowed(config_of):
    settings = OmegaConf.to_container(OmegaConf.structured(config_of()))
    for each in declared_keys():
        value = settings
        for part in each.name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        is_open = each.name.partition(".")[0] in OPEN_GROUPS
        assert is_open or each.kind is dict or value is None or each.is_allowed(value), each.name


def test_an_argument_without_declaration_is_declared_by_its_group():
    assert declared_key("optimizer.momentum").name == "optimizer.*"
    assert declared_key("measure.sharpness.mine.rho").name == "measure.sharpness.*.rho"
    assert declared_key("optimizer.traits.adaptive").affects is Affects.NOTHING
    assert Affects.IDENTITY in declared_key("recorded.by.another.version").affects


def test_every_key_of_a_run_has_help():
    assert not [each.name for each in declared_keys() if not each.help]


@pytest.mark.parametrize(("group", "targets"), OURS.items(), ids=OURS)
def test_names_of_our_options_are_unique_in_their_group(group, targets):
    assert targets or group == "optimizer"
    assert len({each.rpartition(".")[2] for each in targets}) == len(targets)


def test_a_module_that_moved_changes_no_identity(config_of, monkeypatch):
    moved = ModuleType("batchlab.elsewhere")
    moved.mlp = mlp.mlp
    monkeypatch.setitem(__import__("sys").modules, "batchlab.elsewhere", moved)
    here, there = config_of(), config_of("model._target_=batchlab.elsewhere.mlp")
    for identity in (config_key, curve_key, memory_key, lambda config: untimed(resolve(config)).key):
        assert identity(here) == identity(there)
    assert config_key(config_of("model._target_=mine.mlp")) != config_key(here)
    measured = config_of("measure.sharpness.lambda_max._target_=batchlab.elsewhere.lambda_max")
    assert settings_affecting(measured, Affects.MEASURES) == settings_affecting(here, Affects.MEASURES)


def test_a_setting_at_its_default_is_no_part_of_the_identity(config_of):
    settings = settings_affecting(config_of(), Affects.IDENTITY)
    assert not {"precision", "launch", "micro_batch_size", "memory.headroom", "eval.every_examples"} & set(settings)
    assert {"batch_size", "lr", "epochs", "model._target_", "model.width", "data.split_seed"} <= set(settings)


def test_of_a_fraction_that_moves_memory_coarsely_only_counts_whether_it_is_zero(config_of):
    keys = [memory_key(config_of(f"optimizer.momentum={value}")) for value in (0.5, 0.9, 0.0)]
    assert keys[0] == keys[1] != keys[2]


def test_curves_of_other_batch_sizes_rates_and_lengths_are_comparable(config_of):
    same = [[], ["batch_size=32"], ["lr=1"], ["epochs=3"], ["seed=4"], ["measure=none"], ["eval.every_examples=500"]]
    assert len({curve_key(config_of(*overrides)) for overrides in same}) == 1
    assert curve_key(config_of("model.width=32")) != curve_key(config_of())
    assert curve_key(config_of("budget=steps")) != curve_key(config_of())
