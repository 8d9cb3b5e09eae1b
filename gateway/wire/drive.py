"""Running an exchange's coroutine from protocol callbacks, without a Task.

A Task per request costs two trips through the event loop for each await. An exchange rarely needs the loop: its
identity is in memory and its connection is idle, so it runs from the bytes of the request to the bytes sent upstream in
one call, and from the response's bytes to its own end in another. So a :class:`Drive` steps the coroutine by hand:
it runs until it awaits a :class:`Signal` nobody has set, and goes on, at once, in the call that sets it.

Laws:

- Such a coroutine awaits signals only; anything of asyncio's goes through :func:`offload`.
- A step never runs inside another step of the same drive: an error thrown meanwhile is kept for the next await.
- When a drive is thrown into, it is told where it waits; what it then does is its own (its ``finally`` clauses run).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

T = TypeVar("T")


class Abandoned(Exception):
    """Offloaded work was cancelled by somebody else than the exchange that awaits it."""


def report(message: str, error: Exception) -> None:
    """Tell the loop's exception handler of an error that nobody is left to raise it to."""
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})


class Signal(Generic[T]):
    """A value that will be set once, by whoever has it, for the one coroutine that awaits it."""

    __slots__ = ("_drive", "_error", "_value", "done")

    def __init__(self) -> None:
        self.done = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._drive: Drive | None = None

    def set(self, value: T) -> None:
        """Hand over the value; the waiting coroutine runs on before this returns. Later calls are ignored."""
        if not self.done:
            self.done = True
            self._value = value
            self._wake()

    def fail(self, error: BaseException) -> None:
        """Raise `error` where the value is awaited. Later calls are ignored."""
        if not self.done:
            self.done = True
            self._error = error
            self._wake()

    def _wake(self) -> None:
        drive, self._drive = self._drive, None
        if drive is not None:
            drive.resume(self)

    def park(self, drive: Drive) -> None:
        """Note who is to be resumed."""
        self._drive = drive

    def __await__(self) -> Generator[Signal[T], None, T]:
        if not self.done:
            yield self
        if self._error is not None:
            # The traceback of an error raised twice grows; a signal's is raised once.
            raise self._error
        return self._value  # type: ignore[return-value]  # set() ran, so this is a T


_END: Final[Any] = object()


class Drive:
    """One coroutine, stepped from callbacks until it ends."""

    __slots__ = ("_ended", "_pending", "_stepping", "_steps", "_waiting")

    def __init__(
        self, coroutine: Coroutine[Any, None, None], ended: Callable[[Exception | None], None]
    ) -> None:
        """Prepare to run `coroutine`; `ended` is called once, with what escaped it (nothing should)."""
        self._steps = coroutine.__await__()
        self._ended = ended
        self._waiting: Signal[Any] | None = None
        self._pending: BaseException | None = None
        self._stepping = False

    def start(self) -> None:
        """Run to the first await that has to wait, or to the end."""
        self._step(None)

    def resume(self, signal: Signal[Any]) -> None:
        """Go on after `signal`; one that is no longer awaited is ignored."""
        if signal is self._waiting:
            self._waiting = None
            self._step(None)

    def throw(self, error: BaseException) -> None:
        """Raise `error` where the coroutine waits, or at its next await when it is running now."""
        if self._stepping:
            self._pending = error
        elif self._waiting is not None:
            self._waiting = None
            self._step(error)

    def _step(self, error: BaseException | None) -> None:
        self._stepping = True
        escaped: Exception | None = None
        try:
            while True:
                # next() with a default tells the end without raising, which most exchanges come to here.
                signal = next(self._steps, _END) if error is None else self._steps.throw(error)
                if self._pending is None or signal is _END:
                    break
                error, self._pending = self._pending, None
        except StopIteration:
            pass
        except Exception as failure:  # noqa: BLE001 -- handed to `ended`, which reports it
            escaped = failure
        else:
            if signal is not _END:
                self._stepping = False
                self._waiting = signal
                signal.park(self)
                return
        self._stepping = False
        self._ended(escaped)


async def settled(task: asyncio.Task[T]) -> T:
    """Await a Task from a driven coroutine. When the coroutine is thrown into, the Task goes on by itself.

    Raises:
        Abandoned: the Task was cancelled.
    """
    signal: Signal[T] = Signal()

    def settle(ended: asyncio.Task[T]) -> None:
        if ended.cancelled():
            signal.fail(Abandoned("cancelled"))
        elif (error := ended.exception()) is not None:
            signal.fail(error)
        else:
            signal.set(ended.result())

    task.add_done_callback(settle)
    return await signal


async def offload(work: Coroutine[object, None, T]) -> T:
    """Await `work`, which needs a running Task (sockets, timeouts, the database), from a driven coroutine.

    When the driven coroutine is thrown into, the Task is cancelled.
    """
    task = asyncio.get_running_loop().create_task(work)
    try:
        return await settled(task)
    finally:
        if not task.done():
            task.cancel()


async def attend(work: Coroutine[Any, None, T]) -> T:
    """Await `work`, which has to be driven, from a Task: the way back from :func:`offload`."""
    ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    results: list[T] = []

    async def run() -> None:
        results.append(await work)

    def settle(escaped: Exception | None) -> None:
        if not ended.done():
            ended.set_result(escaped)

    drive = Drive(run(), settle)
    drive.start()
    try:
        escaped = await ended
    except asyncio.CancelledError:
        drive.throw(Abandoned("cancelled"))
        raise
    if escaped is not None:
        raise escaped
    return results[0]
