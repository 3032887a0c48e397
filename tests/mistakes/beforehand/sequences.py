"""Mistakes in networks of sequences: embedding, LSTM, GRU, attention, softmax."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from mistakes.beforehand.layers import classified
from mistakes.beforehand.mistake import Script, beforehand

__all__ = ["SEQUENCES"]

WORDS, LENGTH, WIDTH, HEADS, ROWS = 13, 6, 16, 2, 8


def adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-3)


def sentences(drawn):
    """Words, with 0 as padding at the end, and classes."""
    x = torch.randint(1, WORDS, (ROWS, LENGTH), generator=drawn)
    lengths = torch.randint(2, LENGTH, (ROWS, 1), generator=drawn)
    x[torch.arange(LENGTH) >= lengths] = 0
    return x, torch.randint(0, 3, (ROWS,), generator=drawn)


@beforehand(
    name="the padding's row is trained",
    sentence="port: padding_idx = 0 is missing: the padding's row gets a gradient",
    place=r"step 1, embed \(embedding\), backward",
    named=(r"padding",),
    in_part=(r"row",),
)
def padding(wrong):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(WORDS, WIDTH, padding_idx=None if wrong else 0)
            with torch.no_grad():
                self.embed.weight[0] = 0
            self.out = nn.Linear(WIDTH, 3)

        def forward(self, x):
            return self.out(torch.tanh(self.embed(x)).sum(1))

    return Script(Net(), sentences, classified, adam)


@beforehand(
    name="an LSTM's gates in the order of another framework",
    sentence="port has the rows of lstm.weight_ih_l0 in another order of gates: i, f, o, g",
    place=r"step 1, lstm\.(weight|bias)_[ih]h_l0, what the step starts from",
    named=(r"gate",),
    in_part=(r"rows?\b.*(order|exchang|permut)|blocks",),
)
def lstm(wrong):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(WORDS, WIDTH)
            self.lstm = nn.LSTM(WIDTH, 5, batch_first=True)
            self.out = nn.Linear(5, 3)

        def forward(self, x):
            return self.out(self.lstm(self.embed(x))[0].mean(1))

    model = Net()
    if wrong:
        for value in model.lstm.parameters():
            i, f, g, o = value.data.chunk(4)
            value.data = torch.cat([i, f, o, g])
    return Script(model, sentences, classified, adam)


@beforehand(
    name="a GRU whose reset gate acts before the matrix product",
    sentence="port: the reset gate multiplies h before hidden, not after it",
    place=r"step 1, (hidden|mul|add|tanh)\S* .*forward",
    named=(r"reset|before|another order|exchang",),
    in_part=(r"takes|where \S+ has|only \S+ has",),
)
def gru(wrong):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(WORDS, WIDTH)
            self.gates, self.new = nn.Linear(WIDTH + 5, 10), nn.Linear(WIDTH, 5)
            self.hidden, self.out = nn.Linear(5, 5), nn.Linear(5, 3)

        def forward(self, words):
            h = torch.zeros(len(words), 5)
            for x in self.embed(words).unbind(1):
                reset, update = torch.sigmoid(self.gates(torch.cat([x, h], 1))).chunk(2, 1)
                past = self.hidden(reset * h) if wrong else reset * self.hidden(h)
                new = torch.tanh(self.new(x) + past)
                h = (1 - update) * new + update * h
            return self.out(h)

    return Script(Net(), sentences, classified, adam)


class Attention(nn.Module):
    """Self-attention, with what may be wrong of it."""

    def __init__(self, attend):
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, 3)
        self.attend = attend

    def forward(self, words):
        values = self.qkv(self.embed(words)).reshape(ROWS, LENGTH, 3, HEADS, WIDTH // HEADS)
        q, k, v = values.permute(2, 0, 3, 1, 4).unbind(0)
        y = self.attend(words, q, k, v).transpose(1, 2).flatten(2)
        return self.out(y.mean(1))


@beforehand(
    name="attention scaled by the width of the model, not of a head",
    sentence="port divides by 4 = sqrt(16) where it is 2.828 = sqrt(8), the width of a head",
    place=r"step 1, (div|softmax)\b.*forward",
    named=(r"4 where it is 2\.8|sqrt|root|0\.7071|1\.4142|width of",),
    in_part=(r"scal|times",),
)
def attention_scale(wrong):
    width = WIDTH if wrong else WIDTH // HEADS

    def attend(words, q, k, v):
        return torch.softmax(q @ k.transpose(-2, -1) / width**0.5, -1) @ v

    return Script(Attention(attend), sentences, classified, adam)


@beforehand(
    name="a mask of attention that says what is masked, where it should say what is not",
    sentence="port: the mask is inverted: True where it is False",
    place=r"step 1, (eq|ne|unsqueeze|index|getitem|.*mask|.*attention|input)\b",
    named=(r"invert|opposite|negat|complement|\beq\b.*\bne\b|\bne\b.*\beq\b|true .*false",),
    in_part=(r"mask|\beq\b|\bne\b",),
)
def attention_mask(wrong):
    def attend(words, q, k, v):
        mask = words.eq(0) if wrong else words.ne(0)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])

    return Script(Attention(attend), sentences, classified, adam)


@beforehand(
    name="softmax written by hand, over the batch",
    sentence="port sums over axis 0 where it is 1: softmax over the batch, not over the classes",
    place=r"step 1, (sum|div)\b.*forward",
    named=(r"dim|axis|axes|batch|rows", r"\b0\b|batch|rows"),
    in_part=(r"softmax",),
)
def softmax(wrong):
    def loss(model, x, y):
        e = torch.exp(model(x))
        q = e / e.sum(0 if wrong else 1, keepdim=True)
        return -q.log().gather(1, y[:, None]).mean()

    def attend(words, q, k, v):
        return F.scaled_dot_product_attention(q, k, v)

    return Script(Attention(attend), sentences, loss, adam)


SEQUENCES = (padding, lstm, gru, attention_scale, attention_mask, softmax)
