"""The frozen SAM image encoder: spatial features without classes.

Axes: B images, S side of the canvas, C channels, h w feature grid.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from possam_core.encoders.mobile_sam import UNUSED_KEY, MobileSamEncoder, official_key
from possam_core.encoders.sam_vit import SamVit
from possam_core.encoders.tensor_file import read_tensors
from possam_core.errors import CheckpointError, ConfigError, PossamError
from possam_core.images.batch import ImageBatch, normalise
from possam_core.settings import Setting, require_valid

SAM_PIXEL_MEAN = (123.675, 116.28, 103.53)  # grey levels 0-255, RGB
SAM_PIXEL_STD = (58.395, 57.12, 57.375)
CHECKPOINT_PREFIX = "image_encoder."  # of the encoder's tensors in a whole SAM
KEYS_SHOWN = 3  # mismatched keys in a message

_MOBILE_SAM_SHAPE: dict[str, object] = {
    "patch_size": 16,
    "embed_dim": 320,
    "depth": 12,
    "num_heads": 10,
    "out_channels": 256,
    "use_rel_pos": False,
    "window_size": 0,
    "global_attn_indexes": (),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SamConfig:
    """Shape of SAM's encoder, in the words of `segment_anything`.

    MobileSAM's TinyViT has one shape: of its config only `image_size` may change.
    """

    image_size: Annotated[
        int, Setting("largest side of the square canvas, in pixels", ge=1, example=1024)
    ] = 192
    patch_size: Annotated[int, Setting("side of a patch, in pixels", ge=1)] = 12
    embed_dim: Annotated[int, Setting("width of the blocks", ge=1)] = 160
    depth: Annotated[int, Setting("number of blocks", ge=1)] = 5
    num_heads: Annotated[int, Setting("attention heads of a block", ge=1)] = 5
    out_channels: Annotated[int, Setting("channels of the neck's map", ge=4)] = 128
    use_rel_pos: Annotated[bool, Setting("add relative positions to the attention")] = False
    architecture: Annotated[
        Literal["vit", "mobile_sam"], Setting("which family the encoder is of")
    ] = "vit"
    window_size: Annotated[
        int, Setting("tokens a side; 0: every block attends to the whole image", ge=0)
    ] = 0
    global_attn_indexes: Annotated[tuple[int, ...], Setting("blocks without windows", ge=0)] = ()

    def __post_init__(self) -> None:
        require_valid(self, prefix="sam.")
        if self.image_size % self.patch_size:
            raise ConfigError(
                f"sam.image_size must be a multiple of sam.patch_size {self.patch_size}, got"
                f" {self.image_size}"
            )
        if self.architecture == "vit":
            self._check_vit()
        else:
            self._check_mobile_sam()

    def _check_vit(self) -> None:
        if self.embed_dim % self.num_heads:
            raise ConfigError(
                f"sam.embed_dim must be a multiple of sam.num_heads {self.num_heads}, got"
                f" {self.embed_dim}"
            )
        if any(index >= self.depth for index in self.global_attn_indexes):
            raise ConfigError(
                f"sam.global_attn_indexes must lie in 0 to {self.depth - 1}, got"
                f" {self.global_attn_indexes}"
            )

    def _check_mobile_sam(self) -> None:
        for name, value in _MOBILE_SAM_SHAPE.items():
            if getattr(self, name) != value:
                raise ConfigError(
                    f"sam.{name} must be {value} for mobile_sam, got {getattr(self, name)};"
                    " start from SAM_CONFIGS['mobile_sam']"
                )


def _vit_config(
    *, embed_dim: int, depth: int, num_heads: int, global_attn_indexes: tuple[int, ...]
) -> SamConfig:
    return SamConfig(
        image_size=1024,
        patch_size=16,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        out_channels=256,
        use_rel_pos=True,
        window_size=14,
        global_attn_indexes=global_attn_indexes,
    )


SAM_CONFIGS = {
    "vit_b": _vit_config(embed_dim=768, depth=12, num_heads=12, global_attn_indexes=(2, 5, 8, 11)),
    "vit_l": _vit_config(
        embed_dim=1024, depth=24, num_heads=16, global_attn_indexes=(5, 11, 17, 23)
    ),
    "vit_h": _vit_config(
        embed_dim=1280, depth=32, num_heads=16, global_attn_indexes=(7, 15, 23, 31)
    ),
    "mobile_sam": SamConfig(
        architecture="mobile_sam",
        image_size=1024,
        patch_size=16,
        embed_dim=320,
        depth=12,
        num_heads=10,
        out_channels=256,
    ),
}


class SamEncoder(nn.Module):
    """SAM's image encoder: a padded uint8 batch in, the neck's map out."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder: nn.Module = (
            MobileSamEncoder()
            if config.architecture == "mobile_sam"
            else SamVit(
                img_size=config.image_size,
                patch_size=config.patch_size,
                embed_dim=config.embed_dim,
                depth=config.depth,
                num_heads=config.num_heads,
                out_chans=config.out_channels,
                use_rel_pos=config.use_rel_pos,
                window_size=config.window_size,
                global_attn_indexes=config.global_attn_indexes,
            )
        )
        self.register_buffer("pixel_mean", torch.tensor(SAM_PIXEL_MEAN), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(SAM_PIXEL_STD), persistent=False)

    def forward(self, batch: ImageBatch) -> Float[Tensor, "B C h w"]:
        """Features of the neck, at the stride of one patch.

        Raises:
            PossamError: the canvas is larger than the encoder's, or no whole number of patches.
        """
        side = batch.pixels.shape[-1]
        if side > self.config.image_size or side % self.config.patch_size:
            raise PossamError(
                f"expected a canvas of at most {self.config.image_size} pixels in multiples of"
                f" {self.config.patch_size}, got {side}; make the batch with such a canvas"
            )
        features: Tensor = self.encoder(normalise(batch, self.pixel_mean, self.pixel_std))
        return features


def load_sam_weights(encoder: SamEncoder, path: Path) -> None:
    """Load `encoder` from a whole SAM with its official names, `.safetensors` or `.pth`.

    Raises:
        CheckpointError: the file cannot be read, or its tensors are not the encoder's.
    """
    # Our names by official name; they differ only for MobileSAM.
    is_mobile = isinstance(encoder.encoder, MobileSamEncoder)
    names = {official_key(k) if is_mobile else k: k for k in encoder.encoder.state_dict()}
    found = {
        key.removeprefix(CHECKPOINT_PREFIX): tensor
        for key, tensor in read_tensors(path, what="SAM").items()
        if key.startswith(CHECKPOINT_PREFIX)
    }
    if is_mobile:
        found = {key: tensor for key, tensor in found.items() if not UNUSED_KEY.match(key)}
    own = encoder.encoder.state_dict()
    for problem, keys in (
        ("lacks", names.keys() - found.keys()),
        ("has in addition", found.keys() - names.keys()),
        (
            "has in other shapes",
            {k for k in found.keys() & names.keys() if found[k].shape != own[names[k]].shape},
        ),
    ):
        if keys:
            raise CheckpointError(
                f"expected {path} to hold exactly the image encoder of this architecture"
                f" ({encoder.config.architecture}), but it {problem} {_first(keys)};"
                " choose the entry of SAM_CONFIGS that the checkpoint was trained with"
            )
    encoder.encoder.load_state_dict({names[key]: tensor for key, tensor in found.items()})


def _first(keys: set[str]) -> str:
    shown = ", ".join(sorted(CHECKPOINT_PREFIX + key for key in keys)[:KEYS_SHOWN])
    return shown if len(keys) <= KEYS_SHOWN else f"{shown} and {len(keys) - KEYS_SHOWN} more"
