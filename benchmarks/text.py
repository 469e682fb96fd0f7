"""Text embeddings of full size, random weights: prompts as whole sentences and by shared beginning.

Both sides run in one process; processor time counts. Prints a table and writes
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
VOCABULARY = "fc-clip-coco"  # 254 names


def cpu_seconds(function: Callable[[], object]) -> float:
    """The processor time of one call: one of minutes needs no second."""
    started = time.process_time()
    function()
    return time.process_time() - started


@torch.no_grad()
def main() -> None:
    """Measure and write."""
    torch.manual_seed(0)
    encoder = ClipEncoder(ClipConfig(model=MODEL), image_size=320).eval()
    names = [name for entry in find_vocabulary(VOCABULARY).classes for name in entry.all_names]
    prompts = [template.format(name) for name in names for template in PROMPT_TEMPLATES]

    def whole() -> Tensor:
        by_template = encoder.encode_prompts(prompts).reshape(len(names), len(PROMPT_TEMPLATES), -1)
        return functional.normalize(by_template.mean(dim=1), dim=-1)

    embeddings = list[Tensor]()
    before = cpu_seconds(lambda: embeddings.append(whole()))
    after = cpu_seconds(lambda: embeddings.append(encoder._embed_names(names)))
    difference = (embeddings[0] - embeddings[1]).abs().max()
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
