"""Names of runs: what a run is, in a few words, so that a list of runs can be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Settings = Mapping[str, str]

_MOST = 120


def run_name(job: str, settings: Settings) -> str:
    """The name of a run of this job.

    Args:
        job: `prcc`, `camelyon`, `wbc`, …
        settings: as logged, in canonical text; what is missing is left out.

    Returns:
        Such as `prcc,camelyon 50 % draw 0`, `prcc 60 steps`, `hemacell-wbc/3 on lisc`.
    """
    words = _NAMES[job](settings) if job in _NAMES else job
    if int(settings.get("limit") or 0):
        words += f" limit {settings['limit']}"
    return _cut(words)


def percent(fraction: str | float) -> str:
    """A share as per cent: `0.005` -> `0.5 %`."""
    return f"{float(fraction) * 100:g} %"


def amount_of_labels(settings: Settings) -> str:
    """How many labels a classifier is trained with: `50 %` or `5 per class`."""
    if per_class := settings.get("labels_per_class"):
        return f"{per_class} per class"
    return percent(settings.get("fraction") or 1)


def draw_or_fold(draw: str | int, folds: str | int | None) -> str:
    """`draw 0`, or `fold 0 of 5` in cross-validation."""
    return f"fold {draw} of {folds}" if int(folds or 0) else f"draw {draw}"


def _cut(words: str) -> str:
    return words if len(words) <= _MOST else f"{words[: _MOST - 1]}…"


def _wbc(settings: Settings) -> str:
    method, draw, seed = settings.get("method", ""), settings.get("draw", "0"), settings.get("seed", "0")
    words = [] if method in ("", "fusion") else [f"{method}:"]
    words += [settings.get("encoders") or "none", amount_of_labels(settings), draw_or_fold(draw, settings.get("folds"))]
    words += [f"seed {seed}"] if seed not in ("0", draw) else []
    return " ".join(words)


def _pretraining(job: str) -> Callable[[Settings], str]:
    def name(settings: Settings) -> str:
        steps, seed = settings.get("steps", "0"), settings.get("seed", "0")
        words = [job, *([f"{steps} steps"] if steps != "0" else [])]
        return " ".join([*words, *([f"seed {seed}"] if seed != "0" else [])])

    return name


def _demo(settings: Settings) -> str:
    return f"demo {percent(settings.get('fraction') or 1)}"


def _study(settings: Settings) -> str:
    arms = [" ".join(arm.split()) for arm in settings.get("arms", "").split(";") if arm.strip()]
    fractions = [f"{float(each) * 100:g}" for each in settings.get("fractions", "").split(",") if each]
    draws, what = settings.get("draws", "1"), "fold" if int(settings.get("folds") or 0) else "draw"
    return f"{'; '.join(arms)} at {', '.join(fractions)} %, {draws} {what}{'' if draws == '1' else 's'}"


def comparison(arms: Sequence[str]) -> str:
    """The name of a comparison of runs of these arms."""
    different = list(dict.fromkeys(arms))
    return _cut(f"{' and '.join(different) if len(different) == 2 else '; '.join(different)}: comparison")


def _model(settings: Settings) -> str:
    return settings.get("model", "").removeprefix("models:/")


def _on(setting: str) -> Callable[[Settings], str]:
    def name(settings: Settings) -> str:
        return f"{_model(settings)} on {Path(settings.get(setting) or 'the sample').name}"

    return name


def _audit(settings: Settings) -> str:
    return Path(settings.get("data") or "the sample").name


def _adapt(settings: Settings) -> str:
    return f"{_model(settings)} for {settings.get('site', '')}{' with labels' if settings.get('labels') else ''}"


def _export(settings: Settings) -> str:
    return f"{_model(settings)} as ONNX"


_NAMES: dict[str, Callable[[Settings], str]] = {
    "wbc": _wbc,
    "prcc": _pretraining("prcc"),
    "camelyon": _pretraining("camelyon"),
    "main": _demo,
    "study": _study,
    "evaluate": _on("data"),
    "predict": _on("images"),
    "export": _export,
    "audit": _audit,
    "adapt": _adapt,
}
