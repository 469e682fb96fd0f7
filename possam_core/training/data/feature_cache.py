"""Features of each view of a data set by the frozen encoders, computed once and memory-mapped.

Only for fixed views: with jitter no view occurs twice. Features are stored at half precision and
used so from the first time: a step is the same whether it reads or computes them.

Axes: B images, C channels, h w feature grid.
"""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from possam_core.model import EncoderFeatures, PosSAM
from possam_core.training.data.scenes import SceneBatch

VIEWS = 2  # of an image: as it is, and flipped
PARTS = ("sam", "clip")


class FeatureCache:
    """Features of one data set by one pair of encoders, in sparse files under a folder.

    Workers of one machine may share the folder: each row is written by the first that needs it.
    """

    def __init__(self, folder: Path, *, key: str, num_images: int) -> None:
        """Open or begin the cache.

        Args:
            folder: of caches; this one is a folder in it, named by `key`.
            key: of everything that determines features, see `cache_key`.
            num_images: of the data set.
        """
        self.folder = folder / hashlib.sha256(key.encode()).hexdigest()[:16]
        self._num_rows = VIEWS * num_images
        self._maps: dict[str, np.memmap] = {}
        self._is_done: np.memmap | None = None

    @torch.no_grad()
    def features(self, model: PosSAM, batch: SceneBatch) -> EncoderFeatures:
        """Features of a batch, whose `sources` say which views it holds."""
        rows = [VIEWS * s.index + s.is_flipped for s in batch.sources]
        if self._is_done is None:
            self._open(model, batch)
        assert self._is_done is not None
        missing = [i for i, row in enumerate(rows) if not self._is_done[row]]
        if missing:
            self._store(model.encode(batch.select(missing).images), [rows[i] for i in missing])
        device = batch.images.pixels.device
        sam, clip = (torch.from_numpy(self._maps[part][rows]).to(device).float() for part in PARTS)
        return EncoderFeatures(sam, clip)

    def _open(self, model: PosSAM, batch: SceneBatch) -> None:
        """Map the files; their shapes are those of the first image's features."""
        about = self.folder / "shapes.json"
        if not about.exists():
            features = model.encode(batch.select([0]).images)
            shapes = {part: list(getattr(features, part).shape[1:]) for part in PARTS}
            self.folder.mkdir(parents=True, exist_ok=True)
            for part, shape in shapes.items():
                _reserve(self.folder / f"{part}.f16", 2 * self._num_rows * int(np.prod(shape)))
            _reserve(self.folder / "done.u8", self._num_rows)
            partial = about.with_suffix(f".{os.getpid()}.partial")
            partial.write_text(json.dumps(shapes))
            partial.replace(about)  # last: the files now exist in full size
        for part, shape in json.loads(about.read_text()).items():
            self._maps[part] = np.memmap(
                self.folder / f"{part}.f16", np.float16, "r+", shape=(self._num_rows, *shape)
            )
        self._is_done = np.memmap(self.folder / "done.u8", np.uint8, "r+", shape=self._num_rows)

    def _store(self, features: EncoderFeatures, rows: list[int]) -> None:
        assert self._is_done is not None
        for part in PARTS:
            self._maps[part][rows] = _half(getattr(features, part))
        self._is_done[rows] = 1  # last: rows marked as done are complete


def cache_key(model: PosSAM, data: str, *, canvas: int, precision: str) -> str:
    """Everything that determines features: the encoders' weights and shape, data, precision."""
    digest = hashlib.sha256()
    for encoder in (model.sam, model.clip.clip.visual):
        for name, tensor in sorted(encoder.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    config = [str(model.config.sam), str(model.config.clip)]
    return json.dumps([data, canvas, precision, digest.hexdigest(), config])


def _half(features: Tensor) -> np.ndarray:
    half: np.ndarray = features.detach().half().cpu().numpy()
    return half


def _reserve(file: Path, num_bytes: int) -> None:
    """Create a sparse file of zeros of that size."""
    with file.open("ab") as stream:
        stream.truncate(num_bytes)
