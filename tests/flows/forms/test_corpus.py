"""The form alone: no server, no model."""

import json
import subprocess
import sys
from dataclasses import fields, replace
from math import inf, nan
from pathlib import Path

import pytest
from prefect import Flow

from flows.evaluate_run import EvaluateRunForm, evaluate_run
from flows.export_dataset import ExportDatasetForm, export_dataset
from flows.forms.corpus import LabelCorpusForm, label_config, problems
from flows.forms.form import form_fields
from flows.forms.model import Preset, VocabularyChoice
from flows.label_corpus import label_corpus
from flows.label_new import LabelNewForm, label_new
from flows.reap_orphans import ReapOrphansForm, reap_orphans
from flows.retry_failed import RetryFailedForm, retry_failed
from pipelines.run.plan import PlanSettings
from pipelines.settings.label import LabelConfig
from possam_core.vocabulary.builtin import builtin_vocabularies, find_vocabulary


@pytest.fixture
def form(tmp_path: Path) -> LabelCorpusForm:
    """One without mistakes."""
    (tmp_path / "corpus").mkdir()
    return LabelCorpusForm(images=str(tmp_path / "corpus"), output=str(tmp_path / "run"))


def test_a_form_needs_no_more_than_images_and_output(form: LabelCorpusForm) -> None:
    assert problems(form) == []
    config = label_config(form)
    assert (config.model, config.vocabulary, config.shard_size) == ("possam-tiny", None, 64)


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        ({"images": ""}, ["images must not be empty, got ''"]),
        ({"images": "/no/where"}, ["/no/where does not exist"]),
        ({"output": "gs://b/run"}, ["output: expected a local path or an s3:// address"]),
        ({"checkpoint": "possam-tyni"}, ["did you mean 'possam-tiny'?"]),
        ({"preset": Preset.SAM_H}, ["checkpoint must name a head for SAM-H"]),
        ({"vocabulary": VocabularyChoice.OWN_FILE}, ["vocabulary_file must name a YAML file"]),
        ({"vocabulary_file": "v.yaml"}, ["vocabulary must be 'own file' when"]),
        ({"classes": "star"}, ["classes must be chosen from a vocabulary with a name"]),
        (
            {"vocabulary": VocabularyChoice.COCO_PANOPTIC, "classes": "person, cra, zebar"},
            ["has no class 'cra'", "has no class 'zebar'"],
        ),
        ({"vocabulary": VocabularyChoice.PLAYGROUND, "classes": "stra"}, ["no class 'stra'"]),
        (
            {"limit": -1, "num_workers": -1},
            ["limit must be at least 1, got -1", "num_workers must be at least 1, got -1"],
        ),
        ({"sample": 1.5}, ["sample must be in (0, 1], got 1.5; 0.01 is one image in a hundred"]),
        ({"shard_size": 100_001}, ["shard_size must be 1 to 100,000, got 100001"]),
        (
            {"consistency_share": nan},
            ["consistency_share must be a finite number, in [0, 1], got nan"],
        ),
        (
            {"since": "yesterday", "error_budget": inf},
            [
                "since must be a date or time",
                "error_budget must be a finite number, in [0, 1], got inf",
            ],
        ),
        ({"gpus_per_worker": -2.0}, ["gpus_per_worker must be 0 or more, got -2.0"]),
        ({"error_budget": 5.0}, ["error_budget must be in [0, 1], got 5.0"]),
        ({"since": "yesterday"}, ["since must be a date or time"]),
        ({"canary_images": -1}, ["canary_images must be 0 or more"]),
        ({"canary_images": 0, "approval": True}, ["approval needs a canary"]),
        ({"approval_hours": 0.0}, ["approval_hours must be more than 0"]),
        ({"output": "s3://bucket"}, ["output must be below its bucket"]),
        ({"max_error_share": 2.0}, ["max_error_share must be in [0, 1]"]),
        ({"min_mean_grade": 0.5}, ["min_mean_grade must be 1 to 4, got 0.5"]),
        ({"reference": "ftp://x"}, ["expected a local path or an s3:// address, got 'ftp://x'"]),
        ({"ray_address": "ray-head:8265"}, ["ray_address must be http(s)://host:port"]),
        ({"ray_address": "http://me:pass@head:1"}, ["ray_address must hold no login or token"]),
        ({"ray_address": "http://head:port"}, ["got a port that is not a number"]),
        (
            {"ray_address": "http://head:8265", "worker_hour_price": 2.0},
            ["num_workers must be given with a price on a Ray cluster"],
        ),
        ({"worker_hour_price": -1.0}, ["worker_hour_price must be 0 or more"]),
    ],
)
def test_a_mistake_is_named_in_a_sentence(
    form: LabelCorpusForm, change: dict[str, object], sentences: list[str]
) -> None:
    found = problems(replace(form, **change))
    assert len(found) == len(sentences)
    for problem, sentence in zip(found, sentences, strict=True):
        assert sentence in problem


@pytest.mark.parametrize("corpus", ["{0}", "{0}/", "{0}/**/*.jpg"])
def test_output_may_neither_be_the_corpus_nor_lie_in_it(form: LabelCorpusForm, corpus: str) -> None:
    images = form.images
    for output, sentence in (
        (images, "output must differ from images"),
        (f"{images}/labels", "output must not lie inside images"),
    ):
        changed = replace(form, images=corpus.format(images), output=output)
        assert [sentence in problem for problem in problems(changed)] == [True]


def test_a_reference_must_be_another_run(form: LabelCorpusForm) -> None:
    (problem,) = problems(replace(form, reference=form.output))
    assert "reference must be another run than output" in problem


def test_a_wrong_form_is_found_without_torch_and_ray() -> None:
    program = """
import sys
from flows.label_corpus import label_corpus
from flows.forms.corpus import LabelCorpusForm, problems
from flows.forms.model import VocabularyChoice
assert problems(LabelCorpusForm(
    images="/no", output="/no", vocabulary=VocabularyChoice.PLAYGROUND, classes="stra"))
print(sorted({"torch", "ray"} & set(sys.modules)))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert ended.stdout == b"[]\n"


def test_chosen_classes_become_a_vocabulary_of_their_own(form: LabelCorpusForm) -> None:
    chosen = replace(form, vocabulary=VocabularyChoice.COCO_PANOPTIC, classes="car, person")
    assert problems(chosen) == []
    vocabulary = find_vocabulary(str(label_config(chosen).vocabulary))
    assert [c.name for c in vocabulary.classes] == ["person", "car"]
    assert [c.category_id for c in vocabulary.classes] == [1, 3]


def test_fields_win_over_their_preset(form: LabelCorpusForm, tiny_model: str) -> None:
    large = replace(form, preset=Preset.SAM_B, checkpoint=tiny_model)
    assert problems(large) == []
    config = label_config(large)
    assert (config.gpus_per_worker, config.precision, config.shard_size) == (1, "bfloat16", 1024)
    config = label_config(replace(large, gpus_per_worker=0.0, shard_size=100))
    assert (config.gpus_per_worker, config.shard_size) == (0, 100)


def test_every_setting_of_the_job_is_in_the_form_or_has_a_reason_not_to_be() -> None:
    elsewhere = {
        "vocabulary": "its three fields say which list, which file, and which classes of it",
        "precision": "comes with the preset",
        "compile": "its default is right on a GPU; the command and its YAML file have it",
        "channels_last": "as compile",
        "force": "a form starts runs in folders of their own",
        "prices": "worker_hour_price and currency: the flow shows no other cost",
    }
    for form in (LabelCorpusForm, LabelNewForm):
        asked = {f.name for f in form_fields(form).values() if f.owner is LabelConfig}
        if form is LabelNewForm:
            asked |= {"sample", "since"}  # a series takes whatever no earlier run of it has
        assert {field.name for field in fields(LabelConfig)} - asked == set(elsewhere)


@pytest.mark.parametrize(
    "form",
    [
        EvaluateRunForm,
        ExportDatasetForm,
        LabelCorpusForm,
        LabelNewForm,
        ReapOrphansForm,
        RetryFailedForm,
    ],
)
def test_every_field_of_a_form_is_annotated_with_its_help(form: type) -> None:
    assert list(form_fields(form)) == [field.name for field in fields(form)]
    assert all(field.description for field in form_fields(form).values())


def test_a_retry_asks_for_every_setting_that_the_plan_does_not_hold() -> None:
    planned = {field.name for field in fields(PlanSettings)} | {"output", "prices"}
    in_no_form = {"compile", "channels_last", "force"}
    asked = {field.name for field in fields(RetryFailedForm)}
    assert {field.name for field in fields(LabelConfig)} - planned - in_no_form <= asked


def test_what_a_form_gives_reaches_the_job_and_what_it_leaves_out_does_not(
    form: LabelCorpusForm,
) -> None:
    config = label_config(
        replace(form, consistency_share=0.05, single_writer=True, limit=3, currency="EUR")
    )
    assert (config.consistency_share, config.single_writer, config.limit) == (0.05, True, 3)
    assert config.prices.currency == "EUR"
    assert (config.sample, config.since, config.num_workers) == (None, None, None)


def test_a_field_says_what_its_setting_says_and_what_leaving_it_out_means() -> None:
    schema = label_corpus.parameters.model_dump()["definitions"]["LabelCorpusForm"]["properties"]
    sample = {k: v for k, v in schema["sample"].items() if k != "position"}
    assert sample == {
        "type": "number",
        "title": "Sample",
        "description": "Plan this share of the images; 0: all",
        "default": 0.0,
        "minimum": 0,  # which means all; a share is more than 0
        "maximum": 1,
        "examples": [0.01],
    }
    assert schema["gpus_per_worker"]["minimum"] == -1
    assert schema["gpus_per_worker"]["description"].endswith("; -1: as the preset")
    assert schema["allowed_hosts"]["examples"] == [["images.example.org"]]


def test_every_built_in_vocabulary_can_be_chosen() -> None:
    own = {VocabularyChoice.MODELS_OWN, VocabularyChoice.OWN_FILE}
    assert {choice.value for choice in set(VocabularyChoice) - own} == set(builtin_vocabularies())


@pytest.mark.parametrize(
    "flow",
    [label_corpus, label_new, retry_failed, export_dataset, evaluate_run, reap_orphans],
    ids=lambda flow: flow.name,
)
def test_each_form_has_titles_help_an_order_examples_and_no_choice_of_types(
    flow: Flow[..., None],
) -> None:
    definitions = flow.parameters.model_dump()["definitions"]
    (schema,) = (s for name, s in definitions.items() if name.endswith("Form"))
    fields = schema["properties"]
    assert [field["position"] for field in fields.values()] == list(range(len(fields)))
    assert all(field["description"] for field in fields.values())
    assert all(fields[name]["examples"] for name in schema["required"])
    untitled = [name for name, field in fields.items() if "title" not in field]
    assert untitled in ([], ["preset"]), "whose title is that of its type, Preset"
    assert "anyOf" not in json.dumps(schema)
    assert ">>>" not in json.dumps(definitions)
    assert schema["additionalProperties"] is False
