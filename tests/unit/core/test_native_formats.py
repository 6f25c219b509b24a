"""Which number formats a processor has instructions for."""

from pathlib import Path

import pytest

from llenergymeasure.core.environment import native_formats

X86 = "processor\t: 0\nmodel name\t: A Processor\nflags\t\t: fpu sse2 {flags}\nbugs\t\t: spectre_v1\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd {flags}\nCPU part\t: 0xd40\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        # Converting is not computing: f16c is in every x86 processor since 2012.
        (X86.format(flags="avx f16c avx2 avx512f avx512_vnni"), {"fp32"}),
        (X86.format(flags="avx512f avx512_bf16"), {"fp32", "bf16"}),
        (X86.format(flags="avx512f avx512_bf16 avx512_fp16 amx_bf16 amx_tile"), {"fp32", "fp16", "bf16"}),
        (X86.format(flags="amx_bf16 amx_tile"), {"fp32", "bf16"}),
        (ARM.format(flags="asimdhp fphp"), {"fp32", "fp16"}),
        (ARM.format(flags="asimdhp sve bf16"), {"fp32", "fp16", "bf16"}),
    ],
)
def test_instructions_that_multiply_in_a_format_are_looked_for(text: str, found: set[str], tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(text, encoding="utf-8")
    assert native_formats(path) == frozenset(found)


def test_what_the_system_does_not_say_is_not_known(tmp_path: Path) -> None:
    assert native_formats(tmp_path / "absent") is None
    (tmp_path / "cpuinfo").write_text("processor : 0\n", encoding="utf-8")
    assert native_formats(tmp_path / "cpuinfo") is None
