"""Tests: names are claims, state is asserted, adapters and fakes pass the same contracts."""
