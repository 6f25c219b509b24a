"""The per-request file."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llenergymeasure.domain.inference import RequestOutput
from llenergymeasure.results.tables import write_requests_parquet

SCHEMA = [
    ("index", pa.int64()),
    ("input_tokens", pa.int64()),
    ("output_tokens", pa.int64()),
    ("ttft_s", pa.float64()),
    ("e2e_s", pa.float64()),
    ("finish_reason", pa.string()),
    ("output_digest", pa.string()),
    ("input_digest", pa.string()),
    ("batch", pa.int64()),
    ("token_times_s", pa.list_(pa.float64())),
    ("due_s", pa.float64()),
    ("sent_s", pa.float64()),
    ("end_s", pa.float64()),
    ("error", pa.string()),
    ("error_kind", pa.string()),
    ("ttft_from_sending_s", pa.float64()),
    ("cached_tokens", pa.int64()),
    ("counted_by", pa.string()),
    ("chunk_times_s", pa.list_(pa.float64())),
]


def _request(index: int, ttft_s: float | None = 0.5, e2e_s: float | None = 2.0) -> RequestOutput:
    return RequestOutput(
        index=index,
        input_tokens=10 + index,
        output_tokens=4,
        sent_s=99.0,
        first_token_s=None if ttft_s is None else 99.0 + ttft_s,
        end_s=None if e2e_s is None else 99.0 + e2e_s,
        finish_reason="stop",
        output_digest=f"digest-{index}",
        input_digest=f"input-{index}" if index else None,
        token_times_s=() if ttft_s is None else (99.5, 101.0),
        batch=index // 2 if index else None,
    )


@pytest.mark.parametrize("requests", [[], [_request(0, None, None)], [_request(0), _request(1)]])
def test_columns_and_types_do_not_depend_on_the_rows(tmp_path: Path, requests: list[RequestOutput]) -> None:
    path = write_requests_parquet(requests, tmp_path / "r.parquet", 100.0)
    assert path == tmp_path / "r.parquet"
    table = pq.read_table(path)
    assert [(f.name, f.type) for f in table.schema] == SCHEMA
    assert table.num_rows == len(requests)


def test_rows_are_in_the_order_of_the_index_and_unknown_times_are_null(tmp_path: Path) -> None:
    path = write_requests_parquet(
        [_request(2), _request(0, None), _request(1, None, None)], tmp_path / "r.parquet", 100.0
    )
    assert pq.read_table(path).to_pylist() == [
        {
            "index": i,
            "input_tokens": 10 + i,
            "output_tokens": 4,
            "ttft_s": ttft_s,
            "e2e_s": e2e_s,
            "finish_reason": "stop",
            "output_digest": f"digest-{i}",
            "input_digest": f"input-{i}" if i else None,
            "batch": i // 2 if i else None,
            "token_times_s": [] if ttft_s is None else [0.5, 2.0],
            "due_s": None,
            "sent_s": -1.0,
            "end_s": None if e2e_s is None else 1.0,
            "error": None,
            "error_kind": None,
            "ttft_from_sending_s": ttft_s,
            "cached_tokens": None,
            "counted_by": "tokens",
            "chunk_times_s": [],
        }
        for i, (ttft_s, e2e_s) in enumerate([(None, 2.0), (None, None), (0.5, 2.0)])
    ]


def test_parts_of_an_answer_count_from_its_own_beginning_which_is_when_it_was_due(tmp_path: Path) -> None:
    # Due at 101 s, sent a quarter of a second later; parts at 102 and 103 s.
    request = RequestOutput(
        index=0, input_tokens=1, output_tokens=5, finish_reason="stop", output_digest="", due_s=101.0, sent_s=101.25,
        first_token_s=102.0, end_s=103.0, chunk_times_s=(102.0, 103.0), cached_tokens=1, counted_by="usage",
    )  # fmt: skip
    (row,) = pq.read_table(write_requests_parquet([request], tmp_path / "r.parquet", 100.0)).to_pylist()
    assert (row["ttft_s"], row["ttft_from_sending_s"], row["chunk_times_s"]) == (1.0, 0.75, [1.0, 2.0])
    assert (row["due_s"], row["sent_s"], row["end_s"]) == (1.0, 1.25, 3.0)
    assert (row["cached_tokens"], row["counted_by"], row["token_times_s"]) == (1, "usage", [])
