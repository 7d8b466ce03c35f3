"""The sections of the settings: keys, defaults, and what each value must look like.

A field's docstring is its text in ``docs/reference/settings.md`` and in
``sync_pipeline.example.yaml``, so it speaks to operators.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from sync_pipeline.core.addresses import is_readable_on_the_way
from sync_pipeline.core.cluster_options import (
    AgreementWord,
    ClusterOptions,
    WriteOrdering,
    most_of,
)
from sync_pipeline.core.fusion import MAX_WEIGHT, Fusion, FusionMethod
from sync_pipeline.core.grouping import GroupPolicy
from sync_pipeline.core.index_options import MIN_HNSW_LINKS, Quantization
from sync_pipeline.core.run_order import MAX_PRIORITY, RunOrder
from sync_pipeline.settings.calendar_rules import why_not_a_cron, why_not_a_timezone
from sync_pipeline.settings.rules import (
    MAX_COPIES,
    NOT_A_BOOL,
    Mistake,
    as_agreement,
    as_id,
    checked,
    refusal,
    why_not_a_mail_address,
    why_not_a_schema,
    why_not_a_scope_key,
    why_not_an_alias,
)
from sync_pipeline.settings.urls import (
    BrokerUrl,
    DatabaseUrl,
    SmtpUrl,
    WebhookUrl,
    is_embedded,
    why_not_a_staging_url,
    why_not_an_http_url,
    why_not_an_index_url,
)

MIN_CONNECTIONS: Final = 3
"""A sync uses two at once where one database has source and state: a snapshot, and a record
beside it. The third is for whatever is asked meanwhile."""

Batch = Annotated[int, Field(ge=1, le=100_000), NOT_A_BOOL]
Connections = Annotated[int, Field(ge=MIN_CONNECTIONS, le=1000), NOT_A_BOOL]
Days = Annotated[int, Field(ge=1, le=3650), NOT_A_BOOL]
Fraction = Annotated[float, Field(ge=0, le=1), NOT_A_BOOL]
Seconds = Annotated[float, Field(gt=0, le=86_400), NOT_A_BOOL]
Weight = Annotated[int, Field(ge=1, le=MAX_WEIGHT), NOT_A_BOOL]
Priority = Annotated[int, Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY), NOT_A_BOOL]
ScopeKey = Annotated[str, BeforeValidator(as_id), checked(why_not_a_scope_key)]
Agreement = Annotated[
    AgreementWord | Annotated[int, Field(ge=1, le=MAX_COPIES)], BeforeValidator(as_agreement)
]
Copies = Annotated[int, Field(ge=1, le=MAX_COPIES), NOT_A_BOOL]
Key = Annotated[SecretStr, Field(min_length=1)]
MailAddress = Annotated[str, checked(why_not_a_mail_address)]

Bm25Language = Literal[
    "mixed", "none",
    "arabic", "azerbaijani", "basque", "bengali", "catalan", "chinese", "danish", "dutch",
    "english", "finnish", "french", "german", "greek", "hebrew", "hinglish", "hungarian",
    "indonesian", "italian", "japanese", "kazakh", "nepali", "norwegian", "portuguese",
    "romanian", "russian", "slovene", "spanish", "swedish", "tajik", "turkish",
]  # fmt: skip
"""``mixed``, ``none``, and the languages that qdrant-edge-py 0.9 can stem; a test compares."""

MIN_SECRET_CHARACTERS: Final = 8
"""Different characters that a secret has at least: fewer are a pattern."""

BUNDLED_MODEL: Final = "bundled"
"""Names the model that is installed with the package."""


class Section(BaseModel):
    """A group of settings; unknown keys are refused, values cannot change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        # A rejected value can be a password; `mistakes` shows what may be shown.
        hide_input_in_errors=True,
        allow_inf_nan=False,
        # Else each section is built by itself too, and most are needed inside the settings alone.
        defer_build=True,
    )


class SourceSettings(Section):
    """The PostgreSQL database whose rows become searchable. It is only read."""

    url: DatabaseUrl | None = None
    """Database to read: `postgresql://USER:PASSWORD@HOST:5432/DATABASE`. Null starts an embedded
    PostgreSQL under `home`."""
    statement_timeout_seconds: Seconds = 600
    """Longest time one SQL statement may take."""
    max_connections: Connections = 10
    """Most connections of one process to this database, for the state too where it is there; half
    of them stay open. `doctor` says how many the server allows."""
    stop_embedded_at_exit: bool = False
    """Stop the embedded PostgreSQL when the last process that uses it ends. Otherwise it stays up
    for the next command and for `psql`, until `sync-pipeline database stop`."""


class StateSettings(Section):
    """Where the pipeline keeps its own tables."""

    url: DatabaseUrl | None = None
    """Database of the pipeline's own tables. Null: the source database."""
    # `schema` itself would hide a method of pydantic.
    schema_name: Annotated[str, checked(why_not_a_schema)] = Field(
        default="sync_pipeline", alias="schema"
    )
    """Schema of those tables; created when it is missing."""
    max_connections: Connections = 10
    """Most connections of one process to this database, where it is not the source database."""


class ClusterSettings(Section):
    """How a Qdrant cluster keeps the index (docs/qdrant-cluster.md); null is the server's own way.

    Vectors and search graph on disk are `index.vectors_on_disk` and `index.hnsw_on_disk`.
    """

    shard_number: Annotated[int, Field(ge=1, le=10_000), NOT_A_BOOL] | None = None
    """Parts that the points are cut into, a multiple of the nodes; 12 leave room to grow. Fixed
    when the collection is made: another number takes `sync-pipeline index rebuild --yes`."""
    replication_factor: Copies | None = None
    """Copies of each part, on as many nodes. A number that is raised later makes no copies of what
    is there already; `doctor` says which are missing."""
    write_consistency_factor: Copies | None = None
    """Copies that must have a write before it counts. Null: more than half, where there are
    several."""
    write_ordering: WriteOrdering | None = None
    """`weak`, `medium` (all writes of a part go through one copy) or `strong` (always the same
    copy; while its node is down nothing is written). Null: `medium` where there are several copies,
    else `weak`."""
    read_consistency: Agreement | None = None
    """Copies that must agree on what a sync compares, confirms and verifies: `majority`, `quorum`,
    `all`, or how many. Null: `majority` where there are several copies."""
    search_consistency: Agreement | None = None
    """The same for searches. Null: one copy answers, which is fastest."""
    read_fan_out_factor: Annotated[int, Field(ge=0, le=MAX_COPIES), NOT_A_BOOL] | None = None
    """Other copies that are asked at the same time, so that the fastest one answers."""
    payload_on_disk: bool | None = None
    """Read payloads from the disk when they are needed. Null: true."""

    @field_validator("write_consistency_factor", "read_consistency", "search_consistency")
    @classmethod
    def _has_so_many_copies(cls, value: str | int | None, info: ValidationInfo) -> str | int | None:
        if not isinstance(value, int) or "replication_factor" not in info.data:
            return value
        copies = info.data["replication_factor"]
        if copies is None and value > 1:
            raise refusal(
                Mistake(
                    "wants more copies than the server makes by itself",
                    f"set index.cluster.replication_factor to {value} or more too",
                )
            )
        if copies is not None and value > copies:
            raise refusal(
                Mistake(
                    f"wants more copies than index.cluster.replication_factor makes, {copies}",
                    f"write at most {copies}; {most_of(copies)} is more than half of them",
                )
            )
        return value

    def as_options(self) -> ClusterOptions:
        """The same for the adapter."""
        return ClusterOptions(**self.model_dump())


class IndexSettings(Section):
    """The Qdrant index that is kept in step."""

    url: Annotated[str, checked(why_not_an_index_url)] | None = None
    """`http(s)://HOST:6333` of a Qdrant server, or `edge:PATH` of an embedded index. Null: an
    embedded index under `home`."""
    alias: Annotated[str, checked(why_not_an_alias)] = "documents"
    """Name under which the index is searched; physical collections are called
    `<alias>_<fingerprint>`."""
    allow_plain_http: bool = False
    """Send the key over `http://` to another machine, where the network itself is private."""
    api_key: Key | None = None
    """Key of the Qdrant server. Better set in the environment than in a file."""
    timeout_seconds: Seconds = 60
    """Longest wait for one answer of the server."""
    wait_seconds: Annotated[float, Field(ge=0, le=3600), NOT_A_BOOL] = 30
    """Longest wait for an embedded index that another process is using."""
    vectors_on_disk: bool = False
    """Read vectors from the disk when a search needs them, instead of keeping them in memory."""
    quantization: Quantization = "none"
    """Search by smaller copies of the vectors: `scalar` has one byte per dimension instead of
    four, `binary` one bit. The vectors themselves stay."""
    quantization_always_ram: bool = True
    """Keep the small copies in memory, also with `vectors_on_disk`."""
    quantization_rescore: bool = True
    """Rank what the small copies found by the vectors themselves."""
    quantization_oversampling: Annotated[float, Field(ge=1, le=100), NOT_A_BOOL] = 2.0
    """So many times as many hits as are asked for are found by the small copies and ranked."""
    hnsw_m: Annotated[int, Field(ge=MIN_HNSW_LINKS, le=128), NOT_A_BOOL] = 16
    """Links of each point in the search graph: more find more, in a larger graph. Never 0, though
    Qdrant advises that for many tenants: a search is for two scopes at once."""
    hnsw_ef_construct: Annotated[int, Field(ge=4, le=10_000), NOT_A_BOOL] = 100
    """Candidates looked at when a point is linked: more find more, and take longer to build."""
    hnsw_ef: Annotated[int, Field(ge=1, le=100_000), NOT_A_BOOL] | None = None
    """Candidates that a search keeps: more find more, and take longer. Null: as many as
    `hnsw_ef_construct`."""
    hnsw_on_disk: bool = False
    """Read the search graph from the disk when a search needs it."""
    cluster: ClusterSettings = ClusterSettings()
    """How a Qdrant cluster keeps the index."""
    keep_previous_days: Days = 7
    """How long a generation that served before is kept in step after another took its place, for
    `index rollback`. The maintenance job drops it then."""
    min_known_found: Fraction = 0.95
    """Share of sampled documents that a new generation has to find by their own text before it
    serves."""
    min_exact_overlap: Fraction = 0.8
    """Share of an exact search's hits that the search index of a new generation has to find too
    before it serves."""
    gate_queries: Path | None = None
    """Labelled queries (JSONL, as `evaluate` reads them) that a new generation is asked before it
    serves, beside the one that serves. Null: none."""
    max_ndcg_loss: Fraction = 0.02
    """How much worse it may answer them, in nDCG@10 of hybrid search."""

    @field_validator("api_key")
    @classmethod
    def _protected(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        return refuse_unprotected(key, url=info.data.get("url"), section="index", info=info)

    @field_validator("cluster", mode="before")
    @classmethod
    def _may_be_empty(cls, value: object) -> object:
        # `cluster:` with every line below it commented out is null, and means nothing.
        return {} if value is None else value

    @field_validator("cluster")
    @classmethod
    def _is_a_server(cls, cluster: ClusterSettings, info: ValidationInfo) -> ClusterSettings:
        said = [name for name, value in cluster.model_dump().items() if value is not None]
        if said and "url" in info.data and is_embedded(info.data["url"]):
            raise refusal(
                Mistake(
                    f"has no effect on an embedded index: {', '.join(said)}",
                    "set index.url (QDRANT_URL) to a Qdrant server, or leave this out",
                )
            )
        return cluster

    @field_validator("quantization_always_ram", "quantization_rescore", "quantization_oversampling")
    @classmethod
    def _has_effect(cls, value: float, info: ValidationInfo) -> float:
        if value == cls.model_fields[str(info.field_name)].default:
            return value
        if info.data.get("quantization") == "none":
            raise refusal(
                Mistake(
                    "has no effect without quantization",
                    "set index.quantization to scalar or binary, or leave this out",
                )
            )
        if info.data.get("quantization_rescore") is False:
            raise refusal(
                Mistake(
                    "has no effect without rescoring",
                    "set index.quantization_rescore: true, or leave this out",
                )
            )
        return value


class SearchSettings(Section):
    """How a search joins its rankings: by meaning per view, and by words; effective at once."""

    fusion: FusionMethod = "dbsf"
    """`dbsf` adds scores, each seen against the distribution of its ranking; `rrf` looks at places
    only."""
    rrf_k: Annotated[int, Field(ge=1, le=1000), NOT_A_BOOL] = 10
    """The constant of `rrf`: the greater, the less first places are worth above the next. Qdrant's
    own is 2, that of the literature 60."""
    candidates: Annotated[int, Field(ge=10, le=10_000), NOT_A_BOOL] = 200
    """Documents that each ranking hands over at least; four times the hits asked for where that is
    more."""
    weights: dict[str, Weight] = {}
    """As how many rankings a view counts, and `bm25` for the one by words, e.g. `{name: 2}`; as one
    where it is not named. Each costs a ranking more."""

    def as_fusion(self) -> Fusion:
        """The same for the engine."""
        return Fusion(
            method=self.fusion,
            rrf_k=self.rrf_k,
            candidates=self.candidates,
            weights=self.weights,
        )


class SyncSettings(Section):
    """How scopes are brought in step, and how much one run may delete."""

    upsert_batch_size: Batch = 500
    """Points per write to the index."""
    delete_batch_size: Batch = 500
    """Points per delete from the index."""
    embed_chunk_size: Batch = 256
    """Texts embedded between two writes to the cache: what a crash loses at most."""
    part_rows: Annotated[int, Field(ge=1000, le=10_000_000), NOT_A_BOOL] = 12_500
    """Rows per file handed from one step to the next; bounds memory."""
    max_deleted_fraction: Fraction = 0.1
    """Largest share of an entity of a scope that one run may delete; more is refused, and nothing
    is deleted. 1 allows everything, also to empty a scope."""
    min_deletions_guarded: Annotated[int, Field(ge=0), NOT_A_BOOL] = 20
    """Up to so many deletes of an entity are allowed whatever their share; emptying an entity of
    a scope is not."""
    max_quarantined_fraction: Fraction | None = None
    """Share of unusable rows above which a scope fails instead of going on without them. Null:
    never."""
    lease_ttl_seconds: Annotated[float, Field(ge=5, le=3600), NOT_A_BOOL] = 60
    """How long a scope stays reserved for a run that died."""
    full_every_hours: Annotated[float, Field(gt=0, le=8760), NOT_A_BOOL] = 72
    """A scope is compared in full at least this often, however unchanged its rows seem."""
    incremental_overlap_seconds: Annotated[float, Field(ge=0, le=604_800), NOT_A_BOOL] = 300
    """Incremental runs look back this much further, for transactions that commit late."""
    vanished_grace_days: Annotated[int, Field(ge=0, le=3650), NOT_A_BOOL] = 7
    """How long the documents of a tenant without any rows are kept."""


class ScopeSettings(Section):
    """Which scopes are synced first, where several wait."""

    priority: dict[ScopeKey, Priority] = {}
    """Per scope, a tenant's id or `global`, a number from -100 to 100, the greatest first: `{acme:
    10, old-branch: -10}`. Scopes that are not named have 0, `global` has 1."""
    order: Literal["largest", "recent"] = "largest"
    """Which of equals comes first: `largest`, the one with most rows, so that no long run starts
    last; `recent`, the one whose rows changed last, by their `updated_at`. Changes that the feed
    names: the oldest, always."""
    max_wait_minutes: Annotated[float, Field(ge=1, le=10_080), NOT_A_BOOL] = 60
    """Changes and queued runs that wait longer go first, whatever the priority."""

    def as_run_order(self) -> RunOrder:
        """The same for the engine."""
        return RunOrder(
            priorities=self.priority,
            is_recent_first=self.order == "recent",
            max_wait=timedelta(minutes=self.max_wait_minutes),
        )


class ScheduleSettings(Section):
    """What runs by itself."""

    nightly: Annotated[str, checked(why_not_a_cron)] | None = "0 3 * * *"
    """When all scopes are synced, as a cron expression of five fields. Null: never."""
    timezone: Annotated[str, checked(why_not_a_timezone)] = "UTC"
    """Time zone of the schedule, e.g. `Europe/Prague`."""
    max_concurrent_runs: Annotated[int, Field(ge=1, le=1000), NOT_A_BOOL] = 4
    """Most runs at the same time, each of one scope or of a group of small ones."""
    group_rows: Annotated[int, Field(ge=0, le=1_000_000), NOT_A_BOOL] = 5_000
    """Tenants with fewer rows share runs where more than twenty of them are due. 0: every scope
    has a run of its own."""
    rows_per_group: Annotated[int, Field(ge=1, le=10_000_000), NOT_A_BOOL] = 20_000
    """Most rows of the tenants that share a run."""
    scopes_per_group: Annotated[int, Field(ge=2, le=1_000), NOT_A_BOOL] = 100
    """Most tenants that share a run."""
    run_retention_days: Days = 14
    """How long successful runs stay in the run history."""
    failed_run_retention_days: Days = 90
    """How long failed runs stay in the run history."""

    def as_group_policy(self) -> GroupPolicy:
        """Which scopes share a run, for the engine."""
        return GroupPolicy(
            small_rows=self.group_rows,
            max_rows=self.rows_per_group,
            max_scopes=self.scopes_per_group,
        )


class StagingSettings(Section):
    """Where one step leaves its result for the next."""

    url: Annotated[str, checked(why_not_a_staging_url)] | None = None
    """Folder, or object-store URL such as `s3://BUCKET/PREFIX` where steps run on several machines.
    Null: under `home`."""


class LoggingSettings(Section):
    """What programs that collect files get, of every process. Nothing, unless set."""

    file: Path | None = None
    """File to append to, one JSON object a line: `/var/lib/sync-pipeline/log.jsonl`. Its folder has
    to exist. Several processes may share it, and `logrotate` may move it away. The option
    `--log-file` sets it for one command and all that it starts."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """What is written at least. `info` has every step of every scope and every request."""


class TracingSettings(Section):
    """Traces of runs and searches (OpenTelemetry). None, unless `endpoint` is set.

    Needs `pip install 'sync-pipeline[otel]'`. Headers, certificates and the rest are set by the
    variables that OpenTelemetry specifies, `OTEL_EXPORTER_OTLP_HEADERS` for instance.
    """

    endpoint: Annotated[str, checked(why_not_an_http_url)] | None = None
    """Address of a collector that takes OTLP over HTTP: `http://localhost:4318`. Traces are posted
    to `/v1/traces` below it."""
    service_name: Annotated[str, Field(min_length=1)] = "sync-pipeline"
    """Under which name the traces are shown."""
    sample_ratio: Fraction | None = None
    """Which share of the traces is kept, 0 to 1; of requests that name a trace, theirs decides.
    Null: what `OTEL_TRACES_SAMPLER` says, by default all."""


class AlertSettings(Section):
    """Who is told when a run has failed for good. Nobody, unless set."""

    webhook_url: WebhookUrl | None = None
    """Address to post a JSON object to, e.g. of a Slack channel. Better set in the environment."""
    smtp_url: SmtpUrl | None = Field(default=None, validate_default=True)
    """Mail server: `smtp://USER:PASSWORD@HOST:587` (encrypted by STARTTLS) or
    `smtps://USER:PASSWORD@HOST:465`. Better set in the environment."""
    email_to: tuple[MailAddress, ...] = Field(default=(), validate_default=True)
    """Who gets a mail: `[ops@example.org]`; as a variable a JSON list, `["ops@example.org"]`."""
    email_from: MailAddress | None = None
    """Sender of the mails. Null: the first of `email_to`."""
    min_interval_seconds: Annotated[float, Field(ge=0, le=604_800), NOT_A_BOOL] = 900
    """The same failure of the same scope is told again after this time; what happened meanwhile is
    counted."""

    @field_validator("email_to")
    @classmethod
    def _can_be_sent(cls, addresses: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        has_server = info.data.get("smtp_url") is not None
        if addresses and "smtp_url" in info.data and not has_server:
            raise refusal(Mistake("has no mail server", "set alerts.smtp_url too"))
        if has_server and not addresses:
            raise refusal(Mistake("is empty", "name who gets the mails, e.g. [ops@example.org]"))
        return addresses


class ServiceSettings(Section):
    """The HTTP service and the operations page (`sync-pipeline serve`)."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address to listen on. Any other than this machine's own needs `secret` or `key_file`."""
    port: Annotated[int, Field(ge=1, le=65_535), NOT_A_BOOL] = 8080
    """Port to listen on."""
    algorithm: Literal["HS256", "RS256", "ES256", "EdDSA"] = "HS256"
    """How tokens are signed; a token that names another algorithm is refused. HS256 takes `secret`,
    the others `key_file`."""
    secret: Annotated[SecretStr, Field(min_length=32)] | None = None
    """Secret of HS256, at least 32 bytes, e.g. from `openssl rand -base64 48`. Better set in the
    environment. Without it and without `key_file` nobody has to sign in, and the service listens
    on this machine alone."""
    key_file: Path | None = None
    """Public key (PEM) of RS256, ES256 or EdDSA, or a JWKS file (`.json`) with several keys, which
    are told apart by `kid`. Read again when it changes."""
    signing_key_file: Path | None = None
    """Private key (PEM) for `sync-pipeline token create`; the service itself needs none."""
    issuer: Annotated[str, Field(min_length=1)] = "sync-pipeline"
    """What a token's `iss` has to be."""
    audience: Annotated[str, Field(min_length=1)] = "sync-pipeline"
    """What a token's `aud` has to be, or contain."""
    filter_fields: tuple[str, ...] | None = None
    """Payload fields that searches may filter on. Null: all that the entities name."""
    requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000), NOT_A_BOOL] = 1_200
    """Most requests of one caller in a minute; more get 429."""
    max_waiting_queries: Annotated[int, Field(ge=1, le=10_000), NOT_A_BOOL] = 64
    """Most search texts that wait for the model at once; more get 503."""
    max_body_bytes: Annotated[int, Field(ge=1_024, le=100_000_000), NOT_A_BOOL] = 262_144
    """Longest body of a request."""
    request_seconds: Seconds = 30
    """Longest time for one request; then 503. Exports that stream have no end."""
    index_wait_seconds: Annotated[float, Field(ge=0, le=60), NOT_A_BOOL] = 1.5
    """How long a request waits for an embedded index that a sync is using; then 503."""
    docs: Literal["admins", "everybody", "nobody"] = "admins"
    """Who may read the OpenAPI description."""
    metrics: Literal["operators", "everybody"] = "operators"
    """Who may read `/metrics`: workers and admins, or everybody who reaches the service. It names
    tenants."""
    dagster_url: Annotated[str, checked(why_not_an_http_url)] | None = None
    """Address of the Dagster UI, e.g. `http://127.0.0.1:3000`: the operations page links scopes
    and runs to it. Null: no links."""

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(set(secret.get_secret_value())) < MIN_SECRET_CHARACTERS:
            raise refusal(
                Mistake(
                    "is easy to guess", "take a random one, e.g. from `openssl rand -base64 48`"
                )
            )
        return secret

    @field_validator("key_file")
    @classmethod
    def _fits_algorithm(cls, key_file: Path | None, info: ValidationInfo) -> Path | None:
        if key_file is not None and info.data.get("secret") is not None:
            raise refusal(Mistake("stands beside service.secret", "set one of the two"))
        return key_file

    @property
    def asks_for_tokens(self) -> bool:
        """Whether callers have to say who they are."""
        return self.secret is not None or self.key_file is not None


class DagsterSettings(Section):
    """Dagster's own storage."""

    storage_url: DatabaseUrl | None = None
    """Database of Dagster's run history. Null: the state database, in the schema `dagster`."""


class ScaleSettings(Section):
    """What runs where, on more than one machine; see docs/scaling.md."""

    executor: Literal["in_process", "multiprocess", "celery", "k8s", "docker"] = "in_process"
    """Who executes the steps of big scopes: the process of the run itself, further processes of
    its machine, Celery workers, or a pod or a container for each. With `celery`, `k8s` and `docker`
    whole runs are started there too. Each needs the extra of its name, as in
    `pip install 'sync-pipeline[celery]'`."""
    big_scope_rows: Annotated[int, Field(ge=1, le=10_000_000_000), NOT_A_BOOL] = 200_000
    """A scope of more rows than these is synced by `sync_big_scope_job`, whose steps the executor
    shares out. All others are synced in the process of their run."""
    broker_url: BrokerUrl | None = None
    """Where Celery's tasks wait: `redis://:PASSWORD@HOST:6379/0` or `amqp://USER:PASSWORD@HOST//`.
    """
    result_url: BrokerUrl | None = None
    """Where Celery's workers leave their answers. Null: the broker, if it is Redis, else `rpc://`.
    """
    start_timeout_seconds: Annotated[int, Field(ge=30, le=604_800), NOT_A_BOOL] | None = None
    """How long a run may wait for a worker, a pod or a container before it fails. Null: 3 minutes
    on this machine, an hour with `celery`, `k8s` or `docker`."""
    shares_folders: bool = False
    """Whether all machines see the same files under the same paths, so that `staging.url` may be a
    folder."""
    image: Annotated[str, Field(min_length=1)] | None = None
    """Image of the containers of `docker`."""
    network: Annotated[str, Field(min_length=1)] | None = None
    """Network of these containers."""
    embedding_resources: dict[
        Literal["requests", "limits"], dict[str, Annotated[str, BeforeValidator(as_id)]]
    ] = {}
    """What a pod of `k8s` that embeds asks for, and no other, e.g.
    `{limits: {nvidia.com/gpu: 1}}`."""
    machine_name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Name of this machine or container, told apart from all others. Null: what the kernel says
    of itself, which is right but for machines that were copied while they ran."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        lacking = {"celery": ("broker_url", self.broker_url), "docker": ("image", self.image)}
        key, value = lacking.get(self.executor, ("", ""))
        if value is None:
            example = {"broker_url": "redis://HOST:6379/0", "image": "REGISTRY/sync-pipeline:TAG"}
            raise refusal(
                Mistake(
                    f"scale.executor is {self.executor} and scale.{key} is not set",
                    f"set scale.{key}, e.g. {example[key]}",
                )
            )
        return self

    @property
    def is_on_many_machines(self) -> bool:
        """Whether steps or runs may be executed by another machine than this one."""
        return self.executor in {"celery", "k8s", "docker"}

    @property
    def big_rows(self) -> int | None:
        """Rows above which a scope is shared out; None where there is nobody to share with."""
        return None if self.executor == "in_process" else self.big_scope_rows

    @property
    def seconds_to_start(self) -> int:
        """How long a run may wait until somebody executes it."""
        if self.start_timeout_seconds is not None:
            return self.start_timeout_seconds
        return 3600 if self.is_on_many_machines else 180


def refuse_unprotected(
    key: SecretStr | None, *, url: str | None, section: str, info: ValidationInfo
) -> SecretStr | None:
    """Judge a key by where it would be sent; it may be, or its mistake is raised."""
    if key is None or url is None or info.data.get("allow_plain_http"):
        return key
    if not is_readable_on_the_way(url):
        return key
    raise refusal(
        Mistake(
            "would cross the network unencrypted",
            f"use an https:// URL, or set {section}.allow_plain_http: true if it is private",
        )
    )
