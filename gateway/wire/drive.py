"""Coroutine driver: it runs an exchange's coroutine from protocol callbacks, without an asyncio Task.

A Task per request costs two trips through the event loop for each await. An exchange rarely needs the loop: its
identity is cached and its connection is idle, so it runs from the bytes of the request to the bytes sent upstream in
one call, and from the response's bytes to its own end in another. So a :class:`Drive` steps the coroutine by hand:
it runs until it awaits a :class:`Signal` that is not set, and continues, at once, in the call that sets it.

Laws:

- A driven coroutine awaits signals only; asyncio awaitables go through :func:`offload`.
- A step never runs inside another step of the same drive: an error thrown meanwhile is raised at the next await.
- An error thrown into a drive is raised where the coroutine waits, and its ``finally`` clauses run.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

T = TypeVar("T")


class Abandoned(Exception):
    """Offloaded work was cancelled by other code than the exchange that awaits it."""


def report(message: str, error: Exception) -> None:
    """Pass an error that no caller can receive any more to the loop's exception handler."""
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})


class Signal(Generic[T]):
    """One-shot future for driven coroutines: a value is set once, and one coroutine awaits it."""

    __slots__ = ("_drive", "_error", "_value", "done")

    def __init__(self) -> None:
        self.done = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._drive: Drive | None = None

    def set(self, value: T) -> None:
        """Set the value, and run the waiting coroutine before this returns. Later calls are ignored."""
        if not self.done:
            self.done = True
            self._value = value
            self._wake()

    def fail(self, error: BaseException) -> None:
        """Set an error, which is raised where the signal is awaited. Later calls are ignored."""
        if not self.done:
            self.done = True
            self._error = error
            origin = error.__traceback__
            self._wake()
            error.__traceback__ = origin  # see Drive.throw

    def _wake(self) -> None:
        drive, self._drive = self._drive, None
        if drive is not None:
            drive.resume(self)

    def park(self, drive: Drive) -> None:
        """Store the drive that is resumed when the signal is set."""
        self._drive = drive

    def __await__(self) -> Generator[Signal[T], None, T]:
        if not self.done:
            yield self
        if self._error is not None:
            raise self._taken(self._error)
        return self._value  # type: ignore[return-value]  # done is true and there is no error, so set() stored a T

    def _taken(self, error: BaseException) -> BaseException:
        """Return the signal's error, which is raised only once: its traceback would grow each time.

        The traceback refers to the frame of `__await__`, and so to the signal, which must not refer to the error: that
        would be a cycle, and all of the request would wait for the garbage collector.
        """
        self._error = None
        return error


class Drive:
    """Driver of one coroutine: it steps the coroutine from callbacks until it ends.

    Attributes:
        waited: The coroutine has waited, so it does not end within the call of ``start``.
    """

    __slots__ = ("_pending", "_stepping", "_steps", "_waiting", "waited")

    def __init__(self, coroutine: Coroutine[Any, None, None]) -> None:
        """Prepare to run `coroutine`."""
        self._steps = coroutine.__await__()
        self._waiting: Signal[Any] | None = None
        self._pending: BaseException | None = None
        self._stepping = False
        self.waited = False

    def start(self) -> None:
        """Run to the first await of an unset signal, or to the end."""
        self._step()

    def resume(self, signal: Signal[Any]) -> None:
        """Continue after `signal`; a signal that is no longer awaited is ignored."""
        if signal is self._waiting:
            self._waiting = None
            self._step()

    def throw(self, error: BaseException) -> None:
        """Raise `error` where the coroutine waits, or at its next await if it is running now.

        After a coroutine that waited, the error's traceback is what it was before. Else it would refer to the
        coroutine's frames, they to the frames that called them, and these to the error: a cycle, which holds all of the
        request until the garbage collector comes. So an error is reported before the coroutine waits again.
        """
        if self._stepping:
            self._pending = error
        elif self._waiting is not None:
            self._waiting = None
            self._pending = error
            origin = error.__traceback__
            self._step()
            error.__traceback__ = origin

    def ended(self, escaped: Exception | None) -> None:
        """Handle the end of the coroutine, with the exception that escaped (normally None); called once.

        Each subclass does. The class is no ABC, since compiled code calls this method directly.
        """
        raise NotImplementedError

    def _step(self) -> None:
        self._stepping = True
        escaped: Exception | None = None
        signal: Any = None
        try:
            while True:
                waits = False
                if self._pending is None:
                    for signal in self._steps:  # noqa: B007 -- one step: a loop finds the end without StopIteration
                        waits = True
                        break
                else:
                    signal = self._steps.throw(self._taken(self._pending))
                    waits = True
                if self._pending is None or not waits:
                    break
        except StopIteration:
            pass
        except Exception as failure:  # noqa: BLE001 -- handed to `ended`, which reports it
            escaped = failure
        else:
            if waits:
                self._stepping = False
                self.waited = True
                self._waiting = signal
                signal.park(self)
                return
        self._stepping = False
        self.ended(escaped)

    def _taken(self, error: BaseException) -> BaseException:
        """Return the pending error, which nothing of the drive refers to any more: see `throw`."""
        self._pending = None
        return error


class CallbackDrive(Drive):
    """Driver of one coroutine that calls a function at its end."""

    __slots__ = ("_call",)

    def __init__(
        self, coroutine: Coroutine[Any, None, None], call: Callable[[Exception | None], object]
    ) -> None:
        """`call` gets the exception that escaped (normally None)."""
        super().__init__(coroutine)
        self._call = call

    def ended(self, escaped: Exception | None) -> None:
        """Call the function."""
        self._call(escaped)


def settled(task: asyncio.Task[T]) -> Signal[T]:
    """Return what a driven coroutine awaits in place of a Task. An error thrown into it leaves the Task running.

    If the Task is cancelled, :class:`Abandoned` is raised where the coroutine waits.
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
    return signal


async def offload(work: Coroutine[object, None, T]) -> T:
    """Await `work`, which needs a running Task (sockets, timeouts, the database), from a driven coroutine.

    An error thrown into the driven coroutine cancels the Task.
    """
    # In a list, which is emptied: the Task holds its error, whose traceback refers to this frame, as in a cycle.
    running = [asyncio.get_running_loop().create_task(work)]
    try:
        return await settled(running[0])
    finally:
        _end(running.pop())


def _end(task: asyncio.Task[T]) -> None:
    if not task.done():
        task.cancel()


async def attend(work: Coroutine[Any, None, T]) -> T:
    """Await `work`, which has to be driven, from a Task: the reverse of :func:`offload`."""
    ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    results: list[T] = []

    async def run() -> None:
        results.append(await work)

    def settle(escaped: Exception | None) -> None:
        if not ended.done():
            ended.set_result(escaped)

    drive = CallbackDrive(run(), settle)
    drive.start()
    try:
        escaped = await ended
    except asyncio.CancelledError:
        drive.throw(Abandoned("cancelled"))
        raise
    if escaped is not None:
        raise escaped
    return results[0]
