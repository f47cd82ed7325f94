from ._discover import DiscoveredLabels, discover_labels
from ._discovering import (
    DiscoveredTagger,
    DiscoveringTagger,
    model_of_discovered,
    read_discovered,
)
from ._embedding import EmbeddingTagger, nearest_labels
from ._instag import INSTAG_PROMPT, InsTagger, parse_tags
from ._kept_labels import KeepLabels
from ._tag_normalisation import TagMapping, merge_tags, spelling

__all__ = [
    "INSTAG_PROMPT",
    "DiscoveredLabels",
    "DiscoveredTagger",
    "DiscoveringTagger",
    "EmbeddingTagger",
    "InsTagger",
    "KeepLabels",
    "TagMapping",
    "discover_labels",
    "merge_tags",
    "model_of_discovered",
    "nearest_labels",
    "parse_tags",
    "read_discovered",
    "spelling",
]
