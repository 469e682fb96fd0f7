"""FC-CLIP's model file, read without torch."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from possam_core.checkpoints.fc_clip_file import FcClipFile, find_fc_clip
from possam_core.checkpoints.models import (
    model_fingerprint,
    promised_grades,
    read_card,
    require_model,
    resolve_model,
)
from possam_core.checkpoints.published import FC_CLIP_TOWER, find_published
from possam_core.errors import CheckpointError
from possam_core.vocabulary.builtin import find_vocabulary
from tests.fc_clip_files import write_model_file

HEAD, TOWER = b"a head", b"a tower"  # nothing here reads their tensors


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "fcclip_small.pth").write_bytes(HEAD)
    (tmp_path / "clip.bin").write_bytes(TOWER)
    return tmp_path


def find(path: Path) -> FcClipFile:
    file = find_fc_clip(str(path))
    assert file is not None
    return file


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_card_names_files_licence_and_training_names(folder: Path) -> None:
    path = write_model_file(folder, licence="CLIP: MIT", revision="2023-12-01")
    card = read_card(str(path))
    assert card.name == "fc-clip"
    assert card.files == {"fcclip_small.pth": sha256(HEAD), "clip.bin": sha256(TOWER)}
    assert (card.licence, card.revision, card.vocabulary) == ("CLIP: MIT", "2023-12-01", None)
    assert card.training_names is not None
    assert len(card.training_names) == 254
    assert all(card.is_seen(find_vocabulary("fc-clip-coco")))
    assert sum(map(bool, card.is_seen(find_vocabulary("coco-panoptic")))) == 130
    assert sum(map(bool, card.is_seen(find_vocabulary("fc-clip-ade20k-150")))) == 64
    assert promised_grades(str(path)) is None
    require_model(str(path))


def test_the_fingerprint_is_another_whenever_labels_may_be(folder: Path) -> None:
    first = model_fingerprint(str(write_model_file(folder)))
    assert model_fingerprint(str(write_model_file(folder, licence="MIT"))) == first
    others = {
        model_fingerprint(str(write_model_file(folder, **change)))
        for change in (
            {"teacher": "ovrcoat"},
            {"short_side": 640},
            {"training_vocabulary": ["cup"]},
            {"architecture": {"decoder": {"num_queries": 7}}},
            {"clip": None},
        )
    }
    (folder / "fcclip_small.pth").write_bytes(b"another head")
    others.add(model_fingerprint(str(write_model_file(folder))))
    assert len(others - {first}) == 6


@pytest.mark.parametrize("part", ["head", "clip"])
def test_a_file_that_is_not_the_pinned_one_is_refused(folder: Path, part: str) -> None:
    pins = {"head_sha256": sha256(HEAD), "clip_sha256": sha256(TOWER)}
    assert read_card(str(write_model_file(folder, **pins))).files
    path = write_model_file(folder, **pins | {f"{part}_sha256": "0" * 64})
    with pytest.raises(CheckpointError, match=r"with the sha256 that .* pins \(000000000000"):
        read_card(str(path))


def test_the_published_architecture_needs_the_published_tower_or_a_pin(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"expected the CLIP that FC-CLIP was trained on"):
        read_card(str(write_model_file(folder, architecture=None)))
    pinned = write_model_file(folder, architecture=None, clip_sha256=sha256(TOWER))
    assert read_card(str(pinned)).files["clip.bin"] == sha256(TOWER)
    assert find_published(FC_CLIP_TOWER).licence == "MIT"


@pytest.mark.parametrize(
    "content",
    [
        "0:invalid_class_id\n1:cup, mug\n2:road\n\n",
        "classes: [{name: cup, kind: thing, synonyms: [mug]}, {name: road, kind: stuff}]",
    ],
)
def test_training_names_come_from_files_too(folder: Path, content: str) -> None:
    name = "names.txt" if content[0] == "0" else "names.yaml"
    (folder / name).write_text(content)
    file = find(write_model_file(folder, training_vocabulary=name))
    assert file.training_names == ("cup", "mug", "road")


def test_training_names_may_be_those_of_a_built_in_vocabulary(folder: Path) -> None:
    file = find(write_model_file(folder, training_vocabulary="coco-panoptic"))
    assert "human" in file.training_names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"teacher": "fcclip"},
            "expected fc-clip, ovrcoat or transformers as teacher in .* got 'fcclip'",
        ),
        ({"sam": "sam.pth"}, "expected only teacher, head, clip"),
        ({"head": None}, "expected 'head' in the model file"),
        ({"head": "none.pth"}, "names as head, but there is none"),
        ({"clip": "none.bin"}, "names as clip, but there is none"),
        ({"short_side": "800"}, "expected a whole number as short_side .* got '800'"),
        ({"head_sha256": 12}, "expected text as head_sha256"),
        ({"architecture": [1]}, "expected settings by name as architecture"),
        ({"training_vocabulary": 7}, "expected a list of names or a file as training_vocabulary"),
        ({"training_vocabulary": "no.txt"}, "names as training_vocabulary, but there is none"),
    ],
)
def test_mistakes_in_the_model_file_are_one_sentence(
    folder: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read_card(str(write_model_file(folder, **change)))
    assert "\n" not in str(caught.value)


def test_lines_that_are_no_names_are_shown(folder: Path) -> None:
    (folder / "names.txt").write_text("1:cup\nroad\n")
    with pytest.raises(CheckpointError, match="got 'road' in line 2"):
        find(write_model_file(folder, training_vocabulary="names.txt"))


def test_it_is_no_checkpoint_of_possam(folder: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"expected a checkpoint of PosSAM, got .* which is another"
    ):
        resolve_model(str(write_model_file(folder)))


def test_unfetched_it_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSSAM_WEIGHTS", str(tmp_path))
    with pytest.raises(CheckpointError, match="never fetched; run `possam weights fetch fc-clip`"):
        read_card("fc-clip")


def test_describing_a_model_loads_no_torch(folder: Path) -> None:
    code = (
        "import sys; from possam_core.checkpoints.models import read_card;"
        f"read_card({str(write_model_file(folder))!r}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected lines such as .*, got none"),
        (b"1:caf\xe9", "it cannot be read .*save it as UTF-8"),
        (b"\xef\xbb\xbf1:car,cars", None),
    ],
)
def test_a_file_of_training_names_is_read_or_refused(
    folder: Path, content: bytes, said: str | None
) -> None:
    (folder / "names.txt").write_bytes(content)
    path = write_model_file(folder, training_vocabulary="names.txt")
    if said is None:
        assert find(path).training_names == ("car", "cars")
        return
    with pytest.raises(CheckpointError, match=said):
        find(path)


@pytest.mark.parametrize("value", [[], ""])
def test_no_training_names_at_all_are_refused(folder: Path, value: object) -> None:
    path = write_model_file(folder, training_vocabulary=value)
    with pytest.raises(CheckpointError, match="expected a list of names or a file"):
        find(path)


def test_a_file_is_named_by_text(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"the name of a file as head .*got \['a'\]"):
        find(write_model_file(folder, head=["a"]))
