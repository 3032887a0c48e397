"""Base R's random numbers in Python, to the bit.

What `set.seed(seed)` brings in R 3.6 or newer under its default kinds, `RNGkind("Mersenne-Twister",
"Inversion", "Rejection")`, so that a run made in R alone can be repeated here.

Sources: R's `src/main/RNG.c` (seeding, uniforms, indices), `src/main/random.c` (permutations),
`src/nmath/snorm.c` and `src/nmath/qnorm.c` (normals). Matsumoto & Nishimura (1998), "Mersenne
Twister: a 623-dimensionally equidistributed uniform pseudo-random number generator", ACM TOMACS
8(1). Wichura (1988), "Algorithm AS 241: the percentage points of the normal distribution",
Applied Statistics 37(3).

Normals are the same where R's compiler keeps products and sums apart, as on x86-64; a build
with fused multiply-add, as is usual on ARM, may differ in the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike, DTypeLike, NDArray
from torch import Tensor, nn

from pyvae.errors import UserError
from pyvae.model.draws import Draw, Keep, Normal
from pyvae.recipes import Recipe

__all__ = ["RGenerator", "RRandom"]

WORDS = 624  # of the Mersenne Twister's state
LARGEST_SEED = 2**31 - 1
UNIFORM = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)  # layers with PyTorch's uniform initialiser
UNIT = 2.0**-32
LEAST = 0.5 * 2.328306437080797e-10  # what R returns in place of 0
BIG = 134217728  # 2^27

# AS 241: numerator and denominator, the highest power first.
# fmt: off
CENTRE = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    (5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
     5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0),
)
TAIL = (
    (7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177,
     1.27045825245236838258, 3.64784832476320460504, 5.7694972214606914055,
     4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966,
     0.14810397642748007459, 0.68976733498510000455, 1.6763848301838038494,
     2.05319162663775882187, 1.0),
)
FAR_TAIL = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386,
     0.026532189526576123093, 0.29656057182850489123, 1.7848265399172913358,
     5.4637849111641143699, 6.6579046435011037772),
    (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5,
     7.868691311456132591e-4, 0.0148753612908506148525, 0.13692988092273580531,
     0.59983220655588793769, 1.0),
)
# fmt: on


class RRandom:
    """R's generator after `set.seed(seed)`.

    Arguments:
        seed: From 0 to 2^31 - 1.

    Raises:
        UserError: If it is not.

    Example:
        >>> RRandom(42).unif_rand(3).round(7).tolist()
        [0.914806, 0.9370754, 0.2861395]
    """

    def __init__(self, seed: int) -> None:
        if not 0 <= seed <= LARGEST_SEED:
            raise UserError(f"--seed {seed} with R's generator", expected=f"0 to {LARGEST_SEED}")
        words = []
        for _ in range(50 + 1 + WORDS):  # scrambling, a word that R overwrites, the state
            seed = (69069 * seed + 1) % 2**32
            words.append(seed)
        self._twister = np.random.MT19937()
        self.restore([WORDS, *words[-WORDS:]])

    def unif_rand(self, n: int) -> NDArray[np.float64]:
        """R's `runif(n)`: multiples of 2^-32 below 1, and `LEAST` in place of 0."""
        return np.maximum(self._twister.random_raw(n) * UNIT, LEAST)

    def norm_rand(self, n: int) -> NDArray[np.float64]:
        """R's `rnorm(n)`: the normal quantile of a uniform made of two, 59 bits before rounding."""
        u = self.unif_rand(2 * n).reshape(n, 2)
        return _qnorm((np.floor(BIG * u[:, 0]) + u[:, 1]) / BIG)

    def sample(self, n: int) -> NDArray[np.int64]:
        """R's `sample.int(n) - 1`: a permutation of range(n).

        An index below m is drawn as `bits` random bits, again until it is below m. Of indices
        with as many bits, as many are drawn at a time as are wanted still: each takes one try or
        more, so no try is one too many.
        """
        left = list(range(n))
        permutation = []
        while left:
            bits = (len(left) - 1).bit_length()  # ceil(log2(m))
            wanted = len(left) - 2**bits // 2  # until m has fewer bits
            for index in self._random_bits(wanted, bits):
                if index < len(left):
                    permutation.append(left[index])
                    left[index] = left[-1]
                    left.pop()
        return np.array(permutation, np.int64)

    def state(self) -> NDArray[np.int32]:
        """R's `.Random.seed[-1]`: the place in the state, then its 624 words."""
        state = self._twister.state["state"]
        return np.concatenate([[state["pos"]], state["key"]]).astype(np.uint32).view(np.int32)

    def restore(self, state: ArrayLike) -> None:
        """Goes on from what `state` returned."""
        words = np.asarray(state).astype(np.uint32)
        self._twister.state = {
            "bit_generator": "MT19937",
            "state": {"key": words[1:], "pos": int(words[0])},
        }

    def _random_bits(self, n: int, bits: int) -> list[int]:
        """R's `rbits(bits)`, n times: from the upper halves of one word for every 16 bits begun."""
        chunks = bits // 16 + 1
        halves = (self._twister.random_raw(n * chunks) >> 16).reshape(n, chunks)
        value = np.zeros(n, np.uint64)
        for chunk in halves.T:
            value = (value << 16) + chunk
        return (value & (2**bits - 1)).tolist()


class RGenerator(RRandom):
    """Everything random in one run, drawn as a run in R alone draws it (R/base_r/random.R).

    Arrays are filled as R fills them: the first index fastest.

    Arguments:
        seed: From 0 to 2^31 - 1.
        device: Not used: R draws on the CPU.

    Raises:
        UserError: If the seed is out of its range.
    """

    name = "r"

    def __init__(self, seed: int, device: torch.device | None = None) -> None:
        super().__init__(seed)

    def initial_parameters(
        self, recipe: Recipe, latent_dim: int, **hyper: float
    ) -> dict[str, Tensor]:
        r"""Draws weights and biases of all layers, float64, with the bounds of PyTorch's
        initialisers.

        .. math:: \theta \sim U(-b, b), \quad b = 1 / \sqrt{\textit{fan\_in}}

        for linear layers and convolutions; fan_in is the number of weights that share the
        weight's first index, as PyTorch counts it, though for a transposed convolution that
        index is an input. He et al. (2015), "Delving deep into rectifiers", with a = sqrt(5):
        `reset_parameters` of `torch.nn.Linear` and of `torch.nn.modules.conv`.

        Raises:
            UserError: If the recipe has other layers with parameters, or starts from others.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = recipe.network(latent_dim, **hyper)
        parameters = {}
        for name, value in network.named_parameters():
            layer = network.get_submodule(name.rpartition(".")[0])
            bound = 1 / math.sqrt(math.prod(getattr(layer, "weight", value).shape[1:]))
            if not isinstance(layer, UNIFORM) or not _within(value.detach(), bound):
                raise UserError(
                    f"R's generator cannot draw the initial values of {name} of recipe "
                    f"{recipe.name}",
                    "use --rng injected",
                )
            shape = tuple(value.shape)
            draws = -bound + (bound - -bound) * self.unif_rand(math.prod(shape))
            parameters[name] = torch.from_numpy(_filled(draws, shape))
        return parameters

    def batch_order(self, images: int) -> NDArray[np.int64]:
        """Draws the order in which an epoch visits the images: a permutation of range(images)."""
        return self.sample(images)

    def step(
        self, batch_size: int, spec: Mapping[str, Draw], dtype: DTypeLike
    ) -> dict[str, NDArray]:
        """Draws what the next training step needs, in the order of `spec`.

        In R each is a matrix with one row per image; its columns are the features in PyTorch's
        order.

        Arguments:
            batch_size: Images in the batch, B.
            spec: What to draw for each image, by name.
            dtype: Precision of the noise.

        Returns:
            For each name an array of shape (B, *shape): bool for `Keep`, floats for `Normal`.

        Raises:
            UserError: If there is another kind of draw.
        """
        drawn: dict[str, NDArray] = {}
        for name, kind in spec.items():
            rows, features = kind.rows or batch_size, math.prod(kind.shape)
            if isinstance(kind, Keep):
                keep = self.unif_rand(rows * features) >= kind.p
                matrix: NDArray = _filled(keep, (rows, features))
            elif isinstance(kind, Normal):
                matrix = self.normal((rows, features), dtype)
            else:
                raise UserError(
                    f"R's generator cannot draw {type(kind).__name__} noise ('{name}')",
                    "use --rng injected",
                )
            drawn[name] = matrix.reshape(rows, *kind.shape)
        return drawn

    def normal(self, shape: tuple[int, int], dtype: DTypeLike) -> NDArray[np.floating]:
        """R's `matrix(rnorm(rows * columns), nrow = rows)`, rounded to `dtype`."""
        return _filled(self.norm_rand(math.prod(shape)), shape).astype(dtype)


def _within(values: Tensor, bound: float) -> bool:
    """Whether values look as drawn from U(-bound, bound); of a few, any within it do."""
    largest = values.abs().max().item()
    return largest <= bound * (1 + 1e-6) and (values.numel() < 32 or largest > bound / 2)


def _filled(values: NDArray, shape: tuple[int, ...]) -> NDArray:
    """R's `array(values, dim = shape)`, laid out as NumPy lays out its own."""
    return np.ascontiguousarray(values.reshape(shape, order="F"))


def _qnorm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """R's `qnorm(p)` for 0 < p <= 1, in the order of R's operations.

    Logarithms are the C library's, as in R: NumPy's own may differ in the last bit.
    """
    q = p - 0.5
    centre = np.abs(q) <= 0.425
    value = np.empty_like(p)
    r = 0.180625 - q[centre] * q[centre]
    numerator, denominator = CENTRE
    value[centre] = q[centre] * _polynomial(numerator, r) / _polynomial(denominator, r)

    upper = q[~centre] > 0
    outside = np.where(upper, 0.5 - p[~centre] + 0.5, p[~centre])
    logs = [math.log(x or 1.0) for x in outside.tolist()]  # x = 0: see the last line
    r = np.sqrt(-np.array(logs))
    tail = np.where(r <= 5, _ratio(TAIL, r - 1.6), _ratio(FAR_TAIL, r - 5))
    value[~centre] = np.where(upper, tail, -tail)
    return np.where(p < 1, value, np.inf)


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], r: NDArray) -> NDArray:
    numerator, denominator = coefficients
    return _polynomial(numerator, r) / _polynomial(denominator, r)


def _polynomial(coefficients: tuple[float, ...], r: NDArray) -> NDArray:
    value = np.full_like(r, coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * r + coefficient
    return value
