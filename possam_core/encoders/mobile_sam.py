"""MobileSAM's image encoder: TinyViT-5M by `timm` at stride 16, followed by SAM's neck.

Axes: B images, H W pixels, C channels, h w feature grid.
"""

import re
from typing import Any

from jaxtyping import Float
from segment_anything.modeling.common import LayerNorm2d
from timm.models.tiny_vit import Attention, TinyVit
from torch import Tensor, nn

STRIDE = 16  # pixels per cell of the feature grid
OUT_CHANNELS = 256
STAGE_CHANNELS = (64, 128, 160, 320)
STAGE_DEPTHS = (2, 2, 6, 2)
STAGE_HEADS = (2, 4, 5, 10)
STAGE_WINDOWS = (7, 7, 14, 7)  # tokens

UNUSED_KEY = re.compile(r"(norm_)?head\.|.*\.attention_bias_idxs$")  # a classifier, a constant
_DOWNSAMPLE = re.compile(r"^stages\.(\d)\.downsample\.")
_OFFICIAL_NAMES = (
    (re.compile(r"^patch_embed\.conv1\."), "patch_embed.seq.0."),
    (re.compile(r"^patch_embed\.conv2\."), "patch_embed.seq.2."),
    (re.compile(r"^stages\."), "layers."),
    (re.compile(r"\.conv\."), ".c."),
)


class MobileSamEncoder(nn.Module):
    """TinyViT whose last stage keeps the grid of the third, then SAM's neck."""

    def __init__(self) -> None:
        super().__init__()
        tiny_vit = TinyVit(
            num_classes=0,
            embed_dims=STAGE_CHANNELS,
            depths=STAGE_DEPTHS,
            num_heads=STAGE_HEADS,
            window_sizes=STAGE_WINDOWS,
            drop_path_rate=0.0,
        )
        last_stage: Any = tiny_vit.stages[-1]
        last_stage.downsample.conv2.conv.stride = (1, 1)
        self.patch_embed = tiny_vit.patch_embed
        self.stages = tiny_vit.stages
        self.neck = nn.Sequential(
            nn.Conv2d(STAGE_CHANNELS[-1], OUT_CHANNELS, 1, bias=False),
            LayerNorm2d(OUT_CHANNELS),
            nn.Conv2d(OUT_CHANNELS, OUT_CHANNELS, 3, padding=1, bias=False),
            LayerNorm2d(OUT_CHANNELS),
        )
        self.register_load_state_dict_post_hook(_forget_cached_biases)  # type: ignore[no-untyped-call]

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """Features of the neck, for sides of any multiple of 16 pixels."""
        features: Tensor = self.neck(self.stages(self.patch_embed(pixels)))
        return features


def official_key(key: str) -> str:
    """The name that MobileSAM's checkpoints give to a tensor of `MobileSamEncoder`."""
    # Official stages end with the downsampling that timm puts at the start of the next stage.
    key = _DOWNSAMPLE.sub(lambda match: f"stages.{int(match[1]) - 1}.downsample.", key)
    for pattern, name in _OFFICIAL_NAMES:
        key = pattern.sub(name, key)
    return key


def _forget_cached_biases(encoder: nn.Module, _: object) -> None:
    """Drop attention biases that timm caches in eval mode: loading weights leaves them stale."""
    for module in encoder.modules():
        if isinstance(module, Attention):
            module.attention_bias_cache.clear()
