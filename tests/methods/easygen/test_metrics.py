"""Scores against COCO's own code, closed forms, and known cases."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.errors import EtudeError
from etude.methods.easygen.bridge import Bridge, collate
from etude.methods.easygen.caption_metrics import bleu, cider_d, exact, vqa_accuracy, word_accuracy
from etude.methods.easygen.picture_metrics import CoarsePixels, frechet_distance, nearest_pictures
from etude.methods.easygen.projections import Projection
from etude.methods.easygen.wording import Prompt

SENTENCE = st.lists(
    st.sampled_from(["a", "hand", "waving", "red", "dark", "skin", "tone", "of", "the"]),
    min_size=1,
    max_size=9,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(SENTENCE, st.lists(SENTENCE, min_size=1, max_size=3)), min_size=2, max_size=6))
def test_cider_d_and_bleu_are_those_of_cocos_code(items: list[tuple[list[str], list[list[str]]]]) -> None:
    bleu_scorer = pytest.importorskip("pycocoevalcap.bleu.bleu_scorer")
    cider_scorer = pytest.importorskip("pycocoevalcap.cider.cider_scorer")
    written = [" ".join(said) for said, _ in items]
    references = [[" ".join(words) for words in texts] for _, texts in items]
    cider, their_bleu = cider_scorer.CiderScorer(n=4, sigma=6.0), bleu_scorer.BleuScorer(n=4)
    for text, texts in zip(written, references, strict=True):
        cider += (text, texts)
        their_bleu += (text, texts)
    mean, scores = cider.compute_score()
    ours = cider_d(written, references)
    assert np.allclose(ours, scores, atol=1e-9) and np.isclose(np.mean(ours), mean, atol=1e-9)
    assert np.allclose(bleu(written, references), their_bleu.compute_score(option="closest")[0], atol=1e-6)


def test_a_perfect_caption_scores_ten_and_an_empty_one_nothing() -> None:
    references = [["a dark red hand waving"], ["the tone of skin today"]]
    assert cider_d(["a dark red hand waving", "the tone of skin today"], references) == pytest.approx(
        [10, 10]
    )
    assert cider_d(["", "x"], references) == [0, 0] and bleu(["", ""], references) == [0, 0, 0, 0]


def test_exact_and_word_accuracy_look_at_places() -> None:
    assert (
        exact("Waving hand, dark", ["waving hand dark"]) == 1 and exact("hand waving", ["waving hand"]) == 0
    )
    assert word_accuracy("waving hand light", ["waving hand dark"]) == pytest.approx(2 / 3)
    assert word_accuracy("hand", ["waving hand", "hand"]) == 1


def test_vqa_accuracy_is_the_official_mean_over_nine_of_ten_people() -> None:
    answers = ["red"] * 2 + ["blue"] * 8
    by_hand = (2 * min(1, 1 / 3) + 8 * min(1, 2 / 3)) / 10
    assert vqa_accuracy("The red.", answers) == pytest.approx(by_hand)
    assert vqa_accuracy("blue", answers) == 1 and vqa_accuracy("green", answers) == 0
    assert vqa_accuracy("red", ["red"]) == 1


def test_the_frechet_distance_is_the_closed_form_of_two_gaussians() -> None:
    torch.manual_seed(0)
    real, drawn = torch.rand(80, 3, 16, 16) * 2 - 1, torch.rand(90, 3, 16, 16) - 0.5
    looked = [
        CoarsePixels()(((p + 1) * 127.5).round().to(torch.uint8)).double().numpy() for p in (real, drawn)
    ]
    means, spreads = [f.mean(0) for f in looked], [np.cov(f, rowvar=False) for f in looked]
    values = np.linalg.eigvals(spreads[0] @ spreads[1])
    trace = np.trace(spreads[0]) + np.trace(spreads[1]) - 2 * np.sqrt(values.astype(complex)).real.sum()
    expected = float(((means[0] - means[1]) ** 2).sum() + trace)
    assert frechet_distance(real, drawn, look="pixels") == pytest.approx(expected, rel=1e-3)
    assert abs(frechet_distance(real, real, look="pixels")) < 1e-3
    with pytest.raises(EtudeError, match="two or more"):
        frechet_distance(real[:1], drawn, look="pixels")


def test_the_nearest_picture_and_the_error_to_the_right_one() -> None:
    real = torch.stack([torch.full((3, 4, 4), v) for v in (-1.0, 0.0, 1.0)])
    found = nearest_pictures(torch.stack([real[0] + 0.1, real[2] * 3]), real, [1, 2])
    assert found.index.tolist() == [0, 2]
    assert found.error.tolist() == pytest.approx([0.81, 0.0])


class Words(torch.nn.Module):
    """A language model that returns what it was given, to look at its input."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(10, 4)

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.embedding


def test_soft_tokens_stand_in_their_places_and_nowhere_else() -> None:
    llm, projection = Words(), Projection(3, 4, "linear")
    prompts = [
        Prompt([5, 0, 0, 6], [-100, -100, -100, 6], [False, True, True, False], 1),
        Prompt([7, 8], [-100, 8], [False, False], 0),
        Prompt([0, 0, 9], [-100, -100, 9], [True, True, False], 1),
    ]
    features = torch.randn(2, 2, 3)
    batch = collate(prompts, features, left=True)
    found = Bridge(llm, projection).embed(batch)
    soft = projection(features)
    assert torch.equal(found[0, 1:3], soft[0]) and torch.equal(found[2, 1:3], soft[1])
    assert torch.equal(found[1, 2:], llm.embedding(torch.tensor([7, 8])))
    assert batch["labels"][1].tolist() == [-100, -100, -100, 8]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [0, 0, 1, 1], [0, 1, 1, 1]]


def test_clip_tokens_stand_before_the_features() -> None:
    bridge = Bridge(Words(), Projection(3, 4), Projection(5, 4))
    features, clip = torch.randn(1, 2, 3), torch.randn(1, 7, 5)
    soft = bridge.soft_tokens(features, clip)
    assert soft.shape == (1, 9, 4)
    assert torch.equal(soft[:, 7:], bridge.projection(features))


def test_the_knowledge_adapter_is_the_papers_attention() -> None:
    from etude.methods.easygen.knowledge_adapter import KnowledgeAdapter

    torch.manual_seed(0)
    adapter = KnowledgeAdapter(6, 8, share=0.2).eval()
    with torch.no_grad():
        adapter.narrow.weight.normal_()
    states, words = torch.randn(1, 3, 6), torch.randn(1, 4, 8)
    mask = torch.tensor([[1, 1, 1, 0]])
    with torch.no_grad():
        known = adapter.layers(words[:, :3])
        known = adapter.narrow(torch.nn.functional.gelu(adapter.widen(known)))
        scores = adapter.query(states) @ adapter.key(known).mT / math.sqrt(6)
        by_hand = 0.2 * scores.softmax(-1) @ adapter.value(known) + 0.8 * states
        assert torch.allclose(adapter(states, words, mask), by_hand, atol=1e-5)


def test_labels_are_the_assistants_words_alone_with_and_without_a_template(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from transformers import AutoTokenizer

    from etude.methods.easygen.wording import Turn, tokenize, with_picture

    from .conftest import small_causal

    turns = [
        Turn("user", with_picture("What color is it?")),
        Turn("assistant", "red"),
        Turn("user", "a"),
        Turn("assistant", "blue circle"),
    ]
    for template in (False, True):
        tokenizer = AutoTokenizer.from_pretrained(small_causal(tmp_path / str(template), template=template))
        prompt = tokenize(turns, tokenizer, 3)
        learned = [tokenizer.decode([label]) for label in prompt.labels if label != -100]
        assert [word for word in learned if word != "<end>"] == ["red", "blue", "circle"]
        assert learned.count("<end>") == 2 and sum(prompt.soft) == 3 and prompt.pictures == 1
