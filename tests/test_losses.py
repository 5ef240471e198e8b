"""The loss: against values worked by hand, at its edges, and against the plain softmax."""

import math
from typing import Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sound_groove.errors import TrainingError
from sound_groove.networks.losses import AamSoftmax, SphereFace2


def at_angle(*radians: float) -> Tensor:
    """(N, 2) unit vectors."""
    return torch.tensor([[math.cos(angle), math.sin(angle)] for angle in radians], dtype=torch.float64).float()


def two_classes(margin: float, scale: float = 4.0) -> AamSoftmax:
    """Classes at the angles 0 and 90 degrees."""
    loss = AamSoftmax(2, 2, scale=scale, margin=margin)
    loss.load_state_dict({"weight": at_angle(0.0, math.pi / 2)})
    return loss


def test_a_value_worked_by_hand() -> None:
    # At 60 degrees from its class and 30 from the other, margin 15 degrees, scale 4: the logits are
    # 4 cos 75 = 1.035276 and 4 cos 30 = 3.464102, so the loss is ln(1 + e^2.428826) = 2.513295.
    value, cosines = two_classes(math.radians(15))(at_angle(math.radians(60)) * 7.0, torch.tensor([0]))
    assert value.item() == pytest.approx(2.513295, abs=1e-5)
    assert cosines[0].tolist() == pytest.approx([0.5, math.sqrt(3.0) / 2.0], abs=1e-6)


def test_a_value_past_the_turning_point_worked_by_hand() -> None:
    # At 175 degrees with a margin of 15: cos 190 would be higher than cos 180, so the target's cosine is
    # cos 175 - (1 + cos 165) = -0.996195 - 0.034074 = -1.030269, the other's is cos 85 = 0.087156, scale 1.
    value, _ = two_classes(math.radians(15), scale=1.0)(at_angle(math.radians(175)), torch.tensor([0]))
    assert value.item() == pytest.approx(math.log1p(math.exp(0.087156 + 1.030269)), abs=1e-5)


def test_the_mean_over_the_batch() -> None:
    loss = two_classes(0.2)
    embeddings, labels = at_angle(0.3, 2.0, -1.0), torch.tensor([0, 1, 1])
    singles = [loss(embeddings[i : i + 1], labels[i : i + 1])[0].item() for i in range(3)]
    assert loss(embeddings, labels)[0].item() == pytest.approx(sum(singles) / 3, rel=1e-6)


@pytest.mark.parametrize("margin", [0.05, 0.2, 0.5])
def test_the_target_falls_without_a_jump_from_0_to_180_degrees(margin: float) -> None:
    angles = torch.linspace(0.0, math.pi, 20001, dtype=torch.float64)
    target = AamSoftmax(2, 2, margin=margin)._with_margin(angles.cos())
    steps = target.diff()
    assert (steps < 0).all()
    assert steps.min() > -2.0 * math.pi / 20000
    assert target[0] == pytest.approx(math.cos(margin), abs=1e-5)
    assert target[-1] == pytest.approx(-2.0 + math.cos(margin), abs=1e-9)  # -1 - (1 - cos m)


def test_margin_0_is_the_plain_softmax_over_cosines() -> None:
    generator = torch.Generator().manual_seed(1)
    embeddings, labels = torch.randn(16, 8, generator=generator), torch.randint(5, (16,), generator=generator)
    loss = AamSoftmax(8, 5, scale=30.0, margin=0.0)
    value, cosines = loss(embeddings, labels)
    expected = 30.0 * F.normalize(embeddings) @ F.normalize(loss.weight).T
    assert value.item() == pytest.approx(F.cross_entropy(expected, labels).item(), rel=1e-5)
    torch.testing.assert_close(30.0 * cosines, expected, rtol=0, atol=1e-5)


def test_the_margin_can_change_between_steps() -> None:
    loss = two_classes(0.0)
    embeddings, labels = at_angle(0.5), torch.tensor([0])
    before = loss(embeddings, labels)[0].item()
    loss.margin = 0.2
    assert loss(embeddings, labels)[0].item() == two_classes(0.2)(embeddings, labels)[0].item() > before


def test_the_length_of_an_embedding_does_not_matter() -> None:
    loss, labels = two_classes(0.2), torch.tensor([1])
    assert loss(at_angle(1.0) * 1e3, labels)[0].item() == pytest.approx(loss(at_angle(1.0), labels)[0].item(), rel=1e-6)


def test_the_nearest_subcentre_counts() -> None:
    # Class 0 owns the angles 0 and 180 degrees, class 1 owns 90 and 270.
    loss = AamSoftmax(2, 2, margin=0.0, subcenters=2)
    loss.load_state_dict({"weight": at_angle(0.0, math.pi, math.pi / 2, -math.pi / 2)})
    _, cosines = loss(at_angle(math.radians(150)), torch.tensor([0]))
    assert cosines[0].tolist() == pytest.approx([math.cos(math.radians(30)), 0.5], abs=1e-6)
    loss(at_angle(math.radians(150)), torch.tensor([0]))[0].backward()
    assert loss.weight.grad is not None
    assert loss.weight.grad.abs().sum(dim=1).gt(0).tolist() == [False, True, True, False]


# The inter-top-k penalty


def four_classes(top_k: int, penalty: float = math.radians(10), scale: float = 4.0) -> AamSoftmax:
    """Classes at the angles 0, 90, 180 and 270 degrees, no margin."""
    loss = AamSoftmax(2, 4, scale=scale, margin=0.0, top_k=top_k, penalty=penalty)
    loss.load_state_dict({"weight": at_angle(0.0, math.pi / 2, math.pi, 3 * math.pi / 2)})
    return loss


def test_the_nearest_wrong_class_seems_nearer_by_the_penalty() -> None:
    # At 30 degrees, class 0: the wrong ones lie 60, 150 and 120 degrees away. With one of them penalised by 10 degrees
    # the logits are 4 cos 30, 4 cos 50, 4 cos 150, 4 cos 120 = 3.464102, 2.571150, -3.464102, -2.
    logits = [3.464102, 2.571150, -3.464102, -2.0]
    expected = math.log(sum(map(math.exp, logits))) - logits[0]
    value, cosines = four_classes(1)(at_angle(math.radians(30)), torch.tensor([0]))
    assert value.item() == pytest.approx(expected, abs=1e-5)
    assert cosines[0].tolist() == pytest.approx([math.cos(math.radians(a)) for a in (30, 60, 150, 120)], abs=1e-6)
    logits[3] = 4 * math.cos(math.radians(110))  # two of them
    value, _ = four_classes(2)(at_angle(math.radians(30)), torch.tensor([0]))
    assert value.item() == pytest.approx(math.log(sum(map(math.exp, logits))) - logits[0], abs=1e-5)


@pytest.mark.parametrize(("top_k", "penalty"), [(0, 0.3), (2, 0.0)])
def test_without_a_count_or_a_penalty_it_is_the_plain_loss(top_k: int, penalty: float) -> None:
    embeddings, labels = at_angle(0.3, 2.0, -1.0), torch.tensor([0, 1, 3])
    assert four_classes(top_k, penalty)(embeddings, labels)[0] == four_classes(0, 0.0)(embeddings, labels)[0]


def test_all_wrong_classes_are_penalised_at_most_and_the_right_one_never() -> None:
    embeddings, labels = at_angle(0.3, 2.0, -1.0), torch.tensor([0, 1, 3])
    assert four_classes(3)(embeddings, labels)[0] == four_classes(50)(embeddings, labels)[0]
    cosines = torch.tensor([[0.9, 0.8, 0.1, -0.2]])
    penalised = four_classes(50)._with_penalty(cosines, torch.tensor([[0]]))
    assert penalised[0, 0] == cosines[0, 0] and bool((penalised[0, 1:] > cosines[0, 1:]).all())


@pytest.mark.parametrize("penalty", [0.06, 0.2])
def test_a_penalised_cosine_falls_without_a_jump_from_0_to_180_degrees(penalty: float) -> None:
    angles = torch.linspace(0.0, math.pi, 20001, dtype=torch.float64)
    cosines = torch.stack((torch.zeros_like(angles), angles.cos()), dim=1)
    loss = AamSoftmax(2, 2, top_k=1, penalty=penalty)
    wrong = loss._with_penalty(cosines, torch.zeros(len(angles), 1, dtype=torch.int64))[:, 1]
    assert (wrong.diff() < 0).all() and wrong.diff().min() > -2.0 * math.pi / 20000
    assert wrong[0] == pytest.approx(2 - math.cos(penalty), abs=1e-9)
    assert wrong[-1] == pytest.approx(math.cos(math.pi - penalty), abs=1e-5)


def test_the_gradient_of_the_penalty_is_finite_on_top_of_a_class_and_opposite_to_it() -> None:
    for angle in (0.0, math.pi / 2, math.pi):
        embeddings = at_angle(angle, angle).requires_grad_()
        loss = four_classes(3)
        loss(embeddings, torch.tensor([0, 1]))[0].backward()
        assert embeddings.grad is not None and bool(torch.isfinite(embeddings.grad).all())
        assert loss.weight.grad is not None and bool(torch.isfinite(loss.weight.grad).all())


@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("angle", [0.0, math.pi, math.pi - 0.2, 1e-4, math.pi - 1e-4])
def test_gradients_are_finite_at_the_ends(angle: float, margin: float) -> None:
    loss = two_classes(margin, scale=32.0)
    embeddings = at_angle(angle).requires_grad_()
    value, _ = loss(embeddings, torch.tensor([0]))
    value.backward()
    assert value.isfinite()
    assert loss.weight.grad is not None and loss.weight.grad.isfinite().all()
    assert embeddings.grad is not None and embeddings.grad.isfinite().all()
    assert embeddings.grad.norm() < 100.0


def test_a_zero_embedding_has_a_finite_gradient() -> None:
    embeddings = torch.zeros(1, 2, requires_grad=True)
    loss = two_classes(0.2)
    value, cosines = loss(embeddings, torch.tensor([0]))
    value.backward()
    assert cosines.tolist() == [[0.0, 0.0]]
    assert embeddings.grad is not None and embeddings.grad.isfinite().all()
    assert loss.weight.grad is not None and loss.weight.grad.isfinite().all()


def test_the_gradient_is_the_slope() -> None:
    loss = two_classes(0.2).double()
    embeddings = torch.tensor([[0.3, 1.0], [-2.0, 0.1]], dtype=torch.float64, requires_grad=True)
    # float32 inside: the slope is taken over a step that float32 can see
    value, _ = loss(embeddings, torch.tensor([0, 1]))
    (gradient,) = torch.autograd.grad(value, embeddings)
    for row in range(2):
        for column in range(2):
            step = torch.zeros_like(embeddings)
            step[row, column] = 1e-2
            up, down = (loss(embeddings + sign * step, torch.tensor([0, 1]))[0].item() for sign in (1, -1))
            assert gradient[row, column].item() == pytest.approx((up - down) / 2e-2, rel=1e-2, abs=1e-3)


def test_half_precision_around_it_changes_nothing() -> None:
    loss = AamSoftmax(64, 10)
    embeddings = torch.randn(4, 64, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 3, 9, 3])
    with torch.autocast("cpu", torch.bfloat16):
        value, cosines = loss(embeddings, labels)
    assert value.dtype == cosines.dtype == torch.float32
    assert torch.equal(value, loss(embeddings, labels)[0])
    assert loss(embeddings.bfloat16(), labels)[0].dtype == torch.float32


@pytest.mark.parametrize("labels", [[0, 2], [-1, 0], [-100, 1]])
def test_a_label_out_of_range_is_refused(labels: list[int]) -> None:
    with pytest.raises(
        TrainingError,
        match=rf"labels from {min(labels)} to {max(labels)}, and the loss has 2 classes \(0 to 1\)",
    ):
        two_classes(0.2)(at_angle(0.0, 1.0), torch.tensor(labels))


def test_it_learns_to_tell_two_voices_apart() -> None:
    loss = two_classes(0.2)
    embeddings = at_angle(1.0, 0.6).requires_grad_()  # each nearer to the other's class
    labels = torch.tensor([0, 1])
    optimizer = torch.optim.SGD([embeddings], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        value, cosines = loss(embeddings, labels)
        value.backward()
        optimizer.step()
    assert cosines.argmax(dim=1).tolist() == [0, 1]


def sphere_of_two(**settings: float) -> SphereFace2:
    """Classes at the angles 0 and 90 degrees."""
    loss = SphereFace2(2, 2, **settings)  # type: ignore[arg-type]
    loss.weight.data = at_angle(0.0, math.pi / 2)
    return loss


def test_sphereface2_worked_by_hand() -> None:
    # At 0 degrees: cosines 1 and 0. With exponent 1 g(z) = z, so with scale 2 and no margin the right class gives
    # ln(1 + e^-2) = 0.126928 and the wrong one ln(1 + e^0) = 0.693147; half of each is 0.410038.
    value, cosines = sphere_of_two(scale=2.0, margin=0.0, balance=0.5, exponent=1)(at_angle(0.0), torch.tensor([0]))
    assert value.item() == pytest.approx(0.410038, abs=1e-5)
    assert cosines[0].tolist() == pytest.approx([1.0, 0.0], abs=1e-6)
    # With exponent 3, g(0) = 2 / 8 - 1 = -0.75 and g(1) = 1; margin 0.2: ln(1 + e^(-2 x 0.8)) = 0.183901 and
    # ln(1 + e^(2 x -0.55)) = 0.287336, of which 0.7 and 0.3 are 0.214931.
    value, _ = sphere_of_two(scale=2.0, margin=0.2, balance=0.7, exponent=3)(at_angle(0.0), torch.tensor([0]))
    assert value.item() == pytest.approx(0.7 * 0.183901 + 0.3 * 0.287336, abs=1e-5)


@pytest.mark.parametrize("margin_of", ["cosine", "angle"])
def test_sphereface2_equals_its_formula_in_numpy(margin_of: Literal["cosine", "angle"]) -> None:
    generator = np.random.default_rng(1)
    embeddings, weight, labels = generator.normal(size=(6, 8)), generator.normal(size=(5, 8)), [0, 4, 2, 2, 1, 3]
    loss = SphereFace2(8, 5, scale=20.0, margin=0.15, balance=0.6, exponent=2, margin_of=margin_of)
    loss.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.tensor(-0.4)})
    total = 0.0
    for embedding, label in zip(embeddings, labels, strict=True):
        for number, centre in enumerate(weight):
            cosine = embedding @ centre / np.linalg.norm(embedding) / np.linalg.norm(centre)
            sign = 1 if number == label else -1
            if margin_of == "angle":
                cosine = np.cos(np.arccos(cosine) + sign * 0.15)
            spread = 2 * ((cosine + 1) / 2) ** 2 - 1 - (sign * 0.15 if margin_of == "cosine" else 0)
            share = 0.6 if number == label else 0.4
            total += share * np.log(1 + np.exp(-sign * (20 * spread - 0.4)))
    value, _ = loss(torch.from_numpy(embeddings), torch.tensor(labels))
    assert value.item() == pytest.approx(total / 6, rel=1e-5)


def test_sphereface2_learns_and_its_gradients_are_finite_everywhere() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        loss = SphereFace2(2, 3, margin_of="angle")
    embeddings = torch.cat((at_angle(0.0, math.pi), torch.zeros(1, 2), 1e6 * loss.weight.detach()[:1]))
    embeddings.requires_grad_()
    optimizer = torch.optim.SGD([loss.weight, loss.bias], lr=0.1)
    values = []
    for _ in range(20):
        value, _ = loss(embeddings, torch.tensor([0, 1, 2, 0]))
        optimizer.zero_grad()
        value.backward()
        for gradient in (loss.weight.grad, loss.bias.grad, embeddings.grad):
            assert gradient is not None and gradient.isfinite().all()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.9 * values[0]
