"""Which files hold the weights, in the order in which transformers looks for them."""

import json
from pathlib import Path

import pytest

from llenergymeasure.core.checkpoint.files import adapter_files, cached_folder, commit_of, model_files

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def with_files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("weights")
    return folder


def with_index(folder: Path, name: str, *shards: str) -> Path:
    with_files(folder, *shards)
    (folder / name).write_text(json.dumps({"weight_map": {f"layer.{i}": shard for i, shard in enumerate(shards * 2)}}))
    return folder


def test_safetensors_go_before_shards_and_shards_before_pickles(tmp_path: Path) -> None:
    with_files(tmp_path, "pytorch_model.bin")
    assert set(model_files(tmp_path)) == {"pytorch_model.bin"}
    with_index(tmp_path, "model.safetensors.index.json", "model-1.safetensors", "model-2.safetensors")
    assert set(model_files(tmp_path)) == {"model-1.safetensors", "model-2.safetensors"}
    with_files(tmp_path, "model.safetensors")
    assert model_files(tmp_path) == {"model.safetensors": tmp_path / "model.safetensors"}


def test_use_safetensors_chooses_the_kind(tmp_path: Path) -> None:
    with_files(tmp_path, "model.safetensors", "pytorch_model.bin")
    assert set(model_files(tmp_path, use_safetensors=True)) == {"model.safetensors"}
    assert set(model_files(tmp_path, use_safetensors=False)) == {"pytorch_model.bin"}
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        model_files(tmp_path, use_safetensors=True)


def test_a_variant_has_files_of_its_own(tmp_path: Path) -> None:
    with_files(tmp_path, "model.safetensors")
    with_index(tmp_path, "model.safetensors.index.fp16.json", "model.fp16-1.safetensors")
    assert set(model_files(tmp_path, variant="fp16")) == {"model.fp16-1.safetensors"}
    with_files(tmp_path, "model.fp16.safetensors")
    assert set(model_files(tmp_path, variant="fp16")) == {"model.fp16.safetensors"}


def test_pickled_shards_and_shards_in_a_folder(tmp_path: Path) -> None:
    with_index(tmp_path, "pytorch_model.bin.index.json", "parts/a.bin", "parts/b.bin")
    assert model_files(tmp_path) == {f"parts/{n}.bin": tmp_path / "parts" / f"{n}.bin" for n in "ab"}


def test_a_file_that_the_model_names_itself_goes_first(tmp_path: Path) -> None:
    with_files(tmp_path, "model.safetensors", "mine.safetensors")
    assert set(model_files(tmp_path, explicit="mine.safetensors")) == {"mine.safetensors"}


def test_a_distributed_checkpoint_goes_before_all(tmp_path: Path) -> None:
    shards = [f"shard-0000{i}-model-00001-of-00002.safetensors" for i in (1, 2)]
    with_files(tmp_path, "model.safetensors", *shards)
    assert sorted(model_files(tmp_path)) == shards


@pytest.mark.parametrize("content", ["not json", "[]", "{}", '{"weight_map": {}}', '{"weight_map": 5}'])
def test_an_index_that_is_none_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ValueError, match=r"index|Expecting"):
        model_files(tmp_path)


def test_a_folder_without_weights_is_an_error_that_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none of model\.safetensors, .*pytorch_model\.bin"):
        model_files(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"none of adapter_model\.safetensors"):
        adapter_files(tmp_path)


def test_an_adapter_is_one_file_safetensors_first(tmp_path: Path) -> None:
    with_files(tmp_path, "adapter_model.bin")
    assert set(adapter_files(tmp_path)) == {"adapter_model.bin"}
    with_files(tmp_path, "adapter_model.safetensors")
    assert set(adapter_files(tmp_path)) == {"adapter_model.safetensors"}


def hub_cache(root: Path) -> Path:
    """A repository as the hub's library stores it; gives its snapshot."""
    repository = root / "models--org--name"
    snapshot = repository / "snapshots" / COMMIT
    with_files(snapshot, "config.json", "inner/config.json")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return snapshot


@pytest.mark.pytorch
@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_a_hub_model_lies_in_its_snapshot(tmp_path: Path, revision: str | None) -> None:
    snapshot = hub_cache(tmp_path)
    assert cached_folder("org/name", "config.json", revision, str(tmp_path)) == snapshot
    assert cached_folder("org/name", "inner/config.json", revision, str(tmp_path)) == snapshot / "inner"


@pytest.mark.pytorch
def test_what_is_not_in_the_cache_is_an_error(tmp_path: Path) -> None:
    hub_cache(tmp_path)
    for repository, revision in (("org/other", None), ("org/name", "v2")):
        with pytest.raises(FileNotFoundError, match=r"is not in the hub's cache"):
            cached_folder(repository, "config.json", revision, str(tmp_path))


def test_a_commit_is_read_from_the_path_of_a_snapshot_only(tmp_path: Path) -> None:
    snapshot = hub_cache(tmp_path)
    assert commit_of(snapshot) == COMMIT
    assert commit_of(snapshot / "inner") == COMMIT
    assert commit_of(tmp_path) is None
    assert commit_of(Path("snapshots/main")) is None
    assert commit_of(Path("elsewhere") / COMMIT) is None
