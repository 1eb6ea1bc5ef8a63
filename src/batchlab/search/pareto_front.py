"""The Pareto front of points and its knee."""

import math
from collections.abc import Sequence


def signed(values: Sequence[float], directions: Sequence[str]) -> tuple[float, ...]:
    """Sign values so that smaller is better in each."""
    return tuple(
        -value if direction == "maximize" else value for value, direction in zip(values, directions, strict=True)
    )


def pareto_front(points: Sequence[Sequence[float]], directions: Sequence[str]) -> list[int]:
    """Find the places of the points that no other dominates, by the first objective, best first.

    A point dominates another when it is at least as good in every objective and better in one; of equal points the
    first stands for all. Each objective has its direction, minimize or maximize.
    """
    goals = [signed(point, directions) for point in points]
    order = sorted(range(len(points)), key=lambda place: (goals[place], place))
    front: list[int] = []
    for place in order:
        if not any(all(a <= b for a, b in zip(goals[rival], goals[place], strict=True)) for rival in front):
            front.append(place)
    return front


def knee(points: Sequence[Sequence[float]], directions: Sequence[str], logarithmic: Sequence[bool]) -> int:
    """Find the place of the point of a front that lies farthest on the good side of the plane through its extremes.

    Each objective is scaled to [0, 1] over the front, after a logarithm where asked for: the point with the smallest
    sum of scaled objectives. Source: Das 1999, "On characterizing the knee of the Pareto curve", section 2.
    """
    shaped = [
        [math.log(value) if is_log else value for value, is_log in zip(point, logarithmic, strict=True)]
        for point in points
    ]
    goals = [signed(point, directions) for point in shaped]
    low = [min(values) for values in zip(*goals, strict=True)]
    span = [max(values) - min(values) or 1.0 for values in zip(*goals, strict=True)]
    sums = [sum((value - floor) / width for value, floor, width in zip(goal, low, span, strict=True)) for goal in goals]
    return sums.index(min(sums))
