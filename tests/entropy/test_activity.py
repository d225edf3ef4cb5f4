"""What P frames take from the symbols of the frame before: docs/bitstream.md, sections 5.1 and 5.4."""

import torch

from ssvc_codec.entropy.activity import N_Z_STATES
from ssvc_codec.nets.latents import LatentModel, Symbols


def test_states_of_hyper_latents_follow_the_specification() -> None:
    model = LatentModel(n_y=4, n_z=6, width=8, n_condition=4, steps=(1.0, 2.0))
    z = torch.tensor([0.0, 1.0, -1.0, 2.0, -3.0, 32767.0]).view(1, 6, 1, 1).repeat(1, 1, 1, 2)
    known = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    states = model.z_states(Symbols(z, torch.zeros(1, 4, 2, 4), known))
    assert states[0, :, 0, 0].tolist() == [1, 2, 2, 3, 3, 3]
    assert states[0, :, 0, 1].tolist() == [0] * 6
    assert N_Z_STATES == 4
