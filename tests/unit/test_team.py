"""Processes that train together take the same steps."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
import torch.multiprocessing
from torch import nn

from dreamcraft3d.training.team import Team


def _member(rank: int, port: int, folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
            patch.setenv(name, str(value))
        team = Team()
    weight, bias = nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(2))
    weight.grad, bias.grad = torch.full((2, 3), 1.0 + rank), torch.tensor([rank, 10.0])
    team.average_gradients([weight, bias])
    torch.save((weight.grad, bias.grad, team.agree(rank + 7)), folder / f"{rank}.pt")


def test_two_processes_step_by_the_mean_of_their_gradients_and_agree(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(_member, (port, tmp_path), nprocs=2)
    for rank in range(2):
        weight, bias, agreed = torch.load(tmp_path / f"{rank}.pt")
        assert weight.equal(torch.full((2, 3), 1.5))
        assert bias.equal(torch.tensor([0.5, 10.0]))
        assert agreed == 7


def test_a_process_alone_keeps_its_gradients() -> None:
    team, weight = Team(), nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([1.0, 2.0])
    team.average_gradients([weight])
    assert weight.grad.tolist() == [1, 2]
    assert (team.size, team.rank, team.agree(3)) == (1, 0, 3)
