"""The web application of a daemon: all endpoints and access control."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge_runtime.settings.schema import HttpSettings
from edge_runtime.web.access import Access, Guard, guarded_app
from edge_runtime.web.endpoint import Endpoint, Permissions
from edge_runtime.web.gallery_service import GalleryService
from edge_runtime.web.photos import Uploads
from edge_runtime.web.routes.context import Context, Endpoints
from edge_runtime.web.routes.faults import HANDLERS
from edge_runtime.web.routes.gallery import GalleryEndpoints
from edge_runtime.web.routes.gallery_files import GalleryFileEndpoints
from edge_runtime.web.routes.history import HistoryEndpoints
from edge_runtime.web.routes.labels import LabelEndpoints
from edge_runtime.web.routes.look import LookEndpoints
from edge_runtime.web.routes.monitoring import MonitoringEndpoints
from edge_runtime.web.routes.page import PageEndpoints
from edge_runtime.web.routes.recognition import RecognitionEndpoints
from edge_runtime.web.routes.settings import SettingsEndpoints
from edge_runtime.web.routes.unknowns import UnknownsEndpoints

if TYPE_CHECKING:
    from edge_runtime.daemon.service import Service


class DaemonSite:
    """The web application of one daemon. Created on its thread, used on the server's."""

    def __init__(
        self,
        service: Service,
        settings: HttpSettings,
        access: Access,
    ) -> None:
        self._gallery = GalleryService(
            service.pipeline,
            service.daemon.work_queue,
            keep_pictures=service.settings.gallery.keep_pictures,
            refit=service.settings.gallery.refit,
        )
        self._uploads = Uploads(settings)
        context = Context(service, settings, self._gallery, self._uploads)
        self._groups: list[Endpoints] = [
            PageEndpoints(),
            MonitoringEndpoints(context, lambda: self.endpoints),
            RecognitionEndpoints(context),
            LookEndpoints(context),
            LabelEndpoints(context),
            GalleryFileEndpoints(context),
            GalleryEndpoints(context),
            UnknownsEndpoints(context),
            SettingsEndpoints(context),
            HistoryEndpoints(context),
        ]
        guard = Guard(settings, access, Permissions(self.endpoints))
        self.app = guarded_app(self.endpoints, guard, HANDLERS)

    shortcut = None

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """All endpoints. The first whose path fits a request answers it."""
        return [endpoint for group in self._groups for endpoint in group.endpoints]

    def begin(self) -> None:
        """Forget the clients of an earlier event loop; called before each one starts."""
        self._uploads.clear()
        for group in self._groups:
            group.begin()

    def close(self, wait_s: float) -> None:
        """Close the gallery within `wait_s`."""
        for group in self._groups:
            group.close(wait_s)
        self._gallery.close(wait_s)
