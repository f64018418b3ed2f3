"""Processes that train one model together, each on its share of the batch.

Started by ``torchrun --nproc-per-node N``. On a CPU, N processes of one thread are faster than one of N threads: they wait
for each other once a step, not in every layer, which tells most where other programs want the processor too.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters


class Team:
    """This process and the others, if there are any.

    Attributes:
        size: how many there are.
        rank: which this is; the first, 0, evaluates and saves.
    """

    def __init__(self) -> None:
        if "WORLD_SIZE" in os.environ and not dist.is_initialized():
            dist.init_process_group("gloo")
            atexit.register(dist.destroy_process_group)  # threads still waiting at the end would abort the process
        self.size = dist.get_world_size() if dist.is_initialized() else 1
        self.rank = dist.get_rank() if dist.is_initialized() else 0

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Give every process the mean of all processes' gradients."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        together = parameters_to_vector(gradients)
        dist.all_reduce(together)
        vector_to_parameters(together / self.size, gradients)

    def agree(self, value: int) -> int:
        """What the first process says."""
        if self.size == 1:
            return value
        said = torch.tensor([value])
        dist.broadcast(said, 0)
        return int(said)
