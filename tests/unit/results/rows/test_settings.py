"""Which settings tell configurations apart."""

from typing import Any

from llenergymeasure.results.rows.settings import differing, telling


def flat(backend: str, **values: Any) -> dict[str, Any]:
    return {"backend": backend, **{name.replace("__", "."): value for name, value in values.items()}}


def test_what_an_engine_has_alike_in_all_its_configurations_tells_nothing() -> None:
    configs = [
        flat("a", a__size=1, a__threads=2, a__kept=None, limit=5),
        flat("a", a__size=4, a__threads=2, a__kept=False, limit=5),
        flat("b", b__slots=4, b__on=True, limit=6),
    ]
    names = differing(configs)
    assert names == ["backend", "a.size", "a.threads", "a.kept", "limit", "b.slots", "b.on"]
    assert telling(names, configs) == ["backend", "a.size", "a.kept", "limit"]


def test_sections_that_are_no_engines_and_those_of_one_engine_are_as_they_were() -> None:
    configs = [flat("a", knobs__power_w=250, a__size=1), flat("b", a__size=2)]
    assert telling(["knobs.power_w", "a.size"], configs) == ["knobs.power_w"]
    assert telling(["knobs.power_w"], configs[:1]) == ["knobs.power_w"]
    assert telling([], []) == []
    # Where the engine is in no row there is one alone.
    assert telling(["a.size"], [{"a.size": 1}, {"a.size": 2}]) == ["a.size"]
