"""Codes into 32-bit words and back: one dense bit stream, least significant bits first.

Value i of a row occupies the bits i*B ... i*B + B - 1 of the row's stream, across word boundaries where B
does not divide 32. The formats differ only in which axis they pack, in which order, and in what they do with
zero points.
"""

import torch
from torch import Tensor


def pack_bits(values: Tensor, bits: int) -> Tensor:
    """(rows, n) integers below 2^bits -> (rows, ceil(n * bits / 32)) int32."""
    rows, count = values.shape
    padded = torch.nn.functional.pad(values.to(torch.int64), (0, -count % 32)).view(rows, -1, 32)
    words = torch.zeros(
        rows, padded.shape[1], bits + 1, dtype=torch.int64
    )  # one spare word takes the last spill, 0
    for index in range(32):
        word, shift = divmod(index * bits, 32)
        words[..., word] |= padded[..., index] << shift & 0xFFFFFFFF
        words[..., word + 1] |= padded[..., index] << shift >> 32
    stream = words[..., :bits].reshape(rows, -1)[:, : -(-count * bits // 32)]
    return torch.where(stream >= 1 << 31, stream - (1 << 32), stream).to(torch.int32).contiguous()


def unpack_bits(words: Tensor, bits: int, count: int) -> Tensor:
    """(rows, words) int32 -> (rows, count) uint8."""
    rows = words.shape[0]
    stream = words.to(torch.int64) & 0xFFFFFFFF
    stream = torch.nn.functional.pad(stream, (0, -stream.shape[1] % bits)).view(rows, -1, bits)
    stream = torch.nn.functional.pad(stream, (0, 1))
    values = torch.empty(rows, stream.shape[1], 32, dtype=torch.uint8)
    for index in range(32):
        word, shift = divmod(index * bits, 32)
        both = stream[..., word] | stream[..., word + 1] << 32
        values[..., index] = (both >> shift & (1 << bits) - 1).to(torch.uint8)
    return values.view(rows, -1)[:, :count].contiguous()
