"""Without an address to send traces to nothing of OpenTelemetry's SDK is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sync_pipeline import wiring
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.ports import NoTracer
from sync_pipeline.settings import Settings, load_settings
from sync_pipeline.settings.sections import TracingSettings
from sync_pipeline.tracing.otlp import OtlpTracer

TRACING = TracingSettings(endpoint="http://127.0.0.1:9")

OFF = """
import sys
import sync_pipeline.definitions, sync_pipeline.service.app
from sync_pipeline.settings import Settings
from sync_pipeline.wiring import _tracer

print(type(_tracer(Settings())).__name__, "opentelemetry.sdk" in sys.modules)
"""


@pytest.mark.process
def test_where_it_is_off_its_libraries_are_not_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", OFF], capture_output=True, text=True, check=True)

    assert done.stdout == "NoTracer False\n"


@pytest.mark.process
def test_an_address_turns_it_on() -> None:
    assert isinstance(wiring._tracer(Settings(tracing=TRACING)), OtlpTracer)


def test_the_variables_of_opentelemetry_are_read(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("")
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SERVICE_NAME": "shop"}

    tracing = load_settings(config=tmp_path / "empty.yaml", env=env).tracing

    assert (tracing.endpoint, tracing.service_name) == ("http://collector:4318", "shop")


def test_a_missing_extra_is_a_warning_and_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "sync_pipeline.tracing.otlp", None)

    tracer = wiring._tracer(Settings(tracing=TRACING))

    assert isinstance(tracer, NoTracer)
    assert "pip install 'sync-pipeline[otel]'" in caplog.text


def test_doctor_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sync_pipeline.tracing.otlp", None)

    with pytest.raises(ConfigurationError, match=r"`tracing\.endpoint` is set, and"):
        wiring.traces_told(Settings(tracing=TRACING))


def test_doctor_says_where_traces_go() -> None:
    assert wiring.traces_told(Settings(tracing=TRACING)) == "sent to http://127.0.0.1:9"
