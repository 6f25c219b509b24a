"""Which weights were measured: commit and digests, from files that really were loaded."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.core.backends.pytorch.provenance import LoadedFrom
from llenergymeasure.core.checkpoint.source import describe_source, packaged_file
from llenergymeasure.core.session import measure
from llenergymeasure.domain.inference import ModelIdentity
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.result import ExperimentResult
from tests.integration.conftest import save_tiny_llama

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"


def sha256(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def identity(model: object, **fields: Any) -> ModelIdentity:
    config = ExperimentConfig.model_validate({"model": str(model), "precision": "fp32", **fields})
    with PyTorchBackend().load(ExperimentPlan.of(config)) as loaded:
        return loaded.identity()


def test_a_directory_has_the_digest_of_its_weights_and_no_commit(tiny_llama: Path) -> None:
    assert identity(tiny_llama) == ModelIdentity(weights_digest=sha256(tiny_llama / "model.safetensors"))


def test_shards_are_digested_together_and_one_other_byte_is_another_digest(tiny_llama: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_llama, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").unlink()
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1
    listing = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in shards)
    first = identity(tmp_path).weights_digest
    assert first == f"sha256:{hashlib.sha256(listing.encode()).hexdigest()}"
    content = bytearray(shards[-1].read_bytes())
    content[-1] ^= 1
    shards[-1].write_bytes(content)
    assert identity(tmp_path).weights_digest not in (first, None)


def test_pickled_weights_a_variant_and_a_subfolder(tiny_llama: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    shutil.copytree(tiny_llama, inner)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    model.lm_head.weight.data += 1
    torch.save(model.state_dict(), inner / "pytorch_model.bin")
    model.save_pretrained(inner, variant="other")
    files: dict[str, dict[str, Any]] = {
        "model.safetensors": {},
        "pytorch_model.bin": {"use_safetensors": False},
        "model.other.safetensors": {"variant": "other"},
    }
    found = [identity(tmp_path, pytorch={"subfolder": "inner", **section}).weights_digest for section in files.values()]
    assert found == [sha256(inner / name) for name in files]
    assert len(set(found)) == 3


def in_hub_cache(model: Path, root: Path, repository: str = "org/tiny") -> Path:
    """A model as the hub's library stores it: links in a snapshot to blobs, large ones named by their SHA-256."""
    folder = root / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / COMMIT
    (folder / "blobs").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    snapshot.mkdir(parents=True)
    for path in model.iterdir():
        content = path.read_bytes()
        sha1 = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        name = hashlib.sha256(content).hexdigest() if path.suffix == ".safetensors" else sha1
        (folder / "blobs" / name).write_bytes(content)
        (snapshot / path.name).symlink_to(Path("../../blobs", name))
    return snapshot


def test_a_hub_model_has_its_commit(tiny_llama: Path, tmp_path: Path) -> None:
    snapshot = in_hub_cache(tiny_llama, tmp_path)
    expected = ModelIdentity(revision=COMMIT, weights_digest=sha256(tiny_llama / "model.safetensors"))
    passed = {"cache_dir": str(tmp_path), "local_files_only": True}
    assert identity("org/tiny", passthrough_kwargs=passed) == expected
    assert identity("org/tiny", passthrough_kwargs=passed, pytorch={"revision": COMMIT}) == expected
    assert identity(snapshot) == expected, "the snapshot given as a directory"


def of_files(model: str) -> str | None:
    """The digest alone: loading either of them takes its time."""
    config = ExperimentConfig(model=model)
    return LoadedFrom(config=config, source=describe_source(model)).identity(LlamaConfig()).weights_digest


def test_a_packaged_model_is_known_by_the_file_that_everybody_can_get_and_a_gguf_file_by_itself(tmp_path: Path) -> None:
    packaged = packaged_file("smollm2-135m")
    assert packaged is not None
    (tmp_path / "another name.gguf").symlink_to(packaged)
    assert of_files("smollm2-135m") == sha256(packaged)
    assert of_files(str(tmp_path / "another name.gguf")) == sha256(packaged)


def test_a_draft_has_a_digest_of_its_own(tiny_llama: Path, tmp_path: Path) -> None:
    draft = save_tiny_llama(tmp_path, eos_token_id=5)
    model = AutoModelForCausalLM.from_pretrained(draft, dtype=torch.float32)
    model.lm_head.weight.data += 1
    model.save_pretrained(draft)
    found = identity(tiny_llama, pytorch={"assistant_model": str(draft)})
    assert found.draft_digest == sha256(draft / "model.safetensors")
    assert found.weights_digest == sha256(tiny_llama / "model.safetensors")
    assert found.draft_digest != found.weights_digest


def test_weights_that_are_gone_after_loading_are_a_warning(tiny_llama: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_llama, tmp_path, dirs_exist_ok=True)
    config = ExperimentConfig(model=str(tmp_path), precision="fp32")
    with PyTorchBackend().load(ExperimentPlan.of(config)) as loaded:
        (tmp_path / "model.safetensors").unlink()
        found = loaded.identity()
    assert found.weights_digest is None
    (warning,) = found.warnings
    assert str(warning).startswith("weights_digest_unavailable: none of model.safetensors")


def test_the_result_has_each_once(tiny_llama: Path, tmp_path: Path) -> None:
    in_hub_cache(tiny_llama, tmp_path)
    config = ExperimentConfig.model_validate(
        {
            "model": "org/tiny",
            "precision": "fp32",
            "n": 1,
            "max_output_tokens": 2,
            "energy": {"backend": None},
            "warmup": {"n_warmup": 1},
            "passthrough_kwargs": {"cache_dir": str(tmp_path), "local_files_only": True},
        }
    )
    result = ExperimentResult.from_processes([measure(ExperimentPlan.of(config), PyTorchBackend())])
    digest = sha256(tiny_llama / "model.safetensors")
    assert (result.model_revision, result.weights_digest) == (COMMIT, digest)
    assert (result.adapter_digest, result.draft_digest) == (None, None)
    text = result.model_dump_json()
    assert text.count(digest) == 1
    assert text.count(COMMIT) == 1
    assert not [w for w in result.measurement_warnings if "digest" in w]
