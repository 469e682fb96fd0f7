from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines.cli.command import app
from pipelines.planning.prepare import resolve_vocabulary
from possam_core.checkpoints.models import read_card
from possam_core.errors import CheckpointError, VocabularyError


def call(*arguments: object) -> Result:
    """One call of `possam vocabulary`, in a terminal that is wide enough."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["vocabulary", *map(str, arguments)])


@pytest.fixture
def write(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Writes the classes of a vocabulary file and says where."""

    def write_classes(*classes: str) -> Path:
        file = tmp_path / "mine.yaml"
        file.write_text("\n".join(["classes:", *(f"- {{{c}}}" for c in classes)]))
        return file

    return write_classes


def test_list_counts_the_classes_of_each_built_in_vocabulary() -> None:
    outcome = call("list")
    assert outcome.exit_code == 0
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in outcome.output.split("\n")]
    assert ["coco-panoptic", "133", "80", "53"] in rows
    assert ["lvis", "1,203", "1,203", "0"] in rows


def test_show_prints_each_class_with_its_synonyms() -> None:
    outcome = call("show", "cityscapes")
    assert outcome.exit_code == 0
    (row,) = [line for line in outcome.output.split("\n") if "cyclist" in line]
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        "25",
        "rider",
        "thing",
        "cyclist, motorcyclist",
    ]
    assert "parent" not in outcome.output


def test_show_prints_names_as_they_are_and_parents(write) -> None:  # type: ignore[no-untyped-def]
    file = write("name: '[red] cup', kind: thing", "name: mug, kind: thing, parent: '[red] cup'")
    outcome = call("show", file)
    assert outcome.output.count("[red] cup") == 2
    assert "parent" in outcome.output


def test_show_refuses_an_unknown_name() -> None:
    assert isinstance(call("show", "cityscape").exception, VocabularyError)


def test_lint_of_a_sound_file_ends_with_0(write) -> None:  # type: ignore[no-untyped-def]
    outcome = call("lint", write("name: cup, kind: thing", "name: sky, kind: stuff"))
    assert (outcome.exit_code, outcome.output) == (0, "mine: classes 2, errors 0, warnings 0\n")


def test_lint_with_warnings_alone_ends_with_0(write) -> None:  # type: ignore[no-untyped-def]
    outcome = call("lint", write("name: cup, kind: thing", "name: cups, kind: thing"))
    assert outcome.exit_code == 0
    assert outcome.output.startswith("warning: class 'cups': ")
    assert outcome.output.endswith("mine: classes 2, errors 0, warnings 1\n")


def test_lint_with_errors_lists_them_all_and_ends_with_2(write, tiny_model: str) -> None:  # type: ignore[no-untyped-def]
    file = write("name: cup", "name: sky, kind: stuf", "name: tree, kind: stuff")
    outcome = call("lint", file, "--model", tiny_model)
    assert outcome.exit_code == 2
    assert outcome.output.split("\n")[:3] == [
        "error: class 'cup': needs 'kind'; add kind: thing or kind: stuff",
        "error: class 'sky': kind must be thing or stuff, got 'stuf'; did you mean 'stuff'?",
        "near-duplicates were not checked: fix the errors first",
    ]


def test_lint_with_a_model_finds_near_duplicates(write, tiny_model: str) -> None:  # type: ignore[no-untyped-def]
    names = ("red ball", "green ball", "ball of red")  # all alike to an untrained CLIP
    file = write(*(f"name: {n}, kind: thing" for n in names))
    assert "cosine" not in call("lint", file).output
    outcome = call("lint", file, "--model", tiny_model)
    assert outcome.exit_code == 0
    cosines = [float(line.split("cosine ")[1][:5]) for line in outcome.output.split("\n")[:-2]]
    assert cosines
    assert cosines == sorted(cosines, reverse=True)
    assert min(cosines) >= 0.95


def test_lint_refuses_a_file_without_classes(tmp_path: Path) -> None:
    (tmp_path / "none.yaml").write_text("classes: []")
    assert isinstance(call("lint", tmp_path / "none.yaml").exception, VocabularyError)


def test_lint_refuses_an_unknown_model(write) -> None:  # type: ignore[no-untyped-def]
    outcome = call("lint", write("name: cup, kind: thing"), "--model", "possam-huge")
    assert isinstance(outcome.exception, CheckpointError)


def test_a_job_finds_built_in_names_files_and_the_models_own(  # type: ignore[no-untyped-def]
    write, tiny_model: str
) -> None:
    card = read_card(tiny_model)
    assert len(resolve_vocabulary("coco-panoptic", card)) == 133
    assert resolve_vocabulary(str(write("name: cup, kind: thing")), card).name == "mine"
    assert resolve_vocabulary(None, card).name == "playground"
    with pytest.raises(VocabularyError, match="did you mean 'coco-panoptic'"):
        resolve_vocabulary("coco-panoptik", card)
