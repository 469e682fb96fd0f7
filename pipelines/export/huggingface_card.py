"""The dataset card: README.md with YAML front matter, read by people and by `datasets`."""

from collections.abc import Mapping
from typing import Any

import yaml

from pipelines.export.classes import ClassMap
from pipelines.run.grading import CALIBRATED
from pipelines.run.plan import NOT_KNOWN

SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
)
LARGEST = "1B<n<10B"

BODY = """# Panoptic labels of plan {plan_id}

{num_images:,} images with panoptic pseudo-labels that a model has made{by_people}.

```python
from datasets import load_dataset
dataset = load_dataset("this folder, or its name on the Hub")
```

| column | meaning |
|---|---|
| `image` | the image; the labels fit its pixels as they come |
| `panoptic` | an RGB picture of segment ids: id = R + 256 G + 65536 B, 0 is void |
| `segments_info` | one entry a segment: its id, class, area and box in pixels, score |
| `image_id`, `uri` | which image it is, and where it came from |
| `grade` | A to D, how far to trust its labels{grades} |
| `corrected_by`, `corrected_at` | who corrected its labels, and when; null: not corrected |

In `segments_info`, `label` is the class by name, `category_id` its id in the vocabulary.

| provenance | |
|---|---|
{provenance}

## Classes

Things: {things}.

Stuff: {stuff}.
"""


def dataset_card(
    provenance: Mapping[str, Any], num_images: Mapping[str, int], classes: ClassMap
) -> str:
    """The text of the card; `num_images` by the name of the split."""
    total = sum(num_images.values())
    front = {
        "pretty_name": f"Panoptic labels of plan {provenance['plan_id']}",
        "task_categories": ["image-segmentation"],
        "tags": ["panoptic-segmentation", "pseudo-labels"],
        "size_categories": [next((name for size, name in SIZES if total < size), LARGEST)],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": split, "path": f"data/{split}-*.parquet"} for split in num_images
                ],
            }
        ],
    }
    num_corrected = provenance["num_corrected"]
    names = {
        kind: [c.name for c in classes.classes if c.is_thing == kind] for kind in (True, False)
    }
    body = BODY.format(
        plan_id=provenance["plan_id"],
        num_images=total,
        by_people=f" and people have corrected in {num_corrected:,} of them"
        if num_corrected
        else "",
        grades="" if provenance["grades"] == CALIBRATED else f"; {provenance['grades']}",
        provenance="\n".join(f"| {name} | {_cell(value)} |" for name, value in _facts(provenance)),
        things=", ".join(names[True]) or "none",
        stuff=", ".join(names[False]) or "none",
    )
    return f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n{body}"


def _facts(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The values that fit into a table, and the teacher; lists and absent values are left out."""
    facts = [(k, str(v)) for k, v in provenance.items() if isinstance(v, str | int | float)]
    teacher = provenance["teacher"]
    if teacher is not None:
        names = ("name", "revision", "licence")
        facts += [(f"teacher, {n}", str(teacher[n] or NOT_KNOWN)) for n in names]
        facts += [(f"teacher, sha256 of {n}", sha256) for n, sha256 in teacher["files"].items()]
    return facts


def _cell(text: str) -> str:
    """The text with characters escaped that would end a table cell."""
    return " ".join(text.split()).replace("|", "\\|")
