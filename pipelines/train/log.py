"""The TensorBoard log of a training: its figures, and examples beside the ground truth.

Axes: H W pixels of an image.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from pipelines.report.overlay import DrawnSegment, draw_overlay
from pipelines.storage.addresses import is_s3
from pipelines.train.folder import LOGS
from possam_core.evaluation.panoptic_quality import PanopticAnnotation
from possam_core.training.data.labelled import GroundTruthImage
from possam_core.training.files import Folder
from possam_core.training.validation import ValidatedImage
from possam_core.vocabulary.vocabulary import Vocabulary

SIDE_PX = 384  # the longest side of an example


class TensorBoardLog:
    """Event files under `logs` in the output folder; a bucket gets copies of local files."""

    def __init__(self, location: str, folder: Folder, vocabulary: Vocabulary) -> None:
        """Prepare a log; its event file is created with the first entry.

        Args:
            location: the output folder.
            folder: the same folder, to copy files to.
            vocabulary: of the examples.
        """
        self._vocabulary = vocabulary
        self._copies = folder if is_s3(location) else None
        self._scratch = tempfile.TemporaryDirectory() if self._copies else None
        self._logs = Path(self._scratch.name if self._scratch else location) / LOGS
        self._writer: SummaryWriter | None = None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Figures after `step` steps."""
        writer = self._writer_from(step)
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    def examples(self, step: int, examples: Sequence[object]) -> None:
        """Add image, truth and prediction side by side, and flush."""
        for number, example in enumerate(examples):
            if isinstance(example, ValidatedImage):
                strip = draw_example(example, self._vocabulary)
                writer = self._writer_from(step)
                writer.add_image(f"held-out/{number}", strip, step, dataformats="HWC")
        self.flush()

    def flush(self) -> None:
        """Write events in memory to disk, and copy the files to a bucket."""
        if self._writer is None:
            return
        self._writer.flush()
        if self._copies:
            for file in sorted(self._logs.iterdir()):
                self._copies.write(f"{LOGS}/{file.name}", file.read_bytes())

    def close(self) -> None:
        """Flush, and close the event file."""
        self.flush()
        if self._writer:
            self._writer.close()
        if self._scratch:
            self._scratch.cleanup()

    def _writer_from(self, step: int) -> SummaryWriter:
        """The event file; it hides events of later steps that a killed training had written."""
        if self._writer is None:
            self._writer = SummaryWriter(str(self._logs), purge_step=step)
        return self._writer


def draw_example(example: ValidatedImage, vocabulary: Vocabulary) -> UInt8[ndarray, "H W 3"]:
    """The image, the truth over it, and the prediction over it, from left to right."""
    image = example.image
    truth = image.annotation(vocabulary)
    predicted = PanopticAnnotation(
        ids=example.prediction.ids,
        category_ids={s.id: s.category_id for s in example.prediction.segments},
    )
    panels = [_reduced(image)]
    panels += [_overlaid(image, annotation, vocabulary) for annotation in (truth, predicted)]
    return np.concatenate(panels, axis=1)


def _reduced(image: GroundTruthImage) -> ndarray:
    height, width = image.pixels.shape[:2]
    scale = min(1.0, SIDE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image.pixels).resize(size))


def _overlaid(
    image: GroundTruthImage, annotation: PanopticAnnotation, vocabulary: Vocabulary
) -> ndarray:
    classes = {c.category_id: c for c in vocabulary.classes}
    segments: list[DrawnSegment] = [
        {
            "id": segment_id,
            "category_id": category_id,
            "category_name": classes[category_id].name,
            "isthing": classes[category_id].is_thing,
        }
        for segment_id, category_id in annotation.category_ids.items()
    ]
    base = Image.fromarray(_reduced(image)).convert("RGBA")
    overlay = draw_overlay(segments, annotation.ids, max_side_px=max(base.size))
    layer = Image.fromarray(overlay.rgba).resize(base.size, Image.Resampling.NEAREST)
    mixed = Image.alpha_composite(base, layer)
    return np.asarray(mixed.convert("RGB"))
