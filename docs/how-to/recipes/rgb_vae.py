"""A convolutional VAE of colour images, 3x32x32: beta grows, AdamW, clipped gradients.

pyvae train rgb_vae.py:RECIPE --data images.npz
"""

import torch
from torch import nn

from pyvae.model.draws import Normal
from pyvae.model.hyperparameters import Hyper
from pyvae.model.loss_terms import bernoulli_reconstruction, kl
from pyvae.model.modules import Unflatten
from pyvae.model.objectives import Objective
from pyvae.model.recipe import GaussianVAE, Recipe


class Encoder(nn.Module):
    def __init__(self, latent_dim):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.relu2 = nn.ReLU()
        self.flatten = nn.Flatten()
        self.mean = nn.Linear(32 * 8 * 8, latent_dim)
        self.log_var = nn.Linear(32 * 8 * 8, latent_dim)

    def forward(self, x, draws=None):
        x = x.reshape(-1, 3, 32, 32)  # a batch comes as (B, 3072)
        x = self.relu2(self.conv2(self.relu1(self.conv1(x))))
        x = self.flatten(x)
        return self.mean(x), self.log_var(x)


class Decoder(nn.Module):
    def __init__(self, latent_dim):
        super().__init__()
        self.fc = nn.Linear(latent_dim, 32 * 8 * 8)
        self.relu1 = nn.ReLU()
        self.unflatten = Unflatten(32)
        self.deconv1 = nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1)
        self.relu2 = nn.ReLU()
        self.deconv2 = nn.ConvTranspose2d(16, 3, 4, stride=2, padding=1)
        self.flatten = nn.Flatten()
        self.sigmoid = nn.Sigmoid()

    def forward(self, z, draws=None):
        x = self.unflatten(self.relu1(self.fc(z)))
        x = self.deconv2(self.relu2(self.deconv1(x)))
        return self.sigmoid(self.flatten(x))  # (B, 3072) again


def network(latent_dim, **hyper):
    return GaussianVAE(Encoder(latent_dim), Decoder(latent_dim))


def parts(x, output, hyper):
    """The loss without its weights, per image."""
    return {
        "reconstruction": bernoulli_reconstruction(output.pixels, x) / len(x),
        "regulariser": kl(output.mu, output.log_var) / len(x),
    }


def annealed(step, hyper):
    """beta grows from 0 to its value within the first steps, counted from 1."""
    return {"beta": hyper["beta"] * min(1, (step - 1) / hyper["warm_up"])}


ANNEALED = Objective(
    name="annealed",
    title="annealed beta-VAE",
    formula="BCE + beta KL, summed over pixels, mean over images; beta grows from 0",
    parts=parts,
    weight="beta",  # the hyperparameter that the regulariser is multiplied by
    mean=True,
    schedule=annealed,
)

RECIPE = Recipe(
    name="rgb",
    title="convolutional VAE of colour images with an annealed beta",
    source="docs/how-to/write-a-recipe.md",
    network=network,
    draws=lambda latent_dim, **hyper: {"noise": Normal((latent_dim,))},
    objectives=("annealed",),
    own_objectives=(ANNEALED,),
    shape=(3, 32, 32),
    hyper=(
        Hyper("beta", 1, "weight of the KL at the end"),
        Hyper("warm_up", 100, "steps until then", whole=True, least=1),
    ),
    optimizer=lambda parameters, rate: torch.optim.AdamW(parameters, rate, weight_decay=0.01),
    clip=20.0,
    epochs=10,
    batch_size=64,
    latent_dim=8,
    learning_rate=2e-3,
)
