"""Which settings tell configurations apart."""

from llenergymeasure.results.rows.settings import differing, telling


def test_what_other_engines_do_not_have_tells_nothing_as_long_as_it_is_a_default() -> None:
    pytorch = {"backend": "pytorch", "precision": "fp32", "pytorch.batch_size": 4, "pytorch.random_weights": False}
    int8 = {"backend": "ctranslate2", "precision": "fp32", "ctranslate2.compute_type": "int8_float32"}
    names = differing([pytorch, int8])
    assert telling(names, [pytorch, int8]) == ["backend", "pytorch.batch_size", "ctranslate2.compute_type"]
    # Within the engine it differs.
    drawn = {**pytorch, "pytorch.random_weights": True}
    assert "pytorch.random_weights" in telling(differing([pytorch, drawn, int8]), [pytorch, drawn, int8])


def test_of_engines_and_fields_that_nobody_knows_everything_tells() -> None:
    configs: list[dict[str, object]] = [
        {"backend": "toy", "toy.speed": 1, "pytorch.unheard_of": None},
        {"backend": "pytorch", "toy.speed": None},
    ]
    assert telling(["backend", "toy.speed", "pytorch.unheard_of"], configs) == [
        "backend", "toy.speed", "pytorch.unheard_of"
    ]  # fmt: skip
