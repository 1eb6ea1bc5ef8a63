"""Every override form of hydra-optuna-sweeper, and the distribution it becomes."""

import itertools

import pytest
from optuna.distributions import CategoricalDistribution as Choice
from optuna.distributions import FloatDistribution as Real
from optuna.distributions import IntDistribution as Whole

from batchlab.errors import ConfigErrors
from batchlab.search.sampler import _values

FORMS = {
    "b=16,32,64": ("log2(b)", Whole(4, 6)),
    "b=choice(16,32,64)": ("log2(b)", Whole(4, 6)),
    "b=64,16,32": ("log2(b)", Whole(4, 6)),
    "b=64,128": ("b", Whole(64, 128, step=64)),
    "b=choice(10,20,30)": ("b", Whole(10, 30, step=10)),
    "b=10,32,100": ("place(b)", Whole(0, 2)),
    "lr=0.1,0.2,0.3": ("place(lr)", Whole(0, 2)),
    "lr=choice(0.1)": ("place(lr)", Whole(0, 0)),
    "lr=0.001,0.01,0.1": ("place(lr)", Whole(0, 2)),
    "b=shuffle(range(1,4))": ("b", Whole(1, 3)),
    "+new=1,2": ("new", Whole(1, 2)),
    "optimizer=adam,sgd": ("optimizer", Choice(["adam", "sgd"])),
    "flag=true,false": ("flag", Choice([True, False])),
    "name=a,b": ("name", Choice(["a", "b"])),
    "b=range(16,64,16)": ("b", Whole(16, 48, step=16)),
    "b=range(1,5)": ("b", Whole(1, 4)),
    "b=interval(16,1024)": ("b", Whole(16, 1024)),
    "lr=interval(0.0,1.0)": ("lr", Real(0.0, 1.0)),
    "lr=float(interval(1,10))": ("lr", Real(1.0, 10.0)),
    "b=int(interval(16,1024))": ("b", Whole(16, 1024)),
    "b=tag(log,int(interval(16,1024)))": ("b", Whole(16, 1024, log=True)),
    "b=int(tag(log,interval(16,1024)))": ("b", Whole(16, 1024, log=True)),
    "lr=tag(log,interval(1e-4,1e-1))": ("lr", Real(1e-4, 1e-1, log=True)),
    "lr=interval(1e-4,1e-1)": ("lr", Real(1e-4, 1e-1)),
    "b=tag(pow2,int(interval(16,8192)))": ("log2(b)", Whole(4, 13)),
    "b=tag(pow2,int(interval(10,100)))": ("log2(b)", Whole(4, 6)),
}


@pytest.mark.parametrize("line", FORMS)
def test_a_form_becomes_its_distribution(space_of, line):
    [dimension] = space_of(line).dimensions
    assert (dimension.name, dimension.distribution) == FORMS[line]


@pytest.mark.parametrize("line", FORMS)
def test_both_ends_of_a_distribution_are_values_that_were_typed(space_of, line):
    [dimension] = space_of(line).dimensions
    distribution = dimension.distribution
    ends = distribution.choices if isinstance(distribution, Choice) else (distribution.low, distribution.high)
    assert [dimension.text(ends[0]), dimension.text(ends[-1])] == [dimension.probes[0], dimension.probes[-1]]


@pytest.mark.parametrize(
    ("line", "suggested", "typed"),
    [
        ("b=tag(pow2,int(interval(16,8192)))", 7, "b=128"),
        ("b=10,32,100", 1, "b=32"),
        ("lr=0.1,0.2,0.3", 2, "lr=0.3"),
        ("+new=1,2", 2, "+new=2"),
        ("flag=true,false", True, "flag=True"),
        ("lr=interval(0.0,1.0)", 0.25, "lr=0.25"),
    ],
)
def test_a_suggestion_becomes_an_override(space_of, line, suggested, typed):
    [dimension] = space_of(line).dimensions
    assert dimension.line(suggested) == typed


@pytest.mark.parametrize(
    ("line", "value", "suggested"),
    [
        ("b=tag(pow2,int(interval(16,8192)))", 100, 7),
        ("b=tag(pow2,int(interval(16,64)))", 4096, 6),
        ("b=10,32,100", 40, 1),
        ("b=range(16,64,16)", 30, 32),
        ("lr=interval(0.0,1.0)", 2.0, 1.0),
    ],
)
def test_a_value_becomes_the_nearest_suggestion(space_of, line, value, suggested):
    [dimension] = space_of(line).dimensions
    assert dimension.suggested(value) == suggested


def test_a_typed_value_fixes_a_list_narrows_silence_leaves(space_of):
    space = space_of("lr=0.1", "b=64,128", params=("lr=interval(0.0,1.0)", "b=range(1,1000)", "epochs=range(1,9)"))
    assert space.fixed == ("lr=0.1",)
    assert [(each.key, each.is_typed) for each in space.dimensions] == [("b", True), ("epochs", False)]
    assert space.dimensions[0].items == ("64", "128")


def test_structural_dimensions_are_asked_first(space_of):
    assert [each.key for each in space_of("b=1,2", "optimizer=adam,sgd").dimensions] == ["optimizer", "b"]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("b=16,32,16", "twice"),
        ("lr=0.1,0.2,1e-1", "Type lr=0.1,0.2"),
        ("lr=tag(lg,interval(0.1,1))", "tags are log and pow2"),
        ("lr=interval(1,0.1)", "lower one first"),
        ("lr=tag(log,interval(0,1))", "above 0"),
        ("b=tag(pow2,int(interval(17,31)))", "no power of two"),
        ("lr=interval(0.1,inf)", "finite"),
    ],
)
def test_a_line_without_a_distribution_is_refused(space_of, line, word):
    with pytest.raises(ConfigErrors, match=word):
        space_of(line)


def test_each_value_of_a_list_can_be_drawn(space_of):
    """Optuna cuts a range of floats at its last whole step: of 0.01 and 0.1 it never draws the second."""
    values = [digit * 10.0**exponent for digit in (1, 2, 3, 5, 7) for exponent in range(-5, 1)]
    for pair in itertools.combinations(sorted(values), 2):
        [dimension] = space_of("lr=" + ",".join(map(str, pair))).dimensions
        drawn = {dimension.text(place) for place in _values("lr", dimension.distribution)}
        assert drawn == set(map(str, pair))


@pytest.mark.parametrize(
    ("lines", "is_discrete"),
    [(("b=1,2", "lr=0.1,0.2"), True), (("b=1,2", "lr=interval(0.1,0.2)"), False), (("lr=interval(0.1,0.1)",), True)],
)
def test_a_space_of_lists_has_finitely_many_points(space_of, lines, is_discrete):
    assert space_of(*lines).is_discrete == is_discrete
