"""idgen: six things for camping and painting, twelve tools, thirty users who buy one after the other."""

from pathlib import Path
from typing import Any

from tests.docs.world import Swapped, World, jsonl, write

ITEMS = {
    "A1": ("Camping stove", "a small gas stove with a steady flame"),
    "A2": ("Camping tent", "a tent for two with a double roof"),
    "A3": ("Camping lamp", "a lamp that hangs from the roof of a tent"),
    "B1": ("Oil paint", "a box of oil paint in twelve colors"),
    "B2": ("Canvas", "a canvas on a frame for oil paint"),
    "B3": ("Paint brush", "a flat brush of hog hair for oil paint"),
}
TOOLS = (
    "hammer",
    "saw",
    "drill",
    "chisel",
    "plane",
    "pliers",
    "wrench",
    "rasp",
    "vise",
    "awl",
    "file",
    "square",
)


def prepare(folder: Path) -> None:
    events, sequences = ["user_id,item_id,timestamp"], []
    for user in range(30):
        kind = "AB"[user % 2]
        bought = [f"{kind}{1 + (user + step) % 3}" for step in range(5)]
        events += [f"u{user},{item},{1000 + 10 * user + step}" for step, item in enumerate(bought)]
        tools = [f"B00A{1 + (user + step) % len(TOOLS)}" for step in range(5)]
        sequences.append({"user_id": f"u{user}", "items": tools})
    rows = [f"{item},{title},{text}" for item, (title, text) in ITEMS.items()]
    items = [
        {"item_id": f"B00A{at}", "title": f"{tool} of steel", "description": f"a {tool} for the workshop"}
        for at, tool in enumerate(TOOLS, start=1)
    ]
    write(folder, events_csv="\n".join(events) + "\n", sequences_jsonl=jsonl(sequences))
    write(folder, items_csv="\n".join(["item_id,title,description", *rows]) + "\n", items_jsonl=jsonl(items))


def names(folder: Path) -> dict[str, Any]:
    """A T5 of random weights over the words of the ids, two histories, and what their users have seen."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    from etude.methods.idgen.textual_ids import read_ids

    ids = read_ids(folder / "ids.tsv")
    words = ["<pad>", "</s>", "<unk>", *sorted({word for name in ids.values() for word in name.split()})]
    made = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    torch.manual_seed(0)
    config = T5Config(vocab_size=len(words), d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4,
                      decoder_start_token_id=0, pad_token_id=0, eos_token_id=1)  # fmt: skip
    read = tokenizer(list(ids.values())[:2], return_tensors="pt", padding=True)
    return {
        "ids": ids,
        "tokenizer": tokenizer,
        "model": T5ForConditionalGeneration(config).eval(),
        "input_ids": read["input_ids"],
        "attention_mask": read["attention_mask"],
        "seen": [[0], [1, 2]],
    }


WORLD = World(
    prepare,
    table=(Swapped("--epochs 15", "fewer epochs show the same", "15", "2"),),
    names=names,
    writes=("run/model", "run/recommender.json", "run/metrics-test.json"),
)
