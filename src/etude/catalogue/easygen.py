"""The card of easygen."""

from etude.catalogue.method_card import Card

CARD = Card(
    name="easygen",
    purpose=(
        "Describe pictures and answer with pictures: one two-way diffusion model joined to a language model"
    ),
    paper="EasyGen: Easing Multimodal Generation with BiDiffuser and LLMs",
    arxiv="2310.08949",
    verbs={
        "train-bidiffuser": "Train a two-way diffusion model on pictures with captions; resumable",
        "encode": "Read pictures once with it and store what it says, for training",
        "align": "Train a projection that lets a language model read them, on captions",
        "tune": "Instruction-tune on dialogs with pictures (LoRA or whole)",
        "adapt": "Let the language model's knowledge shape what is drawn",
        "caption": "Describe pictures",
        "answer": "Answer a question about a picture",
        "draw": "Draw pictures from words",
        "chat": "Reply with text and pictures, as parts and as a page",
        "evaluate": "Captions, answers, pictures, dialogs against references; resumes after a kill",
    },
    claim=(
        "Specializing a joint diffusion model to its two clean conditionals beats joint training both "
        "ways, replaces two one-way models, and gives a language model a head start on captions."
    ),
    data=(
        "a folder with noto_emoji_32.png and .csv (row, col, caption, base_codepoints, skin_tone, "
        "split): --data DIR"
    ),
    figures=(
        ("table", "EasyGen", "others"),
        (
            "COCO Karpathy CIDEr",
            "145.7 (v1, 173K images); 144.6, BLEU-4 42.4 (ACL, Vicuna-7B)",
            "BLIP-2 145.2 (129M images), InstructBLIP 140.7 (16M), Emu 117.7 (2B), LLaVA 30.0 (753K)",
        ),
        ("NoCaps CIDEr", "121.8", ""),
        (
            "VQA accuracy",
            "OK-VQA 45.2, GQA 44.6; with CLIP: VQAv2 79.4 to 80.5, TextVQA 61.5",
            "LLaVA-1.5 + BiDiffuser: MMBench 69.2",
        ),
        ("COCO FID (256), zero-shot / fine-tuned", "9.16 / 7.68", "UniDiffuser 9.71 / 8.12"),
        ("PhotoChat", "FID 9.72, BLEU-1 23.6", ""),
        ("reconstruction in text space", "cosine loss 0.0128, MSE 0.0338", "Emu MSE 0.4062"),
        ("training, BiDiffuser (952M)", "120 A100 hours, 83K images", ""),
        ("training, projection and frozen T5-XL (4M)", "20 RTX 3090 hours, 163K pairs", ""),
        ("training, Vicuna-7B, whole / LoRA (23M)", "72 / 13 A100 hours, 173K", ""),
        ("drawing a picture, 50 steps", "4.96 s on an A100", ""),
    ),
    figures_note=(
        "The CIDEr differs between the paper's versions. BiDiffuser starts from UniDiffuser, which has "
        "seen billions of web pairs; the numbers of training images do not count them."
    ),
)
