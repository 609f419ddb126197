"""A Llama with one of this method's tokenizers as a GGUF file, which llama.cpp and its relatives run.

Two things differ from transformers' layout. llama.cpp turns neighboring features (2i, 2i + 1) by the rotary
angles, transformers i and i + D/2, so the rows of q and k are reordered. And the vocabulary is written as
SentencePiece's, pieces with scores and kinds: llama.cpp merges the neighbors whose union scores highest,
which is this method's BPE, and puts the space before the text itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.teenytinyllama.configs import ModelConfig
from etude.methods.teenytinyllama.llama_tokenizer import BEGIN, END, PAD, UNKNOWN, vocabulary_pieces

_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def write_gguf(
    path: Path,
    config: ModelConfig,
    state: dict[str, Tensor],
    *,
    tokenizer: Path,
    dtype: torch.dtype = torch.float32,
    name: str = "teenytinyllama",
) -> None:
    """Write one GGUF file.

    Args:
        path: The file.
        config: The model's shape.
        state: Its weights under transformers' names.
        tokenizer: Folder of a tokenizer of this method.
        dtype: float32, float16 or bfloat16; norms stay float32.
        name: The model's name in the file.

    Raises:
        EtudeError: The tokenizer is of another design or has more pieces than the model has rows.
    """
    from gguf import GGUFWriter, LlamaFileType, TokenType

    loaded = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    pieces = vocabulary_pieces(loaded)
    if len(pieces) > config.vocab_size:
        raise EtudeError(
            f"the tokenizer has {len(pieces):,} pieces, the model {config.vocab_size:,} tokens",
            "Give the tokenizer that the model was trained with.",
        )
    is_unigram = '"type":"Unigram"' in loaded.to_str()
    kinds = {
        "unknown": TokenType.UNKNOWN,
        "control": TokenType.CONTROL,
        "byte": TokenType.BYTE,
        "normal": TokenType.NORMAL,
    }
    writer = GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.hidden)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.mlp)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.key_heads)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_rope_dimension_count(config.head_size)
    writer.add_vocab_size(config.vocab_size)
    file_types = {
        torch.float32: LlamaFileType.ALL_F32,
        torch.float16: LlamaFileType.MOSTLY_F16,
        torch.bfloat16: LlamaFileType.MOSTLY_BF16,
    }
    writer.add_file_type(file_types[dtype])
    writer.add_tokenizer_model("t5" if is_unigram else "llama")
    padding = range(len(pieces), config.vocab_size)
    writer.add_token_list([piece.text for piece in pieces] + [f"<unused{i}>" for i in padding])
    writer.add_token_scores([piece.score for piece in pieces] + [0.0 for _ in padding])
    writer.add_token_types([kinds[piece.kind] for piece in pieces] + [TokenType.UNUSED for _ in padding])
    writer.add_unk_token_id(UNKNOWN)
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(END)
    writer.add_pad_token_id(PAD)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(True)
    for key, tensor in state.items():
        _add_tensor(writer, key, tensor, config, dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def interleave(weight: Tensor, heads: int) -> Tensor:
    """Rows of q or k, (heads D, hidden): in each head, pairs (i, i + D/2) become neighbors (2i, 2i + 1)."""
    rows, columns = weight.shape
    halves = weight.view(heads, 2, rows // heads // 2, columns)
    return halves.transpose(1, 2).reshape(rows, columns)


def _add_tensor(writer: Any, key: str, tensor: Tensor, config: ModelConfig, dtype: torch.dtype) -> None:
    from gguf import GGMLQuantizationType

    if key.endswith("q_proj.weight"):
        tensor = interleave(tensor, config.heads)
    elif key.endswith("k_proj.weight"):
        tensor = interleave(tensor, config.key_heads)
    tensor = tensor.float() if tensor.dim() == 1 else tensor.to(dtype)
    tensor = tensor.contiguous()
    if tensor.dtype == torch.bfloat16:  # numpy has no bfloat16: its bytes, and what they are
        array, kind = tensor.view(torch.uint8).numpy(), GGMLQuantizationType.BF16
    else:
        array, kind = tensor.numpy(), None
    writer.add_tensor(_gguf_name(key), array, raw_dtype=kind)


def _gguf_name(key: str) -> str:
    whole = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    if key in whole:
        return whole[key]
    number, _, rest = key.removeprefix("model.layers.").partition(".")
    return f"blk.{number}.{_NAMES[rest.removesuffix('.weight')]}.weight"
