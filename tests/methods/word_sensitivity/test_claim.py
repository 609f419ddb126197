"""The claim runs whole on a small budget, computes its verdict, and needs its data; the demo draws."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from etude.errors import EtudeError
from etude.evidence import run_claim
from etude.methods.word_sensitivity.claim import (
    BUDGETS,
    RAF,
    REVIEWS,
    RF,
    Budget,
    Modification,
    Scaling,
    Sites,
    claim,
    claim_on,
)

SMALL = Budget(
    arms=(
        Scaling(RF, "rf", (4, 8, 16, 32), k=300, starts=2, steps=15),
        Scaling(RAF, "raf", (4, 8, 16, 32), steps=20),
        Scaling("DRF, depth 2", "drf", (4, 8, 16, 32), k=100, depth=2, starts=1, steps=8),
        Scaling("d = 8, Gaussian: RAF", "raf", (4, 8), 8, embeddings="gaussian", steps=5),
    ),
    modifications=(Modification(d=16, n=6, n_train=12, tests=2, k=200, maps=("rf", "raf")),),
    sites=Sites("layers.0.self_attn,final", "4,8", 1, 6, "4,8", 1, 1, 2),
    texts=3,
    positions="sample:1",
)


@pytest.fixture
def data(reviews: Path, tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / REVIEWS).write_text(reviews.read_text())
    return tmp_path / "data"


def test_the_verdict_follows_from_the_exponents(llama_folder: str, data: Path, tmp_path: Path) -> None:
    test = claim_on(SMALL, scale="test", data=data, seeds=(0, 1), model=llama_folder)
    evidence = run_claim(test, tmp_path / "out")
    assert not any(arm.errors for arm in evidence.arms)
    findings = {f.statement: f for f in evidence.parts[0].findings}
    rf, raf = (evidence.arm(name).mean("exponent") for name in (RF, RAF))
    assert rf is not None and raf is not None
    assert findings["RF's exponent lies above -0.6"].value == pytest.approx(rf)
    assert findings["RAF's exponent lies above RF's"].value == pytest.approx(raf - rf)
    every = [f.verdict for f in evidence.parts[0].findings]
    expected = "fails" if "fails" in every else "holds" if set(every) == {"holds"} else "not shown"
    assert evidence.verdicts == {"exponents": expected}
    captions = [table["caption"] for table in evidence.tables]
    assert captions[0].startswith("Word sensitivity") and any("Context modification" in c for c in captions)
    assert sum("no verdict" in c for c in captions) == 3
    stored = json.loads((tmp_path / "out" / "evidence.json").read_text())
    assert stored["tables"] == json.loads(json.dumps(evidence.tables))
    assert run_claim(test, tmp_path / "out").verdicts == evidence.verdicts  # nothing is measured again


def test_without_its_data_the_claim_says_which_and_where_from(tmp_path: Path) -> None:
    with pytest.raises(EtudeError, match=r"no --data folder: this claim needs movie_reviews(.|\n)*imdb"):
        claim()
    with pytest.raises(EtudeError, match="this claim needs"):
        claim(data=tmp_path)


def test_the_laptop_scale_is_what_the_specification_says(shared_data: Callable[[str], Path]) -> None:
    real = claim(data=shared_data("word-sensitivity"), seeds=(3,))
    arms = {arm.name: arm for arm in real.arms}
    assert {RF, RAF, "DRF, depth 4", "ReLU-RAF"} <= set(arms)
    assert arms[RF].config["lengths"] == (16, 32, 64, 128, 256) and arms[RF].config["k"] == 4096
    assert [part.name for part in real.parts] == ["exponents"]


def test_the_paper_scale_has_the_papers_sizes() -> None:
    paper = {arm.name: arm for arm in BUDGETS["paper"].arms}
    assert paper[RAF].lengths == (10, 20, 50, 100, 150, 200, 250)
    assert paper[RF].lengths == tuple(range(90, 151, 10)) and paper[RF].k is None
    assert {paper[f"DRF, depth {depth}"].depth for depth in (2, 4, 8)} == {2, 4, 8}
    assert {m.n_train for m in BUDGETS["paper"].modifications} == {1100, 1200, 1300}
    assert len(BUDGETS["slow"].arms) > len(BUDGETS["laptop"].arms)


def test_a_decaying_attention_would_fail_the_claim(data: Path, tmp_path: Path, llama_folder: str) -> None:
    arms = (SMALL.arms[0], replace(SMALL.arms[0], name=RAF))
    budget = replace(SMALL, arms=arms, modifications=(), sites=None)
    test = claim_on(budget, scale="test", data=data, seeds=(0, 1), model=llama_folder)
    assert run_claim(test, tmp_path / "out").verdicts == {"exponents": "fails"}


@pytest.mark.slow
def test_the_demo_names_the_word_that_holds_the_sentence(tmp_path: Path) -> None:
    from etude.methods.word_sensitivity.demo import demo
    from etude.render import Shaded, save_page

    shown = demo(tmp_path)
    assert any(isinstance(block, Shaded) for block in shown.came_out)
    save_page(tmp_path / "demo.html", "demo", [("demo", [*shown.went_in, *shown.came_out])])
