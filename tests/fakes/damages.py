"""Ways of damaging the folder of a result, each drawn by chance and small enough to be overlooked."""

import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

# What is changed in a text or a number: a digit that nobody would look at twice is among it.
_STRANGE: tuple[Any, ...] = ("", "0", "x", None, True, False, [], {}, -1, 0, 10**30, 1e300, [[]], "\u202e")
_RAW = ".state/process_0.json"
_IN_TABLES = (
    "a cell", "a cell", "a cell", "no cell", "a row twice", "a row gone", "rows turned around", "no column",
    "another kind", "columns swapped", "no metadata",
)  # fmt: skip


@dataclass(frozen=True)
class Damage:
    """What was done to which file, and where in it; ``place`` is empty for a whole file."""

    what: str
    file: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.what} {self.file} {self.place}".strip()


def sums_written(folder: Path) -> None:
    """Write ``DONE`` and the markers of raw results as whoever has changed a folder and wants it to look whole."""
    state = folder / ".state"
    for raw in state.glob("process_*.json") if state.is_dir() else ():
        if raw.is_file():
            marker = raw.with_suffix(".done")
            # Whatever was put in its place.
            if marker.is_dir() and not marker.is_symlink():
                marker.rmdir()
            marker.unlink(missing_ok=True)
            marker.write_text(hashlib.sha256(raw.read_bytes()).hexdigest() + "\n")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "DONE")
    sums = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    (folder / "DONE").write_text(json.dumps(sums, indent=2) + "\n")


def damage(folder: Path, chance: random.Random) -> Damage:
    """Damage one thing in a folder."""
    kinds: Sequence[Callable[[Path, random.Random], Damage | None]] = (
        _files, _files, _bytes, _bytes, _json, _json, _json, _json, _json_text, _tables, _tables, _tables,
    )  # fmt: skip
    while True:
        found = chance.choice(kinds)(folder, chance)
        if found is not None:
            return found


def _named(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _files(folder: Path, chance: random.Random) -> Damage:
    """A file that goes, comes, is another one, a link, a folder or a pipe."""
    name = chance.choice([name for name in _named(folder) if name != "DONE"])
    path, what = folder / name, chance.choice(("removed", "swapped", "link out", "link in", "folder", "pipe", "added"))
    if what == "added":
        name = chance.choice(("extra.parquet", ".state/process_1.json", "result.json.bak"))
        (folder / name).write_bytes(path.read_bytes())
        return Damage(what, name)
    if what == "swapped":
        other = folder / chance.choice([n for n in _named(folder) if n not in (name, "DONE")])
        mine, theirs = path.read_bytes(), other.read_bytes()
        path.write_bytes(theirs)
        other.write_bytes(mine)
        return Damage(what, name, other.name)
    content = path.read_bytes()
    path.unlink()
    outside = folder.parent / f"{folder.name}-outside"
    if what == "link out":
        outside.write_bytes(content)
        path.symlink_to(outside)
    elif what == "link in":
        aside = folder / "aside"
        aside.write_bytes(content)
        path.symlink_to(aside)
    elif what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    return Damage(what, name)


def _bytes(folder: Path, chance: random.Random) -> Damage:
    """Bytes that are lost, changed or put behind."""
    name = chance.choice([name for name in _named(folder) if name != "DONE"])
    path, content = folder / name, (folder / name).read_bytes()
    what = chance.choice(("cut", "emptied", "longer", "flipped", "another encoding"))
    place = chance.randrange(len(content))
    if what == "cut":
        content = content[:place]
    elif what == "emptied":
        content = b""
    elif what == "longer":
        content += b"\0" * chance.randrange(1, 9)
    elif what == "flipped":
        content = content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :]
    else:
        content = content.decode("latin-1").encode("utf-16")
    path.write_bytes(content)
    return Damage(what, name, str(place))


def _leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if place:
        yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from _leaves(each, (*place, key))


def _json(folder: Path, chance: random.Random) -> Damage | None:
    """A field that is edited, gone, or of another kind."""
    name = chance.choice(("result.json", "result.json", _RAW))
    content = json.loads((folder / name).read_text())
    # All fields alike, not all numbers of the long lists.
    by_field: dict[str, list[tuple[Any, ...]]] = {}
    for place in _leaves(content):
        by_field.setdefault(".".join(str(part) for part in place if isinstance(part, str)), []).append(place)
    place = chance.choice(by_field[chance.choice(sorted(by_field))])
    holder = content
    for part in place[:-1]:
        holder = holder[part]
    before = holder[place[-1]]
    what = chance.choice(("edited", "edited", "edited", "gone", "of another kind", "twice"))
    if what == "gone":
        del holder[place[-1]]
    elif what == "of another kind":
        holder[place[-1]] = chance.choice(
            [each for each in _STRANGE if each != before or type(each) is not type(before)]
        )
    elif what == "twice" and isinstance(holder, list):
        holder.insert(place[-1], before)
    else:
        holder[place[-1]] = _edited(before, chance)
    if _alike(before, holder, place[-1]):
        return None
    (folder / name).write_text(json.dumps(content, indent=2))
    return Damage(what, name, ".".join(map(str, place)))


def _alike(before: Any, holder: Any, key: Any) -> bool:
    try:
        after = holder[key]
    except (KeyError, IndexError):
        return False
    # A list that grew by the same has another length.
    return bool(type(after) is type(before) and after == before and not isinstance(holder, list))


def _edited(value: Any, chance: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + chance.choice((-1, 1, 10))
    if isinstance(value, float):
        return value * chance.choice((0.5, 0.9, 1.1, -1.0)) if value else 1.0
    if isinstance(value, str):
        place = chance.randrange(len(value) + 1)
        return f"{value[:place]}7{value[place:]}"
    return 1.5 if value is None else type(value)()


def _json_text(folder: Path, chance: random.Random) -> Damage:
    """What is no JSON, or is read differently by others."""
    name = chance.choice(("result.json", _RAW))
    text = (folder / name).read_text()
    what = chance.choice(("NaN", "1e999", "many digits", "twice in an object", "deep", "a mark of bytes"))
    first = text.index("{") + 1
    inserted = {
        "NaN": '"total_energy_j": NaN,',
        "1e999": '"x": 1e999,',
        "many digits": f'"x": {"9" * 5000},',
        "twice in an object": '"name": "x",',
        "deep": f'"x": {"[" * 100_000}{"]" * 100_000},',
        "a mark of bytes": "",
    }[what]
    mark = "\ufeff" if what == "a mark of bytes" else ""
    (folder / name).write_text(mark + text[:first] + inserted + text[first:])
    return Damage(what, name)


def _tables(folder: Path, chance: random.Random) -> Damage | None:
    """A cell, a row or a column that is another."""
    name = chance.choice([name for name in _named(folder) if name.endswith(".parquet")])
    table = pq.read_table(folder / name)
    if not table.num_rows:
        return None
    column = chance.choice(table.column_names)
    what = chance.choice(_IN_TABLES)
    changed = _changed(table, what, column, chance)
    if changed is None or (changed.equals(table) and changed.schema.equals(table.schema, check_metadata=True)):
        return None
    pq.write_table(changed, folder / name, compression="zstd")
    return Damage(what, name, column)


def _changed(table: pa.Table, what: str, column: str, chance: random.Random) -> pa.Table | None:
    place, at = chance.randrange(table.num_rows), table.column_names.index(column)
    rows = list(range(table.num_rows))
    of_rows = {
        "a row twice": [*rows[: place + 1], *rows[place:]],
        "a row gone": [*rows[:place], *rows[place + 1 :]],
        "rows turned around": rows[::-1],
    }
    if what in of_rows:
        return table.take(of_rows[what])
    if what in ("a cell", "no cell"):
        return _with_cell(table, place, at, chance, is_none=what == "no cell")
    if what == "no column":
        return table.drop_columns([column])
    if what == "no metadata":
        return table.replace_schema_metadata(None) if table.schema.metadata else None
    return _with_column(table, what, at, chance)


def _with_cell(table: pa.Table, place: int, at: int, chance: random.Random, *, is_none: bool) -> pa.Table:
    field = table.schema.field(at)
    values = table.column(at).to_pylist()
    values[place] = None if is_none else _edited_cell(values[place], chance)
    if values[place] is not None and pa.types.is_integer(field.type):
        values[place] = int(values[place])
    return table.set_column(at, field, pa.array(values, type=field.type))


def _with_column(table: pa.Table, what: str, at: int, chance: random.Random) -> pa.Table | None:
    field = table.schema.field(at)
    if what == "another kind":
        kind = pa.large_string() if pa.types.is_string(field.type) else pa.string()
        return None if pa.types.is_list(field.type) else table.set_column(at, field.name, table.column(at).cast(kind))
    other = chance.choice([each.name for each in table.schema if each.type == field.type])
    names = {field.name: other, other: field.name}
    return table.rename_columns([names.get(each, each) for each in table.column_names]).select(table.column_names)


def _edited_cell(value: Any, chance: random.Random) -> Any:
    if isinstance(value, list):
        return [*value[:-1], _edited(value[-1], chance)] if value else [1]
    if value is None:
        return None
    if isinstance(value, float):
        return chance.choice((_edited(value, chance), float("nan"), float("inf"), 1e300))
    return _edited(value, chance)
