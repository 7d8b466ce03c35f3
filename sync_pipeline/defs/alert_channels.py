"""Where alerts go: a webhook, a mail. Neither is ever the reason that something fails."""

from __future__ import annotations

import http.client
import json
import logging
import smtplib
import ssl
import urllib.request
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from typing import Final
from urllib.parse import unquote, urlsplit

from sync_pipeline.core.addresses import is_this_machine
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.settings import AlertSettings

TIMEOUT_SECONDS: Final = 10.0
"""Longest wait for a webhook or a mail server."""

_log = logging.getLogger(__name__)

Channel = Callable[[str, Mapping[str, object]], None]
"""Sends a headline and the facts behind it; raises where it cannot."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """An alert goes where the settings say, and nowhere else."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """Follow none; the answer then counts as an error."""
        return


def open_channels(settings: AlertSettings) -> list[Channel]:
    """The channels that the settings name."""
    channels: list[Channel] = []
    if settings.webhook_url is not None:
        channels.append(webhook(settings.webhook_url.get_secret_value()))
    if settings.smtp_url is not None and settings.email_to:
        channels.append(
            mail(
                settings.smtp_url.get_secret_value(),
                recipients=settings.email_to,
                sender=settings.email_from or settings.email_to[0],
            )
        )
    return channels


def send(channels: list[Channel], *, headline: str, facts: Mapping[str, object]) -> bool:
    """Send to every channel; whether one of them took it.

    One that fails is logged by the class of its error alone: messages of libraries
    may name the address, which is a secret.
    """
    sent = 0
    for channel in channels:
        try:
            channel(headline, facts)
        except (OSError, smtplib.SMTPException, http.client.HTTPException) as error:
            _log.warning("alert_not_sent: %s", _what(error), extra={"headline": headline})
        except ConfigurationError as error:
            _log.warning("alert_not_sent: %s", error, extra={"headline": headline})
        else:
            sent += 1
    return sent > 0


def webhook(url: str) -> Channel:
    """Post a JSON object with ``text``, which Slack and its likes show, and the facts."""
    opener = urllib.request.build_opener(_NoRedirects)

    def post(headline: str, facts: Mapping[str, object]) -> None:
        body = json.dumps({"text": headline, **facts}, ensure_ascii=False).encode()
        request = urllib.request.Request(  # noqa: S310 - http(s) by the settings' rule
            url, data=body, headers={"Content-Type": "application/json; charset=utf-8"}
        )
        with opener.open(request, timeout=TIMEOUT_SECONDS):
            pass

    return post


def mail(url: str, *, recipients: tuple[str, ...], sender: str) -> Channel:
    """Send a mail with the headline as subject and the facts below it.

    A password is sent over an encrypted connection only, or to this machine.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""

    def deliver(headline: str, facts: Mapping[str, object]) -> None:
        message = EmailMessage()
        message["Subject"] = " ".join(headline.split())[:200]
        message["From"], message["To"] = sender, ", ".join(recipients)
        lines = [headline, "", *(f"{name}: {value}" for name, value in facts.items())]
        message.set_content("\n".join(lines))
        with _connect(parts.scheme, host=host, port=parts.port) as server:
            if parts.username is not None and parts.password is not None:
                server.login(unquote(parts.username), unquote(parts.password))
            server.send_message(message)

    return deliver


def _connect(scheme: str, *, host: str, port: int | None) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port or 465, timeout=TIMEOUT_SECONDS, context=context)
    server = smtplib.SMTP(host, port or 587, timeout=TIMEOUT_SECONDS)
    server.ehlo_or_helo_if_needed()
    if server.has_extn("starttls"):
        server.starttls(context=context)
    elif not is_this_machine(host):
        server.close()
        raise ConfigurationError(
            f"the mail server {host} offers no encryption (STARTTLS); use smtps:// in "
            "`alerts.smtp_url`, or a server that does"
        )
    return server


def _what(error: Exception) -> str:
    status = getattr(error, "code", None) or getattr(error, "smtp_code", None)
    name = type(error).__name__
    return f"{name} {status}" if isinstance(status, int) else name
