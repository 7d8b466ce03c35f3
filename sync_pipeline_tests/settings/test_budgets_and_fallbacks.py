"""What may be spent, and who is asked while a provider cannot be."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from sync_pipeline.core.errors import SettingsError
from sync_pipeline.core.spending import Limit
from sync_pipeline.settings import Settings, load_settings
from sync_pipeline.settings.recipe import model_recipe
from sync_pipeline_tests.fakes.embedder import FakeEmbedder

SERVICE = """
embedding:
  provider: openai
  model: small
  dimension: 16
  base_url: https://one.example/v1
  fallbacks:
    - {provider: openai, model: elsewhere, dimension: 16, base_url: "http://localhost:1/v1"}
    - {provider: sentence-transformers}
"""


def loaded(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "sync_pipeline.yaml"
    path.write_text(text)
    return load_settings(config=path, env={})


def test_budgets_of_all_kinds_are_read_as_exact_numbers(tmp_path: Path) -> None:
    policy = loaded(
        tmp_path,
        """
budget:
  cost_per_run: 0.1
  tokens_per_month: 1000000
  cost_per_tenant: 2
  tenants: {acme: {cost: 50, tokens: 7}, 17: {}}
  alert_at: 0.5
""",
    ).budget.as_policy()

    assert policy.run == Limit(cost=Decimal("0.1"))
    assert policy.month == Limit(tokens=1_000_000)
    assert policy.of_scope("globex") == Limit(cost=Decimal(2))
    assert policy.of_scope("acme") == Limit(cost=Decimal(50), tokens=7)
    assert policy.of_scope("17") == Limit()
    assert policy.alert_fraction == 0.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("budget: {cost_per_month: -1}", "budget.cost_per_month"),
        ("budget: {cost_per_month: .nan}", "budget.cost_per_month"),
        ("budget: {tokens_per_run: 1.5}", "budget.tokens_per_run"),
        ("budget: {per_month: 5}", "budget.per_month"),
        ("budget: {alert_at: 80}", "budget.alert_at"),
    ],
)
def test_what_is_no_budget_is_refused_at_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        loaded(tmp_path, text)


def test_fallbacks_keep_their_order_and_are_named_for_people(tmp_path: Path) -> None:
    embedding = loaded(tmp_path, SERVICE).embedding

    assert embedding.told == "one.example small"
    assert [it.told for it in embedding.fallbacks] == [
        "localhost:1 elsewhere",
        "sentence-transformers bundled",
    ]


def test_vectors_without_meaning_are_refused_as_a_fallback_unless_it_is_an_emergency(
    tmp_path: Path,
) -> None:
    with pytest.raises(SettingsError, match="falls back on vectors without meaning") as refused:
        loaded(tmp_path, "embedding: {fallbacks: [{provider: hashing}]}")
    accepted = loaded(tmp_path, "embedding: {fallbacks: [{provider: hashing, emergency: true}]}")

    assert "write emergency: true beside it" in str(refused.value)
    assert [it.told for it in accepted.embedding.fallbacks] == ["hashing (vectors without meaning)"]


def test_a_fallback_s_own_mistakes_are_named_at_its_place(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"embedding\.fallbacks"):
        loaded(tmp_path, "embedding: {fallbacks: [{provider: openai, model: small}]}")


def test_fallbacks_and_budgets_are_in_no_recipe(tmp_path: Path) -> None:
    embedding = loaded(tmp_path, SERVICE).embedding

    assert "fallbacks" not in model_recipe(embedding, FakeEmbedder())


def test_keys_of_fallbacks_are_secrets_too(tmp_path: Path) -> None:
    text = SERVICE.replace(
        'base_url: "http://localhost:1/v1"', 'base_url: "https://two.example/v1", api_key: s3cret'
    )

    assert "s3cret" in loaded(tmp_path, text).secret_values
