"""The formats that labels can be exported to; each has its own module."""

from enum import StrEnum
from typing import Any

from pipelines.export.coco_instances import CocoInstances
from pipelines.export.coco_panoptic import CocoPanoptic
from pipelines.export.detectron2 import Detectron2
from pipelines.export.fiftyone import FiftyOne
from pipelines.export.huggingface import HuggingFace
from pipelines.export.label_studio import LabelStudio
from pipelines.export.protocol import Format
from pipelines.export.semantic_png import SemanticPng
from pipelines.export.webdataset import WebDataset
from possam_core.settings import prose_of


class ExportFormat(StrEnum):
    """The formats by the names that the command accepts.

    Example:
        >>> from pipelines import ExportFormat
        >>> ExportFormat("coco-panoptic").name
        'COCO_PANOPTIC'
    """

    COCO_PANOPTIC = "coco-panoptic"
    COCO_INSTANCES = "coco-instances"
    SEMANTIC_PNG = "semantic-png"
    HUGGINGFACE = "huggingface"
    WEBDATASET = "webdataset"
    DETECTRON2 = "detectron2"
    FIFTYONE = "fiftyone"
    LABEL_STUDIO = "label-studio"

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: object, handler: Any) -> dict[str, Any]:
        """Pydantic's hook: the prose of the docstring alone, for schemas and forms."""
        schema: dict[str, Any] = handler(core_schema)  # a reference to the definition
        handler.resolve_ref_schema(schema)["description"] = prose_of(cls.__doc__ or "")
        return schema

    @property
    def writer(self) -> Format:
        """The object that writes the format."""
        writers: dict[ExportFormat, Format] = {
            ExportFormat.COCO_PANOPTIC: CocoPanoptic(),
            ExportFormat.COCO_INSTANCES: CocoInstances(),
            ExportFormat.SEMANTIC_PNG: SemanticPng(),
            ExportFormat.HUGGINGFACE: HuggingFace(),
            ExportFormat.WEBDATASET: WebDataset(),
            ExportFormat.DETECTRON2: Detectron2(),
            ExportFormat.FIFTYONE: FiftyOne(),
            ExportFormat.LABEL_STUDIO: LabelStudio(),
        }
        return writers[self]
