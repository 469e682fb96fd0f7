"""The frozen CLIP towers: dense image features with a head applied after pooling, and text.

Axes: B images, S side of the canvas, C dense channels, h w feature grid, D joint width,
K classes, N names (a class has one or more), T prompt templates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import open_clip
import timm
import torch
from jaxtyping import Float, Int64
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from timm.models import ConvNeXt, build_model_with_cfg, register_model
from torch import Tensor, nn
from torch.nn import functional

from possam_core.errors import ConfigError
from possam_core.images import ImageBatch, normalise
from possam_core.vocabulary import PROMPT_TEMPLATES, Vocabulary

TEXT_CHUNK = 128  # prompts encoded at once
MAX_LOGIT_SCALE = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipConfig:
    """Shape of the towers, in the words of `open_clip`."""

    embed_dim: int = 128  # joint width D
    timm_model_name: str = "possam_convnext_tiny"
    context_length: int = 32  # text tokens
    text_width: int = 64
    text_heads: int = 4
    text_layers: int = 2

    def __post_init__(self) -> None:
        if not timm.is_model(self.timm_model_name):
            raise ConfigError(
                f"clip.timm_model_name must be a model that timm knows, got"
                f" {self.timm_model_name!r}"
            )


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
        """Cosine similarity to each class: the best over its names (METHOD 7.4)."""
        by_name = functional.normalize(embeddings, dim=-1) @ self.embeddings.T
        lowest = by_name.new_full((*by_name.shape[:-1], self.num_classes), -1.0)
        return lowest.scatter_reduce(
            -1, self.class_of_name.expand_as(by_name), by_name, reduce="amax", include_self=True
        )


class ClipEncoder(nn.Module):
    """CLIP by `open_clip`: dense image features, a head for pooled ones, and text embeddings."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, config: ClipConfig, *, image_size: int) -> None:
        super().__init__()
        self.clip = open_clip.CLIP(
            embed_dim=config.embed_dim,
            vision_cfg={
                "timm_model_name": config.timm_model_name,
                "timm_pool": "avg",
                "timm_proj": "linear",
                "image_size": image_size,
            },
            text_cfg={
                "context_length": config.context_length,
                "width": config.text_width,
                "heads": config.text_heads,
                "layers": config.text_layers,
            },
        )
        self.tokenizer = open_clip.SimpleTokenizer(context_length=config.context_length)
        grey_levels = 255 * torch.tensor([OPENAI_DATASET_MEAN, OPENAI_DATASET_STD])
        self.register_buffer("pixel_mean", grey_levels[0], persistent=False)
        self.register_buffer("pixel_std", grey_levels[1], persistent=False)

    @property
    def logit_scale(self) -> Float[Tensor, ""]:
        """Inverse temperature of image-text similarity, at most 100."""
        scale: Tensor = self.clip.logit_scale
        return scale.exp().clamp(max=MAX_LOGIT_SCALE)

    def dense_features(self, batch: ImageBatch) -> Float[Tensor, "B C h w"]:
        """The last stage's map, before pooling and projection: F_clip."""
        features: Tensor = self.clip.visual.trunk.forward_features(
            normalise(batch, self.pixel_mean, self.pixel_std)
        )
        return features

    def project(self, pooled: Float[Tensor, "*B C"]) -> Float[Tensor, "*B D"]:
        """Take pooled dense features through CLIP's own norm and projection; not normalised."""
        as_maps = pooled.flatten(0, -2)[..., None, None]  # (N, C, 1, 1)
        visual = self.clip.visual
        projected: Tensor = visual.head(visual.trunk.forward_head(as_maps))
        return projected.reshape(*pooled.shape[:-1], projected.shape[-1])

    def encode_prompts(self, prompts: Sequence[str]) -> Float[Tensor, "N D"]:
        """L2-normalised embeddings of whole sentences, encoded in chunks."""
        tokens = self.tokenizer(list(prompts)).to(self.pixel_mean.device)
        chunks = [
            self.clip.encode_text(chunk, normalize=True) for chunk in tokens.split(TEXT_CHUNK)
        ]
        return torch.cat(chunks)

    @torch.no_grad()
    def embed_vocabulary(self, vocabulary: Vocabulary) -> TextEmbeddings:
        """Embed every name: mean over the prompt templates, normalised again (METHOD 7.2)."""
        names = [(i, n) for i, c in enumerate(vocabulary.classes) for n in c.all_names]
        prompts = [template.format(name) for _, name in names for template in PROMPT_TEMPLATES]
        by_template = self.encode_prompts(prompts)  # (N * T, D)
        by_template = by_template.reshape(len(names), len(PROMPT_TEMPLATES), -1)
        return TextEmbeddings(
            functional.normalize(by_template.mean(dim=1), dim=-1),
            torch.tensor([i for i, _ in names], device=by_template.device),
            len(vocabulary),
        )


@register_model
def possam_convnext_tiny(pretrained: bool = False, **kwargs: Any) -> ConvNeXt:
    """The image trunk of `possam-tiny`'s CLIP: stride 8, so that small things keep some cells.

    timm builds image towers by registered name; this is our name in its list.
    """
    tower: ConvNeXt = build_model_with_cfg(
        ConvNeXt,
        "possam_convnext_tiny",
        pretrained,
        pretrained_cfg={"num_classes": 0, "pool_size": (7, 7), "first_conv": "stem.0"},
        depths=(1, 2, 3, 1),
        dims=(48, 96, 128, 128),
        kernel_sizes=(7, 7, 3, 3),  # the last two are dilated, where 7 is slow and hardly wider
        output_stride=8,
        conv_mlp=True,
        ls_init_value=None,
        **{k: v for k, v in kwargs.items() if not k.startswith(("pretrained_cfg", "cache_dir"))},
    )
    return tower
