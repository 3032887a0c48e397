import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
torch.manual_seed(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(20, 32)
        self.norm = nn.BatchNorm1d(32, eps=1e-3)
        self.dropout = nn.Dropout(0.2)
        self.fc2 = nn.Linear(32, 5)

    def forward(self, x):
        return self.fc2(self.dropout(F.relu(self.norm(self.fc1(x)))))


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)

for _ in range(20):
    x = torch.randn(64, 20)
    y = torch.randint(0, 5, (64,))
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
