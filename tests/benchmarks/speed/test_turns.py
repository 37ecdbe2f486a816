import pytest
from benchmarks_sides import counting, failing, holding, quadratic

from benchmarks.speed import growth as growth_module
from benchmarks.speed.growth import Line, growth, line, slope
from benchmarks.speed.measurement import Measurement, pairwise
from benchmarks.speed.turns import Side, SideResult, take_turns
from segue.errors import InputError


def test_sides_take_turns_in_processes_of_their_own_and_the_first_turn_does_not_count():
    one, other = take_turns([Side(counting, {"step": 1}, 1), Side(counting, {"step": 10}, 1)], repeats=3)
    assert one.values["turns"] == [2.0, 3.0, 4.0]
    assert other.values["turns"] == [20.0, 30.0, 40.0]
    assert len(one.values["seconds"]) == len(one.values["processor_seconds"]) == 3
    assert one.facts["step"] == 1


def test_memory_is_that_of_each_side():
    small, large = take_turns([Side(holding, {"megabytes": 1}, 1), Side(holding, {"megabytes": 200}, 1)], repeats=1)
    more = large.facts["peak_anonymous_mb"] - small.facts["peak_anonymous_mb"]
    assert 180 < more < 240


def test_what_a_side_raises_reaches_the_caller():
    with pytest.raises(InputError, match="cannot be prepared"):
        take_turns([Side(failing)], repeats=1)


def taken(*seconds):
    return SideResult({"seconds": seconds}, {})


def test_ratios_are_taken_pair_by_pair():
    assert pairwise(taken(1.0, 2.0), taken(4.0, 4.0), "seconds", better="lower") == (0.25, 0.5)
    assert pairwise(taken(1.0, 2.0), taken(4.0, 4.0), "seconds", better="higher") == (4.0, 2.0)


@pytest.mark.parametrize(
    ("better", "ratios", "whole", "holds", "met"),
    [
        ("lower", (0.2, 0.3, 0.9), True, None, False),
        ("lower", (0.1, 0.25, 0.9), True, None, True),
        ("higher", (3.0, 3.5), True, True, True),
        ("higher", (3.0, 3.5), True, False, False),  # quick, but its results do not hold
        ("higher", (3.0, 3.5), False, True, None),  # a smaller problem meets nothing
    ],
)
def test_a_target_is_met_by_the_median_of_the_whole_problem(better, ratios, whole, holds, met):
    target = 0.25 if better == "lower" else 3.0
    row = Measurement("x", better, target, ratios, {}, {}, whole=whole, holds=holds)
    assert row.met is met
    assert row.to_json()["ratio_spread"]["low"] == min(ratios)


def test_growth_tells_the_exponent_of_work_whose_cost_is_known():
    """A side that counts n² numbers: the exponent is 2, whatever the machine."""
    found = growth(quadratic, {"size": 2400, "unit": 1}, size_name="size", repeats=3)
    assert found["size"] == [300, 600, 1200, 2400]
    assert 1.7 < found["slope"] < 2.3


def test_growth_counts_what_the_sides_hold_from_the_fewest_on(monkeypatch):
    """No process is needed for what the sides say of themselves."""

    def facts_of(sides, *, repeats):
        return [SideResult({"processor_seconds": [1.0]}, side.prepare(**side.arguments).facts) for side in sides]

    monkeypatch.setattr(growth_module, "take_turns", facts_of)
    arguments = growth(quadratic, {"size": 80, "unit": 2}, size_name="size", counted="cells", fewest=30, repeats=1)
    assert arguments["cells"] == [30 * 30, 30 * 30, 40 * 40, 80 * 80]


def test_one_size_alone_has_no_exponent():
    assert slope([7, 7], [1.0, 2.0]) is None


def test_a_line_goes_through_what_is_linear_and_names_what_is_furthest_from_it():
    """2 + n / 2, a constant, n² (which no line comes near), and two different values of one size."""
    assert line([10, 20, 40, 80], [7.0, 12.0, 22.0, 42.0]) == Line(2.0, 0.5, 0.0)
    assert line([100, 100, 200, 200], [1.0, 1.0, 1.0, 1.0]) == Line(1.0, 0.0, 0.0)
    assert line([1, 2, 4, 8], [1.0, 4.0, 16.0, 64.0]).deviation > 0.5
    quick, slow = line([1, 2], [1.0, 3.0]), line([1, 1, 2], [0.9, 1.1, 3.0])
    assert (quick.slope, quick.start) == (2.0, -1.0)
    assert 0.09 < slow.deviation < 0.12, "the line passes between two turns of one size"
