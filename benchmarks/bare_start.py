"""The bare runtime: from process start to the vector of one search text, with nothing around it.

``python -m benchmarks.bare_start RUNTIME`` loads the bundled model and embeds one text.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sync_pipeline.embedding.runtimes.runtime import RuntimeName

TEXT: Final = "gypsum plaster"


def main() -> None:
    embed = _torch if sys.argv[1] == "torch" else _lean(sys.argv[1])  # type: ignore[arg-type]  # one of its names
    print(len(embed(TEXT)))


def _torch(text: str) -> object:
    from benchmarks.bare_model import load_model  # noqa: PLC0415 - part of what is measured

    return load_model("float32").encode(text, show_progress_bar=False)


def _lean(name: RuntimeName) -> Callable[[str], object]:
    from sync_pipeline.embedding.bert import read_bert  # noqa: PLC0415
    from sync_pipeline.embedding.model_folder import BUNDLED, find_model  # noqa: PLC0415
    from sync_pipeline.embedding.runtimes.local_model import FORWARDS  # noqa: PLC0415
    from sync_pipeline.embedding.runtimes.tokens import TokenRuntime  # noqa: PLC0415

    model = read_bert(find_model(BUNDLED, revision=None))
    runtime = TokenRuntime(model, FORWARDS[name](model))
    return lambda text: runtime.encode([text], prompt="", side="query")[0]


if __name__ == "__main__":
    main()
