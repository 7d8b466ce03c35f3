"""Whether the whole does at its real size what is promised: runs of minutes, each a program.

What a run counted is kept under ``results/acceptance``; docs/long-runs.md quotes it.
"""
