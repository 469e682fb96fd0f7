"""evaluate: how good the labels of a run are, and how good a checkpoint is."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pipelines.cli.labelled_data import (
    DataImagesOption,
    DataLimitOption,
    DataOption,
    DataVocabularyOption,
    GpuOption,
    MasksOption,
    SceneSeedOption,
    ScenesOption,
    data_settings,
)
from pipelines.cli.settings_flags import setting_flag
from pipelines.settings.label import LabelConfig
from possam_core.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.evaluate import EvaluateConfig

PrecisionOption = Annotated[str | None, setting_flag(LabelConfig, "precision")]

evaluation_app = typer.Typer()


@evaluation_app.command()
def evaluate(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="RUN|CHECKPOINT", help="run folder; or bundled model, checkpoint or model file"
        ),
    ],
    ground_truth: Annotated[
        Path | None, typer.Option(help="of a run: JSON in COCO panoptic format")
    ] = None,
    data: DataOption = None,
    images: DataImagesOption = None,
    masks: MasksOption = None,
    vocabulary: DataVocabularyOption = None,
    num_scenes: ScenesOption = None,
    scene_seed: SceneSeedOption = None,
    limit: DataLimitOption = None,
    report: Annotated[
        str | None, typer.Option(metavar="DIR", help="write a page there, local or s3://")
    ] = None,
    num_worst: Annotated[
        int | None, typer.Option(help="images on the page, the worst", show_default="24")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="write all figures there")
    ] = None,
    use_gpu: GpuOption = None,
    precision: PrecisionOption = None,
) -> None:
    """Print PQ, SQ and RQ of a run; of a checkpoint AP, mIoU and reliability as well."""
    of_data = {"images": images, "masks": masks, "vocabulary": vocabulary, "limit": limit}
    of_data |= {"num_scenes": num_scenes, "scene_seed": scene_seed}
    of_model = {"report": report, "num_worst": num_worst, "use_gpu": use_gpu}
    of_model |= {"precision": precision}
    _require_folder_of(json_file)
    if _kind(subject, data) == "run":
        _refuse_for_run(subject, {"data": data, **of_data, **of_model})
        record = _evaluate_run(subject, ground_truth)
    else:
        _refuse_ground_truth(subject, ground_truth)
        from pipelines.evaluate import EvaluateConfig
        from pipelines.settings.load import load_config

        flags = {"model": subject, "data": data_settings(subject, data, of_data), **of_model}
        record = _evaluate_model(load_config(EvaluateConfig, None, flags))
    if json_file:
        _write_json(json_file, record)


def _kind(subject: str, data: str | None) -> Literal["run", "checkpoint"]:
    """What `subject` names; of what is not there, the question tells."""
    from possam_core.checkpoints.header import MODEL_FILE_SUFFIXES, SUFFIX, bundled_models

    is_file = subject.endswith((SUFFIX, *MODEL_FILE_SUFFIXES)) or subject.startswith("hf://")
    if is_file or subject in bundled_models():
        return "checkpoint"
    return "run" if data is None or _holds_run(subject) else "checkpoint"


def _holds_run(subject: str) -> bool:
    from pipelines.run.folder import RunFolder
    from pipelines.run.plan import load_plan
    from pipelines.storage.addresses import is_s3

    is_place = is_s3(subject) or Path(subject).is_dir()
    return is_place and load_plan(RunFolder(subject)) is not None


def _refuse_for_run(run: str, flags: dict[str, Any]) -> None:
    if wrong := [_flag(name) for name, value in flags.items() if value is not None]:
        raise ConfigError(
            f"expected only --ground-truth and --json for the run {run}, got {', '.join(wrong)},"
            " which is about checkpoints; leave it out, or name a checkpoint"
        )


def _refuse_ground_truth(model: str, ground_truth: Path | None) -> None:
    if ground_truth is not None:
        raise ConfigError(
            f"expected --data with the checkpoint {model}, got --ground-truth, which is about runs;"
            " say --data playground, or --data panoptic.json --images DIR --vocabulary NAME"
        )


def _require_folder_of(json_file: Path | None) -> None:
    """Return only if there is one: measuring takes a while."""
    if json_file is not None and not json_file.parent.is_dir():
        raise ConfigError(
            f"expected a folder at {json_file.parent} for --json, but there is none; make it"
        )


def _evaluate_run(run: str, ground_truth: Path | None) -> dict[str, Any]:
    from rich.console import Console

    from pipelines.evaluate.run import evaluate_run

    if ground_truth is None:
        raise ConfigError(
            f"expected --ground-truth with the run {run}, or --data with a checkpoint, got neither;"
            " name what is true"
        )
    report = evaluate_run(run, ground_truth)
    Console().print(report.to_table())
    return report.to_json()


def _evaluate_model(config: "EvaluateConfig") -> dict[str, Any]:
    from rich.console import Console

    from pipelines.bars import bars
    from pipelines.evaluate import EvaluationPage, evaluate_model, to_record, to_terminal

    page = EvaluationPage(config.report) if config.report else None
    with bars() as progress:
        task = progress.add_task("measuring", total=None)
        evaluation = evaluate_model(
            config,
            on_images=lambda done, total: progress.update(task, completed=done, total=total),
        )
    Console().print(to_terminal(evaluation))
    if page:
        typer.echo(f"wrote {page.write(evaluation, config)}")
    return to_record(evaluation)


def _write_json(file: Path, record: dict[str, Any]) -> None:
    try:
        file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"expected a file to write at {file}, but writing failed ({error.strerror}); choose"
            " another --json"
        ) from error
    typer.echo(f"wrote {file}")


def _flag(name: str) -> str:
    return "--gpu/--cpu" if name == "use_gpu" else f"--{name.replace('_', '-')}"
