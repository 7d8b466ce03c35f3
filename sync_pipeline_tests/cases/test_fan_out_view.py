"""A view joins the supplier to each article; one article got a second supplier."""

from __future__ import annotations

import pytest

from sync_pipeline_tests.cases.installation import Case


@pytest.fixture
def articles(case: Case) -> Case:
    case.settings(
        "entities: [{name: article, table: articles, updated_at: updated_at, "
        "views: {text: [name, supplier]}}]"
    )
    case.sql(
        "CREATE TABLE article (id int PRIMARY KEY, tenant_id text, is_global boolean DEFAULT "
        "false, name text, updated_at timestamptz DEFAULT now())",
        "CREATE TABLE supply (article_id int, supplier text)",
        "INSERT INTO article SELECT g, CASE WHEN g <= 30 THEN 'acme' ELSE 'globex' END, false, "
        "'article ' || g FROM generate_series(1, 60) g",
        "INSERT INTO supply SELECT g, 'supplier ' || g FROM generate_series(1, 60) g",
        "CREATE VIEW articles AS SELECT a.*, s.supplier FROM article a "
        "LEFT JOIN supply s ON s.article_id = a.id",
    )
    case.scopes("sync", "all")
    case.sql(
        "INSERT INTO supply VALUES (7, 'second supplier')",
        "INSERT INTO article VALUES (100, 'acme', false, 'new article', now())",
        "UPDATE article SET name = 'article 31 changed', updated_at = now() WHERE id = 31",
        "UPDATE article SET name = 'article 9 changed', updated_at = now() WHERE id = 9",
    )
    return case


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_s61_one_doubled_row_of_sixty_is_set_aside_alone(articles: Case, mode: str) -> None:
    """Everybody else's changes arrive."""
    done = articles.run("sync", "all", "--mode", mode)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "article 9 changed supplier 9" in articles.found("article 9 changed", tenant="acme")
    assert "new article" in articles.found("new article", tenant="acme")
    assert "article 31 changed supplier 31" in articles.found("article 31", tenant="globex")


def test_s61_the_doubled_row_is_named_by_every_command(articles: Case) -> None:
    """Sync, status, verify, plan, export, quarantine and doctor agree."""
    articles.scopes("sync", "all")

    listed = articles.ask("quarantine", "list")["rows"]
    status = articles.scopes("status")["acme"]
    exported = articles.run("export", "article", "--tenant", "acme").stdout.splitlines()

    assert [(row["db_id"], row["reason"]) for row in listed] == [("7", "doubled_id")]
    assert (status["source_rows"], status["points"], status["pending"]) == (32, 30, 0)
    assert status["coverage"] == 1.0
    assert articles.ask("verify", "all")["ok"]
    assert articles.scopes("plan", "all")["acme"]["new"] == 0
    assert len(exported) == 30
    assert "1 ids stand in several rows of 'articles' each, e.g. '7'" in articles.advice()
