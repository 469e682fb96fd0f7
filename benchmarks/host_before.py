"""How the host worked on an image until 2026-11-30, pixel by pixel on maps; for comparison only."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy import ndarray
from torch.nn import functional

from possam_core.images.batch import ImageBatch
from possam_core.labels.kept_masks import KeptMasks
from possam_core.labels.masks import AreaAndBox
from possam_core.labels.segmentation import PanopticSegmentation, Segment
from possam_core.vocabulary.vocabulary import Vocabulary

MAX_CHARS = 8  # of a number in an RLE


def batch_of_images(
    images: list[ndarray], *, canvas: int, resized_hw: tuple[int, int]
) -> ImageBatch:
    """The feeding thread resizes all images."""
    height, width = resized_hw
    pixels = torch.zeros((len(images), 3, canvas, canvas), dtype=torch.uint8)
    valid = torch.zeros((len(images), canvas, canvas), dtype=torch.bool)
    for i, image in enumerate(images):
        chw = torch.from_numpy(image).permute(2, 0, 1)[None]
        pixels[i, :, :height, :width] = functional.interpolate(
            chw, size=(height, width), mode="bilinear", antialias=True
        )[0]
        valid[i, :height, :width] = True
    sizes = (resized_hw,) * len(images)
    return ImageBatch(pixels, valid, sizes, tuple((i.shape[0], i.shape[1]) for i in images))


def labels_of_map(winner: ndarray, kept: KeptMasks, vocabulary: Vocabulary) -> PanopticSegmentation:
    """The winners' map is home, and is numbered and measured pixel by pixel."""
    num_masks = len(kept.classes)
    won_px = np.bincount(winner.ravel() + 1, minlength=num_masks + 1)[1:]
    stability = (kept.contest.tight_px / kept.contest.loose_px.clamp(min=1)).tolist()
    assert kept.iou_scores is not None
    assert kept.clip_agrees is not None
    assert kept.margin is not None
    assert kept.entropy is not None
    ious, agrees = kept.iou_scores.tolist(), kept.clip_agrees.tolist()
    margins, entropies = kept.margin.tolist(), kept.entropy.tolist()
    id_of_mask = np.zeros(num_masks + 1, np.int32)
    members = np.flatnonzero(won_px).tolist()  # all classes differ, so each mask is a segment
    id_of_mask[members] = np.arange(1, len(members) + 1)
    ids = id_of_mask[winner]
    geometry = areas_and_boxes(find_runs(ids), ids.shape[0])
    segments = []
    for segment_id, mask in enumerate(members, start=1):
        entry = vocabulary.classes[kept.classes[mask]]
        segments.append(
            Segment(
                id=segment_id,
                class_index=kept.classes[mask],
                category_id=entry.category_id,
                category_name=entry.name,
                is_thing=entry.is_thing,
                area_px=geometry[segment_id].area_px,
                bbox_xywh=geometry[segment_id].bbox_xywh,
                score=kept.scores[mask],
                predicted_iou=ious[mask],
                margin=margins[mask],
                stability_score=stability[mask],
                entropy=entropies[mask],
                clip_agrees=agrees[mask],
                is_seen=True,
            )
        )
    return PanopticSegmentation(ids=ids, segments=tuple(segments))


@dataclass(frozen=True, slots=True, kw_only=True)
class IdRuns:
    """Runs of one id each, down the columns, sorted by id, then by place."""

    ids: ndarray  # (R,)
    starts: ndarray
    ends: ndarray
    is_first: ndarray  # of its id
    is_last: ndarray


def find_runs(ids: ndarray) -> IdRuns:
    """Runs of every nonzero id."""
    is_start = np.empty(ids.shape, dtype=np.bool_)
    is_start[1:] = ids[1:] != ids[:-1]
    is_start[:1, 1:] = ids[:1, 1:] != ids[-1:, :-1]
    is_start[:1, :1] = True
    places = np.flatnonzero(is_start)
    rows, columns = np.divmod(places, ids.shape[1])
    starts = columns * ids.shape[0] + rows
    order = np.argsort(starts, kind="stable")
    starts, names = starts[order], ids.ravel()[places[order]]
    ends = np.append(starts[1:], ids.size)
    kept = np.flatnonzero(names)
    kept = kept[np.argsort(names[kept], kind="stable")]
    starts, ends, names = starts[kept], ends[kept], names[kept]
    borders = names[1:] != names[:-1]
    edge = np.ones(1, dtype=np.bool_)
    return IdRuns(
        ids=names,
        starts=starts,
        ends=ends,
        is_first=np.concatenate([edge, borders]),
        is_last=np.concatenate([borders, edge]),
    )


def areas_and_boxes(runs: IdRuns, height: int) -> dict[int, AreaAndBox]:
    """Area and bounding box of every nonzero id."""
    left, top = np.divmod(runs.starts, height)
    right, bottom = np.divmod(runs.ends - 1, height)
    wraps = right > left
    top, bottom = np.where(wraps, 0, top), np.where(wraps, height - 1, bottom)
    firsts = np.flatnonzero(runs.is_first)
    areas = np.add.reduceat(runs.ends - runs.starts, firsts)
    left, top = np.minimum.reduceat(left, firsts), np.minimum.reduceat(top, firsts)
    right, bottom = np.maximum.reduceat(right, firsts), np.maximum.reduceat(bottom, firsts)
    rows = np.stack([runs.ids[firsts], areas, left, top, right - left + 1, bottom - top + 1], 1)
    return {i: AreaAndBox(area_px=a, bbox_xywh=(x, y, w, h)) for i, a, x, y, w, h in rows.tolist()}


def rle_counts(ids: ndarray) -> dict[int, str]:
    """COCO compressed RLE of every nonzero id."""
    runs = find_runs(ids)
    has_tail = runs.is_last & (runs.ends < ids.size)
    previous_ends = np.where(runs.is_first, 0, np.roll(runs.ends, 1))
    places = 2 * np.arange(len(runs.ids)) + np.cumsum(has_tail) - has_tail
    counts = np.empty(2 * len(runs.ids) + int(has_tail.sum()), np.int64)
    counts[places] = runs.starts - previous_ends
    counts[places + 1] = runs.ends - runs.starts
    counts[places[has_tail] + 2] = ids.size - runs.ends[has_tail]
    first_places = places[runs.is_first]
    num_counts = np.diff(first_places, append=len(counts))
    index_in_id = np.arange(len(counts)) - np.repeat(first_places, num_counts)
    deltas = counts.copy()
    deltas[2:] -= np.where(index_in_id[2:] > 2, counts[:-2], 0)
    text, num_chars = _compress(deltas)
    ends = np.cumsum(num_chars)
    text_starts = (ends - num_chars)[first_places].tolist()
    text_ends = [*text_starts[1:], len(text)]
    names = runs.ids[runs.is_first].tolist()
    return {i: text[a:b] for i, a, b in zip(names, text_starts, text_ends, strict=True)}


def _compress(deltas: ndarray) -> tuple[str, ndarray]:
    magnitudes = np.where(deltas < 0, ~deltas, deltas)
    limits = 16 << (5 * np.arange(MAX_CHARS - 1))
    num_chars = 1 + np.searchsorted(limits, magnitudes, side="right")
    text = np.empty(num_chars.sum(), dtype=np.uint8)
    rest, num_left, places = deltas, num_chars, np.cumsum(num_chars) - num_chars
    while rest.size:
        has_more = num_left > 1
        text[places] = (rest & 31) + np.where(has_more, 48 + 32, 48)
        rest, num_left = rest[has_more] >> 5, num_left[has_more] - 1
        places = places[has_more] + 1
    return text.tobytes().decode("ascii"), num_chars


def sharpness_of_map(pixels: ndarray, ids: ndarray) -> float:
    """Whole maps are compared."""
    every = max(1, min(ids.shape) // 64)
    on_borders, on_grid = [], []
    for axis in (0, 1):
        lines, colours = np.moveaxis(ids, axis, 0), np.moveaxis(pixels, axis, 0)
        on_borders.append(_contrasts(colours, *np.nonzero(lines[1:] != lines[:-1])))
        places = np.indices(lines[:-1:every, ::every].shape).reshape(2, -1) * every
        on_grid.append(_contrasts(colours, *places))
    return float(np.mean(np.concatenate(on_borders) > np.median(np.concatenate(on_grid))))


def _contrasts(colours: ndarray, first: ndarray, across: ndarray) -> ndarray:
    before, after = np.maximum(first - 1, 0), np.minimum(first + 2, len(colours) - 1)
    differences = colours[before, across].astype(np.int16) - colours[after, across]
    contrasts: ndarray = np.abs(differences).sum(axis=-1, dtype=np.int64)
    return contrasts
