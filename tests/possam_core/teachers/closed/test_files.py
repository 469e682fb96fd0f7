"""Folders of transformers: what is known of a model, and every mistake in one sentence."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from possam_core.checkpoints.models import promised_grades, read_card
from possam_core.checkpoints.transformers_folder import find_transformers
from possam_core.errors import CheckpointError, VocabularyError
from possam_core.extras import MissingExtraError
from possam_core.predictor import load_teacher
from possam_core.teachers.closed.files import open_closed
from possam_core.vocabulary.builtin import find_vocabulary
from possam_core.vocabulary.vocabulary import Vocabulary
from tests.closed_models import write_input, write_model

CITYSCAPES = find_vocabulary("cityscapes")
NAMES = [entry.name for entry in CITYSCAPES.classes]
WORDS = [{"name": "cup", "kind": "thing"}, {"name": "table", "kind": "stuff"}]
PUBLISHED = Path(__file__).parents[2] / "training/data/published/coco_panoptic.txt"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "eomt", "eomt", NAMES)


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "eomt"))


def change_tensors(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def change_index(folder: Path, weight_map: object) -> None:
    (folder / "model.safetensors").unlink()
    content = json.dumps({"weight_map": weight_map})
    (folder / "model.safetensors.index.json").write_text(content)


def change_config(folder: Path, **changes: object) -> None:
    content = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(content))


def model_file(beside: Path, **content: str) -> str:
    path = beside.parent / "model.yaml"
    path.write_text(yaml.safe_dump({"teacher": "transformers", "folder": beside.name} | content))
    return str(path)


def test_the_card_says_what_the_folder_says(folder: Path) -> None:
    card = read_card(str(folder))
    assert (card.name, card.licence, card.revision) == ("eomt", "mit", None)
    assert card.is_closed
    assert card.vocabulary == CITYSCAPES
    assert set(card.files) == {"config.json", "preprocessor_config.json", "model.safetensors"}
    assert all(card.is_seen(CITYSCAPES))
    assert promised_grades(str(folder)) is None
    write_input(folder, "eomt", do_pad=False)
    assert read_card(str(folder)).fingerprint != card.fingerprint


def test_the_commit_is_known_where_the_hub_s_tools_keep_it(folder: Path) -> None:
    note = folder / ".cache/huggingface/download/config.json.metadata"
    note.parent.mkdir(parents=True)
    note.write_text(f"{COMMIT}\n5f2a\n1764500000.0\n")
    assert read_card(str(folder)).revision == COMMIT
    snapshot = folder.parent / "models--tue-mps--tiny" / "snapshots" / COMMIT
    snapshot.parent.mkdir(parents=True)
    note.unlink()
    folder.rename(snapshot)
    card = read_card(str(snapshot))
    assert (card.name, card.revision) == ("tue-mps/tiny", COMMIT)


def test_published_names_of_coco_are_our_classes(folder: Path) -> None:
    lines = PUBLISHED.read_text().splitlines()
    published = [line.split(maxsplit=2)[2] for line in lines]
    change_config(folder, id2label=dict(enumerate(published)))
    found = find_transformers(str(folder))
    assert found is not None
    assert found.vocabulary == find_vocabulary("coco-panoptic")
    assert found.outputs == tuple(range(133))
    theirs = Vocabulary.from_records("theirs", [{"name": n, "kind": "stuff"} for n in published])
    assert found.read_card().own_classes(theirs) == tuple(range(133))


def test_unnamed_classes_are_named_by_a_model_file(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "eomt", "eomt", 19)
    with pytest.raises(CheckpointError, match=r"the 19 classes of .* does not say their names"):
        load_teacher(str(folder))
    teacher = load_teacher(model_file(folder, classes="cityscapes", licence="MIT", revision="2x"))
    assert teacher.vocabulary == CITYSCAPES
    assert (teacher.card.licence, teacher.card.revision) == ("MIT", "2x")
    with pytest.raises(CheckpointError, match="has 133 classes; name the one"):
        load_teacher(model_file(folder, classes="coco-panoptic"))


def test_classes_of_a_model_of_one_s_own_come_with_their_kinds(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "eomt", "eomt", ["table", "cup"])
    with pytest.raises(CheckpointError, match="does not say which are things"):
        load_teacher(str(folder))
    (tmp_path / "words.yaml").write_text(yaml.safe_dump({"classes": WORDS}))
    found = find_transformers(model_file(folder, classes="words.yaml"))
    assert found is not None
    assert found.outputs == (1, 0)
    others = [*WORDS[:1], {"name": "plate", "kind": "thing"}]
    (tmp_path / "words.yaml").write_text(yaml.safe_dump({"classes": others}))
    with pytest.raises(CheckpointError, match="has no class for table"):
        find_transformers(model_file(folder, classes="words.yaml"))


@pytest.mark.parametrize(
    ("vocabulary", "sentence"),
    [
        (
            Vocabulary.from_records("cars", [{"name": "cars", "kind": "thing"}]),
            r"expected the 19 classes that the model eomt labels \(road, sidewalk, .* and 9 more\),"
            r" but the vocabulary 'cars' has cars \('cars': did you mean 'car'\?\); leave",
        ),
        (CITYSCAPES.subset(NAMES[1:], name="fewer"), "'fewer' lacks road; leave the vocabulary"),
    ],
)
def test_a_vocabulary_that_is_not_the_model_s_is_refused(
    folder: Path, vocabulary: Vocabulary, sentence: str
) -> None:
    with pytest.raises(VocabularyError, match=sentence):
        load_teacher(str(folder), vocabulary)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.pop("query.weight"), r"1 missing \(query.weight\)"),
        (lambda t: t.pop("attn_mask_probs"), r"1 missing \(attn_mask_probs\)"),
        (lambda t: t.update(more=torch.zeros(1)), r"1 unknown \(more\)"),
        (lambda t: t.update({"query.weight": torch.zeros(3, 16)}), r"misshapen \(query.weight\)"),
    ],
    ids=["missing", "missing buffer", "unknown", "misshapen"],
)
def test_weights_without_every_tensor_are_refused(
    folder: Path, change: Callable[[dict[str, Tensor]], object], sentence: str
) -> None:
    change_tensors(folder, change)
    with pytest.raises(CheckpointError, match=sentence):
        load_teacher(str(folder))


def test_tensors_of_the_loss_may_be_missing(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.pop("criterion.empty_weight"))
    assert len(load_teacher(str(folder)).vocabulary) == 19


def test_half_precision_weights_label_in_float32(folder: Path) -> None:
    change_config(folder, dtype="float16")
    change_tensors(folder, lambda t: t.update({n: v.half() for n, v in t.items()}))
    found = find_transformers(str(folder))
    assert found is not None
    assert next(open_closed(found).network.parameters()).dtype == torch.float32


def test_weights_that_torch_saved_are_read_if_they_are_no_program(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"expected model.safetensors or pytorch_model.bin"):
        load_teacher(str(folder))
    torch.save(tensors, folder / "pytorch_model.bin")
    assert "pytorch_model.bin" in load_teacher(str(folder)).card.files
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Path, protocol=2))
    with pytest.raises(CheckpointError, match="it cannot be loaded"):
        load_teacher(str(folder))


def test_weights_in_parts_are_one_model(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    where = {name: first if i % 2 else second for i, name in enumerate(sorted(tensors))}
    for part in (first, second):
        content = {name: tensors[name] for name, place in where.items() if place == part}
        save_file(content, folder / part, metadata={"format": "pt"})
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    assert {first, second, index.name} < set(load_teacher(str(folder)).card.files)
    (folder / second).unlink()
    with pytest.raises(CheckpointError, match=f"but {second} are not there"):
        load_teacher(str(folder))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda f: change_config(f, model_type="detr"), "of the type eomt, mask2former, oneformer"),
        (lambda f: change_config(f, id2label={"1": "sky"}), "name the classes 0, 1, 2 and so on"),
        (lambda f: change_config(f, id2label=5), "name the classes 0, 1, 2 and so on, got 5;"),
        (lambda f: change_config(f, id2label={}), "name the classes 0, 1, 2 and so on, got {};"),
        (lambda f: change_config(f, id2label=None, num_labels="x"), "a number of classes as num_l"),
        (lambda f: change_config(f, hidden_size=0), "it cannot be loaded .ZeroDivisionError"),
        (lambda f: change_index(f, ["model.safetensors"]), "but it names none; download"),
        (lambda f: change_index(f, None), "but it names none; download"),
        (
            lambda f: change_tensors(f, lambda t: t["class_predictor.bias"].fill_(torch.nan)),
            r"expected finite numbers .* 1 tensors hold others \(class_predictor.bias\)",
        ),
        (lambda f: (f / "config.json").write_text("{"), "expected JSON in"),
        (lambda f: (f / "config.json").write_text("[]"), "expected settings by name"),
        (lambda f: (f / "preprocessor_config.json").unlink(), "but there is neither"),
        (lambda f: (f / "model.safetensors").write_bytes(b"no"), "it cannot be loaded"),
        (lambda f: change_config(f, hidden_size="x"), "it cannot be loaded"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_sentence(
    folder: Path, damage: Callable[[Path], object], sentence: str
) -> None:
    damage(folder)
    with pytest.raises(CheckpointError, match=sentence):
        load_teacher(str(folder))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"folder": "nowhere"}, r"expected config.json in .*nowhere"),
        ({"clases": "cityscapes"}, "expected only teacher, folder, classes, licence, revision"),
        ({"classes": "words.yaml"}, r"expected a vocabulary file at .*words\.yaml, found none"),
    ],
)
def test_a_model_file_with_a_mistake_is_refused(
    folder: Path, content: dict[str, str], sentence: str
) -> None:
    with pytest.raises((CheckpointError, VocabularyError), match=sentence):
        load_teacher(model_file(folder, **content))


def test_a_hub_s_folder_is_answered_with_how_to_download_it() -> None:
    with pytest.raises(CheckpointError, match=r"hf download tue-mps/eomt --local-dir eomt` and"):
        load_teacher("hf://tue-mps/eomt")


def test_without_the_library_the_extra_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("possam_core.extras.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"the model eomt needs the extra \[transformers\]"):
        load_teacher(str(folder))
