"""Valid objects that a test bends in the one place it is about."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pipelines.corpus.image import InputImage, make_image_id
from pipelines.corpus.source import read_source
from possam_core.labels.calibration_set import CalibrationSet, Spread
from possam_core.labels.merge_config import MergeConfig
from possam_core.labels.segmentation import PanopticSegmentation, Segment
from possam_core.playground import PLAYGROUND

if TYPE_CHECKING:
    from possam_core.model import PosSAM

SEGMENT = Segment(
    id=1,
    class_index=0,
    category_id=1,
    category_name="ball",
    is_thing=True,
    area_px=4,
    bbox_xywh=(0, 0, 2, 2),
    score=0.9,
    predicted_iou=0.9,
    margin=0.5,
    stability_score=0.9,
    entropy=0.1,
    clip_agrees=True,
    is_seen=True,
)


# Of a model that any images and the playground's classes suit.
CALIBRATED = CalibrationSet(
    vocabulary="playground",
    vocabulary_sha256=PLAYGROUND.vocabulary.fingerprint,
    num_images=100,
    measures={"mean_score": Spread(mean=0.5, deviation=1.0)},
)


def make_segment(**changes: object) -> Segment:
    """A confident thing of four pixels."""
    return replace(SEGMENT, **changes)


def make_panoptic(
    ids: Sequence[Sequence[int]] = ((1, 1), (1, 1)), segments: Sequence[Segment] = (SEGMENT,)
) -> PanopticSegmentation:
    """A 2 x 2 image that one thing fills."""
    return PanopticSegmentation(ids=np.array(ids, np.int32), segments=tuple(segments))


def make_pixels(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """Smooth colours, so that JPEG changes little and a model finds regions."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height)))


def encode(image: Image.Image | np.ndarray, format: str = "JPEG", **options: object) -> bytes:
    """The bytes of an image file."""
    stream = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(stream, format, **options)
    return stream.getvalue()


def list_images(corpus: str) -> list[InputImage]:
    """The images of a corpus as a plan would name them."""
    names = ("uri", "size", "etag", "container", "offset")
    return [
        InputImage(
            image_id=make_image_id(row["relative_uri"], row["etag"]),
            **{name: row[name] for name in names},
        )
        for batch in read_source(corpus)
        for row in batch.to_pylist()
    ]


def write_checkpoint(path: Path, seed: int = 0) -> Path:
    """A checkpoint of `small_model`."""
    from possam_core.checkpoints.weights import save_model  # as below

    save_model(path, small_model(seed))
    return path


def write_head(folder: Path, seed: int = 0) -> Path:
    """A head beside the SAM and CLIP files it needs, in their publishers' formats."""
    import torch  # as below

    from possam_core.checkpoints.weights import save_head

    model = small_model(seed)
    sam = {f"image_encoder.{k}": v for k, v in model.sam.encoder.state_dict().items()}
    torch.save(sam, folder / "sam.pth")
    torch.save(model.clip.clip.state_dict(), folder / "clip.bin")
    save_head(folder / "head.safetensors", model, sam=folder / "sam.pth", clip=folder / "clip.bin")
    return folder / "head.safetensors"


def small_model(seed: int = 0) -> "PosSAM":
    """A real model of a few thousand weights, untrained, that calls almost anything a segment."""
    # Seconds of imports, which most tests do without.
    import torch

    from possam_core.decoder.mask_decoder import MaskDecoderConfig
    from possam_core.encoders.clip import ClipConfig
    from possam_core.encoders.sam import SamConfig
    from possam_core.model import InferenceConfig, ModelCard, PosSAM, PosSAMConfig

    torch.manual_seed(seed)
    config = PosSAMConfig(
        sam=SamConfig(image_size=48, embed_dim=16, depth=1, num_heads=2, out_channels=16),
        clip=ClipConfig(embed_dim=16, text_width=16, text_heads=2, text_layers=1),
        pyramid_channels=16,
        decoder=MaskDecoderConfig(num_queries=8, num_layers=3, width=16, num_heads=2, ffn_width=32),
    )
    card = ModelCard(
        vocabulary=PLAYGROUND.vocabulary,
        training_names=("ball",),
        inference=InferenceConfig(merge=MergeConfig(object_threshold=0.0, overlap_threshold=0.0)),
    )
    return PosSAM(config, card)
