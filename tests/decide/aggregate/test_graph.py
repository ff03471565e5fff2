"""Who waits for whom."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from gateway.decide.aggregate.graph import dependencies, find_cycle
from gateway.decide.aggregate.plan import make_plan
from gateway.decide.aggregate.settings import AggregateSettings, SourceSettings

NAMES = ("a", "b", "c", "d", "e")


def test_what_a_source_refers_to_it_waits_for_once() -> None:
    settings = AggregateSettings(
        (
            SourceSettings("a", "u", "/{user}"),
            SourceSettings("b", "u", "/{a.x}/{a.y}", headers=(("x", "{c}"),)),
            SourceSettings("c", "u", "/x", body={"deep": [{"er": "{a}"}]}),
        ),
        1.0,
        shape={"x": ["{a.x}", "{c.z.0}"]},
    )
    assert dependencies(settings) == {"a": (), "b": ("a", "c"), "c": ("a",)}
    plan = make_plan(settings)
    assert plan.roots == (0,)
    assert [source.dependents for source in plan.sources] == [(1, 2), (), (1,)]
    assert [source.paths for source in plan.sources] == [(("x",), ("y",)), (), (("z", "0"),)]


GRAPHS = st.fixed_dictionaries(
    {name: st.sets(st.sampled_from(NAMES)).map(lambda found: tuple(sorted(found))) for name in NAMES}
)


@given(GRAPHS)
def test_a_cycle_is_found_where_there_is_one(waits: Mapping[str, tuple[str, ...]]) -> None:
    cycle = find_cycle(waits)
    left = {name: set(others) for name, others in waits.items()}
    while free := [name for name, others in left.items() if not others & set(left)]:
        for name in free:
            del left[name]
    assert bool(cycle) == bool(left)
    for name, following in zip(cycle, cycle[1:] + cycle[:1], strict=True):
        assert following in waits[name]
