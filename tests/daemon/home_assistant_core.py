"""Run the Home Assistant core with its MQTT integration; answer requests on standard input.

Needs the package homeassistant, 2025.2 or newer. Standard output: one JSON object per request.
"""

import asyncio
import json
import logging
import socket
import sys
import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import Any

from homeassistant import bootstrap, loader  # type: ignore[import-not-found]
from homeassistant.auth import auth_manager_from_config  # type: ignore[import-not-found]
from homeassistant.config_entries import (  # type: ignore[import-not-found]
    ConfigEntries,
    ConfigEntry,
)
from homeassistant.core import HomeAssistant  # type: ignore[import-not-found]
from homeassistant.setup import async_setup_component  # type: ignore[import-not-found]

problems: dict[str, str] = {}


class _Problems(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if "mqtt" in record.name:
            problems[self.format(record)] = record.levelname


async def main(port: int) -> None:
    """Run until the line "end"."""
    logging.getLogger().addHandler(_Problems(logging.WARNING))
    folder = tempfile.mkdtemp()
    Path(folder, "configuration.yaml").touch()
    hass = HomeAssistant(folder)
    loader.async_setup(hass)
    hass.config_entries = ConfigEntries(hass, {})
    await bootstrap.async_load_base_functionality(hass)
    hass.auth = await auth_manager_from_config(hass, [], [])
    with socket.create_server(("127.0.0.1", 0)) as probe:
        web = {"server_host": ["127.0.0.1"], "server_port": probe.getsockname()[1]}
    for name in ("homeassistant", "http"):
        await async_setup_component(hass, name, {"http": web})
    await hass.async_start()
    entry = ConfigEntry(
        data={"broker": "127.0.0.1", "port": port, "discovery": True},
        options={},
        domain="mqtt",
        title="broker",
        source="user",
        unique_id=None,
        version=1,
        minor_version=2,
        discovery_keys=MappingProxyType({}),
        subentries_data=None,
    )
    await hass.config_entries.async_add(entry)
    while (line := (await hass.async_add_executor_job(sys.stdin.readline)).strip()) != "end":
        answer: dict[str, Any] = {}
        if line == "states":
            answer = {
                each.entity_id: {"state": each.state, "attributes": dict(each.attributes)}
                for each in hass.states.async_all()
            }
        elif line == "problems":
            answer = problems
        else:
            await hass.services.async_call("button", "press", {"entity_id": line.split()[1]})
        sys.stdout.write(json.dumps(answer, default=str) + "\n")
        sys.stdout.flush()
    await hass.async_stop()


asyncio.run(main(int(sys.argv[1])))
