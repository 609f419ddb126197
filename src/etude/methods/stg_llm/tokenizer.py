"""STG-Tokenizer: a node's whole window becomes one token (paper section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class STGTokenizer(nn.Module):
    """T_e = [T_g ‖ E_td ‖ E_dw]: the flattened window and the time of its last step.

    Args:
        history: L, steps of a window.
        features: F, numbers a node and step.
        slots_per_day: K1, rows of the time-of-day table (288 for 5-minute data).
        weekdays: K2, rows of the day-of-week table (7; 1 without a calendar).
        table_width: Columns of each table (paper: 64).
    """

    def __init__(
        self, history: int, features: int, slots_per_day: int, weekdays: int = 7, table_width: int = 64
    ):
        super().__init__()
        self.time_of_day = nn.Embedding(slots_per_day, table_width)
        self.day_of_week = nn.Embedding(weekdays, table_width)
        for table in (self.time_of_day, self.day_of_week):
            nn.init.normal_(table.weight, std=0.02)  # unseen slots then add next to nothing
        self.width = history * features + 2 * table_width

    def forward(self, window: Tensor, slot: Tensor, weekday: Tensor) -> Tensor:
        """Make tokens.

        Args:
            window: z-scores, (B, L, N, F).
            slot: Time of day at the last input step, (B,).
            weekday: Day of the week at that step, (B,).

        Returns:
            Tokens, (B, N, L·F + 128).
        """
        nodes = window.shape[2]
        values = window.permute(0, 2, 1, 3).flatten(2)  # (B, N, L·F)
        when = torch.cat([self.time_of_day(slot), self.day_of_week(weekday)], dim=-1)  # (B, 128)
        return torch.cat([values, when[:, None].expand(-1, nodes, -1)], dim=-1)
