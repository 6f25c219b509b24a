"""``python -m llenergymeasure`` is ``llem``."""

from llenergymeasure.cli import main

if __name__ == "__main__":
    main()
