from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from pyvae.data.mnist import load_mnist_family
from pyvae.errors import UserError
from pyvae.metrics import digit_classifier
from pyvae.metrics.digit_classifier import DigitClassifier

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.slow]


@pytest.fixture(scope="module")
def split(digits):
    """700 digits to train on and 300 to test on, drawn at random from all writers."""
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(1))
    x, labels = digits.pixels[order] / 255, digits.labels[order]
    return SimpleNamespace(train=(x[:700], labels[:700]), test=(x[700:1000], labels[700:1000]))


@pytest.fixture(scope="module")
def classifier(split):
    """One that was trained for as long as these digits need."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digit_classifier, "LEAST_STEPS", 150)
        return DigitClassifier(*split.train, *split.test)


@pytest.fixture
def quick(monkeypatch):
    """Trains for few steps, where accuracy is no matter."""
    monkeypatch.setattr(digit_classifier, "LEAST_STEPS", 5)


def test_it_knows_digits_that_it_has_not_seen(classifier):
    assert classifier.test_accuracy > 0.93


def test_its_accuracy_is_the_share_of_right_predictions(classifier, split):
    x, labels = split.test
    right = sum(int(classifier.predict(x[i : i + 1])[0] == labels[i]) for i in range(len(x)))
    assert classifier.test_accuracy == pytest.approx(right / len(x))
    assert classifier.accuracy(*split.train) > classifier.test_accuracy


def test_batches_and_precision_change_no_prediction(classifier, split):
    x, _ = split.test
    whole = classifier.predict(x)
    assert whole.dtype == torch.int64
    assert torch.equal(classifier.predict(x, batch_size=7), whole)
    assert torch.equal(classifier.predict(x.double()), whole)


def test_test_images_do_not_train_it(quick, split):
    one = DigitClassifier(*split.train, *split.test)
    other = DigitClassifier(*split.train, split.test[0][:9], split.test[1][:9])
    assert_same(one, other)


def test_the_same_seed_gives_the_same_network(quick, split):
    one, again, other = (DigitClassifier(*split.train, *split.test, seed=s) for s in (1, 1, 2))
    assert_same(one, again)
    assert not torch.equal(one.network[1].weight, other.network[1].weight)


def test_training_leaves_generators_and_grad_mode_alone(quick, split):
    state = torch.get_rng_state()
    with torch.no_grad():
        within = DigitClassifier(*split.train, *split.test)
        assert not torch.is_grad_enabled()
    torch.rand(3)
    after = DigitClassifier(*split.train, *split.test)
    assert_same(within, after)
    torch.set_rng_state(state)
    DigitClassifier(*split.train, *split.test)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_changes_neither_the_network_nor_itself(quick, split, threads):
    before = torch.get_num_threads()
    expected = DigitClassifier(*split.train, *split.test)
    torch.set_num_threads(threads)
    try:
        assert_same(DigitClassifier(*split.train, *split.test), expected)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_it_learns(quick, classifier, split):
    untrained = DigitClassifier(*split.train, *split.test)
    assert untrained.test_accuracy < classifier.test_accuracy - 0.2


def test_it_takes_other_numbers_of_classes(quick, split):
    even = [(x, labels % 2) for x, labels in (split.train, split.test)]
    classifier = DigitClassifier(*even[0], *even[1], classes=2)
    assert set(classifier.predict(split.test[0]).tolist()) <= {0, 1}


@pytest.mark.long  # as many steps as on any small set
def test_four_hundred_steps_on_mnist_give_a_usable_classifier(real_mnist):
    sets = (load_mnist_family("MNIST", real_mnist, train=which) for which in (True, False))
    (x, labels), (test_x, test_labels) = ((pixels / 255, labels) for pixels, labels in sets)
    classifier = DigitClassifier(x[:5000], labels[:5000], test_x, test_labels)
    assert classifier.test_accuracy >= 0.93


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (x[:, :700], y), r"training images of shape \(700, 700\): expected"),
        (lambda x, y: (x[:0], y[:0]), r"training images of shape \(0, 784\).*at least one"),
        (lambda x, y: ((x * 255).byte(), y), r"uint8 from 0 to 255.*Divide bytes by 255"),
        (lambda x, y: (x * 2, y), r"from 0 to 2: expected floats in \[0, 1\]"),
        (lambda x, y: (x, y[:5]), r"training labels of torch.int64, shape \(5,\): expected"),
        (lambda x, y: (x, y.float()), r"labels of torch.float32.*expected whole numbers"),
        (lambda x, y: (x, y + 1), r"training labels from 1 to 10: expected 0 to 9"),
    ],
)
def test_bad_input_is_the_users_error_in_one_line(split, change, words):
    with pytest.raises(UserError, match=words) as caught:
        DigitClassifier(*change(*split.train), *split.test)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"test (images|labels)"):
        DigitClassifier(*split.train, *change(*split.test))


def test_a_negative_seed_is_the_users_error(split):
    with pytest.raises(UserError, match="seed is -1: expected 0 or more"):
        DigitClassifier(*split.train, *split.test, seed=-1)


def test_images_to_classify_are_checked(classifier):
    with pytest.raises(UserError, match=r"classified images of shape \(3, 28, 28\)"):
        classifier.predict(torch.zeros(3, 28, 28))


def assert_same(one, other):
    for a, b in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(a, b)
