"""The VAE of pytorch/examples (github.com/pytorch/examples, vae/main.py): 784-400-20-400-784.

pyvae train pytorch_examples_vae.py:RECIPE
pyvae compare --recipe pytorch_examples_vae.py:RECIPE --engine base-r
"""

from torch import nn

from pyvae.model.draws import Normal
from pyvae.model.modules import Reparameterise
from pyvae.model.recipe import VAE, Recipe, VAEOutput


class ExamplesVAE(VAE):
    """The layers have the original's names and are created in its order, so that one seed gives
    both the same initial parameters. `F.relu` and `torch.sigmoid` became modules: only modules have
    a name, by which pyvae can show and compare them."""

    def __init__(self, latent_dim):
        super().__init__()
        self.fc1 = nn.Linear(784, 400)
        self.fc21 = nn.Linear(400, latent_dim)
        self.fc22 = nn.Linear(400, latent_dim)
        self.fc3 = nn.Linear(latent_dim, 400)
        self.fc4 = nn.Linear(400, 784)
        self.relu1 = nn.ReLU()
        self.reparameterise = Reparameterise()
        self.relu2 = nn.ReLU()
        self.sigmoid = nn.Sigmoid()

    def posterior(self, x, draws=None):
        h1 = self.relu1(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def decode(self, z, draws=None):
        h3 = self.relu2(self.fc3(z))
        return self.sigmoid(self.fc4(h3))

    def forward(self, x, draws=None):
        mu, logvar = self.posterior(x, draws)
        z = self.reparameterise(mu, logvar, (draws or {}).get("noise"))
        return VAEOutput(self.decode(z, draws), mu, logvar)


RECIPE = Recipe(
    name="pytorch-examples",
    title="the VAE of pytorch/examples",
    source="https://github.com/pytorch/examples/blob/main/vae/main.py",
    network=ExamplesVAE,
    draws=lambda latent_dim: {"noise": Normal((latent_dim,))},
    objectives=("vae",),  # binary cross entropy + KL, both sums: the original's loss
    epochs=10,
    batch_size=128,
    latent_dim=20,
    learning_rate=1e-3,
)
