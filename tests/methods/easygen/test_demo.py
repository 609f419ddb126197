"""The packaged model and the demo."""

from pathlib import Path

from etude.methods.easygen.bidiffuser import EMOJI, bidiffuser_folder, load_bidiffuser
from etude.methods.easygen.caption_metrics import word_accuracy
from etude.methods.easygen.demo import SAMPLE, demo
from etude.methods.easygen.pairs import read_pairs
from etude.methods.easygen.picture_metrics import nearest_pictures
from etude.methods.easygen.pictures import load_pixels
from etude.render import save_page


def test_the_packaged_model_is_small_and_draws_what_it_is_told() -> None:
    folder = bidiffuser_folder(EMOJI)
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) < 8_000_000
    model = load_bidiffuser(EMOJI)
    pairs = read_pairs(SAMPLE)
    pixels = load_pixels([pair.picture for pair in pairs], model.size)
    prompts = [pair.captions[0] for pair in pairs]
    drawn = model.draw(model.text.encode(prompts).latents, prompts)
    near = nearest_pictures(drawn, pixels, range(len(pairs)))
    assert (
        sum(int(n) == at for at, n in enumerate(near.index)) >= 6
    )  # of twelve unseen combinations; chance: 1
    written = model.captions(pixels, [pair.id for pair in pairs])
    share = sum(word_accuracy(t, p.captions) for t, p in zip(written, pairs, strict=True)) / len(pairs)
    assert share > 0.5


def test_the_demo_shows_drawings_and_captions(tmp_path: Path) -> None:
    shown = demo(tmp_path)
    assert len(list((tmp_path / "drawn").glob("*.png"))) == 4
    page = save_page(tmp_path / "d.html", "demo", [("in", shown.went_in), ("out", shown.came_out)])
    assert "strawberry" in page.read_text()
