"""Cells of none of the classes that a classifier knows, under the same stain.

A cell of a sixth kind looks to a classifier as one of its classes. Three things give it away, each a little: its
largest logit is low (Vaze et al. 2022), it lies far from the class centres in what encoders measure of it (Lee et al.
2018), and its picture is somewhat unusual, though not enough to be out of distribution (`hemacell.classifiers.ood`).
Each is standardised by known cells that nothing was fitted to, and their sum has a threshold that a stated share of
these lies beyond. `benchmarks/open_set.py` leaves classes out to see what it finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from hemacell.classifiers.ood import MahalanobisDetector
from hemacell.classifiers.standardise import Standardise

#: Numbers in the embedding of an encoder beyond which distances to classes are noise: known cells are few.
WIDEST = 64

_LEAST = 1e-3  # of a standard deviation, or of a distance before its logarithm
_MOST = 20.0  # of the exponent of a score
_SITE_IMAGES = 8  # pictures that the training laboratory's quartiles count for


def measured_kind(scales: Sequence[Standardise], embeddings: Sequence[Tensor], views: int) -> Tensor:
    """What distances to classes are measured in: the standardised embeddings of encoders with few numbers.

    Args:
        scales: the classifier's, one for each encoder, or none.
        embeddings: for each encoder [views * N, width], view by view.
        views: of each image.

    Returns:
        float32 [N, F], the mean over the views; F is 0 where no encoder has few numbers.
    """
    parts = [
        scale.standardised(each.float()).unflatten(0, (views, -1)).mean(0)
        for scale, each in zip(scales, embeddings, strict=bool(scales))
        if each.shape[1] <= WIDEST
    ]
    return torch.cat(parts, 1) if parts else torch.empty(0, 0)


class OpenSetDetector(nn.Module):
    """Scores how far a cell is from all classes: above 1 it is none of them.

    Args:
        center, scale: float64 [T], mean and deviation of the T terms over known cells.
        usual: float64 [2], median and distance of the quartiles of the summed terms over known cells.
        threshold: float64 [], of the sum; infinite where too few cells are known to set one.
        kinds: the classes in the space of `measured_kind`; None where no encoder has few numbers.

    `forward` takes the largest logit float32 [N] (mean over the views), the picture's distance float32 [N] and
    `measured_kind`, and returns scores float32 [N]: exp(sum - threshold), 0 without a threshold.
    """

    center: Tensor
    scale: Tensor
    usual: Tensor
    threshold: Tensor

    def __init__(
        self,
        center: Tensor,
        scale: Tensor,
        usual: Tensor,
        threshold: Tensor,
        kinds: MahalanobisDetector | None = None,
    ) -> None:
        super().__init__()
        for name, tensor in {"center": center, "scale": scale, "usual": usual, "threshold": threshold}.items():
            self.register_buffer(name, tensor)
        self.kinds = kinds

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> OpenSetDetector:
        """One with the buffers of a `state_dict`."""
        inner = {name.removeprefix("kinds."): each for name, each in state.items() if name.startswith("kinds.")}
        own = {name: each for name, each in state.items() if not name.startswith("kinds.")}
        return cls(**own, kinds=MahalanobisDetector(**inner) if inner else None)

    @classmethod
    def fit(cls, measured: np.ndarray, labels: np.ndarray) -> OpenSetDetector:
        """Describe the classes; the terms are not standardised yet, and there is no threshold.

        Args:
            measured: `measured_kind` of N known cells.
            labels: int [N].
        """
        kinds = MahalanobisDetector.fit(measured, labels) if measured.size else None
        center = torch.zeros(3 if kinds else 2, dtype=torch.double)
        usual, none = torch.tensor([0.0, 1.0], dtype=torch.double), torch.tensor(torch.inf, dtype=torch.double)
        return cls(center, torch.ones_like(center), usual, none, kinds)

    def with_false_positive_rate(
        self, top: np.ndarray, distance: np.ndarray, measured: np.ndarray, rate: float
    ) -> OpenSetDetector:
        """The same detector, standardised, with the threshold beyond which at most a share `rate` of known cells lies.

        There is no threshold where fewer than 1 / rate - 1 cells are given: no more would be known of any than that
        a share of 1 / (N + 1) of others lies beyond it (Vovk et al. 2005, conformal prediction).

        Args:
            top, distance, measured: of N known cells that `fit` has not seen, as for `forward`.
            rate: 0 to 1.
        """
        with torch.no_grad():
            terms = self.terms(*self._tensors(top, distance, measured)).double().cpu().numpy()
        center, scale = terms.mean(0), np.maximum(terms.std(0), _LEAST)
        sums = ((terms - center) / scale).sum(1)
        beyond = int(rate * (len(sums) + 1))
        threshold = np.sort(sums)[::-1][beyond - 1] if beyond else np.inf
        found = {"center": center, "scale": scale, "usual": _quartiles(sums), "threshold": threshold}
        return self._changed(**found)

    def for_site(self, top: np.ndarray, distance: np.ndarray, measured: np.ndarray) -> OpenSetDetector:
        """The same detector for pictures of another laboratory, most of which are of the known classes.

        The threshold lies as far above their median, in distances of their quartiles, as it does for the known
        laboratory, and never lower than there. Tails are not looked at: they may be the cells that are to be found.

        Args:
            top, distance, measured: of N pictures, as for `forward`.
        """
        with torch.no_grad():
            sums = self.sums(*self._tensors(top, distance, measured)).cpu().numpy()
        own = len(sums) / (len(sums) + _SITE_IMAGES)
        known = self.usual.cpu().numpy()
        median, spread = own * _quartiles(sums) + (1 - own) * known
        above = (float(self.threshold) - known[0]) * max(1.0, spread / max(known[1], _LEAST))
        return self._changed(threshold=max(float(self.threshold), median + above))

    @torch.no_grad()
    def score(self, top: np.ndarray, distance: np.ndarray, measured: np.ndarray) -> np.ndarray:
        """`forward` for arrays."""
        return self(*self._tensors(top, distance, measured)).cpu().numpy()

    def _tensors(self, *arrays: np.ndarray) -> list[Tensor]:
        return [torch.from_numpy(each).to(self.center.device) for each in arrays]

    def _changed(self, **arrays: np.ndarray | float) -> OpenSetDetector:
        changed = {name: torch.as_tensor(each, dtype=torch.double) for name, each in arrays.items()}
        return self.from_state(self.state_dict() | {name: each.to(self.center) for name, each in changed.items()})

    @property
    def has_threshold(self) -> bool:
        """Whether enough cells were known to set one."""
        return bool(torch.isfinite(self.threshold))

    def terms(self, top: Tensor, distance: Tensor, measured: Tensor) -> Tensor:
        """[N, T], each the larger the less a cell is like the known ones; arguments as for `forward`.

        A picture that is out of distribution is flagged for it: by how much counts no further here.
        """
        parts = [-top, distance.clamp(_LEAST, 1.0).log()]
        if self.kinds is not None:
            parts.append(self.kinds(measured).clamp_min(_LEAST).log())
        return torch.stack(parts, 1)

    def sums(self, top: Tensor, distance: Tensor, measured: Tensor) -> Tensor:
        """The standardised terms added up, float32 [N]; arguments as for `forward`."""
        return ((self.terms(top, distance, measured) - self.center.float()) / self.scale.float()).sum(1)

    def forward(self, top: Tensor, distance: Tensor, measured: Tensor) -> Tensor:
        return (self.sums(top, distance, measured) - self.threshold.float()).clamp_max(_MOST).exp()


def _quartiles(sums: np.ndarray) -> np.ndarray:
    """Median, and distance between the quartiles."""
    low, middle, high = np.quantile(sums, [0.25, 0.5, 0.75])
    return np.array([middle, high - low])
