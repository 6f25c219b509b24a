"""Raw results of the processes of one experiment: ``.state/process_{i}.json`` with a completion marker."""

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from llenergymeasure._files import write_atomically
from llenergymeasure._telling import in_a_line
from llenergymeasure.domain.nodes import laid_over
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.exceptions import ExperimentError, first_line
from llenergymeasure.results.persistence import as_written


def write_process_result(raw: RawProcessResult, state_dir: Path) -> Path:
    """Write a raw result, then its marker with the SHA-256 of the file.

    Raises:
        OSError: it cannot be written.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    path = state_dir / f"process_{raw.process_index}.json"
    text = as_written(raw)
    write_atomically(path, text)
    write_atomically(path.with_suffix(".done"), hashlib.sha256(text.encode()).hexdigest() + "\n")
    return path


def write_state(state: str, state_dir: Path, process_index: int = 0) -> None:
    """Say where a process stands, in ``state_{i}``; a disk that is full costs only this."""
    with contextlib.suppress(OSError):
        state_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(state_dir / f"state_{process_index}", f"{state}\n")


def read_process_results(
    state_dir: Path, n_processes: int, elsewhere: Mapping[int, Path] | None = None
) -> Sequence[RawProcessResult]:
    """The raw results of processes 0 to ``n_processes`` - 1, those of nodes laid over the window of the first.

    Args:
        state_dir: the folder that they are in.
        n_processes: how many there are.
        elsewhere: the folders of those that are not, by process.

    Raises:
        ExperimentError: files are missing or torn; it says which.
    """
    raws, problems = [], []
    for index in range(n_processes):
        path = (elsewhere or {}).get(index, state_dir) / f"process_{index}.json"
        try:
            text = path.read_text(encoding="utf-8")
            marker = path.with_suffix(".done").read_text(encoding="utf-8").strip()
            if hashlib.sha256(text.encode()).hexdigest() != marker:
                problems.append(f"{path.name} does not match its completion marker")
                continue
            raws.append(RawProcessResult.model_validate_json(text))
        except OSError as error:
            problems.append(f"{Path(error.filename or path).name} {_why(error)}; process {index} did not finish")
        except (ValidationError, UnicodeDecodeError) as error:
            problems.append(f"{path.name} cannot be understood: {first_line(error)}")
    if problems:
        raise ExperimentError(in_a_line(f"incomplete experiment in {state_dir}: {'; '.join(problems)}"))
    return laid_over(raws)


def _why(error: OSError) -> str:
    return "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror or error})"
