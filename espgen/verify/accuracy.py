"""Classification accuracy: how often the label has the highest score, or one of the five highest."""

from __future__ import annotations

import numpy as np


class Accuracy:
    """Counts over samples. Scores may be integers or real numbers of any shape with one element per class.

    Equal scores are ranked by class number, as numpy's and onnxruntime's argmax do.
    """

    def __init__(self) -> None:
        self._samples = 0
        self._top1 = 0
        self._top5 = 0

    def add(self, scores: np.ndarray, label: int) -> None:
        """Count one sample. ValueError for a label that is no class."""
        flat = np.asarray(scores).reshape(-1)
        if not 0 <= label < flat.size:
            raise ValueError(f"label {label} is none of {flat.size} classes")
        own = flat[label]
        rank = int(np.count_nonzero(flat > own)) + int(np.count_nonzero(flat[:label] == own))
        self._samples += 1
        self._top1 += rank < 1
        self._top5 += rank < 5

    def to_json(self) -> dict[str, float] | None:
        """Fractions from 0 to 1; None without a sample."""
        if self._samples == 0:
            return None
        return {"top1": self._top1 / self._samples, "top5": self._top5 / self._samples}
