"""Masks and draws of another trace, fed to a program."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recorded.programs import cnn, gru, lstm, mlp, simple, transformer, vae
from torch import nn

from pyvae.errors import UserError
from pyvae.recording.record import record
from pyvae.recording.recording import running
from pyvae.recording.seen import masks_within
from pyvae.trace.program import ProgramTrace


@pytest.mark.parametrize("make", [vae, cnn, transformer, lstm, gru])
def test_replayed_chance_gives_the_same_bits(make, recorded, tmp_path):
    """Also of what attention and recurrent layers drop within themselves."""
    first = make()
    one = recorded(first, 3, "first")
    second = make()
    for layer in second.model.modules():
        if isinstance(layer, nn.Dropout):
            layer.inplace = False
    torch.manual_seed(77)
    two = recorded(second, 3, "second", replay=tmp_path / "first")
    assert second.losses == first.losses
    for step in (1, 2, 3):
        theirs, ours = one.arrays(step), two.arrays(step)
        assert theirs.keys() == ours.keys()
        for key in theirs:
            assert np.array_equal(theirs[key], ours[key]), key
    assert one.steps[0].generator != two.steps[0].generator


def test_the_generator_goes_on_as_alone(recorded, tmp_path):
    first = vae()
    recorded(first, 2, "first")
    state = torch.get_rng_state()
    recorded(vae(), 2, "second", replay=tmp_path / "first")
    assert torch.equal(torch.get_rng_state(), state)


class Noisy(nn.Module):
    def __init__(self, size, kind, layer=None):
        super().__init__()
        self.fc, self.size, self.kind = nn.Linear(2, 2), size, kind
        self.drop = layer or nn.Identity()

    def forward(self, x):
        return self.drop(self.fc(x)) + self.kind(self.size, 2)


def noisy(size=3, kind=torch.randn, layer=None):
    torch.manual_seed(1)
    model = Noisy(size, kind, layer)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    return simple(model, optimiser, lambda: model(torch.ones(3, 2)).pow(2).sum())


def test_what_does_not_fit_is_named(recorded, tmp_path):
    recorded(noisy(layer=nn.Dropout(0.5)), 1)
    cases = [
        (noisy(1), 1, r"the draw 'randn' has shape \(3, 2\) in step 1 of '.*', where the program "
                      r"draws \(1, 2\)"),
        (noisy(kind=torch.rand), 1, "has no more draws of rand in step 1, where 'rand' is drawn"),
        (noisy(layer=nn.Dropout(0.5)), 2, "step 2 of '.*' was not recorded"),
        (noisy(layer=nn.Sequential(nn.Unflatten(1, (1, 2)), nn.Dropout(0.5), nn.Flatten())), 1,
         "has no mask of 'drop.1' in step 1"),
        (noisy(layer=nn.Dropout(0.5, inplace=True)), 1, "cannot reach 'drop', which works in pl"),
    ]  # fmt: skip
    for program, steps, message in cases:
        with pytest.raises(UserError, match=message):
            recorded(program, steps, "other", replay=tmp_path / "trace", overwrite=True)
        assert running() is None


def test_draws_are_found_by_their_order_where_names_differ(recorded, tmp_path):
    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.within = Noisy(3, torch.randn)

        def forward(self, x):
            return self.within(x)

    first = noisy()
    one = recorded(first, 1, "first")
    model = Inner()
    second = simple(
        model, torch.optim.SGD(model.parameters(), 0.1), lambda: model(torch.ones(3, 2)).sum()
    )
    two = recorded(second, 1, "second", replay=tmp_path / "first")
    ours = two.arrays(1)["forward/within.randn"]
    assert np.array_equal(one.arrays(1)["forward/randn"], ours)


def test_masks_are_found_by_their_order_where_names_differ(recorded, tmp_path):
    """Each layer once; a name that is known comes first."""

    def dropping(*names):
        torch.manual_seed(1)
        layers = {name: nn.Dropout(0.5) for name in names}
        model = nn.Sequential(OrderedDict({"fc": nn.Linear(2, 8), **layers, "out": nn.ReLU()}))
        return simple(
            model, torch.optim.SGD(model.parameters(), 0.1), lambda: model(torch.ones(3, 2)).sum()
        )

    one = recorded(dropping("a", "b", "c"), 1, "first").arrays(1)
    torch.manual_seed(5)
    two = recorded(dropping("x", "b", "y"), 1, "second", replay=tmp_path / "first").arrays(1)
    for name, there in {"x": "a", "b": "b", "y": "c"}.items():
        assert np.array_equal(two[f"draw/{name}"], one[f"draw/{there}"])
    with pytest.raises(UserError, match="has no mask of 'z' in step 1"):
        recorded(dropping("a", "b", "c", "z"), 1, "third", replay=tmp_path / "first")


def test_the_order_of_the_data_stays_the_programs_own(recorded, tmp_path):
    """What a DataLoader draws is not the model's."""

    def shuffled():
        program = mlp()
        orders = []
        step = program.step

        def shuffle():
            orders.append(torch.randperm(5).tolist())
            return step()

        program.step = shuffle
        return program, orders

    first, theirs = shuffled()
    recorded(first, 2, "first")
    second, ours = shuffled()
    torch.manual_seed(8)
    recorded(second, 2, "second", replay=tmp_path / "first")
    assert theirs != ours


class Within(nn.Module):
    """Layers that drop something within themselves."""

    def __init__(self, p, layers=2):
        super().__init__()
        self.rnn, self.p = nn.GRU(2, 2, layers, dropout=p), p

    def forward(self, x):
        hidden, _ = self.rnn(x)
        return F.scaled_dot_product_attention(hidden, hidden, hidden, dropout_p=self.p)


def within(p=0.5, layers=2, length=4):
    torch.manual_seed(1)
    model, x = Within(p, layers), torch.randn(length, 3, 2)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    return simple(model, optimiser, lambda: model(x).sum())


def test_masks_within_a_layer_that_do_not_fit_are_one_line(recorded, tmp_path):
    recorded(within(), 1, "first")
    wrong = [
        (within(layers=3), r"the mask within 'rnn' has shape \(1, 4, 3, 2\) in step 1 of .*draws"),
        (within(length=5), r"the mask within 'rnn' has shape \(1, 4, 3, 2\) .*draws \(5, 3, 2\)"),
    ]
    for at, (program, words) in enumerate(wrong):
        with pytest.raises(UserError, match=words):
            recorded(program, 1, f"second-{at}", replay=tmp_path / "first")
    recorded(within(0.0), 1, "third")
    with pytest.raises(UserError, match=r"third' has no mask of 'rnn' in step 1\. Record it"):
        recorded(within(), 1, "fourth", replay=tmp_path / "third")


def test_masks_that_a_library_draws_are_refused(recorded, tmp_path, monkeypatch):
    """As cuDNN does: nothing is seen of what it draws."""
    recorded(within(), 1, "first")
    monkeypatch.setattr(masks_within, "DRAW", None)
    recorded(within(), 1, "second")
    words = r"replay cannot reach the masks that 'rnn' draws within itself\. Set its dropout to 0"
    with pytest.raises(UserError, match=words):
        recorded(within(), 1, "third", replay=tmp_path / "first")


class Block(nn.Module):
    """A layer, a mask of a module and one of a function."""

    def __init__(self, linear, drop):
        super().__init__()
        self.own = linear, drop
        self.add_module(linear, nn.Linear(3, 3))
        self.add_module(drop, nn.Dropout(0.4))

    def forward(self, x):
        linear, drop = (getattr(self, name) for name in self.own)
        return F.dropout(drop(linear(x)), 0.2)


NAMES = """a,b,what,layer,layout,found by
0.fc,one.inner,stage,linear,,order
0,one,,,,
0.drop,one.off,stage,dropout,,order
0.more,,stage,relu,,only here
pow,pow,stage,pow,,name
0.fc.weight,one.inner.weight,parameter,,,order
x + y,z,parameter,,,value
"""


def test_a_map_says_what_layers_modules_and_masks_are_called(recorded, tmp_path):
    """As `pyvae compare` writes it, and with a row for a module that has others in it."""
    (tmp_path / "names.csv").write_text(NAMES)
    batches = torch.randn(2, 5, 3)

    def program(model, seed):
        torch.manual_seed(seed)
        with torch.no_grad():
            for one in model.parameters():
                one.normal_()
        left = iter(batches)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        return simple(model, optimiser, lambda: model(next(left)).pow(2).mean())

    first = program(nn.Sequential(Block("fc", "drop")), 1)
    recorded(first, 2, "first")
    theirs = {"start": tmp_path / "first", "replay": tmp_path / "first"}
    second = program(nn.Sequential(OrderedDict(one=Block("inner", "off"))), 2)
    recorded(second, 2, "second", names=tmp_path / "names.csv", **theirs)
    assert second.losses == first.losses
    (tmp_path / "names.csv").write_text(NAMES.replace("0.drop,one.off", "0.gone,one.off"))
    third = program(nn.Sequential(OrderedDict(one=Block("inner", "off"))), 2)
    with pytest.raises(UserError, match=r"no mask of 'one\.off' .*say in the map of names"):
        recorded(third, 2, "third", names=tmp_path / "names.csv", **theirs)


def test_noise_that_is_drawn_before_a_forward_pass_is_fed_too(tmp_path):
    """A pass begins with the call of the network, its noise may be drawn before."""

    def run(seed, name, **options):
        torch.manual_seed(3)
        net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.4), nn.Linear(4, 2))
        torch.manual_seed(seed)
        with record(net, None, tmp_path / name, quiet=True, **options), torch.no_grad():
            for _ in range(3):
                noise = torch.randn(2, 3)
                net(noise) + torch.randn(2, 2)
        return ProgramTrace.load(tmp_path / name)

    one, two = run(1, "first"), run(2, "second", replay=tmp_path / "first")
    for step in (1, 2, 3):
        theirs, ours = one.arrays(step), two.arrays(step)
        assert sum(stage.layer == "draw" for stage in one.network_of(step)) == 2
        assert theirs.keys() == ours.keys()
        assert all(np.array_equal(theirs[key], ours[key]) for key in theirs)


def test_a_standard_normal_draw_is_fed_whichever_function_draws_it(recorded, tmp_path):
    """`torch.normal(0, 1, size)`, as Keras draws, and `torch.randn(size)`."""
    recorded(noisy(kind=lambda *size: torch.normal(0.0, 1.0, size)), 1, "first")
    one = ProgramTrace.load(tmp_path / "first").arrays(1)
    two = recorded(noisy(), 1, "second", replay=tmp_path / "first").arrays(1)
    assert np.array_equal(one["forward/normal"], two["forward/randn"])
    recorded(noisy(kind=lambda *size: torch.normal(0.0, 2.0, size)), 1, "third")
    with pytest.raises(UserError, match="no more draws of randn"):
        recorded(noisy(), 1, "fourth", replay=tmp_path / "third")
