"""Who has which part of a study, for whoever only looks: one look at the folder, and nothing is written that stays."""

from collections.abc import Collection
from pathlib import Path

from llenergymeasure._shared_files import ON_DISK, SharedFiles
from llenergymeasure.orchestration.studies.claiming.claims import STALE_S
from llenergymeasure.orchestration.studies.claiming.files import claim_file, highest_numbers, read_record
from llenergymeasure.orchestration.studies.claiming.workers import Worker


class Holders:
    """Who is at work on a study, as its folder has it at first."""

    def __init__(self, folder: Path, stale_s: float = STALE_S, files: SharedFiles = ON_DISK) -> None:
        """Look into the folder of claims."""
        self._folder, self._stale_s, self._files = folder, stale_s, files
        self._numbers = highest_numbers(files.names(folder))
        self._now_s: float | None = None

    def of(self, name: str, silent: Collection[str] = ()) -> Worker | None:
        """Who has a part and is alive, as far as can be told; None where nobody has.

        Args:
            name: the part.
            silent: attempts of it that have left no word; whoever said that one has ended is about to leave it.
        """
        number, _ = self._numbers.get(name, (0, 0))
        if not number:
            return None
        try:
            record = read_record(self._files, claim_file(self._folder, name, number))
        except OSError:
            return None
        if record.ended is not None and record.promises not in silent:
            return None
        is_old = self._time_s() - record.changed_s > self._stale_s
        return None if is_old or record.by.is_gone() else record.by

    def all(self) -> dict[str, Worker]:
        """Everybody who has a part, by the name of that."""
        return {name: worker for name in self._numbers if (worker := self.of(name)) is not None}

    def _time_s(self) -> float:
        if self._now_s is None:
            self._now_s = self._files.now_s(self._folder)
        return self._now_s
