from ._annotating import Batch, annotate, annotate_batch, keep_batch
from ._annotation_fields import AnnotationFields
from ._engines import ENGINES, Engine, LocalEngine
from ._journal import Annotation, Journal
from ._looking import drawn_numbers, drawn_samples, looking
from ._pipeline import Kept, Needs, leave_out, score_table, tag_counts
from ._pool_batches import PoolBatches, PoolPart
from ._ray_engine import RayEngine

__all__ = [
    "ENGINES",
    "Annotation",
    "AnnotationFields",
    "Batch",
    "Engine",
    "Journal",
    "Kept",
    "LocalEngine",
    "Needs",
    "PoolBatches",
    "PoolPart",
    "RayEngine",
    "annotate",
    "annotate_batch",
    "drawn_numbers",
    "drawn_samples",
    "keep_batch",
    "leave_out",
    "looking",
    "score_table",
    "tag_counts",
]
