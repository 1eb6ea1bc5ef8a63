"""Bounds of search=joint's own ranges, as resolvers for conf/search/joint.yaml."""

from omegaconf import DictConfig, OmegaConf


def times(factor: float, value: float) -> str:
    """The product, short enough to be read."""
    return f"{float(factor) * float(value):.4g}"


def quarter_of_train(*, _root_: DictConfig) -> int:
    """The largest power of two that is at most a quarter of the training split.

    Raises:
        WrongInput: what the loader found wrong (OmegaConf wraps it).
    """
    from batchlab.build import load_dataset  # torch: only when a search asks

    data = OmegaConf.to_container(_root_["data"], resolve=True)
    assert isinstance(data, dict)
    num_train = len(load_dataset({str(key): value for key, value in data.items()}).train)
    return 1 << (max(4, num_train) // 4).bit_length() - 1
