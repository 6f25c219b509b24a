"""An engine that does in one of the methods it is asked by, as its setting ``toy.label`` says, what none may."""

from tests.fakes.distributions import TOY

WAYS = """
import os
import sys
import time
from pathlib import Path


def _do(way, *words):
    if way == "exit":
        os._exit(int(words[0]))
    if way == "raise":
        raise SystemExit(words[0])
    if way == "print":
        print("hello \\x1b[31m red")
        os.write(1, b"and by its descriptor\\n")
    if way == "fork":
        if os.fork() == 0:
            time.sleep(100000)
        os._exit(int(words[0]))
    if way == "close":
        os.closerange(3, 1000)
        time.sleep(100000)
    if way == "hang":
        if words:
            Path(words[0]).touch()
        time.sleep(100000)


def _asked(method, config):
    label = config.section_of("toy").label or ""
    if label.startswith(method + " "):
        _do(*label.split()[1:])
"""
METHODS = ("processes", "select_devices", "problems", "estimate_memory", "cautions", "native_precision")
_NATIVE = "    def native_precision(self, config):\n"
ASKED = (
    WAYS
    + TOY.replace(_NATIVE, f'{_NATIVE}        _asked("native_precision", config)\n')
    + "".join(
        f"""
    def {method}(self, config, *more):
        _asked("{method}", config)
        return super().{method}(config, *more)
"""
        for method in METHODS[:-1]
    )
)
