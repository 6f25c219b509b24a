"""What varies in a study once everything above its file has had its say, and which engines that runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llenergymeasure.config.engines import registry
from llenergymeasure.config.reading.layers import Layers, choices
from llenergymeasure.config.reading.yaml_file import Location
from llenergymeasure.config.sweep.axes import Axis, Field
from llenergymeasure.config.sweep.document import Document
from llenergymeasure.config.sweep.grid import Grid
from llenergymeasure.config.sweep.keys import Key, canonical_key


@dataclass(frozen=True)
class Varied:
    """The grids of a study, each with the place in the file of what it stands on: () is the common fields.

    ``listed`` are the places of explicit experiments that nothing varies, with their engines. ``of_flags`` are the axes
    of the command line, which are in the grids already, ``replaced`` fields that vary in the file and that something
    above it sets.
    """

    grids: tuple[tuple[Grid, Location], ...]
    listed: tuple[tuple[Location, str], ...]
    of_flags: tuple[Axis, ...]
    replaced: frozenset[Key]
    makes_many: bool

    @property
    def engines(self) -> frozenset[str]:
        """All engines that the study runs."""
        return frozenset([*(engine for grid, _ in self.grids for engine in grid.engines), *(e for _, e in self.listed)])

    @property
    def n_combinations(self) -> int:
        """Combinations of all grids."""
        return sum(len(grid) for grid, _ in self.grids)


def varied_in(document: Document, layers: Layers) -> Varied:
    """What varies in a file, or on the command line over it."""
    # Which engines there are is known before the fields that each of them has.
    plain = [axis for name in layers.overrides.axes if (axis := _of_flag(name, (), layers)) is not None]
    engines = _with(document, layers, plain).engines
    every = [axis for name in layers.overrides.axes if (axis := _of_flag(name, engines, layers)) is not None]
    return _with(document, layers, every)


def _of_flag(name: str, engines: Iterable[str], layers: Layers) -> Axis | None:
    """The axis of an override; of a field of several engines one that moves together in all of them.

    Where such a field is set by its own name too, that counts.
    """
    values = tuple(layers.overrides.axes[name])
    if not name.startswith("."):
        return Axis((Field(canonical_key(tuple(name.split("."))), values),))
    own = name[1:]
    having = [
        engine
        for engine in dict.fromkeys(choice for each in sorted(engines) for choice in choices(each))
        if (section := registry.section_class(engine)) is not None and own in section.model_fields
        if f"{engine}.{own}" not in layers.overrides.axes and not layers.above[-1].gives((engine, own))
    ]
    return Axis(tuple(Field((engine, own), values) for engine in having)) if having else None


def _with(document: Document, layers: Layers, of_flags: Sequence[Axis]) -> Varied:
    by_flags = bool(layers.overrides.axes)
    axes, replaced = _replaced_by(of_flags, document.axes, layers)
    grids: list[tuple[Grid, Location]] = []
    if document.has_grid or (by_flags and not document.lists_experiments):
        grids.append((Grid(axes, layers.backend_of(document.common)), ()))
    # What an experiment is over the common fields does not depend on sections, and neither does its engine.
    explicit: list[tuple[Location, str]] = [
        (("experiments", number), layers.backend_of({**document.common, **item}))
        for number, item in enumerate(document.items)
    ]
    if by_flags:
        grids += [(Grid(of_flags, engine), at) for at, engine in explicit]
    if not grids and not document.lists_experiments:
        explicit = [((), layers.backend_of(document.common))]
    return Varied(
        grids=tuple(grids),
        listed=() if by_flags else tuple(explicit),
        of_flags=tuple(of_flags),
        replaced=frozenset(replaced),
        makes_many=document.has_grid or by_flags,
    )


def _replaced_by(of_flags: Sequence[Axis], of_file: Sequence[Axis], layers: Layers) -> tuple[list[Axis], set[Key]]:
    """The axes, and the keys of those that are replaced.

    One of the command line stands where that of the file stood which it replaces, or else last.
    """
    left, axes, replaced = list(of_flags), list[Axis](), set[Key]()
    for axis in of_file:
        replacing = [each for each in of_flags if _shared(axis, each)]
        gone = {key for each in replacing for key in _shared(axis, each)} | _set_above(axis, layers)
        replaced |= gone
        rest = axis.without(gone)
        if rest is not None:
            axes.append(rest)
            continue
        axes += [each for each in replacing if each in left]
        left = [each for each in left if each not in replacing]
    return [*axes, *left], replaced


def _shared(axis: Axis, over: Axis) -> set[Key]:
    """The fields of an axis that another sets, or sets a section around."""
    return {one.key for one in axis.fields if any(one.key[: len(other.key)] == other.key for other in over.fields)}


def _set_above(axis: Axis, layers: Layers) -> set[Key]:
    """The fields of an axis that a single value above the file sets."""
    of_engines = layers.overrides.engine_fields
    return {
        one.key
        for one in axis.fields
        if any(source.gives(one.key) for source in layers.above)
        or (one.engine is not None and one.key[1:2] and one.key[1] in of_engines)
    }
