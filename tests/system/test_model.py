"""Many clients on the workers of one host against an oracle: see mm.model."""
import pytest

from mm.fixtures import seeds
from mm.model import ROUNDS, World


@pytest.mark.parametrize("seed", seeds(3))
def test_random_clients_against_an_oracle(broker, seed):
    with World(broker, seed).told(seed) as world:
        world.run(ROUNDS)
