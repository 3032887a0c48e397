"""A small classifier of handwritten digits: what own_port.ipynb and own_port.R port.

pyvae is not named here: `pyvae record` watches the program as it is.
"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(1)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)

pixels, classes = load_digits(return_X_y=True)
pixels, classes = torch.from_numpy(pixels) / 16, torch.from_numpy(classes)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 32)
        self.fc2 = nn.Linear(32, 10)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)))


model = Net()
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)

for rows in torch.randperm(len(pixels)).split(60):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(pixels[rows]), classes[rows])
    loss.backward()
    optimizer.step()
