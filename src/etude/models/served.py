"""Chat with a served model over the OpenAI API: vLLM, SGLang, Ollama, llama.cpp, most vendors."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from etude.errors import EtudeError
from etude.models.chat import Conversation, Parameters, Reply

if TYPE_CHECKING:
    from openai import OpenAI

T = TypeVar("T")

_RETRIES = 5  # by the SDK, with growing pauses, on lost connections, 408, 409, 429 and 5xx


class ServedEngine:
    """A model behind an OpenAI-compatible server; the key is `OPENAI_API_KEY` (local servers need none).

    Args:
        model: The server's name of the model.
        base_url: The server's address up to `/v1`; default: `OPENAI_BASE_URL`, else OpenAI's own.
        max_connections: Requests under way at once.
        retries: How often a failed request is repeated.
    """

    def __init__(
        self, model: str, *, base_url: str | None = None, max_connections: int = 8, retries: int = _RETRIES
    ) -> None:
        self.model = model
        self.name = f"openai/{model}"
        self.base_url = base_url or os.environ.get("OPENAI_BASE_URL")
        self.max_connections = max_connections
        self.retries = retries
        if not self.base_url and not os.environ.get("OPENAI_API_KEY"):
            raise EtudeError(
                f"{self.name}: neither a server nor a key is given",
                "Give --base-url (or OPENAI_BASE_URL) for your own server, or set OPENAI_API_KEY.",
            )

    @cached_property
    def client(self) -> OpenAI:
        """The SDK's client."""
        from openai import OpenAI

        key = os.environ.get("OPENAI_API_KEY") or "none"
        return OpenAI(base_url=self.base_url, api_key=key, max_retries=self.retries, timeout=600)

    @property
    def identity(self) -> dict[str, Any]:
        """The server; what stands behind its model's name is the server's to say."""
        return {"engine": "openai", "base_url": self.base_url}

    @property
    def context_length(self) -> int | None:
        """What the server lists for the model (vLLM and SGLang do), else None."""
        return self._listed_length

    @cached_property
    def _listed_length(self) -> int | None:
        import openai

        try:
            listed = next((model for model in self.client.models.list() if model.id == self.model), None)
        except openai.OpenAIError:
            return None
        length = getattr(listed, "max_model_len", None)
        return length if isinstance(length, int) else None

    def generate(
        self, conversations: Sequence[Conversation], parameters: Parameters
    ) -> Iterator[tuple[int, Reply]]:
        """Answer conversations, `max_connections` at a time."""
        return self._each(conversations, lambda number: self._reply(conversations[number], parameters))

    def score(
        self, conversations: Sequence[Conversation], options: Sequence[Sequence[str]]
    ) -> Iterator[tuple[int, list[float]]]:
        """Score given answers, where the server returns log-probabilities of prompts (vLLM does).

        Raises:
            EtudeError: It does not.
        """
        return self._each(conversations, lambda number: self._scores(conversations[number], options[number]))

    def _each(
        self, conversations: Sequence[Conversation], ask: Callable[[int], T]
    ) -> Iterator[tuple[int, T]]:
        """Results as they come; the first failure that is not one conversation's own ends the run."""
        total, done = len(conversations), 0
        waiting = iter(range(total))
        running: dict[Future[T], int] = {}
        failure: BaseException | None = None
        pool = ThreadPoolExecutor(self.max_connections)
        try:
            while True:
                room = 0 if failure else self.max_connections - len(running)
                running.update({pool.submit(ask, number): number for number in islice(waiting, room)})
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    number, error = running.pop(future), future.exception()
                    if error is None:
                        done += 1
                        yield number, future.result()
                    failure = failure or error
        finally:
            pool.shutdown()
        if failure is not None:
            raise self._explain(failure, done, total) from failure

    def _reply(self, conversation: Conversation, parameters: Parameters) -> Reply:
        import openai

        started = time.perf_counter()
        given = parameters.decoding.to_json()
        try:
            answer = self.client.chat.completions.create(
                model=self.model,
                messages=_as_any(conversation),
                max_tokens=parameters.max_tokens if self.base_url else openai.omit,
                max_completion_tokens=openai.omit
                if self.base_url
                else parameters.max_tokens,  # OpenAI's newer name
                temperature=parameters.temperature,
                seed=parameters.seed,
                stop=list(parameters.stop) or openai.omit,
                top_p=given.pop("top_p", openai.omit),
                frequency_penalty=given.pop("frequency_penalty", openai.omit),
                presence_penalty=given.pop("presence_penalty", openai.omit),
                extra_body=given or None,  # top_k, repetition_penalty: vLLM, SGLang, llama.cpp know them
            )
        except (
            openai.BadRequestError
        ) as error:  # this conversation's own fault: too long, refused by a filter
            return Reply(
                "", "refused" if error.code == "content_filter" else "error", error=_first_line(error)
            )
        if not answer.choices:
            return Reply("", "error", error="the server answered without a choice")
        choice, usage = answer.choices[0], answer.usage
        details = usage.prompt_tokens_details if usage else None
        refused = choice.finish_reason == "content_filter" or choice.message.refusal is not None
        return Reply(
            text=choice.message.content or choice.message.refusal or "",
            stop_reason="refused" if refused else "length" if choice.finish_reason == "length" else "stop",
            prompt_tokens=usage.prompt_tokens if usage else 0,
            cached_tokens=(details.cached_tokens or 0) if details else 0,
            output_tokens=usage.completion_tokens if usage else 0,
            seconds=round(time.perf_counter() - started, 4),
        )

    def _scores(self, conversation: Conversation, options: Sequence[str]) -> list[float]:
        """Sum the log-probabilities of the tokens that each option adds to the prompt."""
        before = self._read_prompt(conversation, goes_on=False)
        scores = []
        for option in options:
            answered = [*conversation, {"role": "assistant", "content": option}]
            tokens = self._read_prompt(answered, goes_on=True)
            scores.append(sum(tokens[len(before) :]))
        return scores

    def _read_prompt(self, messages: Sequence[Any], *, goes_on: bool) -> list[float]:
        """Log-probability of each token of a prompt (0 for the first)."""
        answer = self.client.chat.completions.create(
            model=self.model,
            messages=_as_any(messages),
            max_tokens=1,
            temperature=0,
            extra_body={
                "prompt_logprobs": 0,  # only the tokens that are there, none beside them
                "add_generation_prompt": not goes_on,
                "continue_final_message": goes_on,
            },
        )
        tokens = (answer.model_extra or {}).get("prompt_logprobs")
        if not isinstance(tokens, list):
            raise EtudeError(
                f"{self.name}: the server returns no log-probabilities of prompts, so nothing is scored",
                "Serve the model with vLLM, or load it here by its directory or hub id.",
            )
        return [next(iter(token.values()))["logprob"] if token else 0.0 for token in tokens]

    def _explain(self, error: BaseException, done: int, total: int) -> EtudeError:
        """What ended the run, and what was kept."""
        import openai

        if isinstance(error, EtudeError):
            return error
        kept = f"{done} of {total} answers are there" + (" and kept in the store" if done else "")
        again = "repeat the command: only the missing ones are asked"
        where = self.base_url or "api.openai.com"
        if isinstance(error, openai.APIConnectionError):
            return EtudeError(f"{where} does not answer ({kept})", f"Start the server, then {again}.")
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return EtudeError(f"{where} refuses the key ({_first_line(error)})", "Set OPENAI_API_KEY.")
        if isinstance(error, openai.NotFoundError):
            return EtudeError(
                f"{where} has no model {self.model!r} ({_first_line(error)})",
                "Check its name and the base URL.",
            )
        if isinstance(error, openai.APIStatusError):
            return EtudeError(
                f"{where} failed: {_first_line(error)} ({kept})", f"When it is well again, {again}."
            )
        raise error


def _as_any(messages: Sequence[Any]) -> Any:
    return list(messages)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
