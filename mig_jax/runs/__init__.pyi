from ._fingerprints import differences, digest, disagreement
from ._resumable import RunFolder, open_run_file, refusal, refuse_foreign, replace_own
from ._saved_trees import read_tree, write_tree
from ._temporary_files import open_temporary

__all__ = [
    "RunFolder",
    "differences",
    "digest",
    "disagreement",
    "open_run_file",
    "open_temporary",
    "read_tree",
    "refusal",
    "refuse_foreign",
    "replace_own",
    "write_tree",
]
