import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from pipelines.cli import main
from pipelines.cli.settings_flags import takes_settings
from pipelines.planning.prepare import prepare
from pipelines.run.finalise import finalise
from pipelines.run.folder import RunFolder
from pipelines.run.plan import PlanSettings
from pipelines.settings.label import LabelConfig
from tests.factories import encode, make_pixels

POSSAM = Path(sys.executable).with_name("possam")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A corpus of one image."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").write_bytes(encode(make_pixels()))
    return tmp_path / "images"


class Outcome:
    """Exit code and output of one call of the command, inside this process."""

    def __init__(
        self,
        arguments: list[object],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["possam", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        self.code = caught.value.code
        self.out, self.err = capsys.readouterr()

    def is_one_sentence_about(self, *words: str) -> bool:
        """Exit code 2 and one line on stderr that holds all `words`."""
        return (
            (self.code, self.out, self.err.count("\n")) == (2, "", 1)
            and self.err.startswith("possam: ")
            and all(word in self.err for word in words)
        )


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Calls the command with these arguments."""
    return lambda *arguments: Outcome(list(arguments), monkeypatch, capsys)


def test_the_installed_command_reports_a_missing_folder_in_one_line(tmp_path: Path) -> None:
    command = [POSSAM, "label", tmp_path / "nowhere", "--output", tmp_path / "run"]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 2
    assert "nowhere does not exist; check the path" in outcome.stderr
    assert outcome.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_without_a_terminal_no_colours_are_printed() -> None:
    environment = os.environ | {"FORCE_COLOR": "1"}  # as Jupyter sets it
    command = [POSSAM, "vocabulary", "list"]
    printed = subprocess.run(command, capture_output=True, check=True, env=environment).stdout
    assert b"coco-panoptic" in printed
    assert b"\x1b" not in printed


def test_the_command_line_itself_imports_neither_ray_nor_torch() -> None:
    program = "import pipelines.cli, sys; print({'ray', 'torch'} & set(sys.modules))"
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert outcome.stdout.strip() == b"set()"


def test_help_and_version_are_printed(call) -> None:  # type: ignore[no-untyped-def]
    assert call("--help").code == 0
    outcome = call("--version")
    assert (outcome.code, outcome.out.split()[0]) == (0, "possam")


def test_help_names_the_actual_defaults(call, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("COLUMNS", "200")
    lines = call("label", "--help").out.splitlines()
    defaults = LabelConfig(images="a", output="b")
    for name in ("model", "consistency_share", "shard_size", "error_budget"):
        (line,) = (text for text in lines if f"--{name.replace('_', '-')} " in text)
        assert f"[default: ({getattr(defaults, name)})]" in line


def test_help_shows_a_default_of_zero_and_what_is_needed_and_no_type_of_a_switch(  # type: ignore[no-untyped-def]
    call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    printed = call("label", "--help").out
    lines = printed.splitlines()
    (share,) = (line for line in lines if "--consistency-share" in line)
    assert "[default: (0.0)]" in share
    for name in ("IMAGES ", "--output"):
        (line,) = (text for text in lines if f" {name}" in text and "[OPTIONS]" not in text)
        assert "needed, here or in the YAML file" in line
    assert "<bool>" not in printed
    assert "<bool>" not in call("errors", "--help").out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("doctor", "--gpus-per-worker", "-1"), "--gpus-per-worker must be 0 or more, got -1.0"),
        (("doctor", "--gpus-per-worker", "nan"), "--gpus-per-worker must be a finite number"),
        (("doctor", "--gpus-per-worker", "inf"), "--gpus-per-worker must be a finite number"),
        (("doctor", "--images", ""), "--images must not be empty"),
        (("retry", "run", "--allowed-host", "http://a.org/"), "--allowed-host must be a host"),
        (
            ("label", "i", "--output", "o", "--vocabulary", ""),
            "vocabulary on the command line must",
        ),
    ],
)
def test_a_flag_is_checked_as_its_setting_is(  # type: ignore[no-untyped-def]
    call, arguments: tuple[str, ...], sentence: str
) -> None:
    assert call(*arguments).is_one_sentence_about(sentence)


@pytest.mark.parametrize(
    "arguments",
    [
        ("errors", "run", "--samples", str(10**30)),
        ("probe", "i", "--output", "o", "--num-images", str(10**30)),
        ("report", "run", "--max-images", str(10**30)),
        ("playground", "--output", "o", "--seed", "-1"),
    ],
)
def test_a_number_of_the_command_alone_has_bounds_too(call, arguments: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    outcome = call(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert f"Invalid value for '{arguments[-2]}'" in outcome.err


def test_a_flag_takes_back_what_the_file_sets_to_true(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("single_writer: true\n")
    loaded: list[LabelConfig] = []
    app = typer.Typer()

    @app.command()
    @takes_settings(LabelConfig)
    def collect(settings: LabelConfig) -> None:
        loaded.append(settings)

    needed = ["--images", "a", "--output", "b", "--config", str(file)]
    for flags in ([], ["--no-single-writer"]):
        app(needed + flags, standalone_mode=False)
    assert [settings.single_writer for settings in loaded] == [True, False]


@pytest.mark.parametrize("command", ["label", "plan", "retry", "correct", "export"])
def test_help_names_both_forms_of_a_setting_that_is_true_or_false(  # type: ignore[no-untyped-def]
    call, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    flag = "labels-only" if command == "export" else "single-writer"
    (line,) = (line for line in call(command, "--help").out.splitlines() if f"--{flag}" in line)
    assert f"--no-{flag}" in line


def test_an_empty_corpus_is_named(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "empty").mkdir()
    outcome = call("label", tmp_path / "empty", "--output", tmp_path / "run")
    assert outcome.is_one_sentence_about("found none", "empty")
    assert not (tmp_path / "run").exists()


def test_an_unknown_model_is_named(call, images: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    outcome = call("label", images, "--output", tmp_path / "run", "--model", "possam-huge")
    assert outcome.is_one_sentence_about("possam-huge")
    assert not (tmp_path / "run").exists()


def test_a_corrupt_checkpoint_is_named(  # type: ignore[no-untyped-def]
    call, images: Path, tmp_path: Path, tiny_model: str
) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(Path(tiny_model).read_bytes()[:1000])
    outcome = call("label", images, "--output", tmp_path / "run", "--model", broken)
    assert outcome.is_one_sentence_about("broken.safetensors")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("vocabulary", "word"),
    [("animals", "animals"), ("none.yaml", "none.yaml"), ("bad.yaml", "kind must be thing")],
)
def test_an_unusable_vocabulary_is_named(  # type: ignore[no-untyped-def]
    call,
    images: Path,
    tmp_path: Path,
    tiny_model: str,
    vocabulary: str,
    word: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("classes: [{name: cat, kind: animal}]")
    arguments = ("--output", tmp_path / "run", "--model", tiny_model, "--vocabulary", vocabulary)
    assert call("label", images, *arguments).is_one_sentence_about(word)
    assert not (tmp_path / "run").exists()


def test_an_unwritable_output_is_named(  # type: ignore[no-untyped-def]
    call, images: Path, tmp_path: Path, tiny_model: str
) -> None:
    (tmp_path / "file").write_text("")
    outcome = call("label", images, "--output", tmp_path / "file/run", "--model", tiny_model)
    assert outcome.is_one_sentence_about("file/run", "--output")


def test_a_run_folder_of_other_settings_is_named(  # type: ignore[no-untyped-def]
    call, images: Path, tmp_path: Path, tiny_model: str
) -> None:
    prepare(LabelConfig(images=str(images), output=str(tmp_path / "run"), model=tiny_model))
    arguments = ("--output", tmp_path / "run", "--model", tiny_model, "--shard-size", 8)
    assert call("label", images, *arguments).is_one_sentence_about("shard_size 1024 -> 8")


@pytest.mark.parametrize(
    ("option", "value"), [("--shard-size", 0), ("--num-workers", 0), ("--output", "ftp://x/y")]
)
def test_a_setting_out_of_range_is_named(  # type: ignore[no-untyped-def]
    call, images: Path, tmp_path: Path, option: str, value: object
) -> None:
    outcome = call("label", images, "--output", tmp_path / "run", option, value)
    assert outcome.is_one_sentence_about(str(value))


def test_a_bucket_that_does_not_exist_is_named(call, images: Path, s3_server: str) -> None:  # type: ignore[no-untyped-def]
    outcome = call("label", "s3://no-such-bucket/x", "--output", "s3://no-such-bucket/run")
    assert outcome.is_one_sentence_about("s3://no-such-bucket/x")


def test_a_plan_says_what_it_holds_and_labels_nothing(  # type: ignore[no-untyped-def]
    call, images: Path, tmp_path: Path, tiny_model: str
) -> None:
    (images / "copy.jpg").write_bytes((images / "a.jpg").read_bytes())
    outcome = call("plan", images, "--output", tmp_path / "run", "--model", tiny_model)
    assert outcome.code == 0
    assert "planned 1 image in 1 shard of 1,024" in outcome.out
    assert "dropped 1 image as repeating another by address" in outcome.out
    assert not (tmp_path / "run/data").exists()


def test_settings_come_from_a_file_and_flags_win(  # type: ignore[no-untyped-def]
    call, images: Path, tmp_path: Path, tiny_model: str
) -> None:
    settings = {"images": str(images), "output": "/nowhere", "model": tiny_model, "shard_size": 7}
    (tmp_path / "job.yaml").write_text(json.dumps(settings))
    arguments = ("--config", tmp_path / "job.yaml", "--output", tmp_path / "run")
    outcome = call("plan", *arguments)
    assert (outcome.code, "1 shard of 7;" in outcome.out) == (0, True)


def test_every_mistake_in_the_settings_is_named_at_once(  # type: ignore[no-untyped-def]
    call, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "job.yaml").write_text("shard_sise: 7\nprecision: float16\n")
    arguments = (images, "--output", tmp_path / "run", "--config", tmp_path / "job.yaml")
    outcome = call("label", *arguments)
    assert outcome.is_one_sentence_about("shard_sise", "shard_size", "float16", "bfloat16")


def test_a_misspelt_model_and_a_misspelt_vocabulary_are_both_named(  # type: ignore[no-untyped-def]
    call, images: Path, tmp_path: Path
) -> None:
    wrong = ("--model", "posam-tiny", "--vocabulary", "coco-panoptik")
    outcome = call("plan", images, "--output", tmp_path / "run", *wrong)
    assert outcome.is_one_sentence_about(
        "2 settings are wrong", "did you mean 'possam-tiny'?", "did you mean 'coco-panoptic'?"
    )


def test_without_a_corpus_the_missing_settings_are_named(call) -> None:  # type: ignore[no-untyped-def]
    assert call("label").is_one_sentence_about("images", "output")


def test_the_schema_of_the_settings_is_json(call) -> None:  # type: ignore[no-untyped-def]
    one = json.loads(call("config", "schema", "label").out)
    assert {"images", "output", "prices"} <= set(one["properties"])
    assert one["properties"]["shard_size"]["description"] == "images in one file"
    assert one["properties"]["shard_size"]["maximum"] == 100_000
    every = json.loads(call("config", "schema").out)
    assert list(every) == ["label", "train", "evaluate", "calibrate", "export"]
    assert every["label"] == one
    assert call("config", "schema", "lable").is_one_sentence_about("did you mean 'label'?")


def test_a_finished_run_can_be_inspected_verified_and_compacted(  # type: ignore[no-untyped-def]
    call, make_run: Callable
) -> None:
    small = make_run(num_images=5, damage={1: b""})
    assert "complete" in call("status", small.run).out
    finalise(RunFolder(str(small.run)))
    assert json.loads(call("status", small.run, "--json").out)["state"] == "finalised"
    assert "possam retry" not in call("errors", small.run).out  # an empty file stays empty
    (entry,) = json.loads(call("errors", small.run, "--json").out)["codes"]
    assert (entry["code"], entry["num_images"]) == ("empty", 1)
    outcome = call("verify", small.run)
    assert (outcome.code, outcome.out[-12:]) == (0, ": 0 problems\n"[-12:])
    assert "wrote 5 rows in 1 file," in call("compact", small.run).out
    assert "found 5 rows in 1 file," in call("compact", small.run).out


def test_verify_exits_with_1_and_names_the_problem(call, make_run: Callable) -> None:  # type: ignore[no-untyped-def]
    small = make_run(num_images=5)
    finalise(RunFolder(str(small.run)))
    (small.run / "data/g=0000/shard-00000001.parquet").unlink()
    outcome = call("verify", small.run)
    assert outcome.code == 1
    assert "shard-00000001.parquet" in outcome.out


def test_a_retry_of_an_unknown_code_is_named(call, make_run: Callable) -> None:  # type: ignore[no-untyped-def]
    outcome = call("retry", make_run().run, "--codes", "empti")
    assert outcome.is_one_sentence_about("empti", "empty")


def test_a_retry_takes_every_setting_that_the_plan_does_not_hold(call) -> None:  # type: ignore[no-untyped-def]
    printed = call("retry", "--help").out
    planned = {field.name for field in fields(PlanSettings)} | {"output"}
    for name in {field.name for field in fields(LabelConfig)} - planned - {"prices", "force"}:
        assert f"--{name.removesuffix('s').replace('_', '-')}" in printed


def test_no_secret_of_the_environment_is_printed(  # type: ignore[no-untyped-def]
    call, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "open-sesame")
    outcome = call("label", images, "--output", "ftp://user:open-sesame@host/run")
    assert outcome.is_one_sentence_about("ftp://")
    assert "sesame" not in outcome.err


def test_scenes_of_the_second_world_are_drawn_on_request(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    drawn = call("playground", "--world", "workshop", "--num-images", 1, "--output", tmp_path / "w")
    assert drawn.code == 0
    assert "wrote 1 image and" in drawn.out
    assert "name: workshop" in (tmp_path / "w/vocabulary.yaml").read_text()
    typo = call("playground", "--world", "workshp", "--output", tmp_path / "typo")
    assert typo.is_one_sentence_about("'workshp'", "did you mean 'workshop'?")
    assert not (tmp_path / "typo").exists()
