"""Two small networks that read tokens: a decoder of GPT's kind, an LSTM tagger."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["VOCABULARY", "CausalSelfAttention", "DecoderBlock", "LSTMTagger", "SmallGPT", "lstm_tagger", "small_gpt"]


VOCABULARY = 1024
"""Token numbers lie below it."""


class CausalSelfAttention(nn.Module):
    """Multi-head attention of each position to itself and those before it, fused where torch can."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        heads = self.qkv(x).unflatten(-1, (3, self.heads, -1)).transpose(1, 3)
        query, key, value = heads.unbind(dim=2)
        y = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        result: Tensor = self.projection(y.transpose(1, 2).flatten(2))
        return result


class DecoderBlock(nn.Module):
    """Attention, then a four times wider perceptron, each normalised before and added after."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = CausalSelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class SmallGPT(nn.Module):
    """A decoder whose head is its token embedding (one weight, counted once).

    tokens (batch, length) -> scores of the next token (batch, length, VOCABULARY)
    """

    def __init__(self, *, width: int = 128, heads: int = 4, blocks: int = 4, context: int = 256) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(DecoderBlock(width, heads) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, VOCABULARY, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.blocks(self.tokens(tokens) + self.positions(positions))
        scores: Tensor = self.head(self.norm(x))
        return scores


class LSTMTagger(nn.Module):
    """An embedding, one bidirectional LSTM layer, one linear layer.

    tokens (batch, length) -> scores of each token's tag (batch, length, tags)
    """

    def __init__(self, *, width: int = 64, hidden: int = 128, tags: int = 17) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.lstm = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * hidden, tags)

    def forward(self, tokens: Tensor) -> Tensor:
        states, _ = self.lstm(self.embedding(tokens))
        scores: Tensor = self.head(states)
        return scores


def small_gpt() -> SmallGPT:
    """A decoder of 4 blocks of width 128."""
    return SmallGPT()


def lstm_tagger() -> LSTMTagger:
    """A bidirectional LSTM tagger with 17 tags."""
    return LSTMTagger()
