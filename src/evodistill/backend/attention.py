"""Attention for a CPU: torch's fused kernel with grouped heads, also under a mask.

transformers repeats keys and values once per query head wherever there is a mask, as GPUs need it. On a CPU that copy
takes ten times as long as the attention itself (64 rows × 600 positions), and the kernel does without.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

GROUPED = "grouped_sdpa"


def register() -> str:
    """Make it known to transformers; its name there."""
    AttentionInterface.register(GROUPED, attend)
    AttentionMaskInterface.register(GROUPED, bias)
    return GROUPED


def attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """(rows, heads, positions, size) three times → (rows, positions, heads, size)."""
    if kwargs.get("position_bias") is not None or not getattr(module, "is_causal", True):
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    causal = attention_mask is None
    if query.shape[2] == 1:  # a branch, not a condition of symbols: the kernel takes none, and the graph would break
        causal = False
    out = nn.functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=attention_mask,
        is_causal=causal,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return out.transpose(1, 2).contiguous(), None


def bias(*args: Any, dtype: torch.dtype = torch.float32, **kwargs: Any) -> torch.Tensor | None:
    """The mask as numbers to add: the kernel would make them of booleans in every layer anew."""
    seen = sdpa_mask(*args, dtype=dtype, **kwargs)
    if seen is None:
        return None
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, torch.finfo(dtype).min)
