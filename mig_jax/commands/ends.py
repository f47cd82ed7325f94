"""How a signal ends a command: with one line, and by the signal itself, at any moment.

Imported before anything else, so it imports little. The moments of a command are three. While it
is being imported nothing is there to lose: a signal ends the process at once. While it runs, a
signal is raised as an exception, so that what is half done is removed. When it is done, nothing
is left to be ended.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:  # At run time it would take longer than all else here.
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, NoReturn

__all__ = ["SignalCame", "die_by", "end_at_once", "ignore_all", "in_one_line", "raised"]

#: What is said of each signal that ends a command: Ctrl-C, `kill`, and a terminal that is closed.
_WORDS = {
    getattr(signal, name): word
    for name, word in (("SIGINT", "interrupted"), ("SIGTERM", "terminated"), ("SIGHUP", "hung up"))
    if hasattr(signal, name)
}

#: A signal that nobody sends a process, and that does nothing: it only ends waits.
_WAKES = tuple(getattr(signal, name) for name in ("SIGURG",) if hasattr(signal, name))


class SignalCame(KeyboardInterrupt):
    """A signal that ends the command, as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def in_one_line(name: str, number: int, told: str) -> str:
    """What a command says that a signal ends."""
    return f"{name}: {_WORDS.get(number, 'interrupted')}; {told}\n"


class _EndAtOnce:
    """A handler that ends the process with one line."""

    def __init__(self, name: str, told: Callable[[], str]) -> None:
        self._name, self._told = name, told

    def __call__(self, number: int, _: Any) -> NoReturn:
        line = in_one_line(self._name, number, self._told())
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.write(sys.stderr.fileno(), line.encode("utf-8", "backslashreplace"))
        die_by(number)


def end_at_once(name: str) -> None:
    """From now on a signal ends the process at once, with one line; for the start of a program."""
    _handle(_EndAtOnce(name, lambda: "no output was written"))


def ignore_all() -> None:
    """From now on no signal of these ends the process: all is done, and Python only tidies up.

    Else it would end without a word, as Python lets go of all handlers then.
    """
    _handle(signal.SIG_IGN)


def die_by(number: int) -> NoReturn:
    """Ends the process by the signal itself, so that a loop in a shell ends with it.

    At once: a compilation goes on in one of XLA's threads, and crashes if an ordinary exit
    takes away what it works on.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # RuntimeError: it is busy.
            stream.flush()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    os._exit(128 + number)  # If the system ignores it.


@contextlib.contextmanager
def raised(name: str, told: Callable[[], str]) -> Iterator[None]:
    """Within, the first signal raises `SignalCame`, and one that comes after it ends at once.

    So does a signal that came when Python could not raise it: it is sent again. Such a place is
    the callback that JAX has at each garbage collection: most interrupts of a compilation end up
    there (jax issue 18246), and the command would go on as if there were none.

    Nor is a signal hidden by an error on the way out, in what tidies up.
    """
    hook = sys.unraisablehook
    sent_again: list[threading.Event] = []  # Each is set once the signal need not be sent.
    is_in_hook = False

    def send_again(number: int) -> None:
        sent_again.append(threading.Event())
        sender = threading.Thread(target=_send, args=(number, sent_again[-1]), daemon=True)
        sender.start()

    def no_longer() -> None:
        while sent_again:
            sent_again.pop().set()

    def first(number: int, _: Any) -> None:
        if is_in_hook:  # Raised there, it would be lost.
            send_again(number)
            return
        no_longer()
        if not hasattr(sys, "ps1"):
            _handle(_EndAtOnce(name, told))
        raise SignalCame(number)

    def unraisable(what: sys.UnraisableHookArgs) -> None:
        nonlocal is_in_hook
        if not issubclass(what.exc_type, KeyboardInterrupt):
            hook(what)
            return
        is_in_hook = True
        _handle(first)
        send_again(getattr(what.exc_value, "number", signal.SIGINT))
        is_in_hook = False

    before = _handle(first) | _handle(lambda *_: None, _WAKES)
    sys.unraisablehook = unraisable
    try:
        yield
    except BaseException as error:
        came = _interrupt_behind(error)
        if came is None:
            raise
        if not hasattr(sys, "ps1"):
            before = {}  # The process is about to end.
        raise came from None
    finally:
        sys.unraisablehook = hook
        no_longer()
        for number, handler in before.items():
            # What a program said at its start is no longer so.
            is_of_start = isinstance(handler, _EndAtOnce)
            signal.signal(number, _EndAtOnce(name, told) if is_of_start else handler)


def _interrupt_behind(error: BaseException | None) -> KeyboardInterrupt | None:
    """The interrupt that led to an error, if one did.

    A library may fail when it tidies up what the interrupt cut short: tqdm gives back a lock that
    it has not taken yet.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error


def _handle(
    handler: Callable[[int, Any], None] | signal.Handlers, numbers: Iterable[int] = _WORDS
) -> dict[int, Any]:
    """Sets the handler of each signal that nobody ignores; gives the handlers before."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            found = signal.getsignal(number)
            if found not in (None, signal.SIG_IGN):
                before[number] = found
                signal.signal(number, handler)
    return before


def _send(number: int, is_raised: threading.Event) -> None:
    """Sends a signal to the main thread, as Ctrl-C does, and ends its waits until it is raised.

    Python runs no handler while the main thread waits for the system. A signal ends such a wait,
    but not if it comes just before; then the next does. That is another one than was sent: more
    of the same would be taken for a second Ctrl-C by a run that is busy with cleaning up.
    """
    pause = 0.01
    if is_raised.wait(pause):  # Sent at once, it would be raised in the same callback.
        return
    main = threading.main_thread().ident
    if main is None or not hasattr(signal, "pthread_kill"):
        _thread.interrupt_main(signal.Signals(number))  # On Windows, where no wait misses it.
        return
    signal.pthread_kill(main, number)
    while not is_raised.wait(pause):
        pause = min(2 * pause, 1.0)
        for wake in _WAKES:
            signal.pthread_kill(main, wake)
