"""The fake server as a program, for whoever starts a server by a command."""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from llenergymeasure.testing.fake_answers import fault_of
from llenergymeasure.testing.fake_server import FakeServer, FakeSettings

_SLEEPER = "import time; time.sleep(600)"


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until told to end; the address is the first line that is printed."""
    given = _parsed(arguments)
    if given.fails:
        print("loading weights", file=sys.stderr, flush=True)  # noqa: T201 - a program
        sys.exit(given.fails)
    if given.leaves_a_child:
        # One in a session of its own, and an orphan.
        subprocess.Popen([sys.executable, "-P", "-c", _SLEEPER], start_new_session=True)
        orphan = "import os, subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]], env={})"
        subprocess.run([sys.executable, "-P", "-c", orphan, _SLEEPER], check=False, env={})
    if given.ignores_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(given.listens_after_s)
    settings = FakeSettings(
        ttft_s=given.ttft_ms / 1000,
        gap_s=given.gap_ms / 1000,
        n_tokens_per_chunk=given.tokens_per_chunk,
        n_slots=given.slots,
        owned_by=given.owned_by,
        model_ids=tuple(given.model or ("fake",)),
        faults=fault_of(json.loads(given.script)),
        ready_after_s=given.ready_after_s,
    )
    server = FakeServer(settings, port=given.port)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(server.serve(lambda url: print(url, os.getpid(), flush=True)))  # noqa: T201 - a program


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="llenergymeasure.testing.fake_server", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--ttft-ms", type=float, default=5.0)
    parser.add_argument("--gap-ms", type=float, default=1.0)
    parser.add_argument("--tokens-per-chunk", type=int, default=1)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--owned-by", default="vllm")
    parser.add_argument("--model", action="append")
    parser.add_argument("--script", default="{}", help="JSON of faults by the number of the request, or *")
    parser.add_argument("--ready-after-s", type=float, default=0.0, help="answer /health with 503 until then")
    parser.add_argument("--listens-after-s", type=float, default=0.0)
    parser.add_argument("--fails", type=int, default=0, help="end with this exit code and serve nothing")
    parser.add_argument("--leaves-a-child", action="store_true", help="start others that do not end by themselves")
    parser.add_argument("--ignores-sigterm", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
