"""A lock in an object store: an object with its owner's name, who renews it while it is at work.

It is put, renewed and taken over by conditional requests alone, so that of several runs one wins. No clock is
compared with another: a lease has run out when an onlooker has seen it unchanged for as long as it lasts.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.store.location import Location
from mmnet_maps.store.remote import Remote
from mmnet_maps.store.whole import is_running

__all__ = ["LEASE_S", "leased"]

#: Seconds that a lease lasts; it is renewed six times as often.
LEASE_S = 30.0


@contextmanager
def leased(lock: Remote, path: Location) -> Iterator[str]:
    """Hold a lock in an object store while the block runs; gives the name of the run.

    Parameters
    ----------
    lock : Remote
        The object.
    path : Path or Remote
        What it protects, for messages.

    Raises
    ------
    InputError
        Another run holds it.
    WorkError
        The lease was lost while the block ran.
    """
    lease = _Lease(lock, path)
    lease.take()
    try:
        with lease.renewed():
            yield lease.run
        lease.confirm()
    finally:
        lease.release()


@dataclass
class _Lease:
    lock: Remote
    path: Location
    run: str = field(default_factory=lambda: uuid.uuid4().hex)
    tag: str | None = None
    renewals: int = 0
    since: float = 0.0

    def take(self) -> None:
        """Put the lock where there is none, or where its owner is dead.

        One whose owner may live is watched until it is renewed, and this run refused, or its lease ends.
        """
        seen, began = None, time.monotonic()
        while True:
            try:
                now = self.lock.stat().tag
                owner = json.loads(self.lock.read_bytes())
            except FileNotFoundError:
                now, owner = None, {}
            except ValueError:
                owner = {}
            if now is None or _is_dead(owner) or (now == seen and time.monotonic() - began > LEASE_S):
                if self._put(now):
                    return
                seen = now
            elif seen is not None and now != seen:
                who = f"process {owner.get('process', 'unknown')} on {owner.get('host', 'unknown')}"
                raise InputError(f"{self.path}: another run is writing to it ({who}); wait for its end")
            else:
                seen = now
            time.sleep(LEASE_S / 60)

    def _put(self, tag: str | None) -> bool:
        content = {"run": self.run, **_self(), "renewals": self.renewals}
        began = time.monotonic()
        done = self.lock.write_bytes_if(json.dumps(content).encode(), tag)
        if done is not None:
            self.tag, self.since = done, began
        return done is not None

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew the lease in a thread of its own."""
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(LEASE_S / 6):
                self.renewals += 1
                try:
                    if not self._put(self.tag):
                        return
                except (WorkError, InputError):
                    continue  # tried again, as long as nobody has taken over

        thread = threading.Thread(target=renew, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(LEASE_S)

    def confirm(self) -> None:
        """Refuse to say that all is well where another run has taken over."""
        if not self._is_own():
            raise WorkError(
                f"{self.path}: the lock was lost: out of reach for {LEASE_S:.0f} s, and another "
                "run may write there; run the same command again to go on"
            )

    def release(self) -> None:
        """Remove the lock, if it cannot have passed to another meanwhile."""
        with suppress(WorkError, InputError):
            if time.monotonic() - self.since < LEASE_S / 2 and self._is_own():
                self.lock.unlink(missing_ok=True)

    def _is_own(self) -> bool:
        try:
            return bool(json.loads(self.lock.read_bytes()).get("run") == self.run)
        except (FileNotFoundError, ValueError):
            return False


def _self() -> dict[str, Any]:
    return {"host": socket.gethostname(), "process": os.getpid(), "machine": _machine()}


def _machine() -> str:
    """What tells processes of one number apart; empty where the system does not say."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    try:
        return f"{boot.read_text(encoding='ascii').strip()} {space.readlink()}"
    except OSError:
        return ""


def _is_dead(owner: dict[str, Any]) -> bool:
    """Whether the owner was a process of this machine that has ended."""
    process, machine = owner.get("process"), _machine()
    if not machine or owner.get("machine") != machine or not isinstance(process, int):
        return False
    return not is_running(process)
