"""Fakes that pass the same contract tests as the adapters they stand for."""
