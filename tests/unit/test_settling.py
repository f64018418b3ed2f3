"""Rates that fall to nothing: what wavers comes to rest at its middle.

Seen to fail when: the rates stay, fall from the beginning, or are taken for the first ones when a state is restored.
"""

from __future__ import annotations

import pytest
import torch

from dreamcraft3d.pipeline.stage import settle

STEPS, RATE = 200, 0.1


def adam(values: torch.Tensor) -> torch.optim.Adam:
    return torch.optim.Adam([values], lr=RATE, betas=(0.9, 0.99))


def pulled(settling: float, restored_at: int = -1) -> torch.Tensor:
    """A thousand numbers after steps that pull them toward 0, each with noise."""
    values = torch.zeros(1000, requires_grad=True)
    optimizer, noise = adam(values), torch.Generator().manual_seed(0)
    for step in range(STEPS):
        if step == restored_at:
            kept = optimizer.state_dict()
            optimizer = adam(values)
            optimizer.load_state_dict(kept)
        settle(optimizer, step / STEPS, settling)
        values.grad = values.detach() + torch.randn(1000, generator=noise)
        optimizer.step()
    return values.detach()


def test_rates_stay_until_the_end_of_a_stage_begins_and_fall_in_a_straight_line() -> None:
    optimizer = adam(torch.zeros(1, requires_grad=True))
    rates = []
    for progress in (0.0, 0.5, 0.75, 0.9):
        settle(optimizer, progress, 0.5)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([RATE, RATE, RATE / 2, RATE / 5])
    settle(optimizer, 0.9, 0.0)
    assert optimizer.param_groups[0]["lr"] == RATE


def test_each_group_of_parameters_keeps_a_rate_of_its_own() -> None:
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in (1.0, 0.1)]
    optimizer = torch.optim.Adam(groups)
    settle(optimizer, 0.75, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.5, 0.05])


def test_what_wavers_comes_to_rest() -> None:
    assert pulled(0.5).std() < 0.7 * pulled(0.0).std()


def test_it_goes_on_from_a_state_as_if_it_had_not_stopped() -> None:
    torch.testing.assert_close(pulled(0.5, restored_at=150), pulled(0.5), rtol=0, atol=0)
