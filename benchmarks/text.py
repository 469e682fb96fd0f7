"""Text embeddings of full size, random weights: prompts as whole sentences and by shared beginning.

Both sides take turns in one process; processor time counts. Prints a table and writes
`build/bench/text.json`.
"""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from benchmarks.report import write_json
from possam_core.encoders.clip import ClipConfig, ClipEncoder
from possam_core.vocabulary.builtin import find_vocabulary
from possam_core.vocabulary.vocabulary import PROMPT_TEMPLATES

OUTPUT = Path("build/bench/text.json")
MODEL = "convnext_large_d_320"
NUM_NAMES, REPEATS = 48, 1


def cpu_seconds(*functions: Callable[[], object]) -> list[float]:
    """The least processor time of each function, run in alternation."""
    best = [float("inf")] * len(functions)
    for _ in range(REPEATS):
        for i, function in enumerate(functions):
            started = time.process_time()
            function()
            best[i] = min(best[i], time.process_time() - started)
    return best


@torch.no_grad()
def main() -> None:
    """Measure and write."""
    torch.manual_seed(0)
    encoder = ClipEncoder(ClipConfig(model=MODEL), image_size=320).eval()
    classes = find_vocabulary("coco-panoptic").classes
    names = [name for entry in classes for name in entry.all_names][:NUM_NAMES]
    prompts = [template.format(name) for name in names for template in PROMPT_TEMPLATES]

    def whole() -> Tensor:
        by_template = encoder.encode_prompts(prompts).reshape(len(names), len(PROMPT_TEMPLATES), -1)
        return functional.normalize(by_template.mean(dim=1), dim=-1)

    difference = (whole() - encoder._embed_names(names)).abs().max()
    before, after = cpu_seconds(whole, lambda: encoder._embed_names(names))
    record = {
        "names": len(names),
        "whole sentences, s of CPU a name": before / len(names),
        "shared beginning, s of CPU a name": after / len(names),
        "share of the time": after / before,
        "largest difference": float(difference),
        "threads": torch.get_num_threads(),
    }
    table = Table("what", "measured", title=MODEL)
    for what, value in record.items():
        table.add_row(what, f"{value:.3g}")
    Console().print(table)
    write_json(OUTPUT, record)


if __name__ == "__main__":
    main()
