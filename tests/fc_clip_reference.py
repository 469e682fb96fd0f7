"""The weights and images behind FC-CLIP's reference numbers, and the networks that they are of.

Everything is exact, so the references need no file of weights: draws are multiples of 2^-23, gains
are float64 square roots and small constants, images are integers. `small.npz` beside the tests
holds what FC-CLIP's own code gave for the small network.
"""

import hashlib
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray

from possam_core.decoder.mask_decoder import MaskDecoderConfig
from possam_core.decoder.pixel_decoder import PixelDecoderConfig
from possam_core.encoders.clip import ClipConfig
from possam_core.teachers.fc_clip.network import FcClip, FcClipConfig
from possam_core.teachers.fc_clip.weights import load_fc_clip_tensors, their_shapes
from possam_core.vocabulary.vocabulary import Vocabulary

SMALL_REFERENCES = Path(__file__).parent / "possam_core/teachers/fc_clip/small.npz"

# Gains that make random weights lively: masks of many sizes, classes that differ, some void.
GAINS = (
    (r"clip_model\.transformer\..*\.attn\..*weight$", 4.0),
    (r"predictor\.transformer_.*in_proj_weight$", 2.0),
    (r"predictor\.query_feat\.weight$", 2.0),
    (r"predictor\.class_embed\.layers\.0\.weight$", 2.0),
    (r"predictor\._mask_pooling_proj\.1\.weight$", 0.5),
    (r"predictor\.mask_embed\.layers\.2\.weight$", 5.0),
)
MIXING = re.compile(r"predictor\.transformer_.*(out_proj|linear2)\.weight$")
SCALARS = {
    "sem_seg_head.predictor.logit_scale": 2.65926,  # ln(1 / 0.07)
    "backbone.clip_model.logit_scale": 4.75,  # exp is 115.6: above the clamp at 100
}
MASK_BIAS = "sem_seg_head.pixel_decoder.mask_features.bias"
MASK_EMBED_BIAS = "sem_seg_head.predictor.mask_embed.layers.2.bias"
CLASS_EMBED_BIAS = "sem_seg_head.predictor.class_embed.layers.2.bias"
VOID = "void_embedding.weight"
EMBEDDINGS = (
    "token_embedding.weight",
    "positional_embedding",
    "query_feat.weight",
    "query_embed.weight",
    "level_embed",
    "level_embed.weight",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Of one set of references: its seed and what its weights are tuned by."""

    seed: int
    mask_offset: tuple[float, float] = (4.0, -2.5)
    class_bias: float = 0.15
    void_spread: float = 0.5
    mixing: float = 0.5

    def tensor(self, name: str, shape: tuple[int, ...]) -> ndarray:
        """The float32 tensor of that official name."""
        if name in SCALARS:
            return np.array(SCALARS[name], np.float32)
        count = math.prod(shape)
        if name == "criterion.empty_weight":
            return np.where(np.arange(count) == count - 1, 0.1, 1.0).astype(np.float32)
        draws = uniform(name, count, self.seed).reshape(shape)
        value = self._scaled(name, shape, draws)
        for pattern, gain in GAINS:
            if re.search(pattern, name):
                value = gain * value
        if MIXING.search(name):
            value = self.mixing * value
        if name in (MASK_BIAS, MASK_EMBED_BIAS):
            value[0] = self.mask_offset[name == MASK_EMBED_BIAS]
        return value.astype(np.float32)

    def _scaled(self, name: str, shape: tuple[int, ...], draws: ndarray) -> ndarray:
        last = name.rsplit(".", 1)[-1]
        if name == VOID:
            base = uniform(CLASS_EMBED_BIAS, draws.size, self.seed).reshape(shape)
            return base + self.void_spread * draws
        if name == CLASS_EMBED_BIAS:
            return self.class_bias * draws
        if name.endswith(EMBEDDINGS):
            return draws
        if last == "gamma":  # ConvNeXt's layer scale
            return 0.3 + 0.1 * draws
        if len(shape) == 1 and last == "weight":  # of a norm
            return 1.0 + 0.2 * draws
        if name.endswith("sampling_offsets.bias"):  # in cells
            return 3.0 * draws
        if last.endswith("bias"):
            return 0.1 * draws
        # Linear layers and convolutions; text_projection is multiplied from the right.
        fan_in = shape[0] if last == "text_projection" else draws.size // shape[0]
        return math.sqrt(3.0 / fan_in) * draws


def uniform(name: str, count: int, seed: int) -> ndarray:
    """`count` multiples of 2^-23 in [-1, 1), of a generator keyed by seed and name."""
    key = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:16], "little")
    raw = np.random.Philox(key=key).random_raw(count)
    return (raw >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0


def picture(height: int, width: int, seed: int) -> ndarray:
    """uint8 (H, W, 3), RGB: triangle waves and tiles, in integers alone."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    channels = []
    for c in range(3):
        n = (3 + c + seed % 3) * x + (5 - c + seed % 2) * y + (x * y) // (40 + 10 * c + 5 * seed)
        wave = np.abs(n % 510 - 255)
        tiles = 60 * ((x // (17 + 3 * c) + y // (13 + 2 * seed)) % 2)
        channels.append(np.minimum(255, wave * 3 // 4 + tiles))
    return np.stack(channels, axis=-1).astype(np.uint8)


def vocabulary_of(things: str, stuff: str) -> Vocabulary:
    """Classes written as `name,synonym,...; name,...`."""
    records: list[dict[str, object]] = []
    for kind, classes in (("thing", things), ("stuff", stuff)):
        for names in classes.split("; "):
            name, *synonyms = names.split(",")
            records.append({"name": name, "kind": kind, "synonyms": synonyms})
    return Vocabulary.from_records("reference", records)


LIVELY = Weights(seed=2, mask_offset=(4.0, -6.0), class_bias=0.0, void_spread=3.0, mixing=0.08)
WORDS = vocabulary_of(
    "person,child,man; dog,puppy; red car,automobile; traffic light; bench,park bench; cup",
    "grass,lawn,turf; sky,clouds; road,street; wall,brick wall; water; building,edifice",
)
FEW_WORDS = vocabulary_of("person,child; dog", "grass,lawn; sky; road")
SMALL_CONFIG = FcClipConfig(
    clip=ClipConfig(
        embed_dim=64,
        timm_model_name="test_convnext",
        projection="mlp",
        context_length=77,
        text_width=64,
        text_heads=4,
        text_layers=2,
    ),
    pixel_decoder=PixelDecoderConfig(kind="deformable", num_layers=2),
    decoder=MaskDecoderConfig(num_queries=40, num_layers=3, width=64, num_heads=8, ffn_width=128),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSet:
    """A network by formula, and the pictures that FC-CLIP's code was shown."""

    weights: Weights
    config: FcClipConfig = field(default_factory=FcClipConfig)
    vocabulary: Vocabulary = WORDS
    pictures: tuple[tuple[int, int, int], ...]  # height, width, seed
    short_side: int = 800
    long_side: int = 1333

    def tensors(self, network: FcClip) -> dict[str, torch.Tensor]:
        """Every tensor of the network under its official name."""
        shapes = their_shapes(network, with_clip=True)
        return {k: torch.from_numpy(self.weights.tensor(k, tuple(s))) for k, s in shapes.items()}

    def network(self) -> FcClip:
        """The network, with its weights."""
        network = FcClip(self.config)
        load_fc_clip_tensors(network, self.tensors(network), source="the formula")
        return network.eval().requires_grad_(False)


SMALL = ReferenceSet(
    weights=Weights(seed=1, mask_offset=(4.0, -3.5), class_bias=0.25),
    config=SMALL_CONFIG,
    pictures=((70, 96, 0), (120, 50, 1)),
    short_side=96,
    long_side=160,
)
FULL = ReferenceSet(weights=LIVELY, pictures=((480, 640, 2),))
FULL_256 = ReferenceSet(
    weights=LIVELY,
    vocabulary=FEW_WORDS,
    pictures=((150, 200, 2),),
    short_side=256,
    long_side=427,
)
