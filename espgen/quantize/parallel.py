"""The same pure function over many arguments: in this process, in worker processes, or on a Dask cluster."""

from __future__ import annotations

import copyreg
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import MappingProxyType, TracebackType
from typing import Any, Generic, TypeVar

from espgen.errors import EspgenError, environment_error

Argument = TypeVar("Argument")
Result = TypeVar("Result")
_worker_task: Any = None


def _rebuild(data: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(data)


# Graphs hold read-only views of dicts, which pickle does not know.
copyreg.pickle(MappingProxyType, lambda view: (_rebuild, (dict(view),)))


def _install(task: Any) -> None:
    global _worker_task
    _worker_task = task
    # A worker that is interrupted just ends: the process that waits for it tells the user.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _hold_interrupts(False)


@contextmanager
def _held_interrupts() -> Iterator[None]:
    """Ctrl-C waits, here and in the processes that are started meanwhile, until they say otherwise."""
    _hold_interrupts(True)
    try:
        yield
    finally:
        _hold_interrupts(False)


def _hold_interrupts(hold: bool) -> None:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK if hold else signal.SIG_UNBLOCK, {signal.SIGINT})


def _call(argument: Any) -> Any:
    return _worker_task(argument)


class Pool(Generic[Argument, Result]):
    """Runs one task over arguments; results come in the order of the arguments, whoever computes them.

    The task is sent to each worker process once. Raises EspgenError (exit code 3) where Dask or its scheduler is missing.
    """

    def __init__(self, jobs: int, dask: str | None, task: Callable[[Argument], Result]) -> None:
        if jobs < 1:
            raise EspgenError(f"--jobs {jobs}: at least one process is needed", place="--jobs")
        self.task = task
        self._executor: Executor | None = None
        self._client: Any = None
        self._sent: Any = None
        if dask is not None:
            self._client = _client(dask)
            self._sent = self._client.scatter(task, broadcast=True)
        elif jobs > 1:
            context = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(jobs, mp_context=context, initializer=_install, initargs=(task,))

    def run(self, arguments: Sequence[Argument]) -> list[Result]:
        """The task's results for all arguments."""
        return list(self.results(arguments))

    def results(self, arguments: Sequence[Argument]) -> Iterator[Result]:
        """The same one by one, as they come, in the order of the arguments."""
        if self._client is not None:
            futures = [self._client.submit(_apply, self._sent, argument, pure=False) for argument in arguments]
            yield from (future.result() for future in futures)
        elif self._executor is not None:
            with _held_interrupts():
                results = self._executor.map(_call, arguments)
            try:
                yield from results
            except BrokenProcessPool:
                raise environment_error(
                    "a worker process died", place="--jobs", hint="use fewer: each needs memory of its own"
                ) from None
        else:
            yield from (self.task(argument) for argument in arguments)

    def __enter__(self) -> Pool[Argument, Result]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._executor is not None:
            if kind is not None and not issubclass(kind, Exception):  # interrupted: nobody waits for what runs
                for process in multiprocessing.active_children():
                    process.terminate()
            self._executor.shutdown(cancel_futures=True)
        if self._client is not None:
            self._client.close()


def _apply(task: Callable[[Any], Any], argument: Any) -> Any:
    return task(argument)


def _client(address: str) -> Any:
    try:
        import distributed
    except ImportError as error:
        raise environment_error("--dask needs distributed", hint="pip install 'espgen[dask]'") from error
    try:
        make_client: Any = distributed.Client
        return make_client(address, timeout="10s", set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise environment_error(
            f"no Dask scheduler answers: {error}", place=f"--dask {address}", hint="start one with `dask scheduler`"
        ) from None
