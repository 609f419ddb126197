"""The card of signround."""

from etude.catalogue.method_card import Card

CARD = Card(
    name="signround",
    purpose="Quantize a language model's weights to 2-8 bits, with a report of what was lost",
    paper="Optimize Weight Rounding via Signed Gradient Descent for the Quantization of LLMs",
    arxiv="2309.05516",
    verbs={
        "quantize": "Quantize a model and write it in formats other runtimes load",
        "compare": "Quantize with several schemes and methods and compare what is lost",
        "evaluate": "Measure a quantized model against its reference on your text",
        "inspect": "Show a quantized checkpoint: bits per weight, sizes, skipped layers",
    },
    claim=(
        "At the same format SignRound keeps more of the reference model than round-to-nearest, the "
        "more so the fewer the bits, and it beats or matches GPTQ and AWQ at 2 bits."
    ),
    data="a folder with one calib*.jsonl and one eval*.jsonl (id, source, text): --data DIR",
    figures=(
        ("model", "format", "RTN", "GPTQ", "AWQ", "HQQ", "OmniQuant", "SignRound"),
        ("Mistral-7B (63.30)", "W4G-1", "58.84", "61.37", "61.36", "58.40", "60.52", "62.33"),
        ("Mistral-7B (63.30)", "W4G128", "62.36", "62.32", "62.16", "62.75", "62.18", "62.62"),
        ("Mistral-7B (63.30)", "W3G128", "58.20", "59.91", "59.96", "59.33", "58.53", "60.43"),
        ("Mistral-7B (63.30)", "W2G128", "30.52", "39.61", "30.06", "31.41", "32.17", "52.71"),
        ("Llama-2-7B (57.98)", "W4G128", "56.92", "56.85", "57.35", "57.41", "57.30", "57.57"),
        ("Llama-2-7B (57.98)", "W3G128", "53.81", "54.14", "55.21", "54.31", "54.72", "56.68"),
        ("Llama-2-7B (57.98)", "W2G128", "29.94", "35.37", "30.10", "29.87", "40.74", "48.64"),
        ("Llama-2-13B (61.42)", "W2G128", "33.51", "42.46", "32.16", "35.28", "46.55", "53.46"),
        ("Llama-2-70B (66.12)", "W2G128", "38.14", "28.47", "32.23", "37.42", "51.31", "61.69"),
    ),
    figures_note=(
        "Average accuracy (%) over 11 zero-shot tasks; in brackets the 16-bit model. SignRound is not "
        "best everywhere: Llama-2-13B W4G128 GPTQ 61.00 against 60.85, Mistral-7B W4G128 HQQ."
    ),
)
