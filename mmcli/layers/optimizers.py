"""Optimizers of torch without what keeps them out of compiled graphs, which they are not in here: torch imports its compiler
for that, which takes longer than a short training."""

from __future__ import annotations

import inspect

import torch


class _Plain(torch.optim.Optimizer):
    """What all of them take over from torch as it is written there."""

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)


class Adam(_Plain, torch.optim.Adam):
    """Kingma and Ba 2015."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


class AdamW(_Plain, torch.optim.AdamW):
    """Loshchilov and Hutter 2019."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


class LBFGS(_Plain, torch.optim.LBFGS):
    """Nocedal 1980, for a few numbers and a loss over all rows."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.LBFGS.step))
