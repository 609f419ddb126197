"""The Python faces: BioELQA, scikit-learn, spaCy, the Inspect task."""

import numpy as np
import pytest

from etude.errors import EtudeError
from etude.methods.bioelqa import BioELQA, load_linker, read_pubtator, save_linker
from etude.methods.bioelqa.bi_encoder import BiEncoder
from etude.methods.bioelqa.demo import sample
from etude.methods.bioelqa.feature_selector import FeatureSelector
from etude.methods.bioelqa.mentions import corpus_rows
from etude.methods.bioelqa.prompted_selector import PromptedSelector
from etude.methods.bioelqa.sklearn_face import MentionClassifier
from etude.models import register_scripted


@pytest.fixture(scope="module")
def linker(vocabulary):
    made = BioELQA(selector=FeatureSelector(epochs=3), n_options=5)
    return made.fit(read_pubtator(sample("train.pubtator")), vocabulary)


def test_a_linker_links_explains_and_is_the_same_after_saving(linker, tmp_path):
    mentions = ["ASA", "Renal calculi", "??", "brain attack"]
    links = linker.link(mentions)
    assert links[0].id == "C33" and links[3].id == "C02" and links[3].clues[0].score == pytest.approx(1)
    assert links[2].id is None and links[2].abstained and links[2].options == ()
    assert sum(o.probability for o in links[0].options) == pytest.approx(1, abs=1e-5)
    assert [o.symbol for o in links[0].options][:2] == ["A", "B"]
    save_linker(linker, tmp_path / "model")
    assert load_linker(tmp_path / "model").link(mentions) == links
    assert load_linker(tmp_path).predict(mentions) == [link.id for link in links]


def test_abbreviations_are_resolved_by_the_context_and_composites_get_all_their_ids(linker):
    [plain], [defined] = linker.link(["AD"]), linker.link(["AD"], "atopic dermatitis (AD) is common")
    assert defined.id == "C27" and defined.score > plain.score
    composite = next(row for row in corpus_rows(read_pubtator(sample("test.pubtator"))) if row.parts)
    [link] = linker.link_rows([composite])
    assert link.id == "C11|C13" and len(link.options) == 10
    with pytest.raises(EtudeError, match="2 mentions and 1 contexts"):
        linker.link(["a", "b"], ["x"])
    with pytest.raises(EtudeError, match="has not been fitted"):
        BioELQA().link(["x"])


def test_a_low_score_or_none_of_these_is_an_abstention(vocabulary):
    train = read_pubtator(sample("train.pubtator"))
    strict = BioELQA(selector=FeatureSelector(epochs=1), n_options=5, min_score=1.0)
    assert all(
        link.abstained and link.id is None for link in strict.fit(train, vocabulary).link(["stroke x"])
    )
    register_scripted("refuser", lambda c: next(
        line[0] for line in c[-1]["content"].splitlines() if line.endswith(". none of these")))  # fmt: skip
    refusing = BioELQA(selector=PromptedSelector("refuser", store=None), n_options=4, abstain=True)
    [link] = refusing.fit(train, vocabulary).link(["heart attack"])
    assert link.abstained and link.score == 1 and link.options[-1].id is None


def test_the_sklearn_face_fits_predicts_scores_and_clones(vocabulary, cases):
    from sklearn.base import clone

    mentions, ids = [c.mention for c in cases], [c.id for c in cases]
    model = clone(MentionClassifier(vocabulary, n_options=5)).fit(mentions, ids)
    found = model.predict(["heart attack", "?"])
    assert found.tolist() == ["C01", "-1"] and model.score(mentions, ids) > 0.8
    assert model.get_params()["n_options"] == 5 and isinstance(found, np.ndarray)


def test_the_spacy_component_sets_the_id_of_every_entity(linker, tmp_path):
    spacy = pytest.importorskip("spacy")
    import etude.methods.bioelqa.spacy_component  # noqa: F401

    save_linker(linker, tmp_path / "model")
    nlp = spacy.blank("en")
    rules = [{"label": "D", "pattern": "AD"}, {"label": "D", "pattern": "renal stone"}]
    nlp.add_pipe("entity_ruler").add_patterns(rules)
    nlp.add_pipe("etude_linker", config={"model": str(tmp_path / "model")})
    [doc] = nlp.pipe(["Atopic dermatitis (AD) and a renal stone."])
    assert [span._.kb_id for span in doc.ents] == ["C27", "C12"]
    assert doc.ents[0]._.kb_name == "eczema" and doc.ents[0]._.kb_score > 0
    with pytest.raises(EtudeError, match="no trained linker"):
        spacy.blank("en").add_pipe("etude_linker", config={"model": str(tmp_path / "none")})


def test_a_dense_retriever_keeps_its_vectors_beside_the_linker(tiny, vocabulary, cases, tmp_path):
    made = BioELQA(BiEncoder(tiny("bert"), device="cpu"), False, n_options=4, n_clues=2)
    made.fit_cases(cases, vocabulary)
    [wordless] = made.link(["??"])  # near some name, as every vector is
    assert wordless.abstained and wordless.id is None and wordless.options
    save_linker(made, tmp_path / "m")
    assert (tmp_path / "m" / "vectors.npy").exists()
    again = load_linker(tmp_path / "m")
    assert again.predict(["A B", "what"]) == made.predict(["A B", "what"])


@pytest.mark.slow
def test_the_inspect_task_scores_letters_and_counts_what_is_none(linker, tmp_path):
    pytest.importorskip("inspect_ai")
    from inspect_ai import eval as inspect_eval
    from inspect_ai.model import ModelAPI, ModelOutput, get_model, modelapi

    from etude.methods.bioelqa.inspect_task import bioelqa

    @modelapi(name="first")
    def first():
        class First(ModelAPI):
            async def generate(self, input, tools, tool_choice, config):
                text = "Hmm, hard" if '"migraine headaches"' in input[-1].text else "A"
                return ModelOutput.from_content("first", text)

        return First

    save_linker(linker, tmp_path / "model")
    task = bioelqa(str(tmp_path / "model"), str(sample("test.pubtator")))
    [log] = inspect_eval(task, model=get_model("first/x"), log_dir=str(tmp_path / "logs"), display="none")
    assert log.status == "success", log.error
    metrics = {name: metric.value for name, metric in log.results.scores[0].metrics.items()}
    count = len(log.samples)
    assert metrics["unreadable"] == pytest.approx(1 / count)
    assert metrics["mean"] == pytest.approx(metrics["retriever"] - 1 / count)
