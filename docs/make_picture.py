"""Draw the README's picture: a scene beside possam-tiny's labels. `python docs/make_picture.py`."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

from pipelines.label.job import LabelConfig
from pipelines.label.session import run_label
from pipelines.report.overlay import draw_overlay
from pipelines.run.id_map import id_map
from pipelines.schema import LabelledRow, is_labelled, to_rows
from possam_core.playground import generate_scene

SCENES = ((2_000_003, 11), (2_000_003, 24))  # seed and index; held out from training
HEIGHT_PX = 420
GAP_PX = 12
OUTPUT = Path(__file__).parent / "images" / "labelled-scene.png"


def main() -> None:
    """Label the scenes as any corpus is labelled, and paste them side by side."""
    with tempfile.TemporaryDirectory() as folder:
        corpus, run = Path(folder) / "corpus", Path(folder) / "run"
        corpus.mkdir()
        for number, (seed, index) in enumerate(SCENES):
            Image.fromarray(generate_scene(seed, index).image).save(corpus / f"{number}.png")
        run_label(LabelConfig(images=str(corpus), output=str(run)))
        rows = to_rows(pq.read_table(run / "data"))
        tiles = [tile for row in rows if is_labelled(row) for tile in _tiles(row)]
    width = sum(t.width for t in tiles) + GAP_PX * (len(tiles) - 1)
    picture = Image.new("RGB", (width, HEIGHT_PX), "white")
    left = 0
    for tile in tiles:
        picture.paste(tile, (left, 0))
        left += tile.width + GAP_PX
    picture.save(OUTPUT, optimize=True)


def _tiles(row: LabelledRow) -> tuple[Image.Image, Image.Image]:
    scene = Image.open(row["uri"]).convert("RGB")
    size = (round(scene.width * HEIGHT_PX / scene.height), HEIGHT_PX)
    overlay = draw_overlay(row["segments_info"], id_map(row), max_side_px=1024)
    plain = scene.resize(size, Image.Resampling.LANCZOS)
    layer = Image.fromarray(np.ascontiguousarray(overlay.rgba)).resize(size)
    labelled = plain.copy()
    labelled.paste(layer, mask=layer)
    draw = ImageDraw.Draw(labelled)
    font = ImageFont.load_default(15)
    for tag in overlay.name_tags:
        place = (tag.x * size[0], tag.y * size[1])
        draw.text(place, tag.name, "white", font, anchor="mm", stroke_width=2, stroke_fill="black")
    return plain, labelled


if __name__ == "__main__":
    main()
