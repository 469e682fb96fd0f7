"""The formats that labels can be exported to; each has its own module."""

from enum import StrEnum

from pipelines.export.coco_instances import CocoInstances
from pipelines.export.coco_panoptic import CocoPanoptic
from pipelines.export.detectron2 import Detectron2
from pipelines.export.fiftyone import FiftyOne
from pipelines.export.huggingface import HuggingFace
from pipelines.export.label_studio import LabelStudio
from pipelines.export.protocol import Format
from pipelines.export.semantic_png import SemanticPng
from pipelines.export.webdataset import WebDataset


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
