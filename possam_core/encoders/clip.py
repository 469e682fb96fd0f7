"""The frozen CLIP towers: dense image features with a head applied after pooling, and text.

Image towers are ConvNeXt, whose norm and projection follow the pooling, or ViT, whose tokens are
normalised one by one and only projected after it (docs/method.md 2.1).

Axes: B images, S side of the canvas, C dense channels, h w feature grid, D joint width,
K classes, N names (a class has one or more), T prompt templates.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import open_clip
import torch
from jaxtyping import Float, Int64
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from possam_core.encoders.clip_config import ClipConfig, clip_architecture
from possam_core.encoders.clip_weights import fetch_tag, fit_to_towers
from possam_core.encoders.shared_beginning import encode_alike_sentences
from possam_core.encoders.tensor_file import read_tensors
from possam_core.encoders.text_cache import default_text_cache, read_or_embed, text_key
from possam_core.errors import CheckpointError, ConfigError
from possam_core.images.batch import ImageBatch, normalise
from possam_core.vocabulary.text_embeddings import TextEmbeddings
from possam_core.vocabulary.vocabulary import PROMPT_TEMPLATES, Vocabulary

__all__ = ["ClipConfig", "ClipEncoder", "load_clip_weights"]

logger = logging.getLogger(__name__)

TEXT_CHUNK = 128  # prompts encoded at once
MIN_CACHED_PROMPTS = 256  # encoding fewer is faster than hashing the text tower
MAX_LOGIT_SCALE = 100.0


class ClipEncoder(nn.Module):
    """CLIP by `open_clip`: dense image features, a head for pooled ones, and text embeddings."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, config: ClipConfig, *, image_size: int) -> None:
        """Build the towers with random weights.

        Args:
            config: their shape.
            image_size: side of the canvas in pixels, which fixes the grid of a ViT.

        Raises:
            ConfigError: `config.input_side` is no multiple of a cell.
        """
        super().__init__()
        self.config = config
        architecture = clip_architecture(config)
        vision = architecture["vision_cfg"]
        # Nothing is downloaded, and there is no stochastic depth: named towers are never trained.
        vision |= {"timm_model_pretrained": False, "timm_drop_path": None}
        if config.timm_model_name:
            self.clip = open_clip.CLIP(**architecture)
            self.stride: int = self.clip.visual.trunk.feature_info[-1]["reduction"]
            self.input_side = config.input_side  # None: the canvas's own
        else:
            self.stride = vision["patch_size"]
            self.input_side = config.input_side or nearest_multiple(image_size, self.stride)
            self.clip = open_clip.CLIP(
                **architecture | {"vision_cfg": vision | {"image_size": self.input_side}}
            )
        if self.input_side is not None and self.input_side % self.stride:
            raise ConfigError(
                f"clip.input_side must be a multiple of the {self.stride} pixels of a cell, got"
                f" {self.input_side}; take {nearest_multiple(self.input_side, self.stride)}"
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

    @property
    def dense_parts(self) -> list[nn.Module]:
        """What `dense_features` and `stages` run through, without the head."""
        visual = self.clip.visual
        is_timm = self.config.timm_model_name is not None
        return [visual.trunk.stem, visual.trunk.stages] if is_timm else [visual]

    def dense_features(self, batch: ImageBatch) -> Float[Tensor, "B C h w"]:
        """The last layer's map, before pooling and projection: F_clip.

        The whole canvas is resized if the tower needs another side, so the map's cells divide the
        canvas evenly, its padding included; masks exclude the padding from the pooling.
        """
        pixels = normalise(batch, self.pixel_mean, self.pixel_std)
        canvas = pixels.shape[-1]
        side = self.input_side or nearest_multiple(canvas, self.stride)
        if side != canvas:
            pixels = functional.interpolate(pixels, size=side, mode="bilinear", antialias=True)
        visual = self.clip.visual
        if self.config.timm_model_name:
            features: Tensor = visual.trunk.forward_features(pixels)
        else:
            (features,) = visual.forward_intermediates(
                pixels, indices=1, normalize_intermediates=True, intermediates_only=True
            )["image_intermediates"]
        return features

    def stages(self, batch: ImageBatch) -> list[Float[Tensor, "B _ _ _"]]:
        """The map after each stage of a ConvNeXt, finest first; the last one is F_clip.

        The canvas is taken as it is, square or not.
        """
        pixels = normalise(batch, self.pixel_mean, self.pixel_std)
        maps: list[Tensor] = self.clip.visual.trunk.forward_intermediates(
            pixels, norm=True, intermediates_only=True
        )
        return maps

    def project(self, pooled: Float[Tensor, "*B C"]) -> Float[Tensor, "*B D"]:
        """Apply the rest of CLIP's own head to pooled dense features; not normalised."""
        visual = self.clip.visual
        if not self.config.timm_model_name:
            tokens: Tensor = pooled @ visual.proj
            return tokens
        as_maps = pooled.flatten(0, -2)[..., None, None]  # (N, C, 1, 1)
        projected: Tensor = visual.head(visual.trunk.forward_head(as_maps))
        return projected.reshape(*pooled.shape[:-1], projected.shape[-1])

    def encode_prompts(self, prompts: Sequence[str]) -> Float[Tensor, "N D"]:
        """L2-normalised embeddings of whole sentences, encoded in chunks."""
        tokens = self.tokenizer(list(prompts)).to(self.pixel_mean.device)
        return torch.cat([self._encode(chunk) for chunk in tokens.split(TEXT_CHUNK)])

    def _encode(self, tokens: Int64[Tensor, "N L"]) -> Float[Tensor, "N D"]:
        """Without the padding that all sentences share: no token attends to those after it."""
        length = int(tokens.argmax(dim=-1).max()) + 1  # the end of text has the highest id
        clip = self.clip
        shortened = {
            "positional_embedding": clip.positional_embedding[:length],
            "attn_mask": clip.attn_mask[:length, :length],
        }
        _, embeddings, *_ = functional_call(
            clip, shortened, kwargs={"image": None, "text": tokens[:, :length]}
        )
        result: Tensor = embeddings
        return result

    @torch.no_grad()
    def embed_vocabulary(
        self, vocabulary: Vocabulary, *, cache_folder: Path | None = None
    ) -> TextEmbeddings:
        """Embed every name: mean over the prompt templates, normalised again (docs/method.md 5.2).

        Embeddings of more than 256 prompts by a named model are cached on disk, see `text_cache`,
        in `cache_folder` or else the user's cache. Small towers encode faster than they are hashed.
        """
        names = [(i, n) for i, c in enumerate(vocabulary.classes) for n in c.all_names]
        device = self.pixel_mean.device

        def embed() -> Tensor:
            with torch.autocast(device.type, enabled=False):  # embeddings need float32
                return self._embed_names([name for _, name in names])

        if self.config.model is None or len(names) * len(PROMPT_TEMPLATES) <= MIN_CACHED_PROMPTS:
            embeddings = embed()
        else:
            folder = cache_folder or default_text_cache()
            embeddings = read_or_embed(folder, self._text_key(names), embed).to(device)
        class_of_name = torch.tensor([i for i, _ in names], device=device)
        return TextEmbeddings(embeddings, class_of_name, len(vocabulary))

    def _embed_names(self, names: Sequence[str]) -> Float[Tensor, "N D"]:
        if self.config.model is not None:  # small towers take no time, and keep their bits
            return self._embed_by_template(names)
        prompts = [template.format(name) for name in names for template in PROMPT_TEMPLATES]
        by_template = self.encode_prompts(prompts)  # (N * T, D)
        by_template = by_template.reshape(len(names), len(PROMPT_TEMPLATES), -1)
        return functional.normalize(by_template.mean(dim=1), dim=-1)

    def _embed_by_template(self, names: Sequence[str]) -> Float[Tensor, "N D"]:
        total = torch.zeros(len(names), self.config.embed_dim, device=self.pixel_mean.device)
        num_templates = len(PROMPT_TEMPLATES)
        for number, template in enumerate(PROMPT_TEMPLATES, start=1):
            tokens = self.tokenizer([template.format(name) for name in names]).to(total.device)
            total += encode_alike_sentences(self.clip, tokens)
            logger.info(
                "%d names embedded in %d of %d prompts each", len(names), number, num_templates
            )
        return functional.normalize(total, dim=-1)

    def _text_key(self, names: Sequence[tuple[int, str]]) -> str:
        architecture = clip_architecture(self.config)
        del architecture["vision_cfg"]
        # Encoded in another way, the last bits differ.
        architecture["encoded"] = "beginnings once, by length"
        tensors = {k: v for k, v in self.clip.state_dict().items() if not k.startswith("visual.")}
        return text_key(names, PROMPT_TEMPLATES, architecture=architecture, tensors=tensors)


def load_clip_weights(
    encoder: ClipEncoder, source: Path | str, *, allow_download: bool = False
) -> None:
    """Load both towers and freeze them.

    A ViT's position embeddings are resized to the encoder's grid.

    Args:
        encoder: with the architecture of the weights.
        source: a local file (`.safetensors`, `.bin`, `.pt`), or a pretrained tag of `open_clip`.
        allow_download: lets `open_clip` download the weights of a tag; nothing else downloads.

    Raises:
        CheckpointError: there are no such weights, they cannot be read safely, or they do not fit
            the towers. If a file does not record which activation it was trained with, the
            model's name decides (see `ClipConfig`).
    """
    config = encoder.config
    quick_gelu = bool(clip_architecture(config).get("quick_gelu", False))
    path = Path(source)
    if not path.is_file():
        if config.model is None:
            raise CheckpointError(f"expected a file of CLIP weights, got {str(source)!r}; name one")
        path = fetch_tag(
            config.model, str(source), quick_gelu=quick_gelu, allow_download=allow_download
        )
    tensors = fit_to_towers(
        read_tensors(path, what="CLIP"),
        encoder.clip,
        path=path,
        model=config.model,
        quick_gelu=quick_gelu,
    )
    encoder.clip.load_state_dict(tensors)
    encoder.requires_grad_(False).eval()


def nearest_multiple(length: int, unit: int) -> int:
    """The positive multiple of `unit` nearest to `length`."""
    return max(1, round(length / unit)) * unit
