import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def frame():
    random = np.random.default_rng(0)
    return pd.DataFrame({"a": random.normal(size=200).round(4), "b": random.normal(size=200), "y": np.arange(200) % 2})
