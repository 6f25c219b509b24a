"""Whatever stands in a study file, it is a study or an error of configuration in a line, and soon."""

import re
import time
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from llenergymeasure.config.loader import load_study_config
from llenergymeasure.config.models import StudyConfig
from llenergymeasure.exceptions import ConfigError
from tests.fakes.effort import examples
from tests.unit.config.conftest import WriteConfig

# Much more than it takes, on a machine that does something else too.
MOST_SECONDS = 5.0

scalars: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-2, 40)
    | st.sampled_from([0.5, float("nan"), float("inf"), 2**64, "fp32", "bf16", "pytorch", "vllm", "auto", "", "a.b"])
)
keys = st.sampled_from(
    ["model", "n", "precision", "backend", "pytorch", "vllm", "batch_size", "pytorch.batch_size", "vllm.max_num_seqs",
     "decoder", "decoder.top_k", "dataset", "dataset.random.output_tokens", "passthrough_kwargs",
     "passthrough_kwargs.a", "pytorch.suppress_tokens", "warmup.max_prompts", "phases", "lora", "name", "execution",
     "cycles", "from", "to", "num", "scale", "", ".", "a..b"]
)  # fmt: skip
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
parts = st.fixed_dictionaries(
    {},
    optional={
        "model": st.just("m") | values,
        "sweep": values | st.dictionaries(keys, st.lists(scalars, max_size=3), max_size=3),
        "zip": values | st.dictionaries(keys, st.lists(scalars, min_size=2, max_size=2), max_size=3),
        "exclude": values | st.lists(st.dictionaries(keys, values, max_size=2), max_size=2),
        "experiments": values | st.lists(st.dictionaries(keys, scalars, max_size=2), max_size=2),
        "execution": values,
        "precision": values,
        "left_out": values,
        "pytorch": values,
    },
)


def told_or_kept(write_config: WriteConfig, content: str) -> StudyConfig | None:
    """The study; None where it is refused, each thing in a line of its own."""
    path = write_config(content)
    started = time.process_time()
    try:
        found = load_study_config(path)
    except ConfigError as error:
        said = str(error).split("\na study has")[0].splitlines()
    except ValidationError as error:
        said = error.__notes__
    else:
        assert time.process_time() - started < MOST_SECONDS
        return found
    assert time.process_time() - started < MOST_SECONDS
    assert said
    assert all(re.match(rf"{re.escape(str(path))}:\d+: .", line) for line in said), said
    return None


@settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(document=parts)
@example(document={"model": "m", "sweep": {"decoder": [None, {"top_k": 1}], "decoder.top_k": [1, 2]}})
@example(document={"model": "m", "sweep": {"backend": [None, 3, ["x"]], "pytorch.batch_size": [1, 2]}})
@example(document={"model": "m", "sweep": {"dataset": ["mixed", None], "dataset.random": [None, {}]}})
@example(document={"model": "m", "zip": [{"backend": ["pytorch", "vllm"], "vllm.max_num_seqs": [1, 2]}]})
def test_any_study_is_told_or_kept(write_config: WriteConfig, document: dict[str, Any]) -> None:
    found = told_or_kept(write_config, yaml.safe_dump(document, sort_keys=False))
    if found is not None:
        written = yaml.safe_dump(found.model_dump(mode="json", exclude_unset=True), sort_keys=False)
        assert load_study_config(write_config(written)) == found
        assert StudyConfig.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    "content",
    [
        "model: m\nsweep:\n"
        + "".join(f"  {key}: {{from: 1, to: 99999, num: 99999}}\n" for key in ("n", "random_seed")),
        "model: m\nsweep:\n  n: {from: 1, to: 1000000000, num: 1000000000}\n",
        "model: m\nzip:\n" + "- n: [1, 2]\n" * 60,
        f"model: m\nsweep:\n  precision: [{', '.join(f'p{number}' for number in range(3000))}]\n",
        "model: m\nsweep:\n" + "".join(f"  k{number}: [1, 2]\n" for number in range(2000)),
        f"model: m\nsweep: {{n: {[*range(1, 900)]}}}\nexclude: {[{'n': number} for number in range(1, 900)]}\n",
        "model: m\nsweep:\n  passthrough_kwargs.a: &a [[1], *a]\n",
        "model: m\nsweep: {n: [1, 2]}\nexperiments: !!set {a, b}\n",
        "model: &m m\nsweep: &s {decoder: [*m, {top_k: *m}]}\nzip: *s\n",
    ],
    ids=["product", "range", "groups", "wrong values", "wrong keys", "exclusions", "loop", "set", "anchors"],
)
def test_a_small_file_that_means_much_is_refused_soon(write_config: WriteConfig, content: str) -> None:
    assert told_or_kept(write_config, content) is None


def test_a_secret_that_is_written_out_is_refused_in_its_line_and_not_shown(write_config: WriteConfig) -> None:
    path = write_config("model: m\nsweep:\n  passthrough_kwargs:\n  - {api_key: hunter2hunter2}\n  - {}\n")
    with pytest.raises(ConfigError) as caught:
        load_study_config(path)
    assert str(caught.value).startswith(f"{path}:4: sweep.passthrough_kwargs.0.api_key: ")
    assert "hunter2" not in str(caught.value)
