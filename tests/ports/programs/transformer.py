"""A transformer encoder: layer norm, attention, GELU, residuals, clipped gradients."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
torch.manual_seed(3)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x):
        h = self.norm1(x)
        x = x + self.dropout(self.attention(h, h, h)[0])
        h = self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return x + self.dropout(h)


class Encoder(nn.Module):
    def __init__(self, words=200, length=16, width=32, classes=5):
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.position = nn.Parameter(torch.randn(length, 1, width))
        self.block1 = Block(width, 4)
        self.block2 = Block(width, 4)
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, classes)

    def forward(self, tokens):
        x = self.embedding(tokens).transpose(0, 1) + self.position
        x = self.block2(self.block1(x))
        return self.fc(self.norm(x).mean(dim=0))


model = Encoder()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)

model.train()
for _step in range(10):
    tokens = torch.randint(0, 200, (12, 16))
    label = torch.randint(0, 5, (12,))
    optimizer.zero_grad()
    loss = F.cross_entropy(model(tokens), label)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()
