"""A mean teacher: it follows the model by a moving average, whose decay grows, and evaluates."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
torch.manual_seed(4)


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(8, 24)
        self.norm = nn.LayerNorm(24)
        self.fc2 = nn.Linear(24, 3)

    def forward(self, x):
        return self.fc2(torch.tanh(self.norm(self.fc1(x))))


model = Student()
teacher = copy.deepcopy(model)
teacher.eval()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

for step in range(1, 11):
    x = torch.rand(32, 8)
    noise = torch.rand(32, 8)
    with torch.no_grad():
        target = torch.softmax(teacher(x), dim=1)
    optimizer.zero_grad()
    loss = F.mse_loss(torch.softmax(model(x + noise), dim=1), target)
    loss.backward()
    optimizer.step()
    decay = min(1 - 1 / (step + 1), 0.9)
    with torch.no_grad():
        for kept, followed in zip(teacher.parameters(), model.parameters(), strict=True):
            kept.mul_(decay).add_(followed, alpha=1 - decay)
