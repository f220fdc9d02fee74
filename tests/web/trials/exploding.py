"""A real PyTorch trial under the FeedbackMonitor; with ``growth`` 1e10 its weights become NaN in the third epoch."""

from __future__ import annotations

import nni

parameters = nni.get_next_parameter()

import torch  # noqa: E402 - only after NNI has handed out the parameters
from torch import nn  # noqa: E402

from nni_dream.monitor import FeedbackMonitor  # noqa: E402

N_EPOCHS = 4

torch.manual_seed(0)
torch.set_num_threads(1)
inputs = torch.randn(64, 8)
labels = (inputs.sum(dim=1) > 0).long()
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
monitor = FeedbackMonitor(model, optimizer, optimize_mode="maximize", planned_epochs=N_EPOCHS)
for _ in range(N_EPOCHS):
    for _ in range(4):
        loss = nn.functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        outputs = model(inputs)
    optimizer.param_groups[0]["lr"] *= parameters["growth"]
    monitor.end_epoch(
        train_loss=loss.detach(),
        val_loss=nn.functional.cross_entropy(outputs, labels),
        val_score=(outputs.argmax(dim=1) == labels).float().mean(),
    )
monitor.finish()
