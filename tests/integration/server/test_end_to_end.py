"""``llem run`` on a server that it starts: counted, timed, told, and gone; the key is in none of what is left."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from tests.fakes.effort import PATIENCE_S
from tests.fakes.ports import free_port

pytest.importorskip("httptools")

KEY = "a-key-that-nobody-may-see"
N, N_TOKENS = 6, 8


def test_a_server_is_started_measured_and_ended(tiny_llama: Path, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "prompts.txt").write_text("the capital of\nhello\nwater is wet\na b c\nx y\nz\n")
    config = tmp_path / "server.yaml"
    config.write_text(f"""
model: {tiny_llama}
backend: server
dataset: {tmp_path}/prompts.txt
n: {N}
max_output_tokens: {N_TOKENS}
decoder: {{ignore_eos: true}}
warmup: {{n_warmup: 1}}
energy: {{backend: null}}
server:
  url: http://127.0.0.1:{port}
  api_key: ${{KEY_OF_THE_TEST}}
  command: {sys.executable} -m llenergymeasure.testing.fake_server --port {port} --leaves-a-child
""")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LLEM_")}
    environ |= {"KEY_OF_THE_TEST": KEY, "HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    ran = subprocess.run(
        [sys.executable, "-m", "llenergymeasure", "run", "-v", str(config), "-o", str(tmp_path / "results")],
        env=environ, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    (folder,) = (tmp_path / "results").iterdir()
    result = json.loads((folder / "result.json").read_text())
    # Every answer has its full length, because the end token is ignored.
    assert (result["n_requests"], result["output_tokens"]) == (N, N * N_TOKENS)
    rows = pq.read_table(folder / "requests.parquet").to_pylist()
    assert [row["output_tokens"] for row in rows] == [N_TOKENS] * N
    # The fake server waits 5 ms for the first token of each.
    assert all(row["ttft_s"] >= 0.005 for row in rows)
    assert result["effective_config"]["precision"] == "as_served"
    assert result["process_results"] is not None
    flags = {str(warning).partition(":")[0] for warning in result["measurement_warnings"]}
    assert "weights_digest_unavailable" in flags
    assert flags.isdisjoint({"server_not_ours", "server_elsewhere", "foreign_process"})
    written = [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert written == []
    assert KEY not in ran.stdout + ran.stderr
    assert _commands_with(str(port)) == []


def _commands_with(text: str) -> list[str]:
    """What of this user's still runs and has a text among its words."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if text in words:
            found.append(" ".join(words))
    return found
