"""Models by who computes them: one class per provider, told apart by ``provider``.

To add a provider, add a class with its keys beside the others, the same with what ``embedding``
itself adds, and both to the two unions at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import InitErrorDetails

from sync_pipeline.settings.rules import (
    HIDDEN_PART,
    NOT_A_BOOL,
    Mistake,
    checked,
    refusal,
    why_not_a_device,
    why_not_a_request_field,
    why_not_a_view_name,
)
from sync_pipeline.settings.sections import (
    BUNDLED_MODEL,
    Bm25Language,
    Key,
    Seconds,
    Section,
    refuse_unprotected,
)
from sync_pipeline.settings.urls import why_not_an_http_url

Provider = Literal["sentence-transformers", "openai", "hashing"]
BatchSize = Annotated[int, Field(ge=1, le=2048), NOT_A_BOOL]
Dimension = Annotated[int, Field(ge=1, le=65_536), NOT_A_BOOL]
PerMinute = Annotated[int, Field(ge=1, le=1_000_000_000), NOT_A_BOOL]
Fields = dict[Annotated[str, checked(why_not_a_request_field)], str | int | float | bool]
Text = Annotated[str, Field(min_length=1)]

Forms = Mapping[str, type[Section]]
"""Per provider its class."""

_DEFAULT: Final = "sentence-transformers"
MOST_FALLBACKS: Final = 4


class ModelSettings(Section):
    """A model: how texts become vectors."""

    provider: Provider
    """`sentence-transformers` computes on this machine; `openai` asks any service with that
    interface (OpenAI, Mixedbread, Ollama, TEI, vLLM); `hashing` gives vectors without meaning, for
    tests and benchmarks only. Each has keys of its own (docs/embedding-providers.md)."""
    price_per_million_tokens: Annotated[float, Field(ge=0), NOT_A_BOOL] | None = None
    """What the provider charges; `plan` then shows an estimated cost."""

    @property
    def told(self) -> str:
        """Names provider and model for people, and for its circuit breaker."""
        return self.provider


class SentenceTransformersModel(ModelSettings):
    """A model that is computed on this machine."""

    provider: Literal["sentence-transformers"] = "sentence-transformers"
    model: Text = BUNDLED_MODEL
    """`bundled` (all-MiniLM-L6-v2, installed with the package), a model name, or a folder.
    `intfloat/multilingual-e5-small` suits catalogues that are not English."""
    revision: Text | None = None
    """Commit or tag of the model on the model hub; pin it where results must not move."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the model. `auto` takes bfloat16 where the processor is faster with it."""
    device: Annotated[str, checked(why_not_a_device)] = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps` or `xpu`."""
    runtime: Literal["auto", "numpy", "onnx", "torch"] = "auto"
    """What computes on this machine. `auto` takes what starts at once for a search and a few texts,
    and the fastest that is installed for many. All give the same vectors, or are not used."""
    batch_size: BatchSize = 64
    """Texts per call of the model."""
    query_prompt: str | None = None
    """Put before every search text, e.g. `"query: "`. Null: what the model itself declares."""
    document_prompt: str | None = None
    """Put before every document text, e.g. `"passage: "`. Null: what the model itself declares."""

    @property
    def told(self) -> str:
        """Names provider and model."""
        return f"{self.provider} {self.model}"


class OpenAIModel(ModelSettings):
    """A model of any service with OpenAI's embeddings interface (docs/embedding-providers.md)."""

    place: ClassVar[str] = "embedding.models"

    provider: Literal["openai"] = "openai"
    model: Text
    """As the service names it, e.g. `text-embedding-3-small`."""
    dimension: Dimension
    """Length of the model's vectors, e.g. 1536 for `text-embedding-3-small`."""
    reduce_dimension: bool = False
    """Ask the service for vectors of `dimension` where the model's own are longer
    (`text-embedding-3-*`, `mxbai-embed-large-v1` and others that are trained for it)."""
    revision: Text | None = None
    """Anything that names the model's version; a new one embeds all texts anew."""
    base_url: Annotated[str, checked(why_not_an_http_url)] | None = None
    """Address of the service, e.g. `http://localhost:11434/v1`. Null: OpenAI's own."""
    allow_plain_http: bool = False
    """Send the key over `http://` to another machine, where the network itself is private."""
    api_key: Key | None = None
    """Key of the service. Better set in the environment than in a file."""
    batch_size: BatchSize = 64
    """Most texts per request; requests are cut by their tokens too."""
    concurrency: Annotated[int, Field(ge=1, le=64), NOT_A_BOOL] = 4
    """Requests of one process that are under way at the same time."""
    timeout_seconds: Seconds = 60
    """Longest wait for an answer. A request that is given up may be charged all the same."""
    requests_per_minute: PerMinute | None = None
    """What the service allows; all runs of the installation together stay below it. Null: what its
    answers state, if they do."""
    tokens_per_minute: PerMinute | None = None
    """Likewise, in tokens."""
    batch_from_texts: Annotated[int, Field(ge=1, le=1_000_000), NOT_A_BOOL] | None = None
    """From so many missing texts in a part (`part_texts`) on, they are handed to OpenAI's batch
    interface: half the price, within a day. Null: never."""
    query_prompt: str | None = None
    """Put before every search text, for models that are trained so."""
    document_prompt: str | None = None
    """Put before every document text, likewise."""
    query_fields: Fields = Field(default={})
    """Fields of a request for search texts that only this service knows, e.g. `{input_type: query}`
    for Voyage."""
    document_fields: Fields = Field(default={})
    """The same for documents. They are part of the model: other ones are another index."""
    encoding_format: Literal["float", "base64"] = "float"
    """How the service writes vectors: every one knows `float` but Voyage, which wants `base64`."""

    @property
    def told(self) -> str:
        """Names host and model."""
        host = "api.openai.com" if self.base_url is None else urlsplit(self.base_url).netloc
        return f"{host} {self.model}"

    @field_validator("model")
    @classmethod
    def _offered(cls, model: str) -> str:
        if model == BUNDLED_MODEL:
            raise refusal(
                Mistake(
                    "is not a model of the provider 'openai'",
                    "name one that the service offers, e.g. text-embedding-3-small",
                )
            )
        return model

    @field_validator("api_key")
    @classmethod
    def _protected(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        url = info.data.get("base_url")
        return refuse_unprotected(key, url=url, section=cls.place, info=info)


class HashingModel(ModelSettings):
    """Vectors without meaning, for tests and benchmarks only."""

    provider: Literal["hashing"] = "hashing"
    dimension: Dimension | None = None
    """Length of the vectors. Null: 384."""
    emergency: bool = False
    """Accept it among `embedding.fallbacks`: searches that fall back on it find next to nothing by
    meaning, and say so."""

    @property
    def told(self) -> str:
        """Names it, and what it is good for."""
        return "hashing (vectors without meaning)"


def _form(value: Any) -> str:
    """The tag of the class for a value."""
    if isinstance(value, Mapping):
        return f"{HIDDEN_PART}{value.get('provider', _DEFAULT)}"
    return f"{HIDDEN_PART}{getattr(value, 'provider', _DEFAULT)}"


def _of_one_provider(value: Any) -> Any:
    """Refuse a provider that there is not, at its own place, and leave out what asks for nothing.

    A key of another provider that has its default there is such: files and records of earlier
    releases, where every model had every key, spell all of them out.
    """
    if not isinstance(value, Mapping):
        return value
    provider = value.get("provider", _DEFAULT)
    if not isinstance(provider, str) or provider not in _KEYS:
        raise ValidationError.from_exception_data(
            "embedding",
            [
                InitErrorDetails(
                    type="literal_error",
                    loc=("provider",),
                    input=provider,
                    ctx={"expected": _named([*_KEYS])},
                )
            ],
        )
    return {
        key: inner
        for key, inner in value.items()
        if key in _KEYS[provider] or not _is_another_s_default(key, inner)
    }


def _is_another_s_default(key: str, value: object) -> bool:
    return any(
        key in keys and (value is None or (type(value), value) == (type(keys[key]), keys[key]))
        for keys in _KEYS.values()
    )


def _named(words: list[str]) -> str:
    *others, last = map(repr, words)
    return f"{', '.join(others)} or {last}"


_BY_PROVIDER: Final = (Discriminator(_form), BeforeValidator(_of_one_provider))

AnyModel = Annotated[
    Annotated[SentenceTransformersModel, Tag(f"{HIDDEN_PART}sentence-transformers")]
    | Annotated[OpenAIModel, Tag(f"{HIDDEN_PART}openai")]
    | Annotated[HashingModel, Tag(f"{HIDDEN_PART}hashing")],
    *_BY_PROVIDER,
]
"""A model of any provider."""


class EmbeddingSettings(Section):
    """How texts become vectors. Another model, dtype, prompt or language is another index."""

    bm25_language: Bm25Language = "mixed"
    """Language of the texts, for word stems in the keyword half of a search. `mixed` stems Cyrillic
    words as Russian and all others as English; `none` takes words as they are."""
    cache_scope: Literal["shared", "per_scope"] = "shared"
    """`shared` embeds a text once for all tenants; `per_scope` once for each."""
    part_texts: Annotated[int, Field(ge=100, le=1_000_000), NOT_A_BOOL] = 12_500
    """Texts that are embedded as one part: what one worker is given at once, and the most that is
    held in memory. Worth half a minute of the model at least."""
    fan_out_texts: Annotated[int, Field(ge=1, le=1_000_000_000), NOT_A_BOOL] = 50_000
    """From so many missing texts on, the parts are shared out among the workers of
    `scale.executor`. Fewer are embedded where they were compared."""
    models: dict[Annotated[str, checked(why_not_a_view_name)], AnyModel] = Field(default={})
    """Other models, by names of your own; a view of an entity asks for one with `model: NAME`."""
    fallbacks: list[AnyModel] = Field(default=[], max_length=MOST_FALLBACKS)
    """Who is asked while the provider cannot be, in this order. One that gives the same vectors
    continues in place; one of another model keeps an index of its own in step for searches."""

    @field_validator("fallbacks")
    @classmethod
    def _mean_something(cls, fallbacks: list[ModelSettings]) -> list[ModelSettings]:
        for model in fallbacks:
            if isinstance(model, HashingModel) and not model.emergency:
                raise refusal(
                    Mistake(
                        "falls back on vectors without meaning",
                        "leave the provider hashing out, or write emergency: true beside it if "
                        "searches that find next to nothing are better than none",
                    )
                )
        return fallbacks


class LocalSettings(EmbeddingSettings):
    """What ``embedding`` has without a service, for generations of before that one made."""

    allow_plain_http: bool = False
    """Send the key over `http://` to another machine, where the network itself is private."""
    api_key: Key | None = None
    """Key of an `openai` service. Better set in the environment than in a file. Another provider
    has use for it while an index that a service made still serves (docs/model-changes.md)."""


class SentenceTransformersEmbedding(LocalSettings, SentenceTransformersModel):
    """How texts become vectors. Another model, dtype, prompt or language is another index."""


class OpenAIEmbedding(EmbeddingSettings, OpenAIModel):
    """How texts become vectors, by a service with OpenAI's embeddings interface."""

    place: ClassVar[str] = "embedding"


class HashingEmbedding(LocalSettings, HashingModel):
    """How texts become vectors without meaning, for tests and benchmarks only."""


AnyEmbedding = Annotated[
    Annotated[SentenceTransformersEmbedding, Tag(f"{HIDDEN_PART}sentence-transformers")]
    | Annotated[OpenAIEmbedding, Tag(f"{HIDDEN_PART}openai")]
    | Annotated[HashingEmbedding, Tag(f"{HIDDEN_PART}hashing")],
    *_BY_PROVIDER,
]
"""The section ``embedding``, whatever its provider."""

_MODELS: Final[Forms] = {
    "sentence-transformers": SentenceTransformersModel,
    "openai": OpenAIModel,
    "hashing": HashingModel,
}
_EMBEDDINGS: Final[Forms] = {
    "sentence-transformers": SentenceTransformersEmbedding,
    "openai": OpenAIEmbedding,
    "hashing": HashingEmbedding,
}
_KEYS: Final[Mapping[str, Mapping[str, object]]] = {
    provider: {name: field.default for name, field in form.model_fields.items()}
    for provider, form in _EMBEDDINGS.items()
}
"""Per provider its keys, each with its default."""


def read_model(values: Mapping[str, object]) -> AnyModel:
    """Read the recorded settings of a model.

    Args:
        values: What only another provider has is left out: earlier releases recorded every key
            of every provider.

    Raises:
        ValidationError: they are none that this release knows.
    """
    return TypeAdapter[AnyModel](AnyModel).validate_python(_without_foreign(values, _MODELS))


def read_embedding(values: Mapping[str, object]) -> AnyEmbedding:
    """The same of the settings of ``embedding``."""
    adapter = TypeAdapter[AnyEmbedding](AnyEmbedding)
    return adapter.validate_python(_without_foreign(values, _EMBEDDINGS))


def _without_foreign(values: Mapping[str, object], forms: Forms) -> dict[str, object]:
    form = forms.get(str(values.get("provider", _DEFAULT)))
    return {
        key: value
        for key, value in values.items()
        if form is None or key in form.model_fields or not _is_known(key)
    }


def _is_known(key: str) -> bool:
    return any(key in keys for keys in _KEYS.values())
