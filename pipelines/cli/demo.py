"""`make demo`: draw a corpus, damage some of its files, label it, and show the result."""

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

from pipelines.evaluate.run import evaluate_run
from pipelines.label.session import run_label
from pipelines.label.summary import summarise
from pipelines.report import write_report
from pipelines.settings.label import LabelConfig
from possam_core.errors import ConfigError, PossamError
from possam_core.playground import write_corpus

NUM_IMAGES = 60
SEED = 2_000_003  # scenes that the model was not trained on
SHARD_SIZE = 16  # far below the default, so that the folder holds more than one shard
NUM_DAMAGED = 4
HTML = b"<!doctype html><title>404 Not Found</title><p>This was an image once.</p>"

# The files below the output folder: a glob, and a line about it.
TREE = (
    ("corpus/images/*", "drawn scenes, four of them damaged"),
    ("corpus/panoptic/*.png", "true segment ids, as COCO's colours"),
    ("corpus/panoptic.json", "true segments, in COCO panoptic format"),
    ("corpus/vocabulary.yaml", "the classes to find, in plain words"),
    ("run/_plan/plan.json", "settings, hashes of model and vocabulary"),
    ("run/_plan/vocabulary.json", "the classes, as they were then"),
    ("run/_plan/part-*.parquet", "the frozen list of images, by shard"),
    ("run/data/g=*/shard-*.parquet", "THE LABELS: a row an image, masks as RLE"),
    ("run/_manifest.json", "sha256 and rows of each file, totals"),
    ("run/_runs/*.json", "who worked on the run, and when"),
    ("run/report/index.html", "the report: open it in a browser"),
    ("run/report/data/*.js", "its index, and pages of pictures, worst first"),
    ("run/report/viewer/*", "the scripts that show them"),
)


def run_demo(output: Path, *, console: Console | None = None, num_images: int = NUM_IMAGES) -> None:
    """Make a corpus in `output`, label it with possam-tiny, and print where the results are.

    A second call finds the corpus in place and nothing left to label.

    Raises:
        PossamError: `output` cannot be used, or labelling did not finish.
    """
    console = console or Console(soft_wrap=True, highlight=False)
    corpus, run = output / "corpus", output / "run"
    _make_corpus(corpus, num_images, console)
    config = LabelConfig(
        images=str(corpus / "images"),
        output=str(run),
        vocabulary=str(corpus / "vocabulary.yaml"),
        shard_size=SHARD_SIZE,
    )
    _print_command(
        console,
        f"possam label {corpus}/images --output {run} --vocabulary {corpus}/vocabulary.yaml"
        f" --shard-size {SHARD_SIZE}",
    )
    report = run_label(config, console=console)
    console.print(summarise(report))
    if report.manifest is None:
        raise PossamError("expected the demo to label every shard, but some are open; run it again")

    _print_command(console, f"possam evaluate {run} --ground-truth {corpus}/panoptic.json")
    console.print(evaluate_run(str(run), corpus / "panoptic.json").to_table())
    console.print(
        f"The {NUM_DAMAGED} damaged images have no ground truth, so these figures are for the"
        " others; the 16-bit one is still labelled."
    )
    _print_command(console, f"possam report {run}")
    page = write_report(str(run), console=console)
    console.print(f"wrote {page}\n")
    console.print(_tree(output))
    console.print(f"\nOpen this page in a browser: [bold]{page}[/bold]")


def _make_corpus(corpus: Path, num_images: int, console: Console) -> None:
    """Write `corpus` unless an earlier call has; it appears whole or not at all."""
    if corpus.exists():
        console.print(f"using the corpus that is in {corpus}")
        return
    _print_command(
        console, f"possam playground --num-images {num_images} --seed {SEED} --output {corpus}"
    )
    unfinished = corpus.with_name("corpus.unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        write_corpus(unfinished, num_images=num_images, seed=SEED)
        damaged = damage_corpus(unfinished)
        unfinished.rename(corpus)
    except OSError as error:
        raise ConfigError(
            f"expected a folder to write to at {corpus.parent}, but writing failed"
            f" ({error.strerror}); choose another --output"
        ) from error
    for name, damage in damaged.items():
        console.print(f"  damaged {name}: {damage}")


def damage_corpus(corpus: Path) -> dict[str, str]:
    """Damage four images and remove them from the ground truth; file name -> the damage done."""
    path = corpus / "panoptic.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    names = [image["file_name"] for image in content["images"]]
    step = len(names) // NUM_DAMAGED
    empty, truncated, html, deep = (corpus / "images" / names[k * step] for k in range(NUM_DAMAGED))
    damaged_ids = {content["images"][k * step]["id"] for k in range(NUM_DAMAGED)}

    truncated.write_bytes(truncated.read_bytes()[: truncated.stat().st_size // 2])
    empty.write_bytes(b"")
    html.write_bytes(HTML)
    grey = np.asarray(Image.open(deep).convert("L"), np.uint16) * 257  # 0..255 -> 0..65535
    Image.fromarray(grey).save(deep.with_suffix(".png"))
    deep.unlink()

    for annotation in content["annotations"]:
        if annotation["image_id"] in damaged_ids:
            (corpus / "panoptic" / annotation["file_name"]).unlink()
    content["images"] = [i for i in content["images"] if i["id"] not in damaged_ids]
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] not in damaged_ids]
    path.write_text(json.dumps(content), encoding="utf-8")
    return {
        empty.name: "emptied",
        truncated.name: "cut in half",
        html.name: "replaced by an HTML page",
        deep.with_suffix(".png").name: "made a 16-bit grey PNG, which can be labelled",
    }


def _tree(output: Path) -> str:
    """The files below `output`, a line for each kind."""
    width = max(len(pattern) for pattern, _ in TREE)
    lines = [f"[bold]{output}[/bold]"]
    for pattern, meaning in TREE:
        count = len(list(output.glob(pattern)))
        number = f" ({count} files)" if count > 1 else ""
        lines.append(f"  [bold]{pattern:{width}}[/bold]  {meaning}{number}")
    return "\n".join(lines)


def _print_command(console: Console, command: str) -> None:
    console.print(f"\n[bold]>[/bold] {command}")
