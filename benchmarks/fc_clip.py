"""FC-CLIP of full size, weights by formula: its code's numbers against ours, time and memory.

Reads `../shared/data/fc_clip`. Prints a table for each set and writes `build/bench/fc_clip.json`.

    python -m benchmarks.fc_clip full-256 full
"""

import json
import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.report import write_json
from possam_core.checkpoints.card import TeacherCard
from possam_core.images.batch import make_shortest_edge_batch
from possam_core.labels.instances import ImageForms
from possam_core.teachers.fc_clip.network import FcClip
from possam_core.teachers.fc_clip.teacher import FcClipInference, FcClipTeacher
from tests.fc_clip_reference import FULL, FULL_256, ReferenceSet, picture

SHARED = Path("../shared/data/fc_clip")
OUTPUT = Path("build/bench/fc_clip.json")
SETS = {"full-256": (FULL_256, 2, 4), "full": (FULL, 8, 16)}  # steps of cells and of pixels
QUERIES, CHANNELS = 5, 16  # every so many of them is in the references


def make_teacher(network: FcClip, chosen: ReferenceSet, is_seen: ndarray) -> FcClipTeacher:
    """Trained on the classes that count as seen in the references."""
    classes = zip(chosen.vocabulary.classes, is_seen, strict=True)
    names = tuple(entry.name for entry, seen in classes if seen)
    card = TeacherCard(name="fc-clip", fingerprint="formula", training_names=names)
    inference = FcClipInference(short_side=chosen.short_side, long_side=chosen.long_side)
    return FcClipTeacher(network, chosen.vocabulary, card, inference=inference)


def stages(teacher: FcClipTeacher, image: ndarray, cells: int) -> dict[str, Tensor]:
    """Everything that the references hold of the network, at their steps."""
    network, chosen = teacher.network, teacher.inference
    batch = make_shortest_edge_batch(
        [image], short_side=chosen.short_side, long_side=chosen.long_side, multiple=32
    )
    text = network.clip.embed_vocabulary(teacher.vocabulary)
    maps = network.clip.stages(batch)
    pixels = network.pixel_decoder(maps)
    layers = network(batch, text, all_layers=True)
    found = {"mask_features": _thinned(pixels.mask_features, cells)}
    for i, (features, step) in enumerate(zip(maps, (1, 1, 2, 4), strict=True)):
        found[f"res{i + 2}"] = _thinned(features, max(1, cells // step))
    for i, (features, step) in enumerate(zip(pixels.memory, (4, 2, 1), strict=True)):
        found[f"memory_{i}"] = _thinned(features, max(1, cells // step))
    for i, layer in enumerate(layers[:-1]):
        masks = layer.prediction.mask_logits[0, :: 2 * QUERIES, :: 2 * cells, :: 2 * cells]
        found[f"mask_logits_after_{i}"] = masks
        found[f"class_logits_after_{i}"] = layer.class_logits[0, ::QUERIES]
    last = layers[-1]
    found["mask_logits"] = last.prediction.mask_logits[0, ::QUERIES, ::cells, ::cells]
    found["class_logits"] = last.class_logits[0]
    found["clip_embeddings"] = last.clip_embeddings[0, ::QUERIES, ::CHANNELS]
    return found


def _thinned(features: Tensor, step: int) -> Tensor:
    return features[0, ::CHANNELS, ::step, ::step]


def difference(ours: Tensor, theirs: ndarray) -> float:
    """The largest difference, as a share of the largest value."""
    expected = torch.from_numpy(theirs)
    return float((ours - expected).abs().max() / expected.abs().max())


def same_pixels(forms: ImageForms, reference: dict[str, ndarray]) -> float:
    """The share of pixels with the same class and the same segment, however it is numbered."""
    is_same = np.zeros(forms.panoptic.ids.shape, dtype=bool)
    theirs = reference["0/panoptic_ids"]
    is_same |= (forms.panoptic.ids == 0) & (theirs == 0)
    for number, _, class_index in reference["0/segments"].tolist():
        inside = theirs == number
        ids, counts = np.unique(forms.panoptic.ids[inside], return_counts=True)
        match = int(ids[counts.argmax()])
        classes = {s.id: s.class_index for s in forms.panoptic.segments}
        if classes.get(match) == class_index:
            is_same |= inside & (forms.panoptic.ids == match)
    return float(is_same.mean())


def measure(network: FcClip, name: str) -> dict[str, float]:
    """Figures of one set: times in seconds, memory in MB, differences."""
    chosen, cells, _ = SETS[name]
    with np.load(SHARED / f"{name}.npz") as archive:
        reference = {key: archive[key] for key in archive.files}
    image = picture(*chosen.pictures[0])
    teacher = make_teacher(network, chosen, reference["is_seen"])
    # The kernel forgets the peak of loading.
    Path("/proc/self/clear_refs").write_text("5")
    before, cpu, wall = _memory_mb("VmRSS"), time.process_time(), time.perf_counter()
    teacher([image])
    figures = {
        "label: seconds": time.perf_counter() - wall,
        "label: seconds of CPU": time.process_time() - cpu,
        "label: peak MB": _memory_mb("VmHWM"),
        "label: peak MB beyond the model": _memory_mb("VmHWM") - before,
    }
    with torch.inference_mode():
        (forms,) = teacher.forms([image])
        (proposals,) = teacher.propose([image])
        found = stages(teacher, image, cells)
    masks = proposals.masks
    present = 1 - masks.void_probs[:, None]
    ours = torch.cat([masks.class_probs * present, masks.void_probs[:, None]], dim=-1)
    theirs = torch.from_numpy(reference["0/class_log_probs"]).exp() - 1e-8
    by_query = (ours - theirs).abs().amax(dim=-1)
    figures |= {stage: difference(value, reference[f"0/{stage}"]) for stage, value in found.items()}
    figures |= {
        "probabilities, nine of ten queries": float(by_query.quantile(0.9)),
        "probabilities, the worst query": float(by_query.max()),
        "pixels with the same segment and class": same_pixels(forms, reference),
        "pixels with the same semantic class": float(
            (forms.class_indices == reference["0/semantic_classes"]).mean()
        ),
    }
    return figures


def _memory_mb(what: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{what}:")[1].split()[0]) / 1024


def main(names: list[str]) -> None:
    """Measure the sets called `names`."""
    started = time.process_time()
    network = FULL.network()
    console, record = Console(), {"build": {"seconds of CPU": time.process_time() - started}}
    for name in names:
        record[name] = measure(network, name)
        table = Table("what", "measured", title=name)
        for what, value in record[name].items():
            table.add_row(what, f"{value:.3g}")
        console.print(table)
    machine = {"machine": platform.processor(), "threads": torch.get_num_threads()}
    write_json(OUTPUT, json.loads(json.dumps(machine | record)))


if __name__ == "__main__":
    main(sys.argv[1:] or list(SETS))
