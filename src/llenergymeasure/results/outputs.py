"""The tokens of a saved run, and whether two runs said the same."""

from dataclasses import replace
from pathlib import Path

from llenergymeasure.domain.equivalence import Answers, OutputComparison, compare_outputs
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.persistence import load_result


def compare_runs(first: Path, second: Path) -> OutputComparison:
    """Compare the outputs of two saved runs.

    Args:
        first: folder of a run, or its ``result.json``.
        second: the same of the other run.

    Raises:
        ConfigError: a run cannot be read, has no tokens beside it, or the two had different prompts.
    """
    a, b = load_result(first), load_result(second)
    if a.prompts_digest != b.prompts_digest:
        raise ConfigError(
            f"{first} and {second} had different prompts (prompts_digest {a.prompts_digest[:12]} and "
            f"{b.prompts_digest[:12]}); compare runs of the same dataset, n, order and seed"
        )
    if a.n_requests == b.n_requests and a.input_tokens != b.input_tokens:
        raise ConfigError(
            f"{first} and {second} read {a.input_tokens} and {b.input_tokens} tokens of the same prompts; compare runs "
            "with the same tokenizer, template and max_input_tokens"
        )
    ours, theirs = read_outputs(first), read_outputs(second)
    n_left_out = 0
    if a.n_requests_excluded or b.n_requests_excluded:
        # Parts of a run, which end where time is over: what both ran can be compared.
        n_left_out = len(set(ours) ^ set(theirs))
        common = set(ours) & set(theirs)
        if not common:
            raise ConfigError(f"{first} and {second} are parts of a run that have no request in common")
        ours, theirs = ({index: run[index] for index in common} for run in (ours, theirs))
    try:
        return replace(compare_outputs(ours, theirs), n_left_out=n_left_out)
    except ValueError as error:
        raise ConfigError(f"{first} and {second} cannot be compared: {error}") from None


def read_outputs(run: Path) -> dict[int, Answers]:
    """The tokens of a saved run: {index of the request: [answers][tokens]}.

    Raises:
        ConfigError: the run cannot be read, or has none beside it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    result = load_result(run)
    if result.outputs is None:
        raise ConfigError(
            f"result {run}: its tokens were not kept (outputs is null); run it again with an output folder"
        )
    path = (run if run.is_dir() else run.parent) / result.outputs
    found: dict[int, list[list[int]]] = {}
    try:
        rows = pq.read_table(path, columns=["index", "token_ids"]).to_pylist()
        for row in rows:
            found.setdefault(int(row["index"]), []).append([int(token) for token in row["token_ids"]])
    except (OSError, pa.ArrowException, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    return dict(found)
