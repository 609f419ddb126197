"""Places of real transformers: hooks, heads, the shared prefix, and the worst real word."""

import io
from pathlib import Path

import pytest
import torch
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.word_sensitivity import ModelSite, measure, sensitivity, words
from etude.methods.word_sensitivity.model_site import ModelProbe, hidden_states
from etude.methods.word_sensitivity.perturbation import DensePerturbation, generator, on_sphere
from etude.methods.word_sensitivity.site_names import resolve_sites
from etude.methods.word_sensitivity.site_table import embed_ids
from etude.models import load_causal_lm, load_encoder


@pytest.fixture(scope="module")
def llama(llama_folder: str):
    return load_causal_lm(llama_folder, device="cpu")


def text_of(lm, count: int = 12) -> Tensor:
    return embed_ids(lm.model, [(7 * i) % 40 + 1 for i in range(count)])


def test_names_fit_module_paths_and_stars_one_part(llama) -> None:
    assert resolve_sites(llama.model, "final,layers.*.mlp,layers.1.self_attn") == [
        "model.layers.0.mlp", "model.layers.1.self_attn", "model.layers.1.mlp", "final",
    ]  # fmt: skip
    assert resolve_sites(llama.model, "layers.1") == ["model.layers.1"]


def test_a_site_gives_out_what_the_model_computes_there(llama) -> None:
    x = text_of(llama)
    with torch.no_grad():
        states = llama.model.model(inputs_embeds=x[None], output_hidden_states=True)
    assert torch.allclose(
        ModelSite(llama.model, "layers.0")(x).float(), states.hidden_states[1][0], atol=1e-5
    )
    assert torch.allclose(ModelSite(llama.model)(x).float(), states.last_hidden_state[0], atol=1e-5)


@pytest.mark.parametrize("output", ["frobenius", "last_token", "mean"])
@pytest.mark.parametrize(
    ("site", "head"), [("layers.1.self_attn", None), ("layers.1.self_attn", 2), ("final", None)]
)
@pytest.mark.parametrize("position", [0, 5, 11])
def test_the_shared_prefix_changes_nothing(llama, output, site: str, head: int | None, position: int) -> None:
    x = text_of(llama)
    place = ModelSite(llama.model, site, output, head)
    around = place.perturbed(x, position)
    dense = DensePerturbation(place, x, position)
    assert around.all_sites.begin == position
    deltas = on_sphere(3, x[position], float(x[position].norm()), generator(0))
    value, gradient = around.with_gradients(deltas)
    true, slope = dense.with_gradients(deltas)
    assert torch.allclose(value, true, rtol=1e-3, atol=1e-8)
    assert torch.allclose(gradient, slope, rtol=1e-2, atol=1e-4 * float(slope.abs().max()))
    assert around.norm == pytest.approx(dense.norm, rel=1e-5)


def test_heads_lie_side_by_side_before_the_output_projection(llama) -> None:
    x = text_of(llama)
    heads = [ModelSite(llama.model, "layers.0.self_attn", head=h)(x) for h in range(4)]
    projection = llama.model.model.layers[0].self_attn.o_proj
    whole = ModelSite(llama.model, "layers.0.self_attn")(x)
    assert torch.allclose(projection(torch.cat(heads, -1).float()).double(), whole, atol=1e-5)


def test_causality_is_tried_not_believed(llama, bert_folder: str) -> None:
    assert ModelProbe(llama.model, ["final"]).causal
    bert = load_encoder(bert_folder, device="cpu").model
    probe = ModelProbe(bert, ["final"])
    assert not probe.causal and not probe.can_share
    x = embed_ids(bert, [1, 2, 3, 4])
    changed = x.clone()
    changed[3] += 1
    place = ModelSite(bert)
    assert not torch.allclose(place(x)[0], place(changed)[0])


def test_the_pass_ends_at_the_deepest_site(llama) -> None:
    place = ModelSite(llama.model, "layers.0.mlp")
    reached = []
    handle = llama.model.model.layers[1].register_forward_hook(lambda *_: reached.append(1))
    try:
        x = text_of(llama)
        place(x)  # the first pass learns the order
        seen = len(reached)
        place.perturbed(x, 3)
        assert len(reached) - seen <= 1  # trying causality reads to the end once
    finally:
        handle.remove()


def test_a_word_can_move_only_what_follows_it(llama) -> None:
    x = text_of(llama)
    place = ModelSite(llama.model, "layers.0.self_attn", "last_token")
    assert sensitivity(place, x, positions=[3], starts=2, steps=3).value > 0
    first = ModelSite(llama.model, "layers.0.self_attn")
    rows = first.perturbed(x, 4).all_sites.run(x[None, 4:])[0]
    assert rows.shape[1] == len(x) - 4


def test_more_steps_of_ascent_do_not_find_less(llama) -> None:
    x = text_of(llama)
    place = ModelSite(llama.model, "layers.1")
    values = [sensitivity(place, x, positions=[2], starts=2, steps=steps).value for steps in (1, 15)]
    random = place.perturbed(x, 2).squared_distances(
        on_sphere(200, x[2], float(x[2].norm()), generator(1))
    ).sqrt() / place.perturbed(x, 2).norm  # fmt: skip
    assert values[1] >= values[0] and values[1] > float(random.detach().max())


def test_measure_names_the_worst_word_of_the_whole_vocabulary(
    llama_folder: str, llama, reviews: Path, tmp_path: Path
) -> None:
    found = measure(
        llama_folder, texts=reviews, sites="layers.*.self_attn,final", lengths="8,16", words=0, count=2,
        out=tmp_path / "ws",
    )  # fmt: skip
    row = next(r for r in found.rows if r["site"] == "final" and r["n"] == 8)
    ids = llama.tokenizer(reviews.read_text().split('"text": "')[1].split('"')[0])["input_ids"][:8]
    with torch.no_grad():
        base = llama.model.model(torch.tensor([ids])).last_hidden_state
        moved = {}
        for token in range(1, len(llama.tokenizer)):
            changed = [*ids[:4], token, *ids[5:]]
            out = llama.model.model(torch.tensor([changed])).last_hidden_state
            moved[token] = float((out - base).norm() / base.norm())
    assert row["position"] == 4
    assert row["value"] == pytest.approx(max(moved.values()), rel=1e-4)
    assert row["token"] == llama.tokenizer.decode([max(moved, key=lambda t: moved[t])])
    for file in ("sensitivity.parquet", "fits.json", "curve.png", "report.html"):
        assert (tmp_path / "ws" / file).exists()


def test_an_interrupted_measurement_measures_only_what_is_missing(
    llama_folder: str, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from etude.methods.word_sensitivity import site_table

    def run(out: Path) -> None:
        measure(llama_folder, texts=reviews, sites="final", lengths="6,9", words=4, count=2, out=out)

    run(tmp_path / "whole")
    real, calls = site_table._all_sites, []

    def counted(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(site_table, "_all_sites", counted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken")
    run(tmp_path / "broken")
    assert len(calls) == 5  # two texts at two lengths, and the one that was cut off
    for file in ("sensitivity.parquet", "fits.json"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "broken" / file).read_bytes()


def test_measure_reads_encoders_and_ascends(bert_folder: str, llama_folder: str, reviews: Path) -> None:
    found = measure(
        bert_folder, encoder=True, texts=reviews, sites="layer.0.attention", lengths="8", words=5, count=1
    )
    assert not found.causal and found.fits == {"encoder.layer.0.attention": None}
    climbed = measure(
        llama_folder,
        texts=reviews,
        sites="final",
        lengths="8,12",
        method="ascent",
        starts=2,
        steps=3,
        count=1,
    )
    assert all(row["token"] is None and row["radius"] == 1.0 for row in climbed.rows)


def test_words_shades_a_sentence_and_escapes_it(llama_folder: str, tmp_path: Path) -> None:
    found = words(llama_folder, text="i love her <b>much", site="layers.1.mlp", out=tmp_path)
    assert "".join(found.tokens) == "i love her <b>much"
    assert max(strength for _, strength in found.sentence().pieces) == 1.0
    page = (tmp_path / "words.html").read_text()
    assert "<b>much" not in page and "--p: 100%" in page and "&lt;" in page
    from rich.console import Console

    console = Console(
        width=100, record=True, force_terminal=True, color_system="truecolor", file=io.StringIO()
    )
    console.print(found)
    assert "love" in console.export_text(clear=False)
    assert "background-color" in console.export_html()


def test_unknown_sites_name_their_neighbors(llama) -> None:
    with pytest.raises(EtudeError, match=r"no site 'layers\.7\.self_atn'(.|\n)*self_attn"):
        ModelSite(llama.model, "layers.7.self_atn")
    with pytest.raises(EtudeError, match="names 2 sites"):
        ModelSite(llama.model, "layers.*")
    with pytest.raises(EtudeError, match="no site"):
        ModelSite(llama.model, " , ")


def test_sites_without_hidden_states_or_heads_are_explained(llama) -> None:
    with pytest.raises(EtudeError, match="no output projection"):
        ModelSite(llama.model, "layers.0.input_layernorm", head=0)
    with pytest.raises(EtudeError, match="heads go from 0 to 3"):
        ModelSite(llama.model, "layers.0.self_attn", head=4)
    for value in (None, (None, {"cache": 1}), torch.zeros(2, 3)):
        with pytest.raises(EtudeError, match="not hidden states"):
            hidden_states(value, "layers.0")
    states = torch.zeros(1, 2, 3)
    assert hidden_states((states, "a cache"), "layers.0") is states


def test_a_module_that_never_runs_is_explained(llama) -> None:
    llama.model.model.idle = torch.nn.Linear(2, 2)
    try:
        with pytest.raises(EtudeError, match="not reached"):
            ModelSite(llama.model, "idle")(text_of(llama))
    finally:
        del llama.model.model.idle


def test_a_trained_model_has_no_closed_form(llama) -> None:
    with pytest.raises(EtudeError, match="no closed form"):
        sensitivity(ModelSite(llama.model), text_of(llama), method="bound")
