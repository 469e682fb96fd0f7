"""CLIP towers, real and tiny: their outputs equal those of `open_clip`."""

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path

import open_clip
import pytest
import safetensors.torch
import torch
from open_clip.model import resize_pos_embed
from torch import Tensor

from possam_core.encoders import clip as clip_module
from possam_core.encoders.clip import ClipConfig, ClipEncoder, load_clip_weights
from possam_core.encoders.clip_weights import fetch_tag
from possam_core.errors import CheckpointError, ConfigError
from possam_core.images.batch import ImageBatch, make_batch, normalise
from possam_core.vocabulary.text_embeddings import TextEmbeddings
from possam_core.vocabulary.vocabulary import Vocabulary, VocabularyClass
from tests.factories import make_pixels

TEXT = {"context_length": 16, "width": 32, "heads": 2, "layers": 1}
VIT = {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "layers": 2}
CONVNEXT = {"timm_model_name": "convnext_atto", "timm_pool": "", "timm_proj": "mlp"}
MODELS = {
    "tiny-vit": {"vision_cfg": VIT},
    "tiny-vit-quickgelu": {"vision_cfg": VIT, "quick_gelu": True},
    "tiny-vit-avg": {"vision_cfg": VIT | {"pool_type": "avg"}},
    "tiny-convnext": {"vision_cfg": CONVNEXT | {"timm_drop_path": 0.5, "image_size": 64}},
}


@pytest.fixture(scope="module", autouse=True)
def _named_models(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Register `MODELS` with `open_clip`."""
    folder = tmp_path_factory.mktemp("open_clip")
    for name, model in MODELS.items():
        config = {"embed_dim": 24, "text_cfg": TEXT} | model
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)


def make_encoder(model: str | None, image_size: int = 32, **changes: int) -> ClipEncoder:
    torch.manual_seed(0)
    return ClipEncoder(ClipConfig(model=model, **changes), image_size=image_size).eval()


shared_encoder = functools.cache(make_encoder)  # for tests that do not change it


def make_images(canvas: int = 32) -> ImageBatch:
    return make_batch(
        [make_pixels(canvas, canvas), make_pixels(canvas, canvas, seed=1)], canvas=canvas
    )


def own_input(encoder: ClipEncoder, batch: ImageBatch) -> Tensor:
    return normalise(batch, encoder.pixel_mean, encoder.pixel_std)


# Configuration


def test_a_named_model_decides_the_shape_and_survives_a_header() -> None:
    config = ClipConfig(model="convnext_large_d_320")
    assert (config.embed_dim, config.timm_model_name) == (768, "convnext_large")
    assert (config.context_length, config.text_width, config.text_layers) == (77, 768, 16)
    assert ClipConfig(**dataclasses.asdict(config)) == config
    assert ClipConfig(model="ViT-L-14-336").embed_dim == 768
    with pytest.raises(
        ConfigError, match=r"clip\.embed_dim is 768 in convnext_large_d_320, got 64"
    ):
        ClipConfig(model="convnext_large_d_320", embed_dim=64)


def test_unknown_names_are_refused_without_network_access() -> None:
    with pytest.raises(ConfigError, match="did you mean 'convnext_large_d_320'"):
        ClipConfig(model="convnext_large_d320")
    with pytest.raises(ConfigError, match="a model that open_clip knows"):
        ClipConfig(model="hf-hub:somebody/something")


@pytest.mark.parametrize(
    "model", ["RN50", "EVA02-B-16", "coca_ViT-B-32", "ViT-B-16-SigLIP", "roberta-ViT-B-32"]
)
def test_other_kinds_of_towers_are_refused(model: str) -> None:
    with pytest.raises(ConfigError, match="ConvNeXt or a plain ViT"):
        ClipConfig(model=model)


def test_an_input_side_must_be_a_multiple_of_a_cell() -> None:
    with pytest.raises(ConfigError, match=r"multiple of the 8 pixels of a cell, got 30; take 32"):
        make_encoder("tiny-vit", input_side=30)
    with pytest.raises(ConfigError, match=r"multiple of the 32 pixels"):
        make_encoder("tiny-convnext", input_side=40)
    with pytest.raises(ConfigError, match="at least 1"):
        ClipConfig(input_side=0)


def test_the_tokenizer_is_the_one_of_the_model() -> None:
    ours = shared_encoder("tiny-vit").tokenizer(["a photo of a dog.", "cats, " * 20])
    torch.testing.assert_close(
        ours, open_clip.get_tokenizer("tiny-vit")(["a photo of a dog.", "cats, " * 20])
    )


# Dense features and the head after pooling


@pytest.mark.parametrize(("model", "grid"), [("tiny-convnext", 2), ("tiny-vit-avg", 8), (None, 8)])
def test_pooling_all_cells_and_projecting_equals_clips_image_embedding(
    model: str | None, grid: int
) -> None:
    # ConvNeXt normalises after pooling, and this ViT averages its normalised tokens.
    encoder = shared_encoder(model, 64)
    batch = make_images(64)
    features = encoder.dense_features(batch)
    assert features.shape[-2:] == (grid, grid)
    whole = encoder.clip.encode_image(own_input(encoder, batch))
    projected = encoder.project(features.mean(dim=(-2, -1)))
    assert projected.shape[-1] == encoder.config.embed_dim
    torch.testing.assert_close(projected, whole, atol=1e-5, rtol=1e-4)


def test_a_single_cell_equals_convnexts_embedding_of_an_image_of_that_cell() -> None:
    encoder = shared_encoder("tiny-convnext", 32)
    batch = make_images(32)
    features = encoder.dense_features(batch)
    assert features.shape == (2, 320, 1, 1)
    own = encoder.clip.visual(own_input(encoder, batch))
    torch.testing.assert_close(encoder.project(features[..., 0, 0]), own)


def test_vit_cells_are_its_own_normalised_tokens_before_the_projection() -> None:
    encoder = make_encoder("tiny-vit")
    batch = make_images()
    features = encoder.dense_features(batch)
    visual = encoder.clip.visual
    visual.output_tokens = True
    whole, tokens = visual(own_input(encoder, batch))
    torch.testing.assert_close(features.flatten(2).transpose(1, 2), tokens)
    class_token = visual.forward_intermediates(
        own_input(encoder, batch),
        indices=1,
        normalize_intermediates=True,
        output_extra_tokens=True,
    )["image_intermediates_prefix"][0]
    torch.testing.assert_close(encoder.project(class_token)[:, 0], whole)


@pytest.mark.parametrize("model", ["tiny-vit", "tiny-convnext"])
def test_images_of_a_batch_do_not_affect_each_other(model: str) -> None:
    encoder = shared_encoder(model, 64)
    both = encoder.dense_features(make_images(64))
    alone = encoder.dense_features(make_batch([make_pixels(64, 64, seed=1)], canvas=64))
    torch.testing.assert_close(both[1:], alone, atol=1e-5, rtol=1e-4)


def test_a_named_tower_drops_no_layers_even_in_training() -> None:
    encoder = make_encoder("tiny-convnext", 64)
    for name, scale in encoder.clip.visual.named_parameters():
        if name.endswith(".gamma"):  # of each block, next to nothing before training
            torch.nn.init.ones_(scale)
    batch = make_images(64)
    torch.testing.assert_close(
        encoder.train().dense_features(batch), encoder.eval().dense_features(batch)
    )


@pytest.mark.parametrize(("model", "canvas", "grid"), [("tiny-vit", 30, 4), ("tiny-vit", 45, 6)])
def test_a_canvas_without_whole_cells_is_resized_to_the_nearest(
    model: str, canvas: int, grid: int
) -> None:
    features = shared_encoder(model, canvas).dense_features(make_images(canvas))
    assert features.shape[-2:] == (grid, grid)


@pytest.mark.parametrize(("model", "cell"), [("tiny-vit", 8), ("tiny-convnext", 32)])
def test_cells_correspond_to_the_canvas_after_resizing(model: str, cell: int) -> None:
    side = 4 * cell
    encoder = make_encoder(model, 96, input_side=side)
    images = [make_pixels(96, 96), make_pixels(96, 96)]
    images[1] = images[1].copy()
    images[1][24:48, 48:72] ^= 255  # the second of four rows, the third of four columns
    features = encoder.dense_features(make_batch(images, canvas=96))
    change = (features[1] - features[0]).norm(dim=0)  # (h, w)
    assert change.shape == (4, 4)
    assert divmod(int(change.argmax()), 4) == (1, 2)


# Weights


def _save_torch(tensors: dict[str, Tensor], folder: Path) -> Path:
    torch.save(tensors, folder / "weights.bin")
    return folder / "weights.bin"


def _save_training_run(tensors: dict[str, Tensor], folder: Path) -> Path:
    wrapped = {f"module.{k}": v.half() for k, v in tensors.items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": wrapped}, folder / "epoch_3.pt")
    return folder / "epoch_3.pt"


def _save_safetensors(tensors: dict[str, Tensor], folder: Path) -> Path:
    safetensors.torch.save_file(tensors, folder / "weights.safetensors")
    return folder / "weights.safetensors"


@pytest.mark.parametrize(
    ("model", "save"),
    [
        ("tiny-vit", _save_torch),
        ("tiny-convnext", _save_training_run),
        (None, _save_safetensors),
    ],
)
def test_weights_load_from_files_and_are_frozen(
    tmp_path: Path, model: str | None, save: Callable[[dict[str, Tensor], Path], Path]
) -> None:
    source = shared_encoder(model)
    torch.manual_seed(1)
    target = ClipEncoder(ClipConfig(model=model), image_size=32).train()
    load_clip_weights(target, save(source.clip.state_dict(), tmp_path))
    for name, value in target.clip.state_dict().items():
        torch.testing.assert_close(value, source.clip.state_dict()[name], atol=1e-3, rtol=1e-3)
        assert value.dtype == torch.float32
    assert not target.training
    assert not any(p.requires_grad for p in target.parameters())


def test_positions_are_exact_at_the_native_size_and_open_clips_elsewhere(tmp_path: Path) -> None:
    source = shared_encoder("tiny-vit", 32).clip.state_dict()
    path = _save_torch(source, tmp_path)
    key = "visual.positional_embedding"
    native, larger = make_encoder("tiny-vit", 32), make_encoder("tiny-vit", 48)
    torch.nn.init.zeros_(native.clip.visual.positional_embedding)
    load_clip_weights(native, path)
    assert torch.equal(native.clip.state_dict()[key], source[key])
    load_clip_weights(larger, path)
    expected = dict(source)
    resize_pos_embed(expected, larger.clip)
    assert expected[key].shape == (1 + 6 * 6, 32)
    assert torch.equal(larger.clip.state_dict()[key], expected[key])


def _drop(tensors: dict[str, Tensor]) -> None:
    del tensors["visual.proj"]


def _add(tensors: dict[str, Tensor]) -> None:
    tensors["visual.head.bias"] = torch.zeros(3)


def _reshape(tensors: dict[str, Tensor]) -> None:
    tensors["visual.proj"] = torch.zeros(32, 25)


def _wrong_positions(tensors: dict[str, Tensor]) -> None:
    tensors["visual.positional_embedding"] = torch.zeros(12, 32)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_drop, r"visual\.proj is missing"),
        (_add, r"visual\.head\.bias is not part of it"),
        (_reshape, r"visual\.proj is of shape \[32, 25\] instead of \[32, 24\]"),
        (_wrong_positions, r"positional_embedding is of shape \[12, 32\] instead of \[17, 32\]"),
        (dict.clear, "and .* more; name the file of that model"),
    ],
)
def test_weights_of_another_architecture_are_refused_in_one_sentence(
    tmp_path: Path, damage: Callable[[dict[str, Tensor]], None], message: str
) -> None:
    encoder = shared_encoder("tiny-vit")
    tensors = dict(encoder.clip.state_dict())
    damage(tensors)
    with pytest.raises(CheckpointError, match=message) as refusal:
        load_clip_weights(encoder, _save_torch(tensors, tmp_path))
    assert "\n" not in str(refusal.value)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_loading_a_file_never_runs_its_code(tmp_path: Path) -> None:
    encoder = shared_encoder("tiny-vit")
    archive = tmp_path / "openai.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), archive)
    with pytest.raises(CheckpointError, match="TorchScript archive, which is a program; use"):
        load_clip_weights(encoder, archive)
    torch.save({"visual.proj": Path("/")}, archive)
    with pytest.raises(CheckpointError, match="not plain weights"):
        load_clip_weights(encoder, archive)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"damaged{suffix}"
    whole = _save_torch(shared_encoder("tiny-vit").clip.state_dict(), tmp_path).read_bytes()
    for content in (b"", b"no weights at all", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="copy it again") as refusal:
            load_clip_weights(shared_encoder("tiny-vit"), path)
        assert "\n" not in str(refusal.value)


def test_a_file_without_weights_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="expected tensors by name"):
        load_clip_weights(shared_encoder("tiny-vit"), tmp_path / "list.pt")


def test_quickgelu_changes_the_output_of_the_same_weights() -> None:
    plain, quick = shared_encoder("tiny-vit"), make_encoder("tiny-vit-quickgelu")
    quick.clip.load_state_dict(plain.clip.state_dict())
    difference = plain.dense_features(make_images()) - quick.dense_features(make_images())
    assert difference.abs().max() > 1e-3


def test_openais_own_file_needs_the_quickgelu_model(tmp_path: Path) -> None:
    tensors = dict(shared_encoder("tiny-vit").clip.state_dict())
    extras = {k: torch.tensor(32) for k in ("input_resolution", "context_length", "vocab_size")}
    path = _save_torch(tensors | extras, tmp_path)
    with pytest.raises(CheckpointError, match="QuickGELU; use the model 'tiny-vit-quickgelu'"):
        load_clip_weights(shared_encoder("tiny-vit"), path)
    quick = make_encoder("tiny-vit-quickgelu")
    load_clip_weights(quick, path)
    assert torch.equal(quick.clip.visual.proj, tensors["visual.proj"])


@pytest.mark.parametrize(
    ("model", "tag", "quick_gelu", "message"),
    [
        ("ViT-B-16", "openai", False, "use the model 'ViT-B-16-quickgelu'"),
        ("ViT-B-16-quickgelu", "laion400m_e32", True, "expected a file or a pretrained tag"),
        ("ViT-L-14", "laion2b_s32b_b82k", False, "use another tag"),
        ("ViT-B-16", "datacomp_xl_s13b_b90k", True, "trained with GELU"),
    ],
)
def test_a_tag_that_does_not_fit_the_model_is_refused_before_any_download(
    model: str, tag: str, quick_gelu: bool, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        fetch_tag(model, tag, quick_gelu=quick_gelu, allow_download=True)


def test_nothing_is_downloaded_without_being_asked() -> None:
    with pytest.raises(CheckpointError, match="set allow_download to permit it"):
        fetch_tag("ViT-B-16-quickgelu", "openai", quick_gelu=True, allow_download=False)
    with pytest.raises(CheckpointError, match="a pretrained tag of tiny-vit"):
        load_clip_weights(shared_encoder("tiny-vit"), "no-such-file.bin", allow_download=True)
    with pytest.raises(CheckpointError, match="expected a file of CLIP weights"):
        load_clip_weights(shared_encoder(None), "openai", allow_download=True)


# Text


def make_vocabulary(num_classes: int) -> Vocabulary:
    classes = tuple(
        VocabularyClass(category_id=i, name=f"kind {i}", is_thing=True, synonyms=(f"sort {i}",))
        for i in range(1, num_classes + 1)
    )
    return Vocabulary(name="kinds", classes=classes)


@pytest.mark.parametrize("model", ["tiny-vit", None])
def test_prompts_do_not_affect_each_other(
    model: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = shared_encoder(model)
    prompts = ["a photo of a dog.", "There is the very large cat in the scene", "sky"]
    together = encoder.encode_prompts(prompts)
    alone = torch.cat([encoder.encode_prompts([p]) for p in prompts])
    torch.testing.assert_close(together, alone)
    monkeypatch.setattr(clip_module, "TEXT_CHUNK", 2)
    torch.testing.assert_close(encoder.encode_prompts(prompts), together)


def test_a_class_has_the_similarity_of_its_most_similar_name() -> None:
    axes = torch.eye(3)
    text = TextEmbeddings(axes, torch.tensor([0, 0, 1]), 2)
    logits = text.class_logits(torch.tensor([[3.0, 4.0, 0.0], [-1.0, 0.0, 0.0]]))
    torch.testing.assert_close(logits, torch.tensor([[0.8, 0.0], [0.0, 0.0]]))


def test_embedding_a_vocabulary_is_the_mean_over_templates_of_each_name() -> None:
    encoder = shared_encoder("tiny-vit")
    text = encoder.embed_vocabulary(make_vocabulary(2))
    assert text.class_of_name.tolist() == [0, 0, 1, 1]
    by_template = encoder.encode_prompts([t.format("sort 2") for t in clip_module.PROMPT_TEMPLATES])
    mean = by_template.mean(dim=0)
    torch.testing.assert_close(text.embeddings[3], mean / mean.norm())


def test_a_large_vocabulary_is_embedded_once_and_read_bit_identically(tmp_path: Path) -> None:
    encoder = make_encoder("tiny-vit")
    vocabulary = make_vocabulary(10)  # 280 prompts
    miss = encoder.embed_vocabulary(vocabulary, cache_folder=tmp_path)
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    hit = make_encoder("tiny-vit").embed_vocabulary(vocabulary, cache_folder=tmp_path)
    assert torch.equal(hit.embeddings, miss.embeddings)
    assert torch.equal(hit.class_of_name, miss.class_of_name)
    assert [f.stat().st_mtime_ns for f in tmp_path.iterdir()] == [written]
    with torch.no_grad():
        encoder.clip.ln_final.bias += 1
    other = encoder.embed_vocabulary(vocabulary, cache_folder=tmp_path)
    assert not torch.equal(other.embeddings, miss.embeddings)
    assert len(list(tmp_path.iterdir())) == 2


def test_small_towers_and_small_vocabularies_leave_no_file(tmp_path: Path) -> None:
    shared_encoder(None).embed_vocabulary(make_vocabulary(10), cache_folder=tmp_path)
    shared_encoder("tiny-vit").embed_vocabulary(make_vocabulary(9), cache_folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_a_folder_the_users_cache_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shared_encoder("tiny-vit").embed_vocabulary(make_vocabulary(10))
    assert len(list((tmp_path / "possam" / "text").iterdir())) == 1


def test_dropping_shared_padding_changes_no_embedding() -> None:
    clip = ClipEncoder(ClipConfig(), image_size=48)
    prompts = ["a red ball", "this is a photo of a very long wooden fence in the scene"]
    tokens = clip.tokenizer(prompts)
    whole = clip.clip.encode_text(tokens, normalize=True)
    torch.testing.assert_close(clip.encode_prompts(prompts), whole)
