"""The process that imports what an entry point names, ``importer VALUE PATH``, whatever that raises.

``importing`` starts it, through ``lifeline``. ``VALUE`` is ``module:attribute``, ``PATH`` a list in JSON of where else
modules lie.
"""

import json
import os
import sys

from llenergymeasure.config.entry_points import load

# How the process ends that came through the import; whoever ends it in there is unlikely to choose the same.
CAME_THROUGH = 117


def main(value: str, path: str) -> None:
    """Import it; what it raises is told where it is imported for good."""
    # Behind this process's own, so that nothing there takes the place of a module that it has.
    sys.path.extend(place for place in json.loads(path) if place not in sys.path)
    load(value)
    # What it would do at its end is no matter of importing it.
    os._exit(CAME_THROUGH)


if __name__ == "__main__":
    main(*sys.argv[1:])
