"""A server that speaks OpenAI's API: many questions at a time, and what to do when it fails.

Failures are of three kinds. What no other question would change ends the run at once: nobody
listens, the key is wrong, the model is unknown. What may pass is tried again, later and later: it
is busy, it is broken, the line is cut, what came is no answer. What is about one question rejects
its record: it is too long, or keeps failing while others are answered. If nothing is answered any
more, the run ends, and the same command goes on from there.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import itertools
import os
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, NoReturn, Self, TypeVar
from urllib.parse import urlsplit

from mig_jax import errors
from mig_jax.annotation.servers._answers import Answer, Answers, Question
from mig_jax.annotation.servers._replies import (
    Reply,
    RequestFailedError,
    ServerBusyError,
    adapted,
    answer_of,
    in_short,
    models_of,
    reason_of,
    waiting_time,
)
from mig_jax.annotation.texts import Rejected
from mig_jax.errors import InputError

__all__ = ["KEY_VARIABLE", "Endpoint", "RequestLimits"]

#: The environment variable that holds the key; it is read from nowhere else.
KEY_VARIABLE = "OPENAI_API_KEY"
_HOPELESS = 20  # Questions that fail one after another: then it is the server, and not they.
_LONGEST_WAIT = 600.0  # Seconds.
_LONGEST_REPLY = 8 << 20  # Bytes.
_GOES_ON = "what was answered is kept, and the same command goes on from there"
_Result = TypeVar("_Result")


@dataclasses.dataclass(frozen=True)
class RequestLimits:
    """How a server is asked."""

    parallel: int = 16  # Requests at a time.
    timeout: float = 300.0  # Seconds until a request has its whole answer.
    retries: int = 6  # Times that a request is sent again.
    first_wait: float = 0.5  # Seconds before the first time; about twice as many before the next.
    longest_wait: float = 60.0


class Endpoint:
    """A server, for all taggers and scorers of a run; a `with` block keeps its connections."""

    def __init__(
        self,
        url: str,
        limits: RequestLimits = RequestLimits(),
        *,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        """The API's address, such as `http://localhost:8000/v1`; `on_wait` is called now and then.

        Raises:
          InputError: if that is no address of a server, or the extra is not installed.
        """
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None or parts.query:
            # What stands in a flag is written to manifests.
            raise InputError(
                "--endpoint: holds a user, a password or a query; expected an address without "
                f"secrets, such as https://host/v1 (the key comes from {KEY_VARIABLE})"
            )
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
            raise InputError(f"--endpoint: found {url}, expected one as http://localhost:8000/v1")
        self._http = errors.require("httpx2", "--endpoint", "endpoint")
        self.url = url.rstrip("/")
        self.on_wait = on_wait
        self.answers: Answers | None = None
        self._limits = limits
        self._dropped: set[str] = set()  # Options that the server does not take.
        self._not_before = 0.0  # When the server wants to be asked again, by the loop's clock.
        self._failures = 0  # Questions given up since the last answer.
        self._answered = False  # Whether it has answered anything.
        self._gives_logprobs = False

    def __enter__(self) -> Self:
        """Connects, and asks whether anybody is there.

        Raises:
          InputError: if nobody is, or the key is wrong.
        """
        self._key = os.environ.get(KEY_VARIABLE, "").strip()
        if not (self._key.isascii() and (self._key.isprintable())):
            raise InputError(f"{KEY_VARIABLE}: holds characters that no key has")
        self._loop = asyncio.new_event_loop()
        # A thread of its own: notebooks have a loop already, and a signal ends the main one's wait.
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        try:
            self._client = self._wait(self._connect())
            self.models = self._wait(self._greet())
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *about: object) -> None:
        self._close()

    def model_named(self, name: str | None, flag: str) -> str:
        """The name, which `flag` gives.

        Raises:
          InputError: if it is missing; it says which models the server has.
        """
        if name:
            return name
        known = f"; it has {in_short(', '.join(self.models))}" if self.models else ""
        raise InputError(f"{flag}: missing, expected the name of a model at {self.url}{known}")

    def ask(self, questions: Sequence[Question]) -> list[Answer | Rejected]:
        """The answer to each question, or why there is none; the same question is asked once.

        Raises:
          InputError: if the server cannot be used, or answers nothing any more.
        """
        keys = [question.key() for question in questions]
        found: dict[bytes, Answer | Rejected] = {}
        missing: dict[bytes, Question] = {}
        for key, question in zip(keys, questions, strict=True):
            kept = None if self.answers is None else self.answers.get(key)
            if kept is not None:
                found[key] = kept
            else:
                missing.setdefault(key, question)
        if missing:
            self._wait(self._ask_all(missing, found))
        return [found[key] for key in keys]

    # The rest runs in the loop's thread.

    async def _connect(self) -> Any:
        http = self._http
        most = self._limits.parallel
        return http.AsyncClient(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            limits=http.Limits(max_connections=most, max_keepalive_connections=most),
            # The whole of a request has a limit, in `_send`.
            timeout=http.Timeout(None),
        )

    async def _greet(self) -> list[str]:
        """The models that the server says it has; none if it does not say."""
        try:
            reply = await self._send("GET", "models", None, min(self._limits.timeout, 30.0))
        except RequestFailedError as failed:
            self._end(f"{failed}; expected a server that answers there")
        if reply.status in (401, 403):
            self._end(self._refused_key(reply))
        return models_of(reply)

    async def _ask_all(
        self, missing: dict[bytes, Question], found: dict[bytes, Answer | Rejected]
    ) -> None:
        """Asks as many at a time as there may be; what is not answered is rejected."""
        rest = iter(missing.items())
        workers = [
            asyncio.ensure_future(self._work(rest, found))
            for _ in range(min(self._limits.parallel, len(missing)))
        ]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        if self._failures:
            # Nothing was answered after these: are they to blame, or does it answer nobody now?
            await self._check_answering(self._last_failed)

    async def _check_answering(self, failed: Question) -> None:
        """Asks something that nothing is wrong with, and ends the run if that fails, too."""
        text = "Answer with one word: yes."
        asks = {"messages": [{"role": "user", "content": text}]}
        more = {"prompt": text} if failed.path == "completions" else asks
        body = {"model": failed.body["model"], "temperature": 0, "max_tokens": 16, **more}
        sent = adapted(Question(failed.path, body), self._dropped)
        for tries in itertools.count(1):
            await self._until_it_may()
            try:
                reply = await self._send("POST", failed.path, sent, self._limits.timeout)
                reply.check()
            except RequestFailedError as error:
                if tries > self._limits.retries:
                    self._end(f"{error}; {_GOES_ON}")
                await asyncio.sleep(self._pause(tries, error))
            else:
                if reply.status != 200:
                    self._end(f"{reason_of(reply)}; {_GOES_ON}")
                self._failures = 0
                return

    async def _work(
        self, rest: Iterator[tuple[bytes, Question]], found: dict[bytes, Answer | Rejected]
    ) -> None:
        for key, question in rest:
            answer = found[key] = await self._answer(question)
            if isinstance(answer, Answer) and self.answers is not None:
                self.answers.put(key, answer)

    async def _answer(self, question: Question) -> Answer | Rejected:
        """Asks until there is an answer, or enough is enough."""
        tries = 0
        dropped = set(self._dropped)
        while True:
            await self._until_it_may()
            sent = adapted(question, dropped)
            try:
                reply = await self._send("POST", question.path, sent, self._limits.timeout)
                option = reply.unwanted_option(sent)
                if option == "logprobs":
                    self._end(reply.no_logprobs())
                if option is not None:
                    dropped.add(option)
                    continue
                reply.check()
                if reply.status != 200:
                    return self._no_answer(question, reply)
                answer = answer_of(question, reply)
                self._check_logprobs(question, answer, reply)
            except RequestFailedError as failed:
                tries += 1
                # Of one that is busy more is put up with: the question is not to blame.
                if tries > self._limits.retries * (3 if isinstance(failed, ServerBusyError) else 1):
                    return self._give_up(question, str(failed), tries)
                await asyncio.sleep(self._pause(tries, failed))
            else:
                self._failures = 0
                self._answered = True
                # It was the option, and not the question: others need not try it.
                self._dropped |= dropped
                return answer

    def _check_logprobs(self, question: Question, answer: Answer, reply: Reply) -> None:
        if "logprobs" not in question.body or answer.refused is not None:
            return
        if answer.first is not None:
            self._gives_logprobs = True
        elif self._gives_logprobs:
            raise RequestFailedError(f"{reply.where} gave no log-probabilities this time")
        else:
            self._end(reply.no_logprobs())

    async def _until_it_may(self) -> None:
        while (left := self._not_before - self._loop.time()) > 0:
            await asyncio.sleep(left)

    def _pause(self, tries: int, failed: RequestFailedError) -> float:
        """How long to wait before the next time, in seconds; the server's word counts."""
        wait = failed.wait
        if wait is None:
            return waiting_time(tries, self._limits.first_wait, self._limits.longest_wait)
        if wait > _LONGEST_WAIT:
            self._end(f"{failed}, and wants to be asked again in {wait:.0f} s; {_GOES_ON}")
        self._not_before = max(self._not_before, self._loop.time() + wait)
        return wait + waiting_time(1, min(self._limits.first_wait, wait), 1.0)

    async def _send(self, method: str, path: str, body: Any, timeout: float) -> Reply:
        """Raises RequestFailedError if there is no whole reply."""
        content, size = [], 0
        where = f"{self.url}/{path}"
        more = {} if body is None else {"json": body}
        try:
            async with (
                asyncio.timeout(timeout),
                self._client.stream(method, where, **more) as response,
            ):
                async for part in response.aiter_bytes():
                    size += len(part)
                    content.append(part)
                    if size > _LONGEST_REPLY:
                        raise RequestFailedError(
                            f"{where} answers with more than {_LONGEST_REPLY >> 20} MiB"
                        )
        except TimeoutError:
            raise RequestFailedError(f"{where} gave no answer in {timeout:g} s") from None
        except self._http.ConnectError as error:
            raise RequestFailedError(
                f"{where} cannot be reached ({in_short(str(error))})"
            ) from None
        except (self._http.HTTPError, self._http.StreamError, OSError) as error:
            told = in_short(self._without_key(str(error) or type(error).__name__))
            raise RequestFailedError(f"{where} was cut off ({told})") from None
        except (self._http.InvalidURL, ValueError) as error:
            self._end(f"{self.url}: {self._without_key(str(error))}; expected an address")
        text = b"".join(content).decode("utf-8", "replace")
        return Reply(where, response.status_code, self._without_key(text), response.headers)

    def _no_answer(self, question: Question, reply: Reply) -> Rejected:
        """What a reply means that is none and will not be one.

        Raises:
          InputError: if it would be so for all questions.
        """
        told = reason_of(reply)
        if reply.status == 401 or (reply.status == 403 and not self._answered):
            self._end(self._refused_key(reply))
        if reply.status == 402 or reply.is_out_of_credit():
            self._end(f"{told}; {_GOES_ON}")
        model = question.body["model"]
        # Some say 400 of a model that they do not have, and name it.
        names_model = f"'{model}'" in reply.text and "context" not in reply.text
        unknown = reply.status in (404, 405) or (names_model and not self._answered)
        if unknown or 300 <= reply.status < 400:
            known = f"; it has {in_short(', '.join(self.models))}" if self.models else ""
            hint = "" if urlsplit(self.url).path else f" (is it {self.url}/v1?)"
            self._end(f"{told}; expected a server that has the model {model} there{hint}{known}")
        if reply.status == 403:
            return self._give_up(question, told, 1)
        return Rejected(told)

    def _give_up(self, question: Question, reason: str, tries: int) -> Rejected:
        self._failures += 1
        self._last_failed = question
        if self._failures >= _HOPELESS:
            self._end(f"{self._failures} requests in a row have failed; {reason}; {_GOES_ON}")
        return Rejected(f"{reason} ({tries} {'tries' if tries > 1 else 'try'})")

    def _refused_key(self, reply: Reply) -> str:
        given = "is set" if self._key else "is not set"
        return f"{reason_of(reply)}; expected a key that it takes ({KEY_VARIABLE} {given})"

    def _end(self, told: str) -> NoReturn:
        raise InputError(f"--endpoint: {told}")

    def _without_key(self, text: str) -> str:
        """Servers may say what they were sent, and what they say is told and kept."""
        return text.replace(self._key, "[key]") if self._key else text

    def _wait(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """The result of work in the loop; `on_wait` is called meanwhile."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            while not concurrent.futures.wait([future], timeout=0.25).done:
                self.on_wait()
        except BaseException:
            future.cancel()
            raise
        self.on_wait()
        return future.result()

    def _close(self) -> None:
        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            if hasattr(self, "_client"):
                await self._client.aclose()

        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(end(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        if not self._thread.is_alive():
            self._loop.close()
