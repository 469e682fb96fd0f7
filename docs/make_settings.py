"""Write docs/settings.md and configs/label.example.yaml. `python docs/make_settings.py`."""

from pathlib import Path

from pipelines.cli.jobs import JOBS, settings_class
from pipelines.settings.label import LabelConfig
from pipelines.settings.reference import example_yaml, settings_table

ROOT = Path(__file__).resolve().parents[1]
PAGE, EXAMPLE = ROOT / "docs/settings.md", ROOT / "configs/label.example.yaml"
CHOSEN = ("num_workers", "gpus_per_worker", "error_budget", "prices")

INTRO = """# Settings

The settings of each job, made from the classes that the jobs take (`python docs/make_settings.py`;
a test compares). A setting is a flag of the job's command, with dashes (`shard_size` is
`--shard-size`; a list is a flag given once for each value, `--allowed-host`; what is true or false
has two flags, `--single-writer` and `--no-single-writer`), a line of its YAML file, and a field of
Prefect's form; `evaluate` and `calibrate` have flags only. Flags win over the file. Settings with a
dot belong to a group, which only a file can hold:

```yaml
prices:
  worker_hour: 1.20
```

Every mistake is reported at once, with its place and the nearest name that exists. No number may be
infinite, no text empty: what is not wanted is left out. `possam config schema JOB` prints the same
as a JSON schema. An editor checks a file while you type once it knows the schema: write it with
`possam config schema label > label.schema.json`, and begin the YAML file with
`# yaml-language-server: $schema=label.schema.json`.
"""

NOTES = {
    "label": "`possam label`, `plan` and `probe`;"
    " [configs/label.example.yaml](../configs/label.example.yaml) is a file to start from.",
    "train": "`possam train CONFIG.yaml`: [Training](training.md), with recipes in"
    " [configs](../configs).",
    "evaluate": "`possam evaluate CHECKPOINT`: [How good a model is](evaluation.md). The command"
    " takes flags only. `--data` names the source, and its world or annotations, in one; settings"
    " below it are flags without `data.`. Of a drawn source it takes 300 scenes of seed 301 unless"
    " flags say otherwise.",
    "calibrate": "`possam calibrate CHECKPOINT`: [How good a model is](evaluation.md). Flags as for"
    " `evaluate`; `--data` is needed. Of a drawn source it takes 400 scenes of seed 202, which no"
    " table reports, unless flags say otherwise.",
    "export": "`possam export RUN`: [Exports](exports.md).",
}

HEADER = """# Settings of `possam label`, `possam plan` and `possam probe`:
#
#   possam label --config label.yaml
#
# Flags on the command line win over this file. `possam config schema label` prints the JSON schema.
# What is commented out shows its default, or an example where the default is to leave it out.
# Local paths start from where the command runs. Made by docs/make_settings.py.

"""


def page() -> str:
    """docs/settings.md."""
    parts = [INTRO]
    for name in JOBS:
        parts.append(f"## {name}\n\n{NOTES[name]}\n\n{settings_table(settings_class(name))}\n")
    return "\n".join(parts)


def example() -> str:
    """configs/label.example.yaml."""
    return HEADER + example_yaml(LabelConfig, chosen=CHOSEN)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    EXAMPLE.write_text(example(), encoding="utf-8")
