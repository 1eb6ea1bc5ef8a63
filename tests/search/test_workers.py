"""What each worker of a host gets: cores and GPUs."""

import pytest

from batchlab.search.workers import GPUS, dealt, visible_gpus, worker_environments


@pytest.mark.parametrize(
    ("num_workers", "gpus", "shares"),
    [
        (2, ["0", "1"], ["0", "1"]),
        (4, ["0", "1"], ["0", "1", "0", "1"]),
        (3, ["0", "1"], ["0", "1", "0"]),
        (2, ["2", "3", "5", "7"], ["2,3", "5,7"]),
        (1, ["0", "1", "2"], ["0,1,2"]),
        (2, ["GPU-8932f937", "GPU-1b5c0a11"], ["GPU-8932f937", "GPU-1b5c0a11"]),
    ],
)
def test_each_worker_has_gpus_of_its_own_as_far_as_they_go(num_workers, gpus, shares):
    assert worker_environments(num_workers, gpus) == [{GPUS: share} for share in shares]


@pytest.mark.parametrize("gpus", [[], ["0"]])
def test_where_there_are_not_several_gpus_nothing_is_said_of_them(gpus):
    assert worker_environments(3, gpus) == [{}, {}, {}]


@pytest.mark.parametrize("num_items", range(1, 10))
@pytest.mark.parametrize("num_shares", range(1, 12))
def test_every_item_is_dealt_and_shares_differ_by_one_at_most(num_shares, num_items):
    shares = dealt(num_shares, range(num_items))
    assert len(shares) == num_shares
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1
    dealt_out = [item for share in shares for item in share]
    assert set(dealt_out) == set(range(num_items))
    uses = [dealt_out.count(item) for item in range(num_items)]
    assert max(uses) - min(uses) <= 1


@pytest.mark.parametrize(
    ("typed", "names"), [("0,2", ["0", "2"]), ("", []), ("-1", []), ("1, 3,-1,2", ["1", "3"]), ("GPU-a", ["GPU-a"])]
)
def test_the_environment_says_which_gpus_may_be_used(monkeypatch, typed, names):
    monkeypatch.setenv(GPUS, typed)
    assert visible_gpus() == names
