"""PosSAM: SAM's spatial features and CLIP's semantics in one network.

Axes: B images, Q mask queries, C channels, h w feature grid, D joint width, K classes.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from possam_core.decoder.cast_weights import CastWeights
from possam_core.decoder.mask_decoder import (
    FULL_SIZE_MASK_DECODER,
    MaskDecoder,
    MaskDecoderConfig,
    MaskPrediction,
)
from possam_core.decoder.pixel_decoder import (
    FPN_NORM_GROUPS,
    FULL_SIZE_PIXEL_DECODER,
    PixelDecoderConfig,
    make_pixel_decoder,
)
from possam_core.decoder.pyramid import PYRAMID_SCALES, SimpleFeaturePyramid
from possam_core.encoders.clip import ClipConfig, ClipEncoder
from possam_core.encoders.sam import SAM_CONFIGS, SamConfig, SamEncoder
from possam_core.errors import ConfigError, VocabularyError
from possam_core.images.batch import ImageBatch
from possam_core.labels.calibration import CalibrationConfig
from possam_core.labels.merge_config import MergeConfig
from possam_core.ldp import (
    LocalDiscriminativePooling,
    claimed_cells,
    mask_coverage,
    mask_pool,
)
from possam_core.mase import MaseConfig
from possam_core.settings import Setting, require_valid
from possam_core.vocabulary.text_embeddings import TextEmbeddings
from possam_core.vocabulary.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class PosSAMConfig:
    """The architecture; what a checkpoint must agree with."""

    sam: Annotated[SamConfig, Setting("SAM's encoder")] = field(default_factory=SamConfig)
    clip: Annotated[ClipConfig, Setting("CLIP's two towers")] = field(default_factory=ClipConfig)
    pyramid_channels: Annotated[
        int, Setting("channels of every pyramid level; a multiple of 8", ge=1)
    ] = 64
    pixel_decoder: Annotated[PixelDecoderConfig, Setting("fuses the pyramid's levels")] = field(
        default_factory=PixelDecoderConfig
    )
    decoder: Annotated[MaskDecoderConfig, Setting("turns queries into masks")] = field(
        default_factory=MaskDecoderConfig
    )

    def __post_init__(self) -> None:
        wrong = ""
        if self.pyramid_channels % FPN_NORM_GROUPS:
            wrong = (
                f"pyramid_channels must be a multiple of {FPN_NORM_GROUPS}, got"
                f" {self.pyramid_channels}"
            )
        require_valid(self, wrong)


def full_size(sam: str, clip: str = "convnext_large_d_320") -> PosSAMConfig:
    """The architecture on public encoders (docs/method.md 2).

    Args:
        sam: a key of `SAM_CONFIGS`.
        clip: a model of `open_clip`.

    Raises:
        ConfigError: there is no such encoder.
    """
    if sam not in SAM_CONFIGS:
        raise ConfigError(f"expected one of {', '.join(SAM_CONFIGS)} for SAM, got {sam!r}")
    return PosSAMConfig(
        sam=SAM_CONFIGS[sam],
        clip=ClipConfig(model=clip),
        pyramid_channels=256,
        pixel_decoder=FULL_SIZE_PIXEL_DECODER,
        decoder=FULL_SIZE_MASK_DECODER,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceConfig:
    """How masks become classes and segments, and what the figures of segments mean."""

    mase: Annotated[MaseConfig, Setting("how far to trust LDP and how far CLIP")] = field(
        default_factory=MaseConfig
    )
    merge: Annotated[MergeConfig, Setting("which masks become segments")] = field(
        default_factory=MergeConfig
    )
    calibration: Annotated[CalibrationConfig, Setting("what was fitted on held-out images")] = (
        field(default_factory=CalibrationConfig)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """Metadata of a checkpoint besides its architecture."""

    vocabulary: Vocabulary  # used if the caller gives none
    training_names: tuple[str, ...]  # names and synonyms of the classes the classifier trained on
    inference: InferenceConfig = field(default_factory=InferenceConfig)  # as tuned
    metrics: dict[str, Any] = field(default_factory=dict)  # as measured, with seeds and steps


@dataclass(frozen=True, slots=True)
class EncoderFeatures:
    """Outputs of the two encoders for a batch; training never changes them once both are frozen."""

    sam: Float[Tensor, "B _ _ _"]  # the neck's map
    clip: Float[Tensor, "B _ _ _"]  # F_clip


@dataclass(frozen=True, slots=True)
class MaskClassification:
    """Masks of one decoder layer with their classes."""

    prediction: MaskPrediction
    class_logits: Float[Tensor, "B Q K1"]  # LDP, void last
    clip_embeddings: Float[Tensor, "B Q D"]  # c_k, zeros where has_clip is False
    has_clip: Bool[Tensor, "B Q"]  # the mask claims a cell


class PosSAM(nn.Module):
    """The whole network; both encoders are frozen in use.

    Example:
        >>> from possam_core import load_predictor
        >>> model = load_predictor("possam-tiny").model  # a PosSAM
        >>> model.config.sam.image_size
        192
    """

    def __init__(self, config: PosSAMConfig, card: ModelCard) -> None:
        super().__init__()
        self.config = config
        self.card = card
        self.fingerprint = ""  # sha256 of the checkpoint file it was loaded from
        channels = config.pyramid_channels
        self.sam = SamEncoder(config.sam)
        self.clip = ClipEncoder(config.clip, image_size=config.sam.image_size)
        self.pyramid = SimpleFeaturePyramid(config.sam.out_channels, channels)
        self.pixel_decoder = make_pixel_decoder(
            config.pixel_decoder, channels, num_levels=len(PYRAMID_SCALES)
        )
        self.mask_decoder = MaskDecoder(
            config.decoder, in_channels=channels, num_levels=len(PYRAMID_SCALES) - 1
        )
        self.ldp = LocalDiscriminativePooling(
            mask_channels=channels,
            query_width=config.decoder.width,
            joint_width=config.clip.embed_dim,
        )
        self._casts = CastWeights(), CastWeights()  # of the encoders, of the decoders

    def embed(self, vocabulary: Vocabulary, given: TextEmbeddings | None = None) -> TextEmbeddings:
        """The embeddings `given` for the vocabulary, or else those of the model's text tower.

        Raises:
            VocabularyError: `given` has another number of classes.
        """
        if given is None:
            return self.clip.embed_vocabulary(vocabulary)
        if given.num_classes != len(vocabulary):
            raise VocabularyError(
                f"expected text embeddings of the {len(vocabulary)} classes of"
                f" {vocabulary.name!r}, got those of {given.num_classes}; make them for this"
                " vocabulary"
            )
        return given

    def forward(
        self, batch: ImageBatch, text: TextEmbeddings, *, all_layers: bool = False
    ) -> list[MaskClassification]:
        """Masks and classes after the last layer, or after every one for deep supervision."""
        return self.decode(batch, self.encode(batch), text, all_layers=all_layers)

    def encode(self, batch: ImageBatch) -> EncoderFeatures:
        """Features of the images from both encoders."""
        with self._casts[0].lent([self.sam, *self.clip.dense_parts], batch.pixels):
            return EncoderFeatures(self.sam(batch), self.clip.dense_features(batch))

    def decode(
        self,
        batch: ImageBatch,
        features: EncoderFeatures,
        text: TextEmbeddings,
        *,
        all_layers: bool = False,
    ) -> list[MaskClassification]:
        """Masks and classes from the features of `encode`; `batch` only provides the padding."""
        parts = [self.pyramid, self.pixel_decoder, self.mask_decoder]
        with self._casts[1].lent(parts, batch.pixels):
            pyramid = self.pyramid(features.sam)
            valid = self.valid_cells(batch, pyramid[0].shape[-1])
            pixels = self.pixel_decoder(pyramid, valid)
            predictions = self.mask_decoder(pixels, valid, all_layers=all_layers)
        with torch.autocast(batch.pixels.device.type, enabled=False):  # classes need float32
            return [
                self._classify(p, pixels.mask_features.float(), features.clip.float(), valid, text)
                for p in predictions
            ]

    def _classify(
        self,
        prediction: MaskPrediction,
        mask_features: Tensor,
        clip_features: Tensor,
        valid: Tensor,
        text: TextEmbeddings,
    ) -> MaskClassification:
        masks = claimed_cells(prediction.mask_logits, valid)
        clip_embeddings = self.pool_clip(clip_features, masks)
        embeddings = self.ldp(mask_features, masks, prediction.queries.float(), clip_embeddings)
        return MaskClassification(
            prediction,
            self.ldp.class_logits(embeddings, text),
            clip_embeddings,
            masks.flatten(2).any(dim=-1),
        )

    def pool_clip(
        self, clip_features: Float[Tensor, "B C h w"], masks: Float[Tensor, "B Q H W"]
    ) -> Float[Tensor, "B Q D"]:
        """c_k: CLIP's head over its features under each mask; zeros for a mask without cells."""
        coverage = mask_coverage(masks, (clip_features.shape[-2], clip_features.shape[-1]))
        projected = self.clip.project(mask_pool(clip_features, coverage))
        return projected * masks.flatten(2).any(dim=-1, keepdim=True)

    def valid_cells(self, batch: ImageBatch, grid: int) -> Bool[Tensor, "B h w"]:
        """True for cells of a `grid` x `grid` map that the image covers by half or more."""
        shares = functional.adaptive_avg_pool2d(batch.valid[:, None].float(), grid)
        return shares[:, 0] >= 0.5
