"""Tests of the benchmarks' generator and reports; nothing is measured here."""
