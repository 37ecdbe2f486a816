"""A loss of one's own: InfoNCE in the batch whose labels are smoothed."""

import torch
from torch import nn
from torch.nn import functional


class SmoothedInfoNCE(nn.Module):
    """Each prediction chooses its target among those of the batch; a share of the label goes to the others."""

    def __init__(self, temperature: float = 0.07, smoothing: float = 0.1) -> None:
        super().__init__()
        self.temperature = temperature
        self.smoothing = smoothing
        self.bias = nn.Parameter(torch.zeros(()))  # weights of a loss are trained and kept with the run

    def forward(self, prediction, target):
        """Return one number: prediction and target are unit vectors, float32, [batch, dim]."""
        logits = prediction @ target.T / self.temperature + self.bias * torch.eye(len(target), device=target.device)
        labels = torch.arange(len(target), device=target.device)
        return functional.cross_entropy(logits, labels, label_smoothing=self.smoothing)
