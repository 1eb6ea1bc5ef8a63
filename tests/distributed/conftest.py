import pytest

from batchlab.distributed import leader


@pytest.fixture(autouse=True)
def _no_process_stays():
    yield
    leader.dismiss()
