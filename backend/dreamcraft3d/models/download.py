"""Gets models from the hub: mirrors in order, files already whole not again, every failure a sentence with a way out."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from dreamcraft3d.errors import UserError
from dreamcraft3d.models.catalogue import Model
from dreamcraft3d.models.folder import Lock, LockedFile, Verdict, check_files, model_folder, wanted, write_lock

_LOOK_SECONDS = 0.2

Told = Callable[[int, int], None]
"""Is told how many bytes are there, and of how many."""


def download(model: Model, told: Told, said: Callable[[str], None], repository: str | None = None) -> Lock:
    """Get a model's files and write their lock.

    A file cut short is gone on with while the command runs, a few times; the next run asks only for the files that are
    not yet whole.

    Args:
        model: from the catalogue.
        told: told of the bytes now and then.
        said: told which mirror is tried next, and why.
        repository: the only one to ask, instead of the catalogue's in order.

    Raises:
        UserError: it could not be had, with the reason of each repository.
    """
    if constants.HF_HUB_OFFLINE:
        raise UserError(
            "The network is switched off by HF_HUB_OFFLINE.",
            f"Unset it, or copy the files by hand to {model_folder(model.name)}.",
        )
    _check_hub(constants.ENDPOINT)
    folder = model_folder(model.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", blocking=False):
            for rest in (folder / ".cache").rglob("*.incomplete"):  # of a download that was killed
                rest.unlink()
            return _try_each([repository] if repository else list(model.repositories), model, told, said)
    except Timeout:
        raise UserError(f"Another process is downloading {model.name}.", "Wait until it is done.") from None
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror or error}.", "Set DREAMCRAFT3D_MODELS.") from None


def _check_hub(address: str) -> None:
    """Raises UserError for a hub that is spoken to in clear: what is downloaded is compared with what it says itself."""
    hub = urlsplit(address)
    if hub.scheme == "https" or _is_here(hub.hostname or ""):
        return
    raise UserError(
        f"The hub {address} is not spoken to by https, so that anybody on the way could change the models.",
        "Unset HF_ENDPOINT, or give it an address that begins with https://.",
    )


def _is_here(host: str) -> bool:
    """Whether this is the computer that we are on."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _try_each(repositories: list[str], model: Model, told: Told, said: Callable[[str], None]) -> Lock:
    reasons: list[str] = []
    for candidate in repositories:
        if reasons:
            said(f"{reasons[-1]} Trying {candidate}.")
        try:
            return _download_from(model, candidate, told)
        except GatedRepoError:
            # A gate is a licence to be accepted, not a fault to be got round by a mirror.
            raise UserError(f"{candidate} is gated.", _gate_hint(model, candidate)) from None
        except RepositoryNotFoundError:
            reasons.append(f"{candidate} is gone, or private.")
        except _Incomplete as incomplete:
            reasons.append(f"{candidate}: {incomplete}")
        except (LocalEntryNotFoundError, OfflineModeIsEnabled):
            reasons.append(f"{candidate} cannot be reached.")
        except HfHubHTTPError as error:
            reasons.append(f"{candidate} answers {error.response.status_code}.")
        except HTTPError:
            reasons.append(f"The connection to {candidate} failed.")
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise _disk_full(model, None) from None
            reasons.append(f"{candidate}: {error.strerror or 'the files cannot be written'}.")
    raise UserError(f"The model {model.name} could not be had. {' '.join(reasons)}", _way_out(model))


class _Incomplete(Exception):
    """The hub gave something else than it said it would."""


def _download_from(model: Model, repository: str, told: Told) -> Lock:
    info = HfApi().model_info(repository, files_metadata=True)
    files = {
        s.rfilename: LockedFile(size=s.size, sha256=s.lfs.sha256 if s.lfs else None)
        for s in info.siblings or []
        if wanted(model, s.rfilename)
    }
    if not files:
        raise _Incomplete("none of the files needed is there.")
    folder = model_folder(model.name)
    _remove_bad(model, files)
    total = sum(file.size or 0 for file in files.values())
    more = total - sum(_size(folder / name) for name in files)
    if shutil.disk_usage(folder).free < more:
        raise _disk_full(model, more)
    with _watched(folder, files, total, told):
        snapshot_download(repository, revision=info.sha, local_dir=folder, allow_patterns=list(files))
    # The library hands back any folder that is not empty when it cannot ask the hub, so look for ourselves.
    bad = _remove_bad(model, files)
    if bad:
        raise _Incomplete(f"not whole: {', '.join(f'{verdict.file} ({verdict.state})' for verdict in bad)}.")
    lock = Lock(repository=repository, commit=info.sha or "", files=files)
    write_lock(model.name, lock)
    return lock


def _remove_bad(model: Model, files: dict[str, LockedFile]) -> list[Verdict]:
    """Delete what differs from the hub's files, which the library would take for done; return what is not there now."""
    bad = [verdict for verdict in check_files(model, files) if not verdict.good]
    for verdict in bad:
        (model_folder(model.name) / verdict.file).unlink(missing_ok=True)
    return bad


@contextmanager
def _watched(folder: Path, files: dict[str, LockedFile], total: int, told: Told) -> Iterator[None]:
    """Tell of the bytes in the folder while its files grow; parts of files lie under ``.cache``."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(_LOOK_SECONDS):
            parts = sum(_size(part) for part in (folder / ".cache").rglob("*.incomplete"))
            told(min(total, sum(_size(folder / name) for name in files) + parts), total)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
        told(total, total)
    finally:
        done.set()
        watcher.join()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # not there, or just moved
        return 0


def _disk_full(model: Model, more: int | None) -> UserError:
    needed = f", which needs {more / 1e9:.1f} GB more" if more else ""
    return UserError(
        f"The disk of {model_folder(model.name)} has no room for {model.name}{needed}.",
        "Make room, or set DREAMCRAFT3D_MODELS to a folder on another disk.",
    )


def _gate_hint(model: Model, repository: str) -> str:
    mirrors = [other for other in model.repositories if other != repository]
    choose = f" Or choose a mirror: --mirror {mirrors[0]}." if mirrors else ""
    return (
        f"Accept the licence at {constants.ENDPOINT}/{repository}, then set HF_TOKEN to a token of that account.{choose} "
        f"Or copy the files to {model_folder(model.name)}."
    )


def _way_out(model: Model) -> str:
    return f"Try again later, name a mirror by --mirror, or copy the files to {model_folder(model.name)}."
