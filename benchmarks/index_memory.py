"""What an index costs in memory by itself, without anything around it.

``python -m benchmarks.index_memory SHARD`` opens a shard of the embedded index,
reads every payload once as a sync does, and prints the bytes that took.
"""

from __future__ import annotations

import sys
from collections import deque
from pathlib import Path

import psutil

from benchmarks.child import own_bytes
from benchmarks.shard import iter_payloads


def main() -> None:
    this = psutil.Process()
    before = own_bytes(this)
    payloads = iter_payloads(Path(sys.argv[1]), ["embed_hash", "payload_hash"])
    next(payloads)
    deque(payloads, maxlen=0)
    print(own_bytes(this) - before)


if __name__ == "__main__":
    main()
