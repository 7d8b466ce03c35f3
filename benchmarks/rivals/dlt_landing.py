"""dlt: its source for REST APIs, with the same pages, into a table of PostgreSQL.

``merge`` is its upsert, ``replace`` one of its three strategies. Nested lists stay JSON in one
table, which is the quickest that it can do, and it writes its load files as ``--format`` says.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any, Final

# Before dlt is imported, which reads them then.
os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"

import dlt
from dlt.destinations import postgres
from dlt.sources.rest_api import rest_api_source

PAGE_SIZE: Final = 200
COLUMNS: Final = {
    "ID": {"data_type": "text", "nullable": False},
    "Cena": {"data_type": "decimal"},
    "Stitky": {"data_type": "json"},
}


def main() -> None:
    options = _parse()
    if options.disposition == "merge":
        how: Any = {"disposition": "merge", "strategy": "upsert"}
    else:
        how = "replace"
    source = rest_api_source(
        {
            "client": {
                "base_url": f"{options.erp}/",
                "paginator": {"type": "offset", "limit": PAGE_SIZE, "total_path": "total"},
            },
            "resources": [
                {
                    "name": "products",
                    "endpoint": {"path": "data/products", "data_selector": "data"},
                    "primary_key": "ID",
                    "write_disposition": how,
                    "columns": COLUMNS,
                }
            ],
        }
    )
    source.max_table_nesting = 0
    pipeline = dlt.pipeline(
        "landing",
        pipelines_dir=str(options.folder),
        destination=postgres(credentials=options.database, replace_strategy=options.strategy),
        dataset_name="raw",
    )
    end = time.monotonic() + options.seconds
    loads = 0
    while loads == 0 or time.monotonic() < end:
        info = pipeline.run(source, loader_file_format=options.format)
        info.raise_on_failed_jobs()
        loads += 1
    print(json.dumps({"loads": loads}))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", required=True, help="libpq URL, over TCP, with a password")
    parser.add_argument("--erp", required=True, help="of the interface")
    parser.add_argument("--folder", required=True, type=Path, help="where it keeps its state")
    parser.add_argument("--disposition", choices=["merge", "replace"], required=True)
    parser.add_argument("--strategy", default="insert-from-staging")
    parser.add_argument("--format", default="insert_values")
    parser.add_argument("--seconds", type=float, default=0, help="load again until these are over")
    return parser.parse_args()


if __name__ == "__main__":
    main()
