import inspect
from pathlib import Path

import pytest
from hydra.utils import get_method
from omegaconf import OmegaConf

CONF = Path(__file__).resolve().parents[2] / "conf/data"


@pytest.mark.parametrize("path", sorted(set(CONF.glob("*.yaml")) - {CONF / "own.yaml"}), ids=lambda path: path.stem)
def test_an_option_writes_out_every_argument_of_its_loader(path):
    option = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    loader = get_method(option.pop("_target_"))
    assert option.pop("resident") == option.pop("num_workers") == "auto"
    assert list(option) == list(inspect.signature(loader).parameters)
    assert path.read_text().startswith("# ")
