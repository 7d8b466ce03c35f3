"""LangChain's indexing API: a record manager in SQL, and a vector store over the same engine.

``index(..., cleanup="full")`` names each document by a hash of its text and
metadata, skips those that its record manager knows and deletes what it did not
see. The record manager lives in the source database, as the pipeline's state does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import qdrant_edge as edge
import sqlalchemy as sa
from langchain_classic.indexes import SQLRecordManager
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.indexing import index
from langchain_core.vectorstores import VectorStore

from benchmarks.rivals.common import (
    BATCH,
    QUERY,
    Encode,
    be_quiet,
    delete,
    make_encoder,
    open_shard,
    parse,
    upsert,
)


class EdgeVectorStore(VectorStore):
    """The part of a vector store that indexing needs, over Qdrant Edge."""

    def __init__(self, shard: edge.EdgeShard, encode: Encode) -> None:
        self._shard = shard
        self._encode = encode

    def add_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Embed and write documents under the ids that come with them."""
        ids: list[str] = kwargs["ids"]
        upsert(
            self._shard,
            ids=ids,
            vectors=self._encode([document.page_content for document in documents]),
            payloads=[
                {**document.metadata, "text": document.page_content} for document in documents
            ],
        )
        return ids

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete documents."""
        del kwargs
        delete(self._shard, ids or [])
        return True

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Nothing is searched here."""
        raise NotImplementedError

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> EdgeVectorStore:
        """Nothing is made this way here."""
        raise NotImplementedError


class LazyEncoder:
    """Loads the model for the first texts, so that a run without any loads none."""

    def __init__(self, options: Any) -> None:
        self._options = options
        self._encode: Encode | None = None

    def __call__(self, texts: Any) -> Any:
        """Encode texts."""
        if self._encode is None:
            self._encode = make_encoder(self._options)
        return self._encode(texts)


def iter_documents(engine: sa.Engine) -> Iterator[Document]:
    """Stream the source as documents."""
    with engine.connect() as connection:
        options = {"yield_per": BATCH}
        for row in connection.execute(sa.text(QUERY), execution_options=options).mappings():
            fields = dict(row)
            yield Document(page_content=fields.pop("text"), metadata=fields)


def main() -> None:
    be_quiet()
    options = parse()
    url = options.database.replace("postgresql://", "postgresql+psycopg://", 1)
    engine = sa.create_engine(url)
    records = SQLRecordManager("edge/documents", engine=engine)
    records.create_schema()
    shard = open_shard(options.index)
    index(
        iter_documents(engine),
        records,
        EdgeVectorStore(shard, LazyEncoder(options)),
        cleanup="full",
        batch_size=BATCH,
    )
    shard.close()


if __name__ == "__main__":
    main()
