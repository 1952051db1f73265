"""Which floating-point precision is faster on this machine: the setting `precision=auto`.

Asked before torch is imported, so that a command with nothing to do ends at once.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

#: What Linux calls the instructions: of x86 (AVX-512, AMX) and of ARM.
_INSTRUCTIONS = {"avx512_bf16", "amx_bf16", "bf16"}


def choose_precision(device: str) -> Literal["bf16", "float32"]:
    """`bf16` where the device computes with bfloat16 itself, else `float32`.

    A processor without such instructions emulates them: EfficientNet-Lite0 is then 15 times as slow as in float32
    (`python benchmarks/precision.py` prints both).

    Args:
        device: the setting `device`: `auto`, `cpu` or `cuda`.
    """
    on_gpu = device == "cuda" or (device == "auto" and Path("/dev/nvidiactl").exists())
    return "bf16" if on_gpu or _processor_has_bfloat16() else "float32"


@functools.cache
def _processor_has_bfloat16(description: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the system says that the processor has the instructions; False where it says nothing (no Linux)."""
    if not description.exists():
        return False
    lines = description.read_text(encoding="utf-8", errors="replace").splitlines()
    flags = [line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))]
    return any(_INSTRUCTIONS & set(found) for found in flags[:1])
