"""SoftLabelLoss against the formulas written out in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import NACLLoss
from softlabel_train.losses import SoftLabelLoss, enet_weights, neighbour_shares

IGNORE = 255


def make(seed=0, shape=(2, 4, 5, 6), ignored=0.2, dtype=torch.float64, un_normalised=True):
    generator = torch.Generator().manual_seed(seed)
    b, k, *spatial = shape
    logits = torch.randn(shape, generator=generator, dtype=dtype) * 2
    labels = torch.randint(0, k, (b, *spatial), generator=generator)
    soft = torch.rand(shape, generator=generator, dtype=dtype)
    soft[torch.rand(shape, generator=generator) < 0.4] = 0
    if not un_normalised:
        soft = soft / soft.sum(1, keepdim=True).clamp(min=1e-9)
    hidden = torch.rand(labels.shape, generator=generator) < ignored
    labels[hidden] = IGNORE
    soft = torch.where(hidden.unsqueeze(1), 0, soft)
    return logits, labels, soft


def written_out(logits, labels, soft, *, w=None, reduction="pixels", v=None, hard=False):
    """CE, KL and the Dice forms, one pixel after another, in Python floats."""
    b, k = logits.shape[:2]
    z = logits.reshape(b, k, -1).numpy()
    y, q = labels.reshape(b, -1).numpy(), soft.reshape(b, k, -1).numpy()
    w = [1.0] * k if w is None else w
    v = [1.0] * k if v is None else v
    ce = kl = n = sum_w = 0.0
    dice = {name: np.zeros(k) for name in ("py", "p", "y", "pp", "yy", "|p-q|", "q")}
    for i in range(b):
        for j in range(z.shape[2]):
            if y[i, j] == IGNORE:
                continue
            top = max(z[i, :, j])
            log_p = z[i, :, j] - top - math.log(sum(math.exp(a - top) for a in z[i, :, j]))
            n += 1
            sum_w += w[y[i, j]]
            ce -= w[y[i, j]] * log_p[y[i, j]]
            for c in range(k):
                one = float(y[i, j] == c)
                t = one if hard else q[i, c, j]
                if t > 0:
                    kl += v[c] * t * (math.log(t) - log_p[c])
                p = math.exp(log_p[c])
                for name, value in {
                    "py": p * one, "p": p, "y": one, "pp": p * p, "yy": one,
                    "|p-q|": abs(p - t), "q": t,
                }.items():  # fmt: skip
                    dice[name][c] += value
    return ce / (n if reduction == "pixels" else sum_w), kl / n, dice


@pytest.mark.parametrize("reduction", ["pixels", "weights"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kl_weighted", [False, True])
@pytest.mark.parametrize("target", ["soft", "hard"])
def test_equals_the_formulas(reduction, weighted, kl_weighted, target):
    logits, labels, soft = make()
    w = [0.5, 1.5, 3.0, 10.0] if weighted else None
    ce, kl, _ = written_out(
        logits, labels, soft, w=w, reduction=reduction,
        v=w if kl_weighted else None, hard=target == "hard",
    )  # fmt: skip
    loss = SoftLabelLoss(
        beta=2.5, class_weights=w, ignore=IGNORE, reduction=reduction,
        kl_class_weights=kl_weighted, target=target,
    )  # fmt: skip
    total, terms = loss(logits, labels, soft)
    # class weights are kept in float32
    assert terms["ce"].item() == pytest.approx(ce, rel=1e-6)
    assert terms["kl"].item() == pytest.approx(kl, rel=1e-6)
    assert total.item() == pytest.approx(ce + 2.5 * kl, rel=1e-6)


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("denominator", ["linear", "squared"])
def test_dice_equals_the_formula(background, denominator):
    logits, labels, soft = make(1)
    d = written_out(logits, labels, soft)[2]
    below = d["p"] + d["y"] if denominator == "linear" else d["pp"] + d["yy"]
    expected = 1 - (2 * d["py"] + 1e-5) / (below + 1e-5)
    loss = SoftLabelLoss(
        1.0, 0.0, ignore=IGNORE, denominator=denominator, dice_background=background
    )
    total, terms = loss(logits, labels, soft)
    assert terms["dice"].item() == pytest.approx(expected[0 if background else 1 :].mean())
    assert total.item() == pytest.approx((terms["ce"] + terms["dice"]).item())


def test_semimetric_dice_equals_the_formula_and_the_linear_one_for_hard_targets():
    logits, labels, soft = make(2)
    d = written_out(logits, labels, soft)[2]
    loss = SoftLabelLoss(1.0, 0.0, ignore=IGNORE, dice="semimetric")
    expected = (d["|p-q|"] / (d["p"] + d["q"] + 1e-5)).mean()
    assert loss(logits, labels, soft)[1]["dice"].item() == pytest.approx(expected)
    hard = SoftLabelLoss(1.0, 0.0, ignore=IGNORE, dice="semimetric", target="hard")
    linear = SoftLabelLoss(1.0, 0.0, ignore=IGNORE)
    assert hard(logits, labels)[1]["dice"].item() == pytest.approx(
        linear(logits, labels)[1]["dice"].item()
    )


def test_semimetric_dice_is_smallest_at_the_soft_target_and_the_soft_one_is_not():
    q = torch.tensor([0.7, 0.3], dtype=torch.float64)
    grid = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    semimetric = SoftLabelLoss(1.0, 0.0, dice="semimetric")
    values = [
        semimetric(torch.log(torch.stack([p, 1 - p])).view(1, 2, 1), torch.zeros(1, 1).long(),
                   q.view(1, 2, 1))[1]["dice"].item()
        for p in grid
    ]  # fmt: skip
    assert grid[int(np.argmin(values))].item() == pytest.approx(0.7)
    assert min(values) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("options", [
    {"beta": 1.0},
    {"beta": 0.5, "reduction": "weights", "class_weights": [1, 2, 3]},
    {"alpha": 1.0, "beta": 1.0, "class_weights": [1, 2, 3], "kl_class_weights": True},
    {"alpha": 0.7, "dice": "semimetric"},
    {"alpha": 0.7, "denominator": "squared", "dice_background": False},
    {"target": "hard"},
])  # fmt: skip
def test_gradient_is_that_of_finite_differences(options):
    logits, labels, soft = make(3, (1, 3, 2, 3))
    logits.requires_grad_()
    loss = SoftLabelLoss(ignore=IGNORE, **options)
    assert torch.autograd.gradcheck(lambda z: loss(z, labels, soft)[0], (logits,))


def test_gradient_of_the_kl_term_written_out():
    # d/dz_c of −Σ q log p is (Σ q) p_c − q_c, also when q is not normalised
    logits, labels, soft = make(4)
    logits.requires_grad_()
    total, _ = SoftLabelLoss(beta=1.0, ignore=IGNORE)(logits, labels, soft)
    total.backward()
    known = (labels != IGNORE).unsqueeze(1)
    p = torch.softmax(logits.detach(), 1)
    y = torch.nn.functional.one_hot(labels.clamp(max=3), 4).movedim(-1, 1)
    expected = known * ((p - y) + (soft.sum(1, keepdim=True) * p - soft)) / known.sum()
    torch.testing.assert_close(logits.grad, expected)


def test_equals_torch_cross_entropy():
    logits, labels, _ = make(5, dtype=torch.float32)
    w = torch.tensor([0.3, 1.0, 2.0, 5.0])
    mine = SoftLabelLoss(beta=0.0, class_weights=w, ignore=IGNORE, reduction="weights")
    torch_ce = torch.nn.CrossEntropyLoss(weight=w, ignore_index=IGNORE)
    torch.testing.assert_close(mine(logits, labels)[0], torch_ce(logits, labels))


def test_kl_is_zero_at_its_target_and_plain_cross_entropy_for_hard_targets():
    _, labels, soft = make(6, ignored=0, un_normalised=False)
    soft = soft + 1e-3
    soft = soft / soft.sum(1, keepdim=True)
    kl = SoftLabelLoss(beta=1.0)(soft.log(), labels, soft)[1]["kl"]
    assert kl.item() == pytest.approx(0, abs=1e-12)
    logits, labels, soft = make(6)
    control = SoftLabelLoss(beta=1.0, ignore=IGNORE, target="hard")
    terms = control(logits, labels, soft)[1]
    assert terms["kl"].item() == pytest.approx(terms["ce"].item())


@pytest.mark.parametrize("weights", [None, [0.3, 1.0, 2.0, 5.0]])
def test_the_control_is_cross_entropy_that_weighs_one_plus_beta(weights):
    logits, labels, soft = make(8)
    control = SoftLabelLoss(
        beta=2.5, target="hard", class_weights=weights, kl_class_weights=True, ignore=IGNORE
    )
    alone = SoftLabelLoss(beta=0.0, class_weights=weights, ignore=IGNORE)
    torch.testing.assert_close(control(logits, labels, soft)[0], 3.5 * alone(logits, labels)[0])


@given(st.integers(0, 10_000), st.sampled_from([-1, 255]), st.booleans())
@settings(max_examples=25, deadline=None)
def test_ignored_pixels_count_nowhere(seed, ignore, semimetric):
    logits, labels, soft = make(seed, (2, 3, 4, 4), ignored=0.3)
    labels = torch.where(labels == IGNORE, ignore, labels)
    loss = SoftLabelLoss(
        0.5, 1.0, ignore=ignore, class_weights=[1, 2, 3],
        dice="semimetric" if semimetric else "soft",
    )  # fmt: skip
    before = loss(logits, labels, soft)[0]
    changed = torch.where((labels == ignore).unsqueeze(1), 1e4, logits)
    worse = torch.where((labels == ignore).unsqueeze(1), 7.0, soft)
    torch.testing.assert_close(loss(changed, labels, worse)[0], before)


def test_undefined_logits_at_ignored_pixels_leave_loss_and_gradient_finite():
    logits, labels, soft = make(7)
    logits = torch.where((labels == IGNORE).unsqueeze(1), float("inf"), logits)
    logits.requires_grad_()
    total, _ = SoftLabelLoss(1.0, 1.0, ignore=IGNORE)(logits, labels, soft)
    total.backward()
    assert torch.isfinite(total) and torch.isfinite(logits.grad).all()


def test_a_batch_without_a_known_pixel_has_loss_zero():
    logits, labels, soft = make(8)
    labels[:] = IGNORE
    logits.requires_grad_()
    total, terms = SoftLabelLoss(0.0, 1.0, ignore=IGNORE)(logits, labels, torch.zeros_like(soft))
    total.backward()
    assert total.item() == 0 and terms["kl"].item() == 0
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_logits_and_autocast_are_computed_in_float32(dtype):
    logits, labels, soft = make(9, (2, 4, 64, 64), dtype=torch.float32)
    low = logits.to(dtype)
    loss = SoftLabelLoss(1.0, 1.0, ignore=IGNORE, class_weights=[1, 2, 3, 4])
    expected = loss(low.double(), labels, soft.double())[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total, terms = loss(low, labels, soft.to(dtype).float())
    assert total.dtype == torch.float32 and terms["dice"].dtype == torch.float32
    exact = loss(low.double(), labels, soft.to(dtype).double())[0]
    assert total.item() == pytest.approx(exact.item(), rel=1e-5)
    assert total.item() == pytest.approx(expected.item(), rel=1e-2)


def test_large_logits_do_not_overflow():
    logits = torch.tensor([[[1e4, -1e4], [-1e4, 1e4]]])
    total, _ = SoftLabelLoss(1.0, 1.0)(logits, torch.tensor([[0, 1]]), torch.eye(2).unsqueeze(0))
    assert total.item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("options", [
    {"alpha": 1.0, "class_weights": [1, 2, 3, 4]},
    {"alpha": 0.5, "dice": "semimetric", "reduction": "weights", "class_weights": [1, 2, 3, 4]},
    {"nacl": 0.7},
])  # fmt: skip
def test_two_shares_of_a_batch_have_the_loss_and_mean_gradient_of_the_whole(options):
    logits, labels, soft = make(10, (4, 4, 5, 6))
    labels[0, :4] = IGNORE  # the shares hold different numbers of known pixels
    whole = logits.clone().requires_grad_()
    expected, expected_terms = SoftLabelLoss(ignore=IGNORE, **options)(whole, labels, soft)
    expected.backward()

    shares = [slice(0, 1), slice(1, 4)]
    local: list[torch.Tensor] = []
    record = SoftLabelLoss(ignore=IGNORE, reduce=lambda t: local.append(t) or t, **options)
    for share in shares:
        record(logits[share], labels[share], soft[share])
    total_sums = torch.stack(local).sum(0)

    loss = SoftLabelLoss(ignore=IGNORE, reduce=lambda _: total_sums, **options)
    part = logits.clone().requires_grad_()
    gradients = []
    for share in shares:
        total, terms = loss(part[share], labels[share], soft[share])
        torch.testing.assert_close(total, expected)
        torch.testing.assert_close(terms, expected_terms)
        gradients.append(torch.autograd.grad(total, part)[0])
    torch.testing.assert_close(torch.stack(gradients).mean(0), whole.grad)


def test_volumes_and_rows_are_spatial_shapes_too():
    for shape in [(2, 3, 7), (1, 3, 4, 5, 6)]:
        logits, labels, soft = make(11, shape)
        ce, kl, _ = written_out(logits, labels, soft)
        assert SoftLabelLoss(ignore=IGNORE)(logits, labels, soft)[0].item() == pytest.approx(
            ce + kl
        )


def test_moves_its_weights_with_the_module():
    loss = SoftLabelLoss(class_weights=[1.0, 2.0])
    assert loss.weights is not None and "weights" not in loss.state_dict()
    assert loss.to("meta").weights.device.type == "meta"


@pytest.mark.parametrize("frequencies, c, what", [
    ([], 1.02, "frequencies"), ([0, 0], 1.02, "all"), ([1, -1], 1.02, "non-negative"),
    ([1, math.nan], 1.02, "finite"), ([1, 1], 1.0, "larger than 1"),
])  # fmt: skip
def test_enet_weights_refuse_nonsense(frequencies, c, what):
    with pytest.raises(ValueError, match=what):
        enet_weights(frequencies, c)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=12).filter(any))
def test_enet_weights_fall_with_the_frequency(counts):
    weights = enet_weights(counts)
    f = np.array(counts) / sum(counts)
    np.testing.assert_allclose(weights, [1 / math.log(1.02 + x) for x in f])
    assert (np.diff(weights[np.argsort(f)]) <= 1e-12).all()


@pytest.mark.parametrize("options, what", [
    ({"alpha": -1}, "negative"), ({"nacl": -1}, "negative"),
    ({"dice": "hard"}, "dice must be one of soft, semimetric"),
    ({"reduction": "mean"}, "reduction"), ({"target": "q"}, "target"),
    ({"denominator": "cubed"}, "denominator"), ({"class_weights": [1, -1]}, "class_weights"),
])  # fmt: skip
def test_refuses_options_that_cannot_be(options, what):
    with pytest.raises(ValueError, match=what):
        SoftLabelLoss(**options)


# NACL's penalty


def penalty_written_out(logits, labels):
    """(1/(N K)) Σ |τ − l|, one pixel after another."""
    total, n = 0.0, 0
    for b, *at in np.argwhere(labels.numpy() != IGNORE):
        window = labels[b][tuple(slice(max(0, i - 1), i + 2) for i in at)].numpy().ravel()
        window = window[window != IGNORE]
        for k in range(logits.shape[1]):
            share = np.count_nonzero(window == k) / len(window)
            total += abs(share - logits[(b, k, *at)].item()) / logits.shape[1]
        n += 1
    return total / n


@pytest.mark.parametrize("shape", [(2, 4, 5, 6), (1, 3, 4, 5, 6), (2, 3, 7)])
def test_the_penalty_equals_its_formula(shape):
    logits, labels, soft = make(20, shape)
    expected = penalty_written_out(logits, labels)
    without, plain = SoftLabelLoss(ignore=IGNORE)(logits, labels, soft)
    total, terms = SoftLabelLoss(ignore=IGNORE, nacl=0.3)(logits, labels, soft)
    assert terms["nacl"].item() == pytest.approx(expected, rel=1e-6)
    assert total.item() == pytest.approx(without.item() + 0.3 * expected, rel=1e-6)
    assert "nacl" not in plain and set(terms) - set(plain) == {"nacl"}


@pytest.mark.parametrize("spatial", [(9, 8), (6, 5, 7)])
def test_the_penalty_is_that_of_the_authors_away_from_the_border(spatial):
    """MONAI has their code; there what lies beyond the border counts as no class at all."""
    logits, labels, _ = make(21, (2, 4, *spatial), ignored=0, dtype=torch.float32)
    theirs = NACLLoss(classes=4, dim=len(spatial), alpha=1.0)
    shares = theirs.get_constr_target(labels)
    mine = neighbour_shares(labels, labels >= 0, 4)
    inside = (..., *(slice(1, -1) for _ in spatial))
    torch.testing.assert_close(mine[inside], shares[inside])
    # logits that are the shares cost nothing: the border is left out of both
    border = torch.ones_like(labels, dtype=torch.bool)
    border[(slice(None), *inside[1:])] = False
    at_border = border.unsqueeze(1)
    of_theirs = torch.where(at_border, shares, logits)
    penalty = theirs(of_theirs, labels) - torch.nn.functional.cross_entropy(of_theirs, labels)
    found = SoftLabelLoss(beta=0, nacl=1.0)(torch.where(at_border, mine, logits), labels)[1]
    torch.testing.assert_close(found["nacl"], penalty)


def test_the_penalty_pulls_logits_to_the_shares():
    labels = torch.tensor([[0, 0, 1, 1]])
    logits = torch.zeros(1, 2, 4, requires_grad=True)
    loss = SoftLabelLoss(beta=0, nacl=1.0)
    penalty = loss(logits, labels)[0] - SoftLabelLoss(beta=0)(logits, labels)[0]
    penalty.backward()
    # a share above the logit 0 pulls it up by 1/(N K); a share of 0 leaves it
    expected = [[-1, -1, -1, 0], [0, -1, -1, -1]]
    np.testing.assert_allclose(logits.grad[0].numpy() * 8, expected, atol=1e-6)


def test_names_the_shapes_that_do_not_fit():
    logits, labels, soft = make(12)
    loss = SoftLabelLoss()
    with pytest.raises(ValueError, match=r"\(2, 5, 6\).*got torch.int64 of shape \(2, 5\)"):
        loss(logits, labels[..., 0], soft)
    with pytest.raises(ValueError, match="labels must be integers"):
        loss(logits, labels.float(), soft)
    with pytest.raises(ValueError, match="shape of the logits"):
        loss(logits, labels, soft[:, :2])
    with pytest.raises(ValueError, match="needs soft labels"):
        loss(logits, labels)
    with pytest.raises(ValueError, match="3 class weights and 4 classes"):
        SoftLabelLoss(class_weights=[1, 1, 1])(logits, labels, soft)
    with pytest.raises(ValueError, match=r"0\.\.3; found 9"):
        loss(logits, torch.full_like(labels, 9), soft)
    with pytest.raises(ValueError, match="floating"):
        loss(labels, labels, soft)


def test_it_stands_beside_monais_loss_and_takes_its_tensors():
    """Without soft labels it is MONAI's loss; MetaTensors come as its transforms leave them."""
    monai = pytest.importorskip("monai")
    logits, labels, soft = make(3, ignored=0)
    expected = monai.losses.DiceCELoss(to_onehot_y=True, softmax=True, batch=True)(
        logits, labels.unsqueeze(1)
    )
    meta = [monai.data.MetaTensor(t) for t in (logits, labels.unsqueeze(1).float(), soft)]
    meta[0].requires_grad_()
    hard, _ = SoftLabelLoss(alpha=1, beta=0)(*meta)
    assert type(hard) is torch.Tensor
    assert hard.item() == pytest.approx(expected.item(), rel=1e-6)

    plain, _ = SoftLabelLoss(alpha=1, beta=2)(logits, labels, soft)
    total, _ = SoftLabelLoss(alpha=1, beta=2)(*meta)
    assert total.item() == plain.item()
    (expected + total).backward()
    assert meta[0].grad.abs().sum() > 0


def test_labels_that_were_interpolated_linearly_are_refused():
    logits, labels, soft = make(4, ignored=0)
    between = labels.unsqueeze(1).float()
    between[0, 0, 0, 0] = 0.5
    with pytest.raises(ValueError, match=r"found 0\.5\. Interpolate labels by the nearest pixel"):
        SoftLabelLoss()(logits, between, soft)
