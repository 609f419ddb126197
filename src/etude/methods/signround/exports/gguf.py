"""GGUF: llama.cpp and everything built on it, for Llama-like models with a byte-level BPE tokenizer.

The block formats of 32 weights are exactly our schemes: Q4_0 is w4g32 symmetric (scale, may be negative),
Q8_0 is w8g32 symmetric, Q4_1 is w4g32 asymmetric with the minimum -s*z stored as float16 in place of the
integer zero point (the one
place where a rounding is added: 2^-11 of the minimum). Other matrices are written as F16, vectors as F32.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as GgmlType
from numpy.typing import NDArray
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.signround.blocks import Slot
from etude.methods.signround.grid import QuantizedLinear
from etude.methods.signround.schemes import QuantScheme
from etude.runs import write_json

if TYPE_CHECKING:
    from etude.methods.signround.quantized_model import QuantizedModel

ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
INTERLEAVED_ROTARY = ("llama",)  # architectures whose runtime pairs neighboring dimensions: rows are permuted
BLOCK = 32
TYPES = {(4, True): GgmlType.Q4_0, (4, False): GgmlType.Q4_1, (8, True): GgmlType.Q8_0}


def refusal(slot: Slot, scheme: QuantScheme) -> str | None:
    """Why GGUF cannot express a layer in this scheme, or None."""
    if (scheme.bits, scheme.sym) not in TYPES or scheme.group_size != BLOCK:
        return f"would be {scheme.name}; this format has w4g32s (Q4_0), w4g32a (Q4_1) and w8g32s (Q8_0)"
    if scheme.scale_dtype != "float16":
        return "would have scales that are not float16, the only dtype of this format"
    if slot.stacked or slot.transposed:
        return "is not a plain linear layer; use dequantized"
    if slot.in_features % BLOCK:
        return f"has {slot.in_features} inputs, not a multiple of {BLOCK}"
    return None


def write(quantized: "QuantizedModel", path: Path) -> None:
    """Write `model.gguf` into the new directory `path`.

    Raises:
        EtudeError: An architecture or a tokenizer that this writer does not know.
    """
    config = quantized.model.config
    architecture = ARCHITECTURES.get(config.model_type)
    if architecture is None:
        raise EtudeError(
            f"GGUF is written for {', '.join(ARCHITECTURES)}, not for {config.model_type!r}",
            "use compressed-tensors, or save dequantized and convert with llama.cpp",
        )
    path.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path / "model.gguf", architecture)
    add_model_keys(writer, config, quantized)
    add_tokenizer(writer, quantized.tokenizer, config.vocab_size)
    add_tensors(writer, quantized, architecture)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    write_json(path / "quantization_report.json", {**quantized.report, "skipped": quantized.skipped})


def add_model_keys(writer: gguf.GGUFWriter, config: Any, quantized: "QuantizedModel") -> None:
    """Sizes and constants of the architecture."""
    heads = config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
    types = [TYPES[layer.scheme.bits, layer.scheme.sym] for layer in quantized.layers.values()]
    kind = max(types, key=types.count) if types else GgmlType.F16
    file_types = {
        GgmlType.Q4_0: gguf.LlamaFileType.MOSTLY_Q4_0,
        GgmlType.Q4_1: gguf.LlamaFileType.MOSTLY_Q4_1,
        GgmlType.Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0,
        GgmlType.F16: gguf.LlamaFileType.MOSTLY_F16,
    }
    writer.add_name(str(getattr(config, "name_or_path", "") or "model").rsplit("/", 1)[-1])
    writer.add_file_type(file_types[kind])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_size)
    writer.add_value_length(head_size)
    writer.add_rope_dimension_count(head_size)
    writer.add_rope_freq_base(float(rope_base(config)))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def rope_base(config: Any) -> float:
    """The base of the rotary embedding.

    Raises:
        EtudeError: The rotary embedding is rescaled in a way this writer does not store.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type", "default") != "default":
        raise EtudeError(
            f"GGUF is written here without rotary scaling, and this model has {rope['rope_type']!r}",
            "use compressed-tensors, or save dequantized and convert with llama.cpp",
        )
    return float(rope.get("rope_theta") or getattr(config, "rope_theta", None) or 10000.0)


def add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Any, vocabulary: int) -> None:
    """Tokens, merges and special tokens of a byte-level BPE tokenizer.

    Raises:
        EtudeError: Another kind of tokenizer.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    description = json.loads(backend.to_str()) if backend is not None else {}
    pre = pre_tokenizer_name(description)
    if description.get("model", {}).get("type") != "BPE" or pre is None:
        raise EtudeError(
            "GGUF is written here for byte-level BPE tokenizers only",
            "use compressed-tensors, or save dequantized and convert with llama.cpp",
        )
    tokens = [f"[PAD{index}]" for index in range(vocabulary)]
    types = [int(gguf.TokenType.UNUSED)] * vocabulary
    for token, index in description["model"]["vocab"].items():
        tokens[index], types[index] = token, int(gguf.TokenType.NORMAL)
    for added in description["added_tokens"]:
        if added["id"] < vocabulary:
            tokens[added["id"]] = added["content"]
            types[added["id"]] = int(
                gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
            )
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in description["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    for add, token in (
        (writer.add_bos_token_id, tokenizer.bos_token_id),
        (writer.add_eos_token_id, tokenizer.eos_token_id),
        (writer.add_unk_token_id, tokenizer.unk_token_id),
        (writer.add_pad_token_id, tokenizer.pad_token_id),
    ):
        if token is not None:
            add(token)
    writer.add_add_bos_token(False)
    if getattr(tokenizer, "chat_template", None):
        writer.add_chat_template(tokenizer.chat_template)


def pre_tokenizer_name(description: dict[str, Any]) -> str | None:
    """llama.cpp's name of how text is split before BPE, or None when it is not known here."""
    pre = description.get("pre_tokenizer") or {}
    parts = pre.get("pretokenizers", [pre]) if pre else []
    kinds = [part.get("type") for part in parts]
    if kinds == ["ByteLevel"]:
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"]:
        return "smollm"
    if kinds == ["Split", "ByteLevel"]:
        pattern = parts[0]["pattern"].get("Regex", "")
        return "llama-bpe" if r"\p{N}{1,3}" in pattern else "qwen2" if r"\p{N}" in pattern else None
    return None


def add_tensors(writer: gguf.GGUFWriter, quantized: "QuantizedModel", architecture: str) -> None:
    """Every parameter under its GGUF name, quantized layers as blocks."""
    config = quantized.model.config
    arch = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == architecture)
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    tied = set(getattr(quantized.model, "all_tied_weights_keys", None) or ())
    for name, tensor in quantized.model.state_dict().items():
        if name in tied:
            continue
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if target is None:
            raise EtudeError(f"GGUF has no name for the parameter {name}", "use compressed-tensors")
        permute = row_order(name, tensor.shape[0], config) if architecture in INTERLEAVED_ROTARY else None
        layer = quantized.layers.get(name.removesuffix(".weight"))
        if layer is not None:
            kind = TYPES[layer.scheme.bits, layer.scheme.sym]
            writer.add_tensor(target, encode_blocks(layer, kind, permute), raw_dtype=kind)
            continue
        value = tensor.detach().cpu()
        value = value if permute is None else value[permute]
        writer.add_tensor(target, value.to(torch.float16 if value.ndim > 1 else torch.float32).numpy())


def row_order(name: str, rows: int, config: Any) -> Tensor | None:
    """Rows of a query or key projection in the order of interleaved rotary pairs, else None."""
    if ".q_proj." in name:
        heads = config.num_attention_heads
    elif ".k_proj." in name:
        heads = config.num_key_value_heads
    else:
        return None
    return torch.arange(rows).view(heads, 2, rows // heads // 2).transpose(1, 2).reshape(-1)


def encode_blocks(layer: QuantizedLinear, kind: GgmlType, order: Tensor | None) -> NDArray[np.uint8]:
    """Rows of GGUF blocks, (out, bytes) uint8."""
    codes, scale, zero = layer.codes, layer.scale, layer.zero
    if order is not None:
        codes, scale, zero = codes[order], scale[order], zero[order]
    blocks = codes.view(codes.shape[0], -1, BLOCK).numpy()  # (out, groups, 32)
    head = scale.numpy()[..., None].view(np.uint8)  # (out, groups, 2)
    if kind == GgmlType.Q8_0:
        body = (blocks.astype(np.int16) - 128).astype(np.int8).view(np.uint8)
    else:
        body = blocks[..., : BLOCK // 2] | blocks[..., BLOCK // 2 :] << 4
    if kind == GgmlType.Q4_1:
        low = (-scale.float() * zero.float()).to(torch.float16).numpy()[..., None].view(np.uint8)
        head = np.concatenate([head, low], axis=-1)
    return np.ascontiguousarray(np.concatenate([head, body], axis=-1).reshape(codes.shape[0], -1))
