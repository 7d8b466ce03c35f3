"""The script that one would write: read all, encode all, upload all, delete what is missing.

Run it from cron. It remembers nothing, so it is right after every run that ends,
and it pays for everything every time.
"""

from __future__ import annotations

import uuid
from typing import Final

import pandas as pd
import sqlalchemy as sa

from benchmarks.rivals.common import (
    QUERY,
    delete,
    iter_ids,
    make_encoder,
    open_shard,
    parse,
    upsert,
)

NAMESPACE: Final = uuid.UUID(int=2)


def main() -> None:
    options = parse()
    engine = sa.create_engine(options.database.replace("postgresql://", "postgresql+psycopg://", 1))
    rows = pd.read_sql(sa.text(QUERY), engine)
    vectors = make_encoder(options)(rows["text"].tolist())
    ids = [str(uuid.uuid5(NAMESPACE, f"{row.type}-{row.dbId}")) for row in rows.itertuples()]
    filled = rows.astype(object).where(rows.notna(), None)
    payloads = [
        {str(name): value for name, value in row.items()} for row in filled.to_dict("records")
    ]
    shard = open_shard(options.index)
    upsert(shard, ids=ids, vectors=vectors, payloads=payloads)
    delete(shard, sorted(set(iter_ids(shard)) - set(ids)))
    shard.close()


if __name__ == "__main__":
    main()
