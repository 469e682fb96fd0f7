"""The command evaluate, which measures the labels of a run, or a checkpoint."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pipelines.cli.labelled_data import (
    DataImagesOption,
    DataLimitOption,
    DataOption,
    DataVocabularyOption,
    MasksOption,
    SceneSeedOption,
    ScenesOption,
    data_settings,
)
from pipelines.cli.options import JsonOption, print_json
from pipelines.cli.settings_flags import setting_flag
from pipelines.evaluate.config import EvaluateConfig, EvaluateRunConfig
from possam_core.errors import ConfigError

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
        str | None,
        typer.Option(help="for a run: JSON in COCO panoptic format, local or s3://"),
    ] = None,
    data: DataOption = None,
    images: DataImagesOption = None,
    masks: MasksOption = None,
    vocabulary: DataVocabularyOption = None,
    num_scenes: ScenesOption = None,
    scene_seed: SceneSeedOption = None,
    limit: DataLimitOption = None,
    report: Annotated[str | None, setting_flag(EvaluateConfig, "report")] = None,
    num_worst: Annotated[int | None, setting_flag(EvaluateConfig, "num_worst")] = None,
    gpus_per_worker: Annotated[int | None, setting_flag(EvaluateConfig, "gpus_per_worker")] = None,
    precision: Annotated[str | None, setting_flag(EvaluateConfig, "precision")] = None,
    allowed_hosts: Annotated[
        list[str] | None, setting_flag(EvaluateRunConfig, "allowed_hosts")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print PQ, SQ and RQ of a run; for a checkpoint also AP, mIoU and reliability."""
    from pipelines.settings.load import load_config

    of_both = {"report": report, "num_worst": num_worst}
    of_data = {"images": images, "vocabulary": vocabulary, "limit": limit}
    of_data |= {"num_scenes": num_scenes, "scene_seed": scene_seed}
    of_model = {"precision": precision, "gpus_per_worker": gpus_per_worker}
    if _kind(subject, data) == "run":
        _refuse_for_run(subject, {"data": data, **of_data, **of_model})
        _require_ground_truth(subject, ground_truth)
        truth = {"ground_truth": ground_truth, "masks": masks}
        of_run = {"run": subject, **truth, **of_both, "allowed_hosts": allowed_hosts}
        _evaluate_run(load_config(EvaluateRunConfig, None, of_run), as_json=as_json)
    else:
        _refuse_for_checkpoint(
            subject, {"ground_truth": ground_truth, "allowed_host": allowed_hosts}
        )
        data_flags = data_settings(subject, data, {**of_data, "masks": masks})
        with_model = {"model": subject, "data": data_flags, **of_model, **of_both}
        _evaluate_model(load_config(EvaluateConfig, None, with_model), as_json=as_json)


def _kind(subject: str, data: str | None) -> Literal["run", "checkpoint"]:
    """What `subject` names; where there is no run, `--data` means a checkpoint."""
    from possam_core.checkpoints.model_file import MODEL_FILE_SUFFIXES
    from possam_core.checkpoints.models import SUFFIX, named_models

    is_file = subject.endswith((SUFFIX, *MODEL_FILE_SUFFIXES)) or subject.startswith("hf://")
    if is_file or subject in named_models():
        return "checkpoint"
    return "run" if data is None or _holds_run(subject) else "checkpoint"


def _holds_run(subject: str) -> bool:
    from pipelines.run.folder import RunFolder
    from pipelines.run.plan import load_plan
    from pipelines.storage.addresses import is_s3

    is_place = is_s3(subject) or Path(subject).is_dir()
    return is_place and load_plan(RunFolder(subject)) is not None


def _refuse_for_run(run: str, flags: dict[str, Any]) -> None:
    if wrong := _given(flags):
        raise ConfigError(
            f"expected --ground-truth with the run {run}, got {', '.join(wrong)}, which is for"
            " checkpoints; leave it out, or name a checkpoint"
        )


def _refuse_for_checkpoint(model: str, flags: dict[str, Any]) -> None:
    if wrong := _given(flags):
        raise ConfigError(
            f"expected --data with the checkpoint {model}, got {', '.join(wrong)}, which is for"
            " runs; use --data playground, or --data panoptic.json --images DIR --vocabulary NAME"
        )


def _given(flags: dict[str, Any]) -> list[str]:
    """The flags that have a value, as they are written."""
    given = (name for name, value in flags.items() if value not in (None, []))
    return [f"--{name.replace('_', '-')}" for name in given]


def _require_ground_truth(run: str, ground_truth: str | None) -> None:
    if ground_truth is None:
        raise ConfigError(
            f"expected --ground-truth with the run {run}, or --data with a checkpoint, got neither;"
            " add one of them"
        )


def _evaluate_run(config: EvaluateRunConfig, *, as_json: bool) -> None:
    from rich.console import Console

    from pipelines.evaluate import EvaluationPage, evaluate_run, write_run_page

    page = EvaluationPage(config.report) if config.report else None
    report = evaluate_run(config.run, config.ground_truth, masks=config.masks)
    address = write_run_page(page, report, config) if page else None
    if as_json:
        print_json(report.to_json() | {"page": address})
        return
    Console().print(report.to_table())
    if address:
        typer.echo(f"wrote {address}")


def _evaluate_model(config: EvaluateConfig, *, as_json: bool) -> None:
    from rich.console import Console

    from pipelines.bars import counting
    from pipelines.evaluate import (
        EvaluationPage,
        evaluate_model,
        to_record,
        to_terminal,
        write_model_page,
    )

    page = EvaluationPage(config.report) if config.report else None
    with counting("measuring") as on_progress:
        evaluation = evaluate_model(config, on_images=on_progress)
    address = write_model_page(page, evaluation, config) if page else None
    if as_json:
        print_json(to_record(evaluation) | {"page": address})
        return
    Console().print(to_terminal(evaluation))
    if address:
        typer.echo(f"wrote {address}")
