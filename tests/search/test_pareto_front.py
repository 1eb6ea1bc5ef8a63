"""Pareto front against the definition, knee against a drawing."""

import random

import pytest

from batchlab.search.pareto_front import knee, pareto_front

BOTH = ("minimize", "maximize")


def by_definition(points, signs):
    goals = [[sign * value for sign, value in zip(signs, point, strict=True)] for point in points]

    def beats(a, b):
        return all(x <= y for x, y in zip(a, b, strict=True)) and a != b

    return {i for i, goal in enumerate(goals) if not any(beats(other, goal) for other in goals)}


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_the_definition_says(seed):
    draw = random.Random(seed)
    points = [(draw.randint(0, 9), draw.randint(0, 9)) for _ in range(30)]
    front = pareto_front(points, BOTH)
    expected = by_definition(points, (1, -1))
    assert {points[place] for place in front} == {points[place] for place in expected}
    assert len({points[place] for place in front}) == len(front)  # of equal points one
    assert [points[place][0] for place in front] == sorted(points[place][0] for place in front)


def test_the_front_of_three_objectives():
    points = [(1, 1, 1), (1, 1, 2), (2, 0, 1), (0, 9, 0), (2, 2, 2)]
    assert {points[place] for place in pareto_front(points, ("minimize",) * 3)} == {(1, 1, 1), (2, 0, 1), (0, 9, 0)}


@pytest.mark.parametrize(("points", "front"), [([], []), ([(1.0, 2.0)], [0]), ([(1.0, 2.0)] * 3, [0])])
def test_small_fronts(points, front):
    assert pareto_front(points, BOTH) == front


def test_the_front_of_one_objective_is_its_best():
    assert pareto_front([(3,), (1,), (2,)], ("minimize",)) == [1]


def test_the_knee_is_the_corner():
    points = [(1.0, 0.1), (2.0, 0.9), (10.0, 0.91)]
    assert knee(points, BOTH, (False, False)) == 1


def test_ratios_count_on_a_log_scale():
    points = [(1.0, 0.0), (10.0, 0.6), (100.0, 1.0)]
    assert knee(points, BOTH, (True, False)) == 1
    assert knee([(1.0, 0.0), (31.0, 0.6), (100.0, 1.0)], BOTH, (True, False)) != 1
