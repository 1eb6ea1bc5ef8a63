"""What a search came to."""

from batchlab.search.plan import SearchPlan


def finish(plan: SearchPlan) -> None:
    """TODO."""
