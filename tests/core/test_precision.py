"""`precision=auto`: bfloat16 only where the processor has instructions for it."""

import pytest

from hemacell.config.jobs import PrccSettings, WbcSettings
from hemacell.core import precision


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor : 0\nflags\t\t: fpu avx2 avx512f avx512_bf16\n", True),
        ("flags\t\t: fpu avx2 amx_bf16 amx_tile\n", True),
        ("Features\t: fp asimd bf16 i8mm\n", True),
        ("flags\t\t: fpu avx2 avx512f\n", False),
        ("model name\t: bf16\n", False),
        ("", False),
    ],
)
def test_the_flags_of_the_processor(tmp_path, text, expected):
    (tmp_path / "cpuinfo").write_text(text)
    precision._processor_has_bfloat16.cache_clear()
    assert precision._processor_has_bfloat16(tmp_path / "cpuinfo") is expected


def test_a_system_that_says_nothing(tmp_path):
    assert precision._processor_has_bfloat16(tmp_path / "none") is False


@pytest.mark.parametrize(("has", "expected"), [(True, "bf16"), (False, "float32")])
def test_auto_is_decided_for_the_processor_and_what_is_typed_stays(monkeypatch, has, expected):
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: has)
    assert WbcSettings().precision == "auto"
    assert WbcSettings(device="cpu").resolved().precision == expected
    assert PrccSettings(device="cuda").resolved().precision == "bf16"
    for typed in ("bf16", "float32"):
        assert WbcSettings(precision=typed).resolved().precision == typed
