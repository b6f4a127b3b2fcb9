"""One decoding step of a Qwen3 model on the CPU, with a third of the kernel launches of transformers' own.

A tiny model spends most of a step in the overhead of some 50 small operations per layer, not in arithmetic. Projections
that read the same input are joined here, query and key are normalised and rotated together, and all modules between are
left out. Prompts are still read by transformers; tests hold the logits of both against each other.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel, Qwen3ForCausalLM


class CacheLayer(Protocol):
    """Appends keys and values [B, heads, 1, D] and returns all of them [B, heads, T, D]."""

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]: ...


def supports(model: PreTrainedModel) -> bool:
    """Whether `Qwen3Step` computes what ``model`` does: a plain Qwen3 in float32 on the CPU."""
    if type(model) is not Qwen3ForCausalLM:
        return False
    config = model.config
    weight = model.lm_head.weight
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and config.hidden_act == "silu"
        and not config.attention_bias
        and config.rope_parameters["rope_type"] == "default"
        and set(config.layer_types) == {"full_attention"}
        and config._attn_implementation == "sdpa"
    )


class Qwen3Step:
    """The weights of ``model``, joined as they stand now: to be made anew when they have changed."""

    def __init__(self, model: Qwen3ForCausalLM):
        config, body = model.config, model.model
        self.heads, self.kv_heads, self.width = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self.eps = config.rms_norm_eps
        self.embedding, self.output = body.embed_tokens.weight, model.lm_head.weight
        self.final_norm = body.norm.weight
        self.inverse_frequency = body.rotary_emb.inv_freq
        self.layers = [self._joined(layer) for layer in body.layers]

    def _joined(self, layer: torch.nn.Module) -> tuple[torch.Tensor, ...]:
        attention, mlp = layer.self_attn, layer.mlp
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        norms = [attention.q_norm.weight] * self.heads + [attention.k_norm.weight] * self.kv_heads
        return (
            layer.input_layernorm.weight,
            torch.cat([projection.weight for projection in projections]),
            torch.stack(norms),
            attention.o_proj.weight.T,
            layer.post_attention_layernorm.weight,
            torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]),
            mlp.down_proj.weight.T,
        )

    def __call__(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        cache: Sequence[CacheLayer],
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """Logits [B, V] after ``tokens`` [B] at ``positions`` [B]; ``mask`` [B, 1, 1, T]: keys that may be seen."""
        batch, rotated = len(tokens), self.heads + self.kv_heads
        angles = positions[:, None].float() * self.inverse_frequency
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        cos, sin = torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)  # the sign is that of rotate_half
        x = self.embedding[tokens]
        for (norm, qkv, qk_norm, out, mlp_norm, gate_up, down), layer in zip(self.layers, cache, strict=True):
            projected = F.linear(self._normalised(x, norm), qkv).view(batch, -1, self.width)
            qk = self._normalised(projected[:, :rotated]) * qk_norm
            qk = qk * cos + qk.roll(self.width // 2, dims=-1) * sin
            keys, values = layer.update(qk[:, self.heads :, None], projected[:, rotated:, None])
            # The queries that share keys and values stand as rows of one query, so that these are read once: reading
            # them is half the time of a step.
            queries = qk[:, : self.heads].unflatten(1, (self.kv_heads, -1))
            attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
            x = torch.addmm(x, attended.reshape(batch, -1), out)
            gate, up = F.linear(self._normalised(x, mlp_norm), gate_up).chunk(2, dim=-1)
            x = torch.addmm(x, F.silu(gate) * up, down)
        return F.linear(self._normalised(x, self.final_norm), self.output)

    def _normalised(self, x: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        return F.rms_norm(x, x.shape[-1:], weight, self.eps)
