"""Randomness that follows from names."""

import subprocess
import sys

import torch

from hemacell.core.random import generator_of, seed_of


def test_the_same_parts_give_the_same_numbers_in_any_process():
    code = "from hemacell.core.random import seed_of; print(seed_of('view', 'abc', 3))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == seed_of("view", "abc", 3) == seed_of("view", "abc", "3")
    assert 0 <= seed_of("view", "abc", 3) < 2**63


def test_every_part_counts():
    parts = [("view", "a", 0), ("view", "a", 1), ("view", "b", 0), ("round", "a", 0), (0, "a", "view")]
    assert len({seed_of(*each) for each in parts}) == 5


def test_generators_are_fresh_and_their_own():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, again = generator_of(1, "a"), generator_of(1, "a")
    assert torch.equal(torch.rand(3, generator=first), torch.rand(3, generator=again))
    assert not torch.equal(torch.rand(3, generator=generator_of(1, "b")), torch.rand(3, generator=generator_of(1, "a")))
    assert torch.equal(torch.get_rng_state(), before)
