"""Which CLIP: a model that `open_clip` knows by name, or the small towers of `possam-tiny`."""

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

import open_clip
import timm
from timm.models import ConvNeXt, build_model_with_cfg, is_model_in_modules, register_model

from possam_core.errors import ConfigError, nearest
from possam_core.settings import Setting, require_valid


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipConfig:
    """Shape of the towers, in the words of `open_clip`.

    `model` names one that `open_clip` knows, which then decides every field from `embed_dim` on;
    without a name they describe the small towers of `possam-tiny`.

    OpenAI's weights and some others were trained with QuickGELU, and a file does not always say so:
    for those the name must end in `-quickgelu`, as in `ViT-L-14-336-quickgelu`.
    """

    model: Annotated[
        str | None,
        Setting(
            "name of the model in open_clip",
            unset="small towers as the fields below say",
            example="convnext_large_d_320",
        ),
    ] = None
    input_side: Annotated[
        int | None,
        Setting(
            "side of the input, in pixels",
            ge=1,
            unset="the nearest to the canvas that has whole cells",
        ),
    ] = None
    embed_dim: Annotated[int, Setting("joint width of images and text", ge=1)] = 128
    timm_model_name: Annotated[
        str, Setting("image tower as timm calls it; empty: a ViT", allows_empty=True)
    ] = "possam_convnext_tiny"
    projection: Annotated[
        Literal["linear", "mlp"], Setting("last layers of a ConvNeXt, from pooled features on")
    ] = "linear"
    context_length: Annotated[int, Setting("tokens of a text", ge=1)] = 32
    text_width: Annotated[int, Setting("width of the text tower", ge=1)] = 64
    text_heads: Annotated[int, Setting("attention heads of the text tower", ge=1)] = 4
    text_layers: Annotated[int, Setting("layers of the text tower", ge=1)] = 2

    def __post_init__(self) -> None:
        require_valid(self, prefix="clip.")
        if self.model is not None:
            self._take_shape(self.model)
        elif self.text_width % self.text_heads:
            raise ConfigError(
                f"clip.text_width must be a multiple of clip.text_heads {self.text_heads}, got"
                f" {self.text_width}"
            )
        elif not timm.is_model(self.timm_model_name):
            raise ConfigError(
                f"clip.timm_model_name must be a model that timm knows, got"
                f" {self.timm_model_name!r}"
            )

    def _take_shape(self, model: str) -> None:
        architecture = _named_architecture(model)
        text = open_clip.CLIPTextCfg(**architecture["text_cfg"])
        shape = {
            "embed_dim": architecture["embed_dim"],
            "timm_model_name": architecture["vision_cfg"].get("timm_model_name", ""),
            "projection": architecture["vision_cfg"].get("timm_proj", "linear"),
            "context_length": text.context_length,
            "text_width": text.width,
            "text_heads": text.heads,
            "text_layers": text.layers,
        }
        defaults = {f.name: f.default for f in fields(self)}
        for name, value in shape.items():
            if getattr(self, name) not in (defaults[name], value):
                raise ConfigError(
                    f"clip.{name} is {value!r} in {model}, got {getattr(self, name)!r}; leave it"
                    " out, for the model decides it"
                )
            object.__setattr__(self, name, value)


def clip_architecture(config: ClipConfig) -> dict[str, Any]:
    """Arguments of `open_clip.CLIP`, a copy."""
    if config.model is not None:
        return _named_architecture(config.model)
    return {
        "embed_dim": config.embed_dim,
        "vision_cfg": {
            "timm_model_name": config.timm_model_name,
            "timm_pool": "avg",
            "timm_proj": config.projection,
        },
        "text_cfg": {
            "context_length": config.context_length,
            "width": config.text_width,
            "heads": config.text_heads,
            "layers": config.text_layers,
        },
    }


def _named_architecture(model: str) -> dict[str, Any]:
    # Checked first, because open_clip looks up other forms of names on the network.
    if model not in open_clip.list_models():
        hint = nearest(model, open_clip.list_models(), otherwise="see open_clip.list_models()")
        raise ConfigError(f"clip.model must be a model that open_clip knows, got {model!r}; {hint}")
    architecture: dict[str, Any] = open_clip.get_model_config(model)
    vision, text = architecture["vision_cfg"], architecture["text_cfg"]
    if "timm_model_name" in vision:
        has_tower = is_model_in_modules(vision["timm_model_name"], ["convnext"])
    else:
        pools_otherwise = vision.get("attentional_pool") or vision.get("final_ln_after_pool")
        has_tower = isinstance(vision["layers"], int) and not pools_otherwise
    is_other = {"custom_text", "multimodal_cfg"} & set(architecture)
    if not has_tower or is_other or {"hf_model_name", "hf_tokenizer_name"} & set(text):
        raise ConfigError(
            "clip.model must have a ConvNeXt or a plain ViT as image tower, and CLIP's own text"
            f" tower and tokenizer, got {model!r}; take convnext_large_d_320, for instance"
        )
    return architecture


@register_model
def possam_convnext_tiny(pretrained: bool = False, **kwargs: Any) -> ConvNeXt:
    """The image trunk of `possam-tiny`'s CLIP: stride 8, so that small things keep some cells.

    timm builds image towers by registered name; this registers ours.
    """
    tower: ConvNeXt = build_model_with_cfg(
        ConvNeXt,
        "possam_convnext_tiny",
        pretrained,
        pretrained_cfg={"num_classes": 0, "pool_size": (7, 7), "first_conv": "stem.0"},
        depths=(1, 2, 3, 1),
        dims=(48, 96, 128, 128),
        kernel_sizes=(7, 7, 3, 3),  # the last two are dilated, where 7 is slow and hardly wider
        output_stride=8,
        conv_mlp=True,
        ls_init_value=None,
        **{k: v for k, v in kwargs.items() if not k.startswith(("pretrained_cfg", "cache_dir"))},
    )
    return tower
