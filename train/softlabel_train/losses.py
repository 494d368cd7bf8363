"""Training losses for soft labels: L = CE (or WCE) + α · Dice + β · KL + λ · NACL.

With p the softmax of the logits, y the one-hot hard label, q the soft label (Σ_c q_c need not be
1), w the class weights and N the number of pixels that are not ignored:

* CE = (1/N) Σ_i Σ_c w_c · −y log p (Li et al. 2020, Eq. 3),
* KL = (1/N) Σ_i Σ_c v_c · q log(q / p), with 0 · log 0 = 0 (Eq. 2),
* Dice = 1 − (2 Σ p y + ε) / (Σ p + Σ y + ε), the mean over classes of sums over the whole batch,
  or its semimetric form for soft targets (Wang et al. 2023, arXiv 2303.16296),
* NACL = (1/(N K)) Σ_i Σ_c |τ_c − l_c| with the logits l and the shares τ of the classes around the
  pixel (Murugesan et al. 2023, arXiv 2303.06268).

Everything a loss needs from the pixels are sums, so a batch that is split over several processes
has the loss and the gradient of the whole batch once these few sums are added up
(:attr:`SoftLabelLoss.reduce`).

All of it is computed in float32 (float64 for float64 logits), also under autocast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

DiceKind = Literal["soft", "semimetric"]
Denominator = Literal["linear", "squared"]
Reduction = Literal["pixels", "weights"]
Target = Literal["soft", "hard"]


def enet_weights(
    frequencies: Sequence[float] | npt.NDArray[np.number], c: float = 1.02
) -> npt.NDArray[np.float64]:
    """Class weights w_c = 1 / ln(1.02 + f_c) of ENet (Paszke et al. 2016).

    Parameters
    ----------
    frequencies : array_like, shape (K,)
        Pixel counts or frequencies of the classes in the training split, without ignored
        pixels; they are divided by their sum.
    c : float
        Larger than 1; bounds the weight of a rare class by 1 / ln(c).

    Returns
    -------
    ndarray of float64, shape (K,)

    Raises
    ------
    ValueError
        When the counts are negative, not finite, or all zero, or ``c`` is not larger than 1.

    Examples
    --------
    >>> enet_weights([900, 90, 10]).round(2)
    array([ 1.53,  9.58, 33.83])
    """
    counts = np.asarray(frequencies, dtype=np.float64)
    if counts.ndim != 1 or not np.isfinite(counts).all() or (counts < 0).any() or not counts.sum():
        raise ValueError(
            "frequencies must be a row of finite, non-negative class counts that are not all "
            f"zero; got {frequencies!r}."
        )
    if not c > 1:
        raise ValueError(f"c must be larger than 1, else the weights are not positive; got {c}.")
    return np.asarray(1.0 / np.log(c + counts / counts.sum()))


def neighbour_shares(index: Tensor, known: Tensor, n_classes: int, side: int = 3) -> Tensor:
    """Share τ of each class among the known pixels of a window, the pixel itself included.

    Parameters
    ----------
    index : Tensor of int64, shape (B, *spatial), 1 to 3 spatial axes
        Class indices; any where not known.
    known : Tensor of bool, shape (B, *spatial)
    n_classes : int
    side : int
        Pixels of the window along each axis; odd. Beyond the border nothing is known.

    Returns
    -------
    Tensor of float32, shape (B, K, *spatial)
        Sums to 1 at known pixels.

    Examples
    --------
    >>> index = torch.tensor([[0, 0, 1, 1]])
    >>> neighbour_shares(index, torch.ones(1, 4, dtype=torch.bool), 2)[0, 1]
    tensor([0.0000, 0.3333, 0.6667, 1.0000])
    """
    pool = (nn.functional.avg_pool1d, nn.functional.avg_pool2d, nn.functional.avg_pool3d)[
        index.ndim - 2
    ]
    counted = known.unsqueeze(1).float()
    one_hot = torch.zeros((len(index), n_classes, *index.shape[1:]), device=index.device)
    one_hot = one_hot.scatter_(1, index.unsqueeze(1), 1.0) * counted
    # two means over the same window, whose size cancels out
    means = pool(torch.cat([one_hot, counted], dim=1), side, stride=1, padding=side // 2)
    return means[:, :-1] / means[:, -1:].clamp(min=1e-9)


def _plain(tensor: Tensor) -> Tensor:
    """The tensor without what MONAI's MetaTensor adds, which every operation would carry along."""
    return tensor.as_subclass(Tensor) if type(tensor) is not Tensor else tensor


def _without_channel(labels: Tensor, logits: Tensor) -> Tensor:
    """Labels (B, *spatial) of those that MONAI's transforms give: (B, 1, *spatial), often floats.

    Raises
    ------
    ValueError
        For numbers that are not whole, as linear interpolation leaves them.
    """
    if labels.ndim != logits.ndim or labels.shape[1] != 1:
        return labels
    labels = labels.squeeze(1)
    if not labels.is_floating_point():
        return labels
    if labels.device.type == "cpu" and bool((labels != labels.round()).any()):
        wrong = labels[labels != labels.round()][0].item()
        raise ValueError(
            f"labels must be class indices; found {wrong}. Interpolate labels by the nearest pixel "
            "(mode='nearest')."
        )
    return labels.long()


class SoftLabelLoss(nn.Module):
    """CE + α · Dice + β · KL + λ · NACL from logits, usable in any training loop.

    Parameters
    ----------
    alpha : float
        Weight of the Dice term; 0 (the paper on OCT-DME) leaves it out.
    beta : float
        Weight of the KL term against the soft labels.
    class_weights : sequence of K positive floats, optional
        w_c of the weighted cross-entropy (:func:`enet_weights`); None is the plain one.
    ignore : int, optional
        Value in ``labels`` of pixels that count nowhere.
    dice : {"soft", "semimetric"}
        ``soft``: the usual soft Dice, against the hard labels. ``semimetric``:
        ‖p − t‖₁ / (‖p‖₁ + ‖t‖₁) against the target t of the KL term, which is smallest at p = t
        also for soft t and equals the linear soft Dice for hard t.
    denominator : {"linear", "squared"}
        Σ p + Σ y (nnU-Net) or Σ p² + Σ y² (V-Net) under the soft Dice.
    dice_background : bool
        Whether the class with index 0 takes part in the Dice mean.
    dice_epsilon : float
        ε of the Dice term.
    reduction : {"pixels", "weights"}
        What the cross-entropy is divided by: N (the paper) or Σ_i w (as
        :class:`torch.nn.CrossEntropyLoss` does). It changes the weight of CE against β · KL.
    kl_class_weights : bool
        v_c = ``class_weights`` in the KL term instead of 1 (the paper).
    target : {"soft", "hard"}
        What the KL term (and the semimetric Dice) compares with. ``hard`` is the control:
        the same loss with q = y, in which KL is a plain cross-entropy.
    nacl : float
        λ, the weight of NACL's penalty, which pulls logits to the shares of the hard labels in a
        window of three pixels along each axis; 0.1 in the authors' code.
    reduce : callable (Tensor) -> Tensor, optional
        Adds a vector up over all processes, for example
        ``lambda t: fabric.all_reduce(t, reduce_op="sum")``. The loss is then that of the whole
        batch on every process, and its gradient is scaled such that the *mean* over processes,
        which data-parallel wrappers take, is the gradient of the whole batch.

    Raises
    ------
    ValueError
        For a weight that is negative or a name that is not known.

    Examples
    --------
    >>> logits = torch.log(torch.tensor([[[0.8, 0.5], [0.2, 0.5]]]))  # (B=1, K=2, 2 pixels)
    >>> labels = torch.tensor([[0, 1]])
    >>> soft = torch.tensor([[[1.0, 0.5], [0.0, 0.5]]])
    >>> total, terms = SoftLabelLoss(beta=2.0)(logits, labels, soft)
    >>> round(terms["ce"].item(), 4), round(terms["kl"].item(), 4), round(total.item(), 4)
    (0.4581, 0.1116, 0.6813)
    """

    weights: Tensor | None

    def __init__(
        self,
        alpha: float = 0.0,
        beta: float = 1.0,
        *,
        class_weights: Sequence[float] | npt.NDArray[np.floating] | Tensor | None = None,
        ignore: int | None = None,
        dice: DiceKind = "soft",
        denominator: Denominator = "linear",
        dice_background: bool = True,
        dice_epsilon: float = 1e-5,
        reduction: Reduction = "pixels",
        kl_class_weights: bool = False,
        target: Target = "soft",
        nacl: float = 0.0,
        reduce: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("dice", dice, get_args(DiceKind)),
            ("denominator", denominator, get_args(Denominator)),
            ("reduction", reduction, get_args(Reduction)),
            ("target", target, get_args(Target)),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}.")
        if alpha < 0 or beta < 0 or nacl < 0:
            raise ValueError(
                f"alpha, beta and nacl must not be negative; got {alpha}, {beta} and {nacl}."
            )
        if class_weights is None:
            self.weights = None
        else:
            weights = torch.as_tensor(class_weights, dtype=torch.float64)
            if weights.ndim != 1 or not bool((torch.isfinite(weights) & (weights > 0)).all()):
                raise ValueError(
                    "class_weights must be a row of finite positive numbers, one for each "
                    f"class; got {class_weights!r}."
                )
            self.register_buffer("weights", weights.float(), persistent=False)
        self.alpha, self.beta, self.nacl = float(alpha), float(beta), float(nacl)
        self.ignore = ignore
        self.dice, self.denominator = dice, denominator
        self.dice_background, self.dice_epsilon = dice_background, float(dice_epsilon)
        self.reduction, self.kl_class_weights = reduction, kl_class_weights
        self.target = target
        self.reduce = reduce

    def forward(
        self, logits: Tensor, labels: Tensor, soft: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total loss and its terms.

        Parameters
        ----------
        logits : Tensor, shape (B, K, *spatial)
            Before the softmax, of any floating type.
        labels : Tensor of an integer type, shape (B, *spatial)
            Class indices 0..K−1, or ``ignore``. MONAI's labels are taken too: (B, 1, *spatial), of
            a floating type if the numbers are whole.
        soft : Tensor, shape (B, K, *spatial), optional
            Soft labels q ≥ 0. May be left out when ``beta`` is 0 or ``target`` is ``hard``;
            the target is then the hard label.

        Returns
        -------
        total : Tensor, scalar
        terms : dict of Tensor
            ``ce``, ``dice`` and ``kl``, detached and without α and β, for logging. A term of
            weight 0 is still there; ``nacl`` is there only with a weight.

        Raises
        ------
        ValueError
            When shapes or types do not fit, naming both.
        """
        logits, labels = _plain(logits), _without_channel(_plain(labels), logits)
        soft = None if soft is None else _plain(soft)
        self._check(logits, labels, soft)
        return self.unchecked(logits, labels, soft)

    def unchecked(
        self, logits: Tensor, labels: Tensor, soft: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The same without a look at shapes, types and values."""
        device_type = logits.device.type
        with torch.autocast(device_type=device_type, enabled=False):
            x = logits if logits.dtype == torch.float64 else logits.float()
            if self.ignore is None:
                known = torch.ones_like(labels, dtype=torch.bool)
            else:
                known = labels != self.ignore
            index = torch.where(known, labels, 0).long()
            # Padding may hold infinite logits, whose gradient would be undefined times zero.
            x = torch.where(known.unsqueeze(1), x, 0)
            target = None if soft is None or self.target == "hard" else soft.to(x.dtype)
            log_p = torch.log_softmax(x, dim=1)
            sums = torch.cat(
                [
                    self._cross_entropy_sums(log_p, index, known),
                    self._divergence_sum(log_p, index, target, known),
                    self._dice_sums(log_p, index, target, known).flatten(),
                    *([self._neighbour_sum(x, index, known)] if self.nacl else []),
                ]
            )
            return self._from_sums(self._over_processes(sums), n_classes=logits.shape[1])

    def _cross_entropy_sums(self, log_p: Tensor, index: Tensor, known: Tensor) -> Tensor:
        """Σ −w log p_y, Σ w and N."""
        log_p_y = log_p.gather(1, index.unsqueeze(1)).squeeze(1)
        weight = known.to(log_p.dtype)
        n = weight.sum()
        if self.weights is not None:
            weight = weight * self.weights.to(log_p)[index]
        return torch.stack([(-log_p_y * weight).sum(), weight.sum(), n])

    def _divergence_sum(
        self, log_p: Tensor, index: Tensor, target: Tensor | None, known: Tensor
    ) -> Tensor:
        """Σ Σ_c v_c q log(q / p)."""
        weights = self.weights if self.kl_class_weights else None
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.beta > 0):
            if target is None:
                kl = -log_p.gather(1, index.unsqueeze(1)).squeeze(1)
                if weights is not None:
                    kl = kl * weights.to(log_p)[index]
            else:
                kl = torch.xlogy(target, target) - target * log_p
                if weights is not None:
                    kl = kl * weights.to(log_p).view(1, -1, *[1] * (log_p.ndim - 2))
                kl = kl.sum(1)
            return torch.where(known, kl, 0).sum().unsqueeze(0)

    def _dice_sums(
        self, log_p: Tensor, index: Tensor, target: Tensor | None, known: Tensor
    ) -> Tensor:
        """The sums of each class over the batch, shape (2, K): numerator and denominator."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.alpha > 0):
            p = torch.where(known.unsqueeze(1), log_p.exp(), 0)
            y = torch.zeros_like(log_p).scatter_(1, index.unsqueeze(1), 1.0)
            if self.dice == "semimetric" and target is not None:
                y = target
            y = torch.where(known.unsqueeze(1), y, 0)
            over = [0, *range(2, p.ndim)]
            if self.dice == "semimetric":
                return torch.stack([(p - y).abs().sum(over), (p + y).sum(over)])
            if self.denominator == "linear":
                return torch.stack([(p * y).sum(over), (p + y).sum(over)])
            return torch.stack([(p * y).sum(over), (p * p + y * y).sum(over)])

    def _neighbour_sum(self, logits: Tensor, index: Tensor, known: Tensor) -> Tensor:
        """Σ_i (1/K) Σ_c |τ_c − l_c|, shape (1,)."""
        shares = neighbour_shares(index, known, logits.shape[1])
        distance = (shares.to(logits.dtype) - logits).abs().mean(1)
        return torch.where(known, distance, 0).sum().unsqueeze(0)

    def _over_processes(self, sums: Tensor) -> Tensor:
        if self.reduce is None:
            return sums
        ones = sums.new_ones(1)
        total = self.reduce(torch.cat([sums.detach(), ones]))
        # The value of the whole batch; the gradient of this process's share, times the number
        # of processes because the wrapper that synchronises gradients divides by it.
        return total[:-1] + total[-1] * (sums - sums.detach())

    def _from_sums(self, sums: Tensor, n_classes: int) -> tuple[Tensor, dict[str, Tensor]]:
        ce_sum, weight_sum, n, kl_sum = sums[:4]
        # The counts carry no gradient; a batch without a known pixel has loss 0.
        n = n.detach().clamp(min=1)
        divisor = n if self.reduction == "pixels" else weight_sum.detach().clamp(min=1e-12)
        ce, kl = ce_sum / divisor, kl_sum / n
        first = 0 if self.dice_background else 1
        numerator, denominator = sums[4 : 4 + 2 * n_classes].view(2, n_classes)[:, first:]
        eps = self.dice_epsilon
        if self.dice == "semimetric":
            dice = (numerator / (denominator + eps)).mean()
        else:
            dice = (1 - (2 * numerator + eps) / (denominator + eps)).mean()
        total = ce
        if self.alpha:
            total = total + self.alpha * dice
        if self.beta:
            total = total + self.beta * kl
        terms = {"ce": ce.detach(), "dice": dice.detach(), "kl": kl.detach()}
        if self.nacl:
            nacl = sums[-1] / n
            total = total + self.nacl * nacl
            terms["nacl"] = nacl.detach()
        return total, terms

    def _check(self, logits: Tensor, labels: Tensor, soft: Tensor | None) -> None:
        if logits.ndim < 3 or not logits.is_floating_point():
            raise ValueError(
                "logits must be a floating tensor of shape (B, K, *spatial); "
                f"got {logits.dtype} of shape {tuple(logits.shape)}."
            )
        expected = (logits.shape[0], *logits.shape[2:])
        if tuple(labels.shape) != expected or labels.is_floating_point():
            raise ValueError(
                f"labels must be integers of shape {expected}, as the logits of shape "
                f"{tuple(logits.shape)} ask for; got {labels.dtype} of shape "
                f"{tuple(labels.shape)}."
            )
        if soft is None:
            if self.beta and self.target == "soft":
                raise ValueError(
                    "The KL term needs soft labels; give them, or set beta=0 or target='hard'."
                )
        elif soft.shape != logits.shape:
            raise ValueError(
                f"soft must have the shape of the logits, {tuple(logits.shape)}; "
                f"got {tuple(soft.shape)}."
            )
        if self.weights is not None and len(self.weights) != logits.shape[1]:
            raise ValueError(
                f"There are {len(self.weights)} class weights and {logits.shape[1]} classes."
            )
        if labels.device.type == "cpu" and labels.numel():  # elsewhere the test would be a stall
            self._check_values(labels, logits.shape[1])
        if not self.dice_background and logits.shape[1] < 2:
            raise ValueError("dice_background=False needs at least two classes.")

    def _check_values(self, labels: Tensor, n_classes: int) -> None:
        wrong = (labels < 0) | (labels >= n_classes)
        if self.ignore is not None:
            wrong &= labels != self.ignore
        if wrong.any():
            raise ValueError(
                f"labels must be class indices 0..{n_classes - 1}"
                + (f" or {self.ignore} (ignored)" if self.ignore is not None else "")
                + f"; found {labels[wrong][0].item()}."
            )
