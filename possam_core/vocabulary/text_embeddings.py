"""The text embeddings of a vocabulary, whichever text tower made them.

Axes: N names (a class has one or more), K classes, D joint width.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class TextEmbeddings:
    """One L2-normalised embedding per name, and the class that each name belongs to."""

    embeddings: Float[Tensor, "N D"]
    class_of_name: Int64[Tensor, " N"]
    num_classes: int

    def to(self, device: torch.device) -> "TextEmbeddings":
        """The same embeddings on `device`."""
        return TextEmbeddings(
            self.embeddings.to(device), self.class_of_name.to(device), self.num_classes
        )

    def class_logits(self, embeddings: Float[Tensor, "*B D"]) -> Float[Tensor, "*B K"]:
        """Cosine similarity to each class: the best over its names (docs/method.md 5.4)."""
        by_name = functional.normalize(embeddings, dim=-1) @ self.embeddings.T
        lowest = by_name.new_full((*by_name.shape[:-1], self.num_classes), -1.0)
        return lowest.scatter_reduce(
            -1, self.class_of_name.expand_as(by_name), by_name, reduce="amax", include_self=True
        )
