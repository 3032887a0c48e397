"""Classifies images: batch norm, dropout, cross entropy, SGD with momentum and a schedule."""

import torch
from torch import nn

torch.set_num_threads(1)
torch.manual_seed(1)


class Net(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(32 * 8 * 8, 64), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(64, classes),
        )  # fmt: skip

    def forward(self, x):
        return self.classifier(self.features(x))


model = Net()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.5)

model.train()
for _step in range(10):
    x = torch.randn(32, 3, 32, 32)
    y = torch.randint(0, 10, (32,))
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    schedule.step()
