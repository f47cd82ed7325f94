"""`mig-jax select --method` by methods that ask a language model: a tiny one of random weights."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys

import numpy as np
import pytest

from experiments.finetuning.gradients import StudyGradients
from experiments.finetuning.study import Study
from mig_jax import data
from mig_jax.annotation import difficulty
from mig_jax.commands import asking
from mig_jax.commands.base_models import read_base_model
from mig_jax.commands.candidates import candidates_of_table
from mig_jax.language_models import RecordLosses, TunedModel
from mig_jax.methods import METHODS, Limits, choose
from tests.dying import at_file, dies
from tests.language_models.decoders import LLAMA, weights_of
from tests.language_models.model_folders import config_of, tensors_of, write_folder
from tests.language_models.tokenizers_of_tests import byte_tokenizer
from tests.running import mig, refused

RECORDS, ROW, ASKED, TOKENS = 100, 180, 40, 900
ASKING = [name for name in METHODS if {"gradients", "response_losses"} & METHODS[name].needs]


@pytest.fixture(scope="module")
def pool_file(tmp_path_factory) -> pathlib.Path:
    """Fewer records than those of other commands' tests."""
    path = tmp_path_factory.mktemp("pool") / "pool.jsonl"
    assert mig("make_pool", f"--records={RECORDS}", f"--output={path}").returncode == 0
    return path


@pytest.fixture(scope="module")
def model(pool_file, tmp_path_factory) -> pathlib.Path:
    texts = [text for pair in data.read_texts(data.read_pool([pool_file])) for text in pair]
    tokenizer = byte_tokenizer(digits=True, texts=texts, size=500)
    architecture = dataclasses.replace(LLAMA, vocabulary=tokenizer.get_vocab_size())
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tensors = tensors_of(weights_of(architecture, 3, head=True))
    write_folder(folder, config_of(architecture, "llama"), tensors)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def validation_file(pool_file) -> pathlib.Path:
    """Every fifth record, of two tasks; the only one of a third is too long."""
    lines = [json.loads(line) for line in pool_file.read_text().splitlines()[::5]]
    rows = [row | {"task": "ab"[number % 2]} for number, row in enumerate(lines)]
    long = {"role": "user", "content": "x " * ROW}
    rows.append(rows[0] | {"task": "c", "messages": [long, rows[0]["messages"][1]]})
    path = pool_file.with_name("validation.jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def words(pool_file, model, validation_file, tmp_path):
    """The words of a selection, without its method's."""
    common = ["select", f"--pool={pool_file}", f"--model={model}", "--chat_template=chatml"]
    common += [f"--row={ROW}", "--layers=1", "--step_size=1e-2", "--nocertificate"]

    def of(name: str, output: str = "out.jsonl", budget: str = f"--budget_tokens={TOKENS}"):
        own = [f"--method={name}", f"--output={tmp_path / output}", budget]
        own += [f"--cache={tmp_path / 'cache'}"]
        if "wanted" in METHODS[name].needs:
            own += [f"--validation={validation_file}", f"--gradient_records={ASKED}"]
        return [*common, *own]

    return of


def lines_of(pool_file: pathlib.Path, picks) -> bytes:
    lines = pool_file.read_bytes().splitlines(keepends=True)
    return b"".join(lines[pick] for pick in picks)


@pytest.fixture
def asked_for(monkeypatch) -> list[str]:
    """Of each batch that the model was trained on or asked about, what for."""
    found = []
    for name in ("step", "errors", "losses"):
        own = getattr(TunedModel, name)

        def counted(*arguments, name=name, own=own):
            found.append(name)
            return own(*arguments)

        monkeypatch.setattr(TunedModel, name, counted)
    return found


@pytest.fixture(scope="module")
def study(pool_file, model, validation_file, tmp_path_factory) -> Study:
    """A study of experiments with the same model, pool and validation records."""
    test = validation_file.with_name("test.jsonl")
    said = {"messages": [{"role": r, "content": "Other."} for r in ("user", "assistant")]}
    test.write_text((json.dumps(said | {"task": "a"}) + "\n") * 2)
    base = read_base_model(str(model), "chatml")
    return Study(
        tmp_path_factory.mktemp("study"),
        base,
        base.tuning(1),
        row=ROW,
        rows=4,
        table=data.read_pool([pool_file]),
        validation=data.read_validation(validation_file),
        test=data.read_validation(test),
        test_records=1,
    )


@pytest.mark.slow
def test_picks_are_those_of_a_study_and_another_budget_asks_nothing_again(
    pool_file, validation_file, study, words, asked_for, tmp_path
):
    gradients = StudyGradients(study, ASKED, 1e-2)
    every = np.arange(RECORDS)
    costs = data.bytes_over_4([list(pair) for pair in study.conversations])
    candidates = candidates_of_table(
        study.table,
        costs,
        validation=study.validation,
        gradients=lambda: gradients.of(every),
    )
    known = gradients.of(every)[0].any(axis=1)
    assert known.sum() == ASKED < len(study.fits) < RECORDS
    asked_for.clear()
    names = ("mig_influence", "influence", "less")
    # The last budget has room for more than the records that the model was asked about.
    for number, limits in enumerate([Limits(tokens=TOKENS), Limits(tokens=300), Limits(60)]):
        budget = f"--budget={limits.records}"
        if limits.records is None:
            budget = f"--budget_tokens={limits.tokens}"
        for name in names if number == 0 else names[:1]:
            picks = choose(name, candidates, limits)
            result = mig(*words(name, budget=budget))
            assert result.returncode == 0, result.stderr
            assert (tmp_path / "out.jsonl").read_bytes() == lines_of(pool_file, picks)
            more = int((~known[picks]).sum())
            told = f"{more} of the {len(picks)} records picked fill what was left"
            assert (told in result.stderr) == (more > 0)
            if not number and name == "mig_influence":
                assert {"step", "errors"} == set(asked_for)
                first, stamps = result, asked_for.copy()
    assert more == 60 - ASKED
    assert asked_for == stamps
    long = int((study.read_validation()[0].lengths > ROW).sum())
    assert 1 <= long < 10
    assert f"{len(study.fits)} of {RECORDS} records have at most {ROW} tokens" in first.stderr
    assert f"{validation_file}: {long} of 21 records have more than {ROW} tokens" in first.stderr
    assert "no record of task c fits: nothing is selected for it" in first.stderr
    told = json.loads((tmp_path / "out.manifest.json").read_text())
    model = told["method"]["model"]
    assert model["digest"] == study.model.digest
    assert (model["layers"], model["row"], model["chat_template"]) == (1, ROW, "chatml")
    assert (model["fit"], model["asked"]) == (len(study.fits), ASKED)
    assert model["validation"] == {"records": 21, "asked": 21 - long}
    assert model["warm_up"] == {"tokens": 30000, "step_size": 0.01, "seed": 0}
    for name in ("model", "chat_template", "gradient_records", "layers", "row", "step_size"):
        assert name in told["parameters"]
    # Gradients stay, what lower layers made of the records does not.
    [kept] = (tmp_path / "cache" / "asked").iterdir()
    assert [path.name for path in kept.iterdir()] == ["gradients"]
    # Another way to ask is kept beside it.
    assert mig(*words("less"), "--layers=2").returncode == 0
    assert len(asked_for) > len(stamps)
    assert len(list((tmp_path / "cache" / "asked").iterdir())) == 2


@pytest.mark.slow
def test_ifd_takes_the_hardest_and_goes_on_where_it_failed(
    pool_file, study, words, asked_for, monkeypatch, tmp_path
):
    monkeypatch.setattr(asking, "BLOCK", 50)
    ratios = difficulty(*RecordLosses(study, 1e-2, 50).of(study.fits))
    places = np.argsort(-ratios, kind="stable")
    order = study.fits[places[ratios[places] > 0]]
    asked_for.clear()
    assert len(study.fits) > 50
    asked = TunedModel.losses

    def failing(*arguments):
        if first():
            raise OSError("no power")
        return asked(*arguments)

    def first():
        return list((tmp_path / "cache" / "asked").rglob("00000.npz"))

    with monkeypatch.context() as patch:
        patch.setattr(TunedModel, "losses", failing)
        result = mig(*words("ifd", budget="--budget=9"))
    assert result.returncode == 2
    assert "no power; no output was written" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    before = [path.stat().st_mtime_ns for path in first()]
    done = asked_for.count("losses")
    result = mig(*words("ifd", budget="--budget=9"))
    assert result.returncode == 0, result.stderr
    assert [path.stat().st_mtime_ns for path in first()] == before
    assert 0 < asked_for.count("losses") - done < done
    assert (tmp_path / "out.jsonl").read_bytes() == lines_of(pool_file, order[:9])
    told = json.loads((tmp_path / "out.manifest.json").read_text())["method"]["model"]
    assert told["asked"] == told["fit"] == len(study.fits)
    assert "validation" not in told


@pytest.mark.slow
@pytest.mark.parametrize("name", ["random", "mig_influence"])
def test_heeded_leaves_out_what_its_instruction_does_not_help_to_say(
    name, pool_file, study, words, asked_for, tmp_path
):
    behind, alone = RecordLosses(study, 1e-2, 50).of(study.fits)
    heeded = study.fits[behind / alone < 1]
    assert ASKED < len(heeded) < len(study.fits) - 4
    gradients, by_gradients = StudyGradients(study, ASKED, 1e-2), name != "random"
    among = np.intersect1d(heeded, gradients.asked) if by_gradients else heeded
    assert by_gradients == (len(among) < len(heeded))
    costs = data.bytes_over_4([list(pair) for pair in study.conversations])
    candidates = candidates_of_table(
        study.table,
        costs,
        rows=among,
        validation=study.validation,
        gradients=lambda: gradients.of(among),
    )
    # The second budget has room for all: those that are left out do not fill it.
    for number, limits in enumerate([Limits(tokens=TOKENS), Limits(records=RECORDS)]):
        picks = among[choose(name, candidates, limits)]
        if number:
            picks = np.concatenate([picks, np.setdiff1d(heeded, among)])
        budget = f"--budget_tokens={TOKENS}" if not number else f"--budget={RECORDS}"
        asked_for.clear()
        result = mig(*words(name, budget=budget), "--heeded")
        assert result.returncode == 0, result.stderr
        assert (tmp_path / "out.jsonl").read_bytes() == lines_of(pool_file, picks)
        assert ("losses" in asked_for) == (number == 0)
        # One warm-up serves losses and gradients; what is kept needs none.
        assert result.stderr.count("warming the model up") == (number == 0)
        told = f"{len(heeded)} of {len(study.fits)} responses are likelier behind their instruct"
        assert told in result.stderr
        more = f"{len(heeded) - len(among)} of the {len(heeded)} records picked fill what was left"
        assert (more in result.stderr) == (by_gradients and bool(number))
    assert f"any other is one that {name} with --heeded never takes" in result.stderr
    told = json.loads((tmp_path / "out.manifest.json").read_text())
    assert told["method"]["model"]["heeded"] == len(heeded) == len(picks)
    assert told["parameters"]["heeded"] is True
    # Losses have to do with no validation records: another method does not ask again.
    asked_for.clear()
    assert mig(*words("ifd", budget="--budget=9")).returncode == 0
    assert asked_for == []


def test_a_pool_that_heeds_nothing_is_told(words, monkeypatch):
    monkeypatch.setattr(asking, "heeded", lambda behind, alone: np.zeros(len(behind), bool))
    message = refused(*words("random"), "--heeded")
    assert "--heeded: none of " in message
    assert "expected another --model, or no --heeded" in message


@pytest.mark.slow
def test_a_killed_selection_goes_on(pool_file, words, asked_for, tmp_path):
    """It is killed as soon as the validation records are done; all that fit are asked about."""
    again, cache = [*words("mig_influence"), "--gradient_records=0"], tmp_path / "cache"
    dies(at_file("os.rename", "00000.npz", 1, 0.01), *again)
    assert not (tmp_path / "out.jsonl").exists()
    [kept] = cache.rglob("00000.npz")
    before = kept.stat().st_mtime_ns
    assert mig(*again).returncode == 0
    assert kept.stat().st_mtime_ns == before
    resumed = asked_for.count("errors")
    asked_for.clear()
    whole = [*words("mig_influence", "whole.jsonl"), "--gradient_records=0"]
    assert mig(*whole, "--cache=none").returncode == 0
    assert asked_for.count("errors") > resumed
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.parametrize("name", ASKING)
def test_a_model_is_needed_and_named(name, pool_file, validation_file, tmp_path):
    base = ("select", f"--pool={pool_file}", "--budget=5", f"--output={tmp_path / 'o.jsonl'}")
    if "wanted" in METHODS[name].needs:
        model = f"--model={tmp_path}"
        assert "--validation: missing" in refused(*base, f"--method={name}", model)
        base += (f"--validation={validation_file}",)
    message = refused(*base, f"--method={name}")
    assert message == (
        "mig-jax: --model: missing, expected --model=MODEL.gguf, a Hugging Face folder or a "
        f"package with a GGUF file, for --method={name} to ask"
    )
    assert "nowhere: no such file, folder or package" in refused(
        *base, f"--method={name}", "--model=nowhere"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "flags", "words_of_it"),
    [
        ("random", ["--model=x"], "--model: --method=random asks no language model; leave it out"),
        ("mig", ["--row=9"], "or choose by one that does: ifd, less, influence, mig_influence"),
        ("mig", ["--heeded", "--model=x"], "--heeded: goes with --method=NAME, and not with mig;"),
        (
            "mig",
            ["--model=x"],
            "--model: --method=mig asks no language model; leave it out, or choo",
        ),
        ("random", ["--row=9"], "leave it out, add --heeded, or choose by one that does: ifd"),
        ("random", ["--heeded"], "with a GGUF file, for --heeded to ask"),
        ("random", ["--heeded", "--model=x", "--gradient_records=9"], "looks at no gradients"),
        ("random", ["--heeded", "--model=nowhere"], "nowhere: no such file, folder or package"),
        ("mig", ["--gradient_records=9"], "--gradient_records: --method=mig asks no language"),
        ("dsir", ["--step_size=1"], "--step_size: --method=dsir asks no language model"),
        ("ifd", ["--gradient_records=9"], "--method=ifd looks at no gradients; leave it out"),
        ("less", ["--step_size=0"], "--step_size: found 0, expected a number above 0"),
        ("less", ["--row=1"], "--row"),
        ("less", ["--layers=-1"], "--layers"),
        ("less", ["--chat_template=model"], "has no chat template; expected --chat_template="),
        ("less", ["--chat_template=none"], "--chat_template: none: No such file"),
        ("less", ["--chat_template=gemma"], "--chat_template: gemma: its answers end with"),
        ("less", ["--row=20"], "--pool: no record has at most 20 tokens; expected --row larger"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    name, flags, words_of_it, words, pool_file, validation_file, model, tmp_path
):
    base = [f"--pool={pool_file}", f"--method={name}", "--budget=5"]
    base += [f"--output={tmp_path / 'o.jsonl'}", f"--cache={tmp_path / 'cache'}"]
    if name in ASKING:
        base += [f"--model={model}", "--chat_template=chatml"]
    if name in METHODS and "wanted" in METHODS[name].needs:
        base += [f"--validation={validation_file}"]
    assert words_of_it in refused("select", *base, *flags)
    assert [path.name for path in tmp_path.iterdir()] in ([], ["cache"])
    assert not (tmp_path / "cache" / "asked").exists()


def test_what_is_wrong_is_told_before_the_model_is_asked(words, asked_for, tmp_path, monkeypatch):
    long = tmp_path / "long.jsonl"
    said = [{"role": r, "content": "word " * ROW} for r in ("user", "assistant")]
    long.write_text((json.dumps({"messages": said}) + "\n") * 2)
    message = refused(*words("influence"), f"--validation={long}")
    assert f"{long}: no record has at most {ROW} tokens; expected --row larger" in message
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    message = refused(*words("influence"))
    assert "expected the extra finetune (pip install 'mig-jax[finetune]')" in message
    assert asked_for == []


def test_the_model_is_not_written_over(words, model):
    before = (model / "config.json").read_bytes()
    words = [word for word in words("ifd") if not word.startswith("--output")]
    template = model / "template.jsonl"
    template.write_text("{{ messages }}")
    message = refused(*words, f"--chat_template={template}", f"--output={template}")
    assert str(template) in message
    assert template.read_text() == "{{ messages }}"
    assert (model / "config.json").read_bytes() == before
