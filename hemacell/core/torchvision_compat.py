"""Make `import torchvision` work with a CPU build of torch.

PyPI's torchvision is built against CUDA. With a CPU build of torch its compiled library cannot be loaded, and the
import ends in "operator torchvision::nms does not exist", because torchvision registers a shape rule for an operator
that is not declared. Declaring the two operators is enough for all that this project (and timm) uses; where the builds
match, nothing is done. Import this module before torchvision, timm or torchmetrics (which imports torchvision).
"""

import importlib.machinery
import importlib.util
from pathlib import Path

import torch

_DECLARATIONS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: torch.library.Library | None = None  # kept alive: the declarations go with the object


def _compiled_library_loads() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # nothing to repair; the import itself will say what is missing
    folder = Path(spec.origin).parent
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        library = folder / f"_C{suffix}"
        if library.exists():
            try:
                torch.ops.load_library(str(library))
            except OSError:
                return False  # linked against a CUDA runtime that is not here
            return True
    return False


if not _compiled_library_loads():
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for _declaration in _DECLARATIONS:
        _library.define(_declaration)
