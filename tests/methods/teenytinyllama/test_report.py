import json
import math
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from etude.errors import EtudeError
from etude.methods.teenytinyllama.configs import ModelConfig
from etude.methods.teenytinyllama.evaluating import evaluate
from etude.methods.teenytinyllama.reading import Document
from etude.methods.teenytinyllama.reference_curves import read_record, read_reference
from etude.methods.teenytinyllama.reporting import report, thinned
from etude.methods.teenytinyllama.run_logs import read_log
from etude.methods.teenytinyllama.settings import TrainSettings
from etude.methods.teenytinyllama.shard_writing import write_shards
from etude.methods.teenytinyllama.shards import TokenShards
from etude.methods.teenytinyllama.tokenizer_training import train_tokenizer
from etude.methods.teenytinyllama.training_loop import train

WORDS = [
    "o",
    "gato",
    "dorme",
    "na",
    "casa",
    "velha",
    "e",
    "a",
    "menina",
    "lê",
    "um",
    "livro",
    "sobre",
    "o",
    "mar",
    "na",
    "cidade",
    "cheia",
    "de",
    "água",
]
TRAIN = [
    Document(f"t{i}", " ".join(WORDS[(i + j) % 19] for j in range(12)) + f" {i}", license="MIT")
    for i in range(40)
]
VALID = [
    Document(f"v{i}", " ".join(WORDS[(i * 3 + j * 2) % 19] for j in range(12)), license="MIT")
    for i in range(6)
]


class _Page(HTMLParser):
    """The page's headings, and anything it would fetch from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.fetched, self._in = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self._in = tag in ("h1", "h2", "h3")
        given = dict(attrs)
        links = [given.get("src"), given.get("href") if tag == "link" else None]
        self.fetched += [link for link in links if link and not link.startswith(("data:", "#"))]

    def handle_data(self, data):
        if self._in and data.strip():
            self.headings.append(data.strip())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of ten steps on forty documents."""
    folder = tmp_path_factory.mktemp("small")
    tokenizer = train_tokenizer([d.text for d in TRAIN], vocab_size=300)
    write_shards(TRAIN, tokenizer, folder / "corpus", block=32, val_documents=VALID)
    shape = ModelConfig(32, 64, 1, 2, context=32, vocab_size=300, tied=True)
    settings = TrainSettings(steps=10, tokens_per_step=128, eval_every=5, log_every=1, sample_tokens=4)
    train(shape, TokenShards.open(folder / "corpus"), settings, folder / "run <b>", device="cpu", quiet=True)
    return folder / "run <b>"


def test_the_page_holds_everything_and_fetches_nothing(run):
    result = report(run)
    text = Path(result.page).read_text(encoding="utf-8")
    page = _Page(text)
    assert not page.fetched
    for heading in (
        "Loss",
        "Energy",
        "Speed",
        "What it writes",
        "Where the text came from",
        "How it was made",
    ):
        assert heading in page.headings
    assert "MIT" in text and "run <b>" not in text  # licences are there, names are escaped
    last = read_log(run / "eval.jsonl")[-1]
    assert result.facts["held-out perplexity, e^loss"] == pytest.approx(math.exp(last["loss"]))
    assert result.facts["step"] == 10


def test_an_unfinished_run_has_a_page_too(run, tmp_path):
    for name in ("run.json", "metrics.jsonl"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    assert report(tmp_path).facts["step"] == 10


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(EtudeError, match="no run of pretrain"):
        report(tmp_path)


def test_the_authors_curves_and_codecarbon_records_are_read(run, shared_data, tmp_path):
    data = shared_data("teenytinyllama")
    curve = read_reference(data / "reference_ttl_460m_test_loss_logs.csv")
    assert (curve.steps[0], curve.steps[-1], curve.columns["loss"][-1]) == (100_000, 1_200_000, 2.46)
    assert set(curve.columns) == {"loss", "perplexity", "kwh", "kgco2"}
    for loss, perplexity in zip(curve.columns["loss"], curve.columns["perplexity"], strict=True):
        assert math.exp(loss) == pytest.approx(perplexity, rel=0.01)
    record = read_record(data / "reference_emissions_160m.csv")
    assert (record.kwh, record.kgco2) == pytest.approx((15.5213, 5.6727), rel=1e-4)
    assert record.hours == pytest.approx(139_415.49 / 3600, rel=1e-6)
    assert (
        record.gpu_power_missing and not read_record(data / "reference_emissions_460m.csv").gpu_power_missing
    )
    assert read_reference(data / "reference_460m_arc.csv").columns["arc"][-1] == 29.4
    files = tuple(sorted(data.glob("reference_*.csv")))
    text = Path(report(run, reference=files, out=tmp_path / "page.html").page).read_text(encoding="utf-8")
    assert "Beside the published curves" in text and "GPU reads 0 W" in text


def test_a_table_that_is_neither_is_refused_and_a_bad_cell_named_by_line(tmp_path):
    other, bad = tmp_path / "other.csv", tmp_path / "bad.csv"
    other.write_text("a,b\n1,2\n")
    bad.write_text("Steps,Perplexity\n100,20.1\n200,many\n")
    with pytest.raises(EtudeError, match="no column Steps"):
        read_reference(other)
    with pytest.raises(EtudeError, match=r"bad\.csv:3: Perplexity: 'many' is not a number"):
        read_reference(bad)


def test_a_long_curve_is_thinned_and_keeps_its_last_point():
    rows = [{"step": i} for i in range(1003)]
    kept = thinned(rows, 100)
    assert len(kept) <= 100 and kept[-1] == rows[-1]
    assert thinned(rows, 2000) == rows


def test_a_run_is_evaluated_on_its_own_held_out_documents(run):
    assert evaluate(str(run)).texts["val.jsonl"]["documents"] == len(VALID)


def test_text_that_a_run_was_trained_on_is_refused_unless_forced(run, tmp_path):
    rows = [{"id": d.id, "text": d.text} for d in (VALID[0], TRAIN[7], TRAIN[9])]
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(EtudeError, match=r"2 of 3 documents \('t7', ...\) were trained on"):
        evaluate(str(run), texts=(mixed,))
    assert "were trained on" in evaluate(str(run), texts=(mixed,), force=True).notices[0]
    assert evaluate(str(run / "model"), texts=(mixed,), limit=1).notices == ()


def test_a_corpus_prepared_again_is_not_taken_for_the_one_of_the_run(run, tmp_path):
    corpus = Path(yaml.safe_load((run / "config.yaml").read_text())["data"])
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text(json.dumps({"id": TRAIN[7].id, "text": TRAIN[7].text}) + "\n")
    before = (corpus / "manifest.json").read_text()
    changed = json.loads(before) | {"tokenizer_sha256": "0" * 64}  # the same folder, another tokenizer
    (corpus / "manifest.json").write_text(json.dumps(changed))
    try:
        [notice] = evaluate(str(run), texts=(mixed,)).notices
        assert "was prepared again since" in notice and str(mixed) in notice
        with pytest.raises(EtudeError, match="prepared again"):
            evaluate(str(run))
    finally:
        (corpus / "manifest.json").write_text(before)
