"""Can the network memorise eight photographs? Training PQ on COCO's 133 classes.

This tests matching, losses, coordinates and merge on real photographs with real panoptic truth; it
says nothing about images outside the training. Needs `../shared/data`.

The photographs are the first eight by file name whose truth has three segments or more. MobileSAM
is frozen, each photograph is encoded once, and the parts that PosSAM trains are trained on its
features: pyramid, pixel decoder, mask decoder, LDP. Text is embedded by the real CLIP, see
`read_text`, but its image weights are not available: the image tower is frozen with random weights.
It carries no classes, LDP has to learn them from SAM's features, and MASE leaves CLIP out. The rest
is what users have: training stage, predictor, merge, default thresholds.

Prints progress, writes `build/bench/photographs.json` and, for inspection, each photograph beside
its truth and its labels in `build/bench/photographs.png`. The same command resumes an interrupted
one; to start again, remove `build/bench/photographs-seed-0`.

usage: python -m benchmarks.photographs [--shared ../shared] [--seed 0]
"""

import argparse
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.memorisation import (
    HeldImages,
    contact_sheet,
    label,
    measure,
    memorise,
    truth_on_grid,
)
from benchmarks.report import write_json
from pipelines.train.data import open_reader
from possam_core.decoder.mask_decoder import MaskDecoderConfig
from possam_core.decoder.pyramid import PYRAMID_SCALES
from possam_core.encoders.clip import ClipConfig, ClipEncoder
from possam_core.encoders.precomputed_text import precomputed_text
from possam_core.encoders.sam import SAM_CONFIGS, load_sam_weights
from possam_core.evaluation.panoptic_quality import PanopticQuality
from possam_core.mase import MaseConfig
from possam_core.model import InferenceConfig, ModelCard, PosSAM, PosSAMConfig
from possam_core.training.data.coco_images import CocoFiles, CocoImages
from possam_core.training.schedule import ScheduleConfig
from possam_core.training.stage import LoopConfig
from possam_core.vocabulary.builtin import find_vocabulary
from possam_core.vocabulary.published_names import find_class
from possam_core.vocabulary.text_embeddings import TextEmbeddings
from possam_core.vocabulary.vocabulary import Vocabulary

OUTPUT = Path("build/bench")
VOCABULARY = "coco-panoptic"
NUM_PHOTOGRAPHS, MIN_SEGMENTS = 8, 3
CANVAS = 1024  # pixels; MobileSAM's own
TEXT_WIDTH = 512  # of CLIP ViT-B/16
LOOP = LoopConfig(
    num_steps=400,
    batch_size=4,
    learning_rate=1e-3,
    schedule=ScheduleConfig(warmup_steps=20),
    weight_decay=0.0,  # no regularisation, because memorising is the aim
    log_every=20,
    save_every=50,
    evaluate_every=100,
)


def read_photographs(coco: Path, vocabulary: Vocabulary) -> HeldImages:
    """The first with enough segments, in the order of the JSON, which is by file name."""
    annotations = coco / "panoptic_train.json"
    files = CocoFiles(
        annotations=str(annotations),
        read_annotations=annotations.read_bytes,
        read_image=open_reader(str(coco / "images")),
        read_mask=open_reader(str(coco / "panoptic")),
    )
    data = CocoImages(files, vocabulary)
    read = (data.read(i) for i in range(len(data)))
    enough = (i for i in read if len(i.class_indices) >= MIN_SEGMENTS)
    return HeldImages([*islice(enough, NUM_PHOTOGRAPHS)], vocabulary)


def read_text(clip: ClipEncoder, vocabulary: Vocabulary, folder: Path) -> TextEmbeddings:
    """CLIP's embeddings of COCO-Stuff's 171 names, where they name one of the 133 classes.

    The 133 are the same 80 things and 53 kinds of stuff, 17 of them merged (`sky-other-merged`). A
    name goes to the class that `find_class` returns for it, the same rule as for the truth:
    `wall-brick` to brick wall, `sky-other` to sky, `hill` to mountain, whose synonym it is. Each
    class gets a row in this way, four get two (cabinet, mountain, rock, rug), and 34 names (such as
    `clouds`, `mud`, `plastic`) are not used.
    """
    names = json.loads((folder / "coco_stuff_171_names.json").read_text())
    rows = torch.from_numpy(np.load(folder / "coco_multi.npy")).float()
    found = [find_class(name, vocabulary) for name in names]
    classes = ["" if index is None else vocabulary.classes[index].name for index in found]
    return precomputed_text(clip, vocabulary, classes, rows)


def build_model(vocabulary: Vocabulary, sam_weights: Path, *, seed: int) -> PosSAM:
    """MobileSAM with its weights, a random CLIP tower, and a new head, small for a CPU."""
    torch.manual_seed(seed)
    config = PosSAMConfig(
        sam=replace(SAM_CONFIGS["mobile_sam"], image_size=CANVAS),
        clip=ClipConfig(embed_dim=TEXT_WIDTH, input_side=CANVAS // 4),
        pyramid_channels=64,
        decoder=MaskDecoderConfig(num_queries=32, num_layers=3, width=128, ffn_width=512),
    )
    card = ModelCard(
        vocabulary=vocabulary,
        training_names=tuple(name for c in vocabulary.classes for name in c.all_names),
        inference=InferenceConfig(mase=MaseConfig(alpha=0.0, beta=0.0)),  # LDP alone
    )
    model = PosSAM(config, card)
    load_sam_weights(model.sam, sam_weights)
    return model


def main() -> None:
    """Train, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    data, loop = arguments.shared / "data", replace(LOOP, seed=arguments.seed)
    vocabulary = find_vocabulary(VOCABULARY)
    images = read_photographs(data / "coco128_train", vocabulary)
    model = build_model(vocabulary, data / "weights/mobile_sam.safetensors", seed=loop.seed)
    text = read_text(model.clip, vocabulary, data / "clip_text_embeddings")

    started, cpu_started = time.perf_counter(), time.process_time()
    report = memorise(model, text, images, loop, OUTPUT / f"photographs-seed-{loop.seed}")
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started

    labels = label(model, text, images)
    contact_sheet(images, labels).save(OUTPUT / "photographs.png")
    grid = int(PYRAMID_SCALES[0] * CANVAS / model.config.sam.patch_size)
    best = truth_on_grid(images, canvas=CANVAS, grid=grid)
    rows = {"learned": measure(images, labels), "truth on the mask grid": measure(images, best)}
    print_table(f"on {len(images)} photographs", rows)
    write_json(
        OUTPUT / "photographs.json",
        {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "photographs": [image.name for image in images.images],
            "canvas": CANVAS,
            "mask_grid": grid,
            "loop": asdict(loop),
            "threads": torch.get_num_threads(),
            "steps_timed": report.num_new,  # fewer than all, if it was interrupted
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            "quality": {n: {g: asdict(q) for g, q in qs.items()} for n, qs in rows.items()},
        },
    )


def print_table(title: str, rows: Mapping[str, Mapping[str, PanopticQuality]]) -> None:
    """A line for each group of classes in each row, in percent."""
    table = Table(title, "PQ", "SQ", "RQ", "classes")
    for name, qualities in rows.items():
        for group, q in qualities.items():
            figures = (f"{100 * value:.1f}" for value in (q.pq, q.sq, q.rq))
            table.add_row(f"{name}, {group}", *figures, str(q.num_classes))
    Console().print(table)


if __name__ == "__main__":
    main()
