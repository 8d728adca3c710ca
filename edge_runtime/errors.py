"""All errors of the project, as one tree. Each family has its own exit code.

    EdgeRuntimeError                 1
    ├── InputError                   3   unusable input from the caller
    │   ├── PhotoError                   not an image, truncated, too small or too large
    │   ├── NoPhotosError                a folder without photos
    │   ├── LabelError                   empty, too long, or contains slashes or control characters
    │   ├── CodeError                    a code of the wrong width or type
    │   └── ConfigError                  an unusable configuration file: file, line, key
    │       └── ConfigLockedError        the page may not change the file, or not now
    ├── ModelError                   4   the hash network cannot be used
    │   ├── ModelNotFoundError           the file does not exist; names the places searched
    │   ├── ModelInvalidError            corrupt, or not a hash network
    │   ├── BundleInvalidError           damaged, incomplete, or in a newer format
    │   ├── BundleMismatchError          compiled for another CPU
    │   ├── BundleUnverifiedError        not verified when it was compiled
    │   └── EngineError                  the engine failed to load or to run
    ├── GalleryError                 5   the gallery cannot be used
    │   ├── GalleryNotFoundError         the gallery does not exist
    │   ├── GalleryModelMismatchError    its codes come from another model
    │   ├── FeaturesMissingError         codes without features cannot be refitted
    │   ├── PicturesMissingError         codes without a kept picture cannot be rehashed
    │   ├── GalleryDamagedError          not a gallery file, or a checksum mismatch
    │   ├── GallerySchemaError           written by a newer version
    │   ├── GalleryBusyError             locked by another writer for too long
    │   └── NotEnrolledError             the label or code is not in the gallery
    ├── StorageError                 6   disk full, read-only, or permission denied
    ├── CameraError                  7   the camera cannot be used
    │   ├── CameraNotFoundError          the device, file, folder or address does not exist
    │   ├── CameraSilentError            opened, but no frame arrived in time
    │   └── CameraLostError              frames arrived, then stopped
    ├── ReportError                  8   a measurement failed, or a report cannot be used
    ├── ServiceError                 11  the daemon's environment does not meet its configuration
    │   ├── ExtraMissingError            a package that an option needs is not installed
    │   ├── ServeError                   the web page and API cannot be served
    │   ├── BusyError                    more requests than the daemon can accept
    │   └── SinkError                    an event could not be delivered
    ├── CompileError                 10  a bundle could not be compiled
    │   ├── TargetError                  an unknown device, or a malformed description of one
    │   ├── ToolchainError               a compiler or TVM is missing or unsuitable
    │   └── NetworkUnsupportedError      an operator that the compiler does not support
    ├── ResourceError                13  memory, threads or open files are used up
    ├── BoardError                   12  a board cannot be tested
    │   ├── BoardUnreachableError        ssh cannot connect
    │   ├── BoardUnfitError              another CPU, no Python, or too little disk space
    │   └── BoardLostError               the connection broke during a test
    ├── TrustError                   14  a model or release is not what the owner signed
    │   ├── SignatureError               unsigned, changed, or signed by an unknown or revoked key
    │   └── TrustStoreError              the installed keys cannot be used
    └── FleetError                   15  the board cannot follow its fleet, or a desk publish to it
        ├── NotJoinedError               the board has not joined a fleet
        ├── FleetFormatError             a version or proposal is malformed; names the line
        ├── FleetContentError            a version does not lead to the content that it names
        ├── FleetModelError              a version is for galleries of another model
        ├── FleetSignatureError          metadata that the fleet did not sign, old or expired
        ├── FleetUnreachableError        the fleet's files cannot be fetched now
        ├── ClockError                   the board's clock cannot be right
        └── DeskError                    a desk's folder is missing, damaged or in use

Other exit codes: 0 success; 2 wrong usage; 9 a budget was missed, a check failed or the demo did
not reach its target; 130 interrupted. docs/ERRORS.md lists them for users; a test compares the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from edge_runtime.redaction import redact
from edge_runtime.system.disk_fault import disk_fault

if TYPE_CHECKING:  # loaded only with a gallery; an engine alone does not need it
    import sqlite3

EXIT_CHECK_FAILED = 9
EXIT_INTERRUPTED = 130


class EdgeRuntimeError(Exception):
    """An error with a one-line message: "where: what (remedy)".

    `where` names the file, device, label or option. `what` states the fault. `remedy` states the
    next step. Secrets of addresses in them are hidden.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: object = "", remedy: str = "") -> None:
        self.what = redact(" ".join(what.split()))
        self.where = redact(str(where))
        self.remedy = redact(remedy)
        line = f"{self.where}: {self.what}" if self.where else self.what
        super().__init__(f"{line} ({self.remedy})" if remedy else line)


class InputError(EdgeRuntimeError):
    """The caller's input cannot be used."""

    exit_code = 3


class PhotoError(InputError):
    """The file is not a usable photo."""


class NoPhotosError(InputError):
    """The folder contains no photos."""


class LabelError(InputError):
    """The label is not valid."""


class CodeError(InputError):
    """The code has the wrong width or type."""


class ConfigError(InputError):
    """The configuration file cannot be used."""


class ConfigLockedError(ConfigError):
    """The page may not change the configuration file, or not now."""


class ModelError(EdgeRuntimeError):
    """The hash network cannot be used."""

    exit_code = 4


class ModelNotFoundError(ModelError):
    """The model file does not exist."""


class ModelInvalidError(ModelError):
    """The file is corrupt or is not a hash network."""


class BundleInvalidError(ModelError):
    """The bundle is damaged, incomplete, or in a newer format."""


class BundleMismatchError(ModelError):
    """The bundle was compiled for another CPU."""


class BundleUnverifiedError(ModelError):
    """The bundle is not verified, and the caller did not allow unverified bundles."""


class EngineError(ModelError):
    """The engine failed to load or to run."""


class GalleryError(EdgeRuntimeError):
    """The gallery cannot be used."""

    exit_code = 5


class GalleryNotFoundError(GalleryError):
    """There is no gallery at this path."""


class GalleryModelMismatchError(GalleryError):
    """The gallery's codes come from another model."""


class FeaturesMissingError(GalleryError):
    """Codes without features: enrolled by an earlier version, imported, or too many."""


class PicturesMissingError(GalleryError):
    """Pictures that were not kept, so another model cannot hash them."""


class GalleryDamagedError(GalleryError):
    """The file is not a gallery, or a checksum does not match."""


class GallerySchemaError(GalleryError):
    """The gallery was written by a newer version."""


class GalleryBusyError(GalleryError):
    """Another process locked the gallery for too long."""


class NotEnrolledError(GalleryError):
    """The label or code is not in the gallery."""


class StorageError(EdgeRuntimeError):
    """The disk is full or read-only, or permission is denied."""

    exit_code = 6


class ResourceError(EdgeRuntimeError):
    """The system has no more memory, threads or open files for this process."""

    exit_code = 13


class CameraError(EdgeRuntimeError):
    """The camera cannot be used."""

    exit_code = 7


class CameraNotFoundError(CameraError):
    """The device, file, folder or address does not exist."""


class CameraSilentError(CameraError):
    """The camera opened, but no frame arrived in time."""


class CameraLostError(CameraError):
    """The camera delivered frames and then stopped."""


class ReportError(EdgeRuntimeError):
    """A measurement failed, or a report cannot be used."""

    exit_code = 8


class ServiceError(EdgeRuntimeError):
    """The daemon's environment does not meet its configuration."""

    exit_code = 11


class ExtraMissingError(ServiceError):
    """A package that an option needs is not installed."""


class ServeError(ServiceError):
    """The web page and API cannot be served."""


class BusyError(ServiceError):
    """More requests arrived at once than the daemon can accept."""


class SinkError(ServiceError):
    """An event could not be delivered."""

    def __init__(
        self, what: str, *, where: object = "", remedy: str = "", retry: bool = True
    ) -> None:
        """Set `retry` to False if a later attempt cannot succeed."""
        super().__init__(what, where=where, remedy=remedy)
        self.retry = retry


class CompileError(EdgeRuntimeError):
    """A bundle could not be compiled."""

    exit_code = 10


class TargetError(CompileError):
    """The device is unknown, or its description is malformed."""


class ToolchainError(CompileError):
    """A compiler or TVM is missing or unsuitable."""


class NetworkUnsupportedError(CompileError):
    """The network contains an operator that the compiler does not support."""


class BoardError(EdgeRuntimeError):
    """A board cannot be tested."""

    exit_code = 12


class BoardUnreachableError(BoardError):
    """ssh cannot connect to the board."""


class BoardUnfitError(BoardError):
    """The board has another CPU, no suitable Python, or too little disk space."""


class BoardLostError(BoardError):
    """The connection to the board broke during a test."""


class TrustError(EdgeRuntimeError):
    """A model or release may not be used. Not a `ModelError`, so that no engine falls back."""

    exit_code = 14


class SignatureError(TrustError):
    """The signature is missing or wrong, or its key is unknown or revoked."""


class TrustStoreError(TrustError):
    """The installed keys cannot be read, or signatures cannot be verified."""


class FleetError(EdgeRuntimeError):
    """The board cannot follow its fleet. It continues to recognize what it knows."""

    exit_code = 15


class NotJoinedError(FleetError):
    """The board has not joined a fleet."""


class FleetFormatError(FleetError):
    """A version or a proposal is malformed."""


class FleetContentError(FleetError):
    """A version does not apply to this gallery, or not with the content that it names."""


class FleetModelError(FleetError):
    """A version is for galleries of another model."""


class FleetSignatureError(FleetError):
    """The fleet did not sign the metadata, or it is older than what was seen, or expired."""


class FleetUnreachableError(FleetError):
    """The fleet's files cannot be fetched now."""


class ClockError(FleetError):
    """The board's clock cannot be right, so nothing that expires can be believed."""


class DeskError(FleetError):
    """The folder of a desk is missing, damaged or in use."""


def storage_error(error: OSError | sqlite3.Error, where: object) -> StorageError | None:
    """Return `error` as a `StorageError` if the disk caused it, else None."""
    cause = disk_fault(error, where)
    return StorageError(cause[0], where=where, remedy=cause[1]) if cause else None
