"""Studies by use: what is kept for which inputs, what is left out, and what is refused."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pytest
import scipy.stats

from experiments import finetune
from experiments.finetuning.base_models import read_base_model
from experiments.finetuning.cells import KeptLines, read_kept
from experiments.finetuning.comparison import Result, difference
from experiments.finetuning.selections import Selections, check_names
from experiments.finetuning.table import write_tables
from mig_jax import data
from mig_jax.commands.base_models import check_end
from mig_jax.commands.command import main_of
from mig_jax.errors import InputError
from mig_jax.language_models import CHAT_TEMPLATES, ChatTemplate
from tests.experiments.studies import rows_of_pool, study_of, write_parts, write_rows

pytest.importorskip("tokenizers")
pytest.importorskip("jinja2")


def run(*words: str) -> int:
    return main_of(finetune.COMMAND, words, called="finetune")


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return rows_of_pool()


def test_test_records_are_neither_in_the_pool_nor_validation_records(rows, tmp_path):
    parts = write_parts(tmp_path, rows)
    plain = study_of(tmp_path, parts)
    # Two test records are in the pool, another among the validation records; one says nothing.
    silent = rows[53] | {"messages": [*rows[53]["messages"][:-1]]}
    silent["messages"] = [*silent["messages"], {"role": "assistant", "content": ""}]
    write_rows(tmp_path / "test.jsonl", [*rows[3:5], rows[41], silent, *rows[54:]])
    leaking = study_of(tmp_path, parts)
    assert set(plain.fits) - set(leaking.fits) == {3, 4}
    assert leaking.judged.records.tolist() == [0, 1, 4, 5, 6, 7, 8, 9]
    parts["test"] = parts["validation"]
    with pytest.raises(InputError, match="--test: no record has an answer"):
        study_of(tmp_path, parts)


def test_identities_tell_all_that_decides(rows, tmp_path):
    """Whatever is changed, what was kept is for something else."""
    parts = write_parts(tmp_path, rows)

    def identities() -> list[dict]:
        study = study_of(tmp_path, parts)
        inputs = _Inputs(study.table, np.ones((study.table.num_labels, 2), np.float32))
        choosing = Selections(study, inputs, 0.8).identity([parts["pool"]])
        return [study.identity(), study.identity_of_judges(), choosing]

    def changed(name: str, part: list[dict]) -> list[set[str]]:
        before = pathlib.Path(parts[name]).read_bytes()
        write_rows(pathlib.Path(parts[name]), part)
        found = [
            {name for name in now if now[name] != was[name]}
            for now, was in zip(identities(), first, strict=True)
        ]
        pathlib.Path(parts[name]).write_bytes(before)
        return found

    first = identities()
    assert identities() == first
    said = [*rows[51]["messages"][:-1], {"role": "assistant", "content": "Something else."}]
    assert changed("test", [rows[50] | {"messages": said}, *rows[51:]]) == [
        set(),
        {"test_file"},
        set(),
    ]
    assert changed("validation", [*rows[41:50], rows[40]]) == [set(), set(), {"validation"}]
    label = rows[0]["mig_jax"]
    higher = [rows[0] | {"mig_jax": label | {"score": label["score"] + 1}}, *rows[1:40]]
    assert changed("pool", higher) == [set(), set(), {"pool", "labels"}]


@dataclasses.dataclass(frozen=True)
class _Inputs:
    """What an identity looks at of the inputs of learning."""

    table: data.RecordTable
    embeddings: np.ndarray


@pytest.mark.slow
def test_kept_cells_are_of_their_flags_and_damage_is_told(rows, tmp_path, capsys):
    parts = write_parts(tmp_path, rows)
    words = [f"--{name}={path}" for name, path in parts.items()]
    words += [f"--label_embeddings={tmp_path / 'emb.npz'}", "--model=scratch:32x1", "--rows=2"]
    words += [f"--workdir={tmp_path / 'w'}", "--methods=random,random,longest", "--seeds=1"]
    cells = tmp_path / "w" / "cells.jsonl"
    assert run(*words, "--records=4", "--step_sizes=1e-3,1e-2") == 0
    _, kept = read_kept(cells, "cells")
    assert [key for key in kept if not key.startswith("step size")] == [
        "untrained",
        "random | 4 records | 0",
        "longest | 4 records | 0",
    ]
    before = cells.read_bytes()
    for others, told in (
        (["--records=4", "--step_sizes=1e-2"], "cells.jsonl: belongs to another run: step_sizes"),
        (["--records=4", "--pool_share=0.7"], "selections.jsonl: belongs to another run"),
        (["--records=40"], "--records: 40: a seed sees 32 records; expected less"),
        (["--tokens=9999"], "--tokens: 9,999: a seed sees "),
        (["--quick"], "--tokens: 6,000: a seed sees "),
        (["--quick", "--tokens=7000"], "--tokens: 7,000: a seed sees "),
        (["--records=4", "--methods=random,corrupted"], "corrupted, clean_METHOD: expected record"),
        (["--records=4", "--methods=random,lengths_of_clean_random"], "whose field corrupted is"),
        (["--records=4", "--methods=heeded_random_quotas"], "heeded_random_quotas: needs groups"),
        (["--records=4", "--methods=random_quotas"], "random_quotas: needs groups (--group_field)"),
        (["--records=4", "--step_sizes=inf"], "--step_sizes: found inf"),
    ):
        capsys.readouterr()
        assert run(*words, *others) == 2
        assert told in capsys.readouterr().err
        assert cells.read_bytes() == before
    lines = before.split(b"\n")
    cells.write_bytes(b"\n".join([lines[0], lines[1][:9], *lines[2:]]))
    assert run(*words, "--records=4", "--step_sizes=1e-3,1e-2") == 2
    assert "cells.jsonl, line 2: damaged" in capsys.readouterr().err


def test_damaged_lines_are_told_by_their_number(tmp_path):
    path = tmp_path / "cells.jsonl"
    with KeptLines(path, "cells", {}) as kept:
        kept.put("a", 1)
        kept.put("b", 2)
    path.write_bytes(path.read_bytes().replace(b'["b", 2]', b'["b"'))
    with pytest.raises(InputError, match=r"cells\.jsonl, line 3: damaged"):
        read_kept(path, "cells")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("rendom", "expected random .the nearest. or one of .*, mig_exact, .*lengths_of_METHOD"),
        ("lengths_of_no", "method 'no': not known"),
        ("heeded_no", "method 'no': not known; .*, lengths_of_METHOD, heeded_METHOD, clean_METHOD"),
        ("heeded_lengths_of_random", "method 'lengths_of_random': not known"),
        ("heeded_heeded_random", "method 'heeded_random': not known"),
        ("mig_exact#1", "expected draws of random methods alone"),
        ("random#0", "expected draws of random methods alone"),
        ("random#1000", "expected draws of random methods alone"),
        ("random#01", "expected draws of random methods alone"),
        ("mig_learned#1", "expected draws of random methods alone"),
        ("mig_learned@0", r"mig_learned\[@TOKENS\]"),
        ("mig_exact@5", "method 'mig_exact@5': not known"),
    ],
)
def test_names_are_checked_before_anything_is_read(name, told):
    check_names(["random#12", "lengths_of_random#2", "lengths_of_mig_linear", "random_quotas#1"])
    check_names(["heeded_mig_asked@5", "lengths_of_mig_learned@5", "mig_learned"])
    check_names(["heeded_random#1", "lengths_of_clean_heeded_mig_exact", "clean_rds"])
    with pytest.raises(InputError, match=told):
        check_names(["random", name])


def test_a_template_must_end_its_answers_with_one_token():
    """Else most of the end would be told as content, which is what studies compare."""
    tokenizer = read_base_model("scratch:32x1", "model", lambda: ["a few words"]).tokenizer
    for name in ("chatml", "gemma"):
        template = ChatTemplate(CHAT_TEMPLATES[name], name)
        if name == "chatml":
            check_end(tokenizer, template, name)
        else:
            with pytest.raises(InputError, match="end with '<end_of_turn>', which is"):
                check_end(tokenizer, template, name)
    endless = ChatTemplate(CHAT_TEMPLATES["chatml"].replace("<|im_end|>", ""), "endless")
    with pytest.raises(InputError, match="end with '', which is 0 tokens"):
        check_end(tokenizer, endless, "endless")


def test_intervals_of_few_records_are_wider():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=6), rng.normal(size=4)
    found = difference([np.concatenate([a, b])], np.repeat(["a", "b"], [6, 4]))
    # The mean of two means, by Welch's test of a against -b: twice as far, as wide.
    of_scipy = scipy.stats.ttest_ind(a, -b, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((of_scipy.low / 2, of_scipy.high / 2))
    # A task of one record is no surer than the others are.
    alone = difference([np.concatenate([a, [b[0]]])], np.repeat(["a", "b"], [6, 1]))
    width = scipy.stats.t.ppf(0.975, 5) * np.sqrt(a.var(ddof=1) * (1 / 6 + 1) / 4)
    assert alone.high - alone.mean == pytest.approx(width)
    assert difference([np.ones(2)], np.array(["a", "b"])).high == np.inf


def test_tables_tell_who_took_less_than_the_budget(tmp_path):
    def result(tokens: int) -> Result:
        return Result(np.ones(4), np.ones(4), np.full(4, np.nan), 5, tokens, 100)

    results = {("random", "900 tokens", 0): result(890), ("instag", "900 tokens", 0): result(450)}
    write_tables(tmp_path, results, np.repeat(["a", "b"], 2), result(0))
    page = (tmp_path / "results.md").read_text()
    assert "Less than the budget, so not at equal cost: instag (50%)." in page
    assert "nan" not in page
