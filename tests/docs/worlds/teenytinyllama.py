"""teenytinyllama: documents of Portuguese words in random order, chats, questions, made-up curves."""

import random
import shutil
from pathlib import Path
from typing import Any

from tests.docs.tiny import story
from tests.docs.world import Swapped, World, jsonl, write

PT = """
o gato dorme na casa velha e os cães correm pelo jardim da cidade quando a menina lê um livro sobre
mares distantes enquanto seu irmão canta canções antigas para instalar pacotes abra uma janela
depois escolha qualquer arquivo configuração não esqueça que pessoas gostam muito mais do café
quente pela manhã ontem choveu bastante então ruas ficaram cheias de água também havia flores
amarelas entre as pedras ninguém sabia porque aquele trem partiu cedo sem avisar passageiros porém
todos esperaram com paciência até chegar outro nossa escola tem três professores
"""


def texts(count: int, seed: int) -> list[str]:
    """Texts of sixty words each."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(PT.split(), k=60)).capitalize() + "." for _ in range(count)]


def documents(count: int, seed: int) -> list[dict[str, Any]]:
    """Texts with the fields that `prepare` keeps."""
    return [
        {"id": f"{seed}-{at}", "text": text, "source": "manual", "license": "CC0-1.0", "language": "pt"}
        for at, text in enumerate(texts(count, seed))
    ]


def prepare(folder: Path) -> None:
    from etude.methods.teenytinyllama import tokenizer

    files = {
        "texts": documents(120, 1),
        "pt_docs_train": documents(120, 1),
        "pt_docs_valid": documents(20, 2),
    }
    files["held_out"] = documents(20, 3)
    fields = zip(texts(10, 4), (story(60, at) for at in range(10)), texts(10, 5), texts(10, 6), strict=True)
    files["parallel_handbook"] = [
        {"id": str(at), **dict(zip(("pt", "en", "es", "de"), four, strict=True))}
        for at, four in enumerate(fields)
    ]
    files["chats"] = [
        {"instruction": f"Conte até {at}.", "output": " ".join(map(str, range(1, at + 1)))}
        for at in range(2, 22)
    ]
    files["faquad_train"] = [
        {"id": f"q{at}", "title": f"t{at % 8}", "context": f"{one} {other}", "question": "Quem dorme?",
         "answers": [one.split()[3]]}
        for at, (one, other) in enumerate(zip(texts(32, 7), texts(32, 8), strict=True))
    ]  # fmt: skip
    files["english"] = [{"id": str(at), "text": story(120, at)} for at in range(40)]
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text(jsonl(rows), encoding="utf-8")
    for name, seed in (("held_out", 3), ("pt_news_train", 9), ("pt_news_valid", 10)):
        (folder / f"{name}.txt").write_text("\n".join(texts(80, seed)) + "\n", encoding="utf-8")
    losses = "Steps,Evaluation Loss,Perplexity,Total Energy Consumption (kWh),Emissions (KgCO2eq)\n"
    curve = losses + "100,4.0,54.6,1.0,0.5\n200,3.5,33.1,2.0,1.0\n"
    emissions = "duration,emissions,energy_consumed,country_name\n3600,0.5,1.0,Germany\n"
    write(folder, reference_ttl_160m_test_loss_logs_csv=curve, reference_emissions_160m_csv=emissions)
    tokenizer((folder / "english.jsonl",), vocab_size=400, out=folder / "tok-en")


def without(*names: str) -> Any:
    """The reader starts a new example with the same folder names."""
    return lambda folder: [shutil.rmtree(folder / name) for name in names]


def anew(folder: Path) -> None:
    """The run that the page evaluates is one on its corpus of manuals."""
    shutil.rmtree(folder / "run")
    shutil.copytree(folder / "runs" / "nano", folder / "run")


def pairs(folder: Path) -> None:
    """The page's Python block, which stands below the first use of its files."""
    from etude.data import write_records
    from etude.methods.teenytinyllama.sentence_selection import read_pairs

    for split, rows in read_pairs(folder / "faquad_train.jsonl").items():
        write_records(folder / f"faquad_{split}_pairs.jsonl", rows)


WORLD = World(
    prepare,
    table=(
        Swapped("4096", "our few words support no more entries", "4096", "400"),
        Swapped("--steps 600", "few steps", "600", "4"),
        Swapped("--context 512", "few entries cut a text finer", "--context 512", "--context 1024 --steps 2"),
        Swapped(
            "--block 256",
            "a corpus beside the first, on which the page goes on",
            "--out corpus",
            "--out corpus-mini",
        ),
        Swapped("--preset mini", "its own corpus", "pretrain corpus", "pretrain corpus-mini"),
        Swapped("--preset mini", "a smaller network, few steps", "mini --epochs 4", "nano --steps 2"),
        Swapped("--preset 160m", "a network for two cores", "--preset 160m", "--preset nano --steps 4"),
        Swapped("signround", "few steps", "--out q4", "--steps 2 --nsamples 8 --seqlen 64 --out q4"),
    ),
    before={
        "--context 512": without("run"),
        "--block 128 --out corpus --val": without("corpus"),
        "--lines 40 --vocab-size": without("tok"),
        "export runs/nano --out": without("nano-hf"),
        "evaluate run --texts pt_docs_valid": anew,
        "--suites": pairs,
    },
    writes=("nano.gguf", "run/report.html", "mini-pt/report.html"),
    embedded=("smollm2",),
    slow=True,
)
