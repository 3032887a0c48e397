"""Classifies texts: embedding, a bidirectional LSTM, the mean over time, AdamW."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
torch.manual_seed(2)


class TextClassifier(nn.Module):
    def __init__(self, words=500, classes=4):
        super().__init__()
        self.embedding = nn.Embedding(words, 32)
        self.lstm = nn.LSTM(32, 48, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.3)
        self.fc = nn.Linear(96, classes)

    def forward(self, tokens):
        states, _ = self.lstm(self.embedding(tokens))
        return self.fc(self.dropout(states.mean(dim=1)))


model = TextClassifier()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)

model.train()
for _step in range(10):
    tokens = torch.randint(0, 500, (24, 20))
    label = torch.randint(0, 4, (24,))
    optimizer.zero_grad()
    loss = F.cross_entropy(model(tokens), label)
    loss.backward()
    optimizer.step()
