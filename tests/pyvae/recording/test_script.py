"""Scripts that are recorded as they are."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pyvae.errors import UserError
from pyvae.recording.recording import running
from pyvae.recording.script import find_models, run_recorded
from pyvae.trace.program import ProgramTrace

TRAIN = """
    import sys
    import torch
    from torch import nn
    import beside

    def main():
        torch.manual_seed(beside.SEED)
        model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
        optimizer = torch.optim.Adam(model.parameters())
        for step in range(int(sys.argv[1])):
            optimizer.zero_grad()
            model(torch.randn(6, 3)).pow(2).mean().backward()
            optimizer.step()
        print(sum(p.double().sum().item() for p in model.parameters()), __name__, sys.argv)

    if __name__ == "__main__":
        main()
"""
GAN = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self, a, b):
            super().__init__()
            self.fc = nn.Linear(a, b)

        def forward(self, x):
            return self.fc(x)

    generator, discriminator = Net(2, 3), Net(3, 1)
    one = torch.optim.Adam(discriminator.parameters())
    two = torch.optim.SGD(generator.parameters(), 0.1)
    for _ in range(2):
        fake = generator(torch.randn(4, 2))
        discriminator(fake.detach()).sum().backward()
        one.step()
        discriminator(fake).mean().backward()
        two.step()
    three = torch.optim.SGD(generator.parameters(), 0.1)
"""


@pytest.fixture
def script(tmp_path):
    def write(text=TRAIN, name="train.py"):
        (tmp_path / "beside.py").write_text("SEED = 3\n")
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    yield write
    sys.modules.pop("beside", None)


def test_a_script_runs_as_alone_and_is_recorded(script, tmp_path, capsys, monkeypatch):
    path = script()
    before = sys.argv, list(sys.path), torch.optim.Optimizer.__init__
    assert run_recorded(path, ["4", "--lr"], tmp_path / "out", steps=2) == 0
    assert before == (sys.argv, sys.path, torch.optim.Optimizer.__init__)
    said = capsys.readouterr().out
    assert said.endswith(f"__main__ ['{path}', '4', '--lr']\n")
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(6, 3)).pow(2).mean().backward()
        optimizer.step()
    assert float(said.split()[0]) == sum(p.double().sum().item() for p in model.parameters())
    trace = ProgramTrace.load(tmp_path / "out")
    assert (trace.program, trace.complete) == ("train.py", True)
    assert [one.name for one in trace.networks[0] if one.layer == "linear"] == ["0", "2"]


@pytest.mark.slow
def test_several_models_are_recorded_together(script, tmp_path, capsys):
    assert run_recorded(script(GAN), [], tmp_path / "out", steps=2) == 0
    trace = ProgramTrace.load(tmp_path / "out")
    assert trace.complete
    assert [one.name for one in trace.parameters if one.name.endswith("weight")] == [
        "net.fc.weight", "net2.fc.weight",
    ]  # fmt: skip
    assert [one.optimiser.name for one in trace.steps] == ["optimizer.0", "optimizer.1"] * 2
    assert "made after its first step is not recorded" in capsys.readouterr().err
    # the first optimiser's model alone has none of the names that the trace has
    options = {"start": tmp_path / "out", "replay": tmp_path / "out", "steps": 2}
    assert run_recorded(script(GAN), [], tmp_path / "again", **options) == 0
    again = ProgramTrace.load(tmp_path / "again")
    assert np.array_equal(
        trace.stored(4)["parameter/net2.fc.weight"], again.stored(4)["parameter/net2.fc.weight"]
    )
    with pytest.raises(UserError, match=r"has no '0\.weight' to start from"):
        run_recorded(script(), ["1"], tmp_path / "none", start=tmp_path / "out")
    with pytest.raises(UserError, match=r"has no '0\.weight' to start from"):
        run_recorded(script(), ["0"], tmp_path / "none", start=tmp_path / "out")


LATE = """
import torch
from torch import nn
model = nn.Linear(3, 2)
for _ in range(2):
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    optimizer.zero_grad()
    model(torch.randn(6, 3)).pow(2).mean().backward()
    optimizer.step()
"""


def test_an_optimiser_that_is_made_anew_is_said_to_be_missing(script, tmp_path):
    assert run_recorded(script(LATE), [], tmp_path / "out", steps=2) == 0
    trace = ProgramTrace.load(tmp_path / "out")
    assert len(trace.steps) == 1
    assert trace.ended == (
        "the program made 1 of 2 steps to record; those of an optimizer made later are not recorded"
    )


def test_errors_and_exit_codes_are_the_scripts_own(script, tmp_path, capsys):
    path = script("def broken():\n    raise ValueError('mine')\n\nbroken()\n")
    assert run_recorded(path, [], tmp_path / "out") == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1] == f'  File "{path}", line 4, in <module>'
    assert lines[-2] == "ValueError: mine"
    nothing = f"pyvae: no step was recorded to '{tmp_path / 'out'}': '{path}' ended with exit code"
    assert lines[-1].startswith(f"{nothing} 1 before it made an optimizer")
    for given, code in (("3", 3), ("", 0), ("None", 0), ("'words'", 1)):
        path = script(f"import sys\nprint('out')\nsys.exit({given})\n")
        if code:
            assert run_recorded(path, [], tmp_path / "out") == code
        else:
            with pytest.raises(UserError, match=r"made no optimizer of torch.optim and called no"):
                run_recorded(path, [], tmp_path / "out")
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"{nothing} 3 before")
    assert said[1] == "words"
    assert said[2].startswith(f"{nothing} 1 before")
    assert not (tmp_path / "out").exists()


def test_a_script_that_makes_no_step(script, tmp_path, capsys):
    assert run_recorded(script(), ["0"], tmp_path / "out") == 2
    assert "no step was recorded" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert running() is None


def test_bad_input_is_said_before_the_script_runs(script, tmp_path):
    path = script("print('ran')\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(UserError, match=r"script '.*none.py' is not there"):
        run_recorded(tmp_path / "none.py", [], tmp_path / "out")
    with pytest.raises(UserError, match=r"'.*full' is a folder. Give the path of a Python script"):
        run_recorded(tmp_path / "full", [], tmp_path / "out")
    with pytest.raises(UserError, match="is not empty"):
        run_recorded(path, [], tmp_path / "full")


def test_an_r_script_is_not_run_but_told_how_to_record(tmp_path):
    for name in ("train.R", "train.r"):
        path = tmp_path / name
        path.write_text("library(torch)\n")
        with pytest.raises(UserError) as error:
            run_recorded(path, [], Path("mine"))
        assert str(error.value) == (
            f"'{path}' is an R script, which R records. Run: "
            f'Rscript -e \'pyvae::record_script("{path}", "mine")\''
        )


def test_a_model_is_the_outermost_module_of_an_optimizer():
    inner = nn.Linear(2, 2)
    outer = nn.ModuleDict({"a": nn.Sequential(inner), "b": nn.Linear(3, 3)})
    assert find_models(torch.optim.SGD(inner.parameters(), 0.1)) == [outer]
    alone = nn.Parameter(torch.zeros(2))
    with pytest.raises(UserError, match=r"belong to no torch.nn.Module"):
        find_models(torch.optim.SGD([alone], 0.1))


TWO_IN_ONE = """
    import torch
    from torch import nn
    one, two, actor = nn.Linear(3, 1), nn.Linear(3, 1), nn.Linear(3, 3)
    critics = torch.optim.SGD([*one.parameters(), *two.parameters()], 0.1)
    actors = torch.optim.SGD(actor.parameters(), 0.1)
    again = torch.optim.SGD(two.parameters(), 0.1)
    for optimizer in (critics, actors, again):
        x = actor(torch.randn(4, 3))
        torch.min(one(x), two(x)).mean().backward()
        optimizer.step()
"""


def test_models_that_share_an_optimizer_are_recorded_each_by_its_name(script, tmp_path):
    """As the two critics of an actor."""
    assert run_recorded(script(TWO_IN_ONE), [], tmp_path / "out", steps=1) == 0
    trace = ProgramTrace.load(tmp_path / "out")
    names = ["linear", "linear2", "linear3"]
    assert [one.name for one in trace.parameters if one.kind == "parameter"] == [
        f"{name}.{what}" for name in names for what in ("weight", "bias")
    ]
    stages = [one.name for one in trace.networks[0] if one.layer == "linear"]
    assert sorted(stages) == names
    trained = [[n for g in one.optimiser.groups for n in g.parameters] for one in trace.steps]
    assert [len(one) for one in trained] == [4, 2, 2]
    assert trained[2] == ["linear2.weight", "linear2.bias"]


USES = """
import torch
from torch import nn

class Vae(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.mu = nn.Linear(4, 3), nn.Linear(3, 2)

    def encode(self, x):
        return self.mu(torch.relu(self.fc(x)))

torch.manual_seed(1)
vae, decoder = Vae().eval(), nn.Sequential(nn.Linear(2, 4), nn.Sigmoid())
with torch.no_grad():
    for _ in range(2):
        image = decoder(vae.encode(torch.ones(3, 4)))
print(image.sum().item())
"""


def test_a_script_that_trains_nothing_has_its_forward_passes_recorded(script, tmp_path, capsys):
    """The first network has the names of its own state_dict, the others come after their names."""
    assert run_recorded(script(USES), [], tmp_path / "out") == 0
    out, err = capsys.readouterr()
    trace = ProgramTrace.load(tmp_path / "out")
    assert err.splitlines()[0].startswith("pyvae: recording at most 3 forward passes of ")
    assert err.splitlines()[1] == f"pyvae: recorded 2 forward passes to '{tmp_path / 'out'}'"
    assert (trace.complete, len(trace.steps)) == (True, 2)
    assert [one.name for one in trace.network_of(1)] == [
        "input", "fc", "relu", "mu", "decoder.0", "decoder.1",
    ]  # fmt: skip
    assert [one.name for one in trace.network_of(2)][-1] == "sum"  # of what the program prints
    assert {one.name for one in trace.parameters} >= {"fc.weight", "mu.bias", "decoder.0.weight"}
    assert run_recorded(script(USES), [], tmp_path / "two", quiet=True) == 0
    assert capsys.readouterr() == (out, "")


def test_each_network_starts_as_another_program_did(script, tmp_path):
    assert run_recorded(script(USES), [], tmp_path / "one", quiet=True) == 0
    other = script(USES.replace("manual_seed(1)", "manual_seed(2)"))
    run_recorded(other, [], tmp_path / "two", start=tmp_path / "one", quiet=True)
    one, two = (ProgramTrace.load(tmp_path / name).arrays(2) for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert all((one[key] == two[key]).all() for key in one)


BEFORE = """
import torch
from torch import nn
model = nn.Linear(3, 2)
print(model(torch.ones(2, 3)).shape)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
for _ in range(2):
    optimizer.zero_grad()
    model(torch.randn(6, 3)).pow(2).mean().backward()
    optimizer.step()
"""


def test_a_network_that_is_called_before_the_training_is_no_pass(script, tmp_path, capsys):
    assert run_recorded(script(BEFORE), [], tmp_path / "out") == 0
    trace = ProgramTrace.load(tmp_path / "out")
    assert [one.optimiser.kind for one in trace.steps] == ["sgd", "sgd"]
    untrained = BEFORE.partition("for _")[0]
    assert run_recorded(script(untrained), [], tmp_path / "none") == 2
    assert "use record(model, None, folder)" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_passes_before_an_error_are_kept(script, tmp_path, capsys):
    path = script(USES.replace("print(image", "print(decoder(torch.ones(1, 7))"))
    assert run_recorded(path, [], tmp_path / "out") == 1
    assert capsys.readouterr().err.endswith(f"recorded 2 forward passes to '{tmp_path / 'out'}'\n")
    assert ProgramTrace.load(tmp_path / "out").ended == "the script ended with an error"
    path = script("import torch\ntorch.nn.Linear(2, 2)(torch.ones(1, 3))\n")
    assert run_recorded(path, [], tmp_path / "none") == 1
    assert "ended within the first call of a network" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.filterwarnings("ignore:Using `torch.compile:UserWarning")
def test_a_compiled_network_is_refused_in_one_line(script, tmp_path, capsys):
    path = script("""
        import torch
        net = torch.compile(torch.nn.Linear(2, 2), backend="eager")
        net(torch.ones(1, 2))
    """)
    with pytest.raises(UserError, match=r"compiled by torch.compile"):
        run_recorded(path, [], tmp_path / "out")
    assert capsys.readouterr().err == ""
    assert running() is None
    assert not (tmp_path / "out").exists()
