"""README: what its one-liners name, each in the smallest form; a served model that answers by the prompt."""

from pathlib import Path
from typing import Any

from tests.docs.tiny import story, tiny_lm
from tests.docs.world import Left, Served, Swapped, World, jsonl, write
from tests.docs.worlds import geoeval, relevance, self_explanations, stg_llm, toolemu


def prepare(folder: Path) -> None:
    for world in (geoeval, relevance, stg_llm, toolemu):
        world.prepare(folder)
    (folder / "la.csv").rename(folder / "sensors.csv")
    write(folder, edges_csv="from,to,weight\ns0,s1,1.0\ns1,s2,1.0\n")
    reviews = [{"id": name, "text": text, "label": label} for name, text, label in self_explanations.REVIEWS]
    mine = [{"text": story(120, seed)} for seed in range(40)]
    write(folder, reviews_jsonl=jsonl(reviews))
    (folder / "my_text.jsonl").write_text(jsonl(mine), encoding="utf-8")
    tiny_lm(folder / "path" / "to" / "model")
    tiny_lm(folder / "tok")


def stars(messages: list[dict[str, Any]]) -> str:
    """Counts nothing."""
    return '{"little_penguin": [1, 2]}'


FEW = "--steps 2 --seqlen 64 --nsamples 8 --eval-documents 2 --eval-tokens 64 "
IN_PYTHON = "steps=2, seqlen=64, nsamples=8, eval_documents=2, eval_tokens=64"
WORLD = World(
    prepare,
    table=(
        Served("counting-stars run", "no served model offline", stars),
        Served("self-explanations", "no served model offline", self_explanations.model),
        Served("relevance label", "no served model offline", relevance.judge),
        Served("toolemu run", "no served model offline", toolemu.model),
        Swapped("signround quantize", "few steps", "--out q4", FEW + "--out q4"),
        Swapped("stg-llm train", "few steps of a tiny network", "smollm2", "tiny --steps 6 --batch-size 8"),
        Swapped(
            "import quantize", "135M weights take minutes", '"smollm2", ', f'"path/to/model", {IN_PYTHON}, '
        ),
        Left("my_folder", "claims have tests of their own"),
    ),
    same=("--stars 16", "instrument/", "logs"),
    writes=("report/index.html",),
    embedded=("smollm2",),
    slow=True,
)
