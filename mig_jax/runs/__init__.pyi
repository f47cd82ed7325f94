from ._commit import (
    Change,
    claimed,
    commit,
    commits_made,
    finish_commits,
    interrupts_held_back,
)
from ._fingerprints import differences, digest, disagreement
from ._resumable import (
    RunFolder,
    open_run_file,
    refusal,
    refuse_foreign,
    replace_own,
    sign_folder,
    staged_folder,
)
from ._run_arrays import RunArrays
from ._saved_trees import disk_errors, read_tree, write_tree
from ._temporary_files import open_temporary, place_told

__all__ = [
    "Change",
    "RunArrays",
    "RunFolder",
    "claimed",
    "commit",
    "commits_made",
    "differences",
    "digest",
    "disagreement",
    "disk_errors",
    "finish_commits",
    "interrupts_held_back",
    "open_run_file",
    "open_temporary",
    "place_told",
    "read_tree",
    "refusal",
    "refuse_foreign",
    "replace_own",
    "sign_folder",
    "staged_folder",
    "write_tree",
]
