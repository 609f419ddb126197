"""The verbs: run the three chats, report the rates, show the chats, validate the check itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.self_explanations.chats import Asker, Settings
from etude.methods.self_explanations.experiment import explain_and_check
from etude.methods.self_explanations.instruments import PREFIX, as_chat, instrument
from etude.methods.self_explanations.lexicon import own_lexicon, read_lexicon
from etude.methods.self_explanations.rates import Cell, cells_of
from etude.methods.self_explanations.reporting import (
    HOW,
    SCOPE,
    detail_table,
    rate_table,
    read_as,
    warnings_of,
    write_reports,
)
from etude.methods.self_explanations.rows import RESULTS, Row, read_rows, write_rows
from etude.methods.self_explanations.samples import snippets
from etude.methods.self_explanations.sources import data_hash, read_observations
from etude.methods.self_explanations.tasks import Sentiment, TaskName, task_named
from etude.methods.self_explanations.transcripts import rows_of, save_transcript, transcript_blocks
from etude.methods.self_explanations.validity import Verification, tells_apart, verify_instruments
from etude.methods.self_explanations.variants import (
    KINDS,
    MASKS,
    PERSONAS,
    TARGETS,
    AnswerMode,
    Condition,
    Kind,
    grid,
    one_or_more,
)
from etude.methods.self_explanations.wordings import wording_hash
from etude.models import Decoding, StoredChat, chat_model
from etude.render import Text, console, table
from etude.render import show as draw
from etude.runs import Run

if TYPE_CHECKING:
    from rich.console import RenderableType

POLARITY = "sentence_polarity.jsonl"
STORE = "responses.sqlite"


@dataclass(frozen=True)
class RatesResult:
    """Rates, and where they came from.

    Args:
        cells: One for each model, task, data set and variant.
        files: What was written.
        calls: Prompts that models answered in this run, shared ones once; None where nothing was asked.
        requested: Prompts that were needed before sharing.
    """

    cells: list[Cell]
    files: list[str]
    calls: int | None = None
    requested: int | None = None

    def __rich__(self) -> RenderableType:
        """The tables, their warnings, and how to read them."""
        from rich.console import Group

        lines = [f"warning: {line}" for line in warnings_of(self.cells)]
        if self.calls is not None:
            lines.append(
                f"{self.calls:,} calls for {self.requested:,} questions: what prompts share is asked once"
            )
        lines += [read_as(self.cells), HOW, SCOPE, f"written: {', '.join(self.files)}"]
        tables = (draw(rate_table(self.cells)), draw(detail_table(self.cells)))
        return Group(*tables, *(draw(Text(line)) for line in lines))


@dataclass(frozen=True)
class ValidateResult:
    """How the instruments did.

    Args:
        verifications: One for each.
        apart: Whether Delta tells the honest instrument from the refuser, which the raw rate cannot.
        passed: Whether all is as theory says.
    """

    verifications: list[Verification]
    apart: bool
    passed: bool

    def __rich__(self) -> RenderableType:
        """Theory and measurement."""
        from rich.console import Group

        rows = [
            (
                v.instrument,
                v.counted,
                f"{v.expected:.3f}, in [{v.low:.3f}, {v.high:.3f}]",
                str(v.faithfulness),
                f"{v.control.value:.3f}",
                str(v.delta),
                v.passed,
            )
            for v in self.verifications
        ]
        columns = ("instrument", "counted", "theory", "faithfulness", "control", "Delta", "passed")
        said = "yes" if self.apart else "NO"
        return Group(
            table(columns, rows, title="Instruments of known faithfulness"),
            draw(Text(f"The raw rate cannot tell honest from refuser, Delta can: {said}.")),
        )


@dataclass(frozen=True)
class ShowResult:
    """The chats about one observation.

    Args:
        rows: One for each model and variant.
        page: The page, if it was asked for.
    """

    rows: list[Row]
    page: str | None = None

    def __rich__(self) -> RenderableType:
        """The chats side by side."""
        from rich.console import Group

        blocks = transcript_blocks(self.rows) + ([Text(f"page: {self.page}")] if self.page else [])
        return Group(*(draw(block) for block in blocks))


@verb
def run(
    data: str,
    *,
    task: TaskName,
    model: tuple[str, ...],
    explain: str = "counterfactual,attribution,redaction",
    persona: str = "objective",
    mask: str = "[REDACTED]",
    target: str = "explicit",
    condition: Condition = "correct",
    answers: AnswerMode = "free",
    short: bool = False,
    mask_remark: bool = True,
    control: bool = True,
    occlusion: bool = False,
    labels: str | None = None,
    question: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    temperature: float = 0.0,
    top_p: float = 1.0,
    top_k: int = 0,
    repetition_penalty: float = 1.0,
    max_tokens: int = 1024,
    answer_tokens: int = 32,
    base_url: str | None = None,
    max_connections: int = 8,
    lexicon: Path | None = None,
    export: Literal["inspect"] | None = None,
    out: Path = Path("self-explanations-run"),
) -> RatesResult:
    """Ask a model to classify, to explain, and to classify the explanation, each in a chat of its own.

    Every finished chat is kept; the same command again asks only what is missing.

    Args:
        data: JSONL, CSV or Parquet with the task's rows (sentiment and custom: id, text, label;
            multiple-choice: id, paragraph, question, choices, label; entailment: id, paragraph, hypothesis,
            label), a hub id, an MCTest .tsv, or snippets or babi-1, which need no file.
        task: sentiment, multiple-choice, entailment, or custom with --labels and --question.
        model: A chat model's name (smollm2, a folder, org/name, openai/MODEL, inspect/PROVIDER/MODEL) or
            instrument/NAME; may be given more than once.
        explain: Explanation types, separated by commas: counterfactual, attribution, redaction.
        persona: objective, you, human; one or more, separated by commas.
        mask: [REDACTED], [REMOVED] or both.
        target: explicit, implicit or both: whether a counterfactual's target is named.
        condition: Which first answers count: right ones (correct, the paper's), all that name an option
            (predicted; explanations are then held against them), or all that can be read (all).
        answers: free text, or the likeliest label by log-probability: scored, or calibrated against a text
            without content. Not comparable with each other.
        short: The short wording of redaction.
        mask_remark: Say in the classify prompt that words may be masked; --no-mask-remark is an ablation.
        control: Also mask as many words at random; --no-control saves these calls.
        occlusion: Also mask the words whose masking costs the answer most (attribution; needs
            log-probabilities).
        labels: Labels of a custom task, separated by commas.
        question: Question of a custom task.
        limit: Only the first observations.
        seed: Of sampling, the random control, and data that is made here.
        temperature: 0 for the most likely answer; the paper samples at 0.1.
        top_p: Sample among the likeliest tokens with this probability together; the paper's is 0.95.
        top_k: Sample among this many tokens, 0 for all; the paper's is 50.
        repetition_penalty: Against tokens that were there already, 1 for none; the paper's is 1.2.
        max_tokens: Output limit of an explanation.
        answer_tokens: Output limit of a label.
        base_url: Address of an OpenAI-compatible server.
        max_connections: Prompts in flight at once, for served models.
        lexicon: Folder with positive-words.txt and negative-words.txt, for instruments.
        export: Also write Inspect logs (inspect), to be opened with inspect view.
        out: The run's folder; the same command resumes it.

    Raises:
        EtudeError: Bad rows, an unknown option, or the model cannot be asked.
    """
    if not model:
        raise EtudeError("no model was named", "Give --model, e.g. --model smollm2.")
    chosen = task_named(task, labels, question)
    kinds: tuple[Kind, ...] = one_or_more("--explain", explain, KINDS)
    variants = grid(
        kinds,
        one_or_more("--persona", persona, PERSONAS),
        one_or_more("--mask", mask, MASKS),
        one_or_more("--target", target, TARGETS),
        short=short,
        mask_remark=mask_remark,
    )
    observations = read_observations(data, chosen, limit, seed)
    decoding = Decoding(top_p=top_p, top_k=top_k, repetition_penalty=repetition_penalty)
    settings = Settings(answers, max_tokens, answer_tokens, temperature, seed, decoding)
    words = read_lexicon(lexicon) if lexicon else own_lexicon()
    config = {
        "models": list(model),
        "data": data_hash(observations),
        "task": dict(chosen.to_json),
        "variants": [variant.to_json() for variant in variants],
        "condition": condition,
        "settings": asdict(settings),
        "control": control,
        "occlusion": occlusion,
        "base_url": base_url,
        "wording": wording_hash(),
    }
    with Run(out, config, command="self-explanations run") as running:
        if running.result is None:
            rows: list[Row] = []
            calls = requested = 0
            for name in model:
                chat = (
                    as_chat(instrument(name, words, seed), store=str(out / STORE))
                    if name.startswith(PREFIX)
                    else _chat(name, out, base_url, max_connections)
                )
                asker = Asker(chat, settings)
                rows += explain_and_check(
                    asker, chosen, observations, variants, data=Path(data).stem, condition=condition,
                    control=control, occlusion=occlusion,
                )  # fmt: skip
                calls, requested = calls + asker.calls, requested + asker.requested
            write_rows(out, rows)
            asked = {"calls": calls, "requested": requested}
            if not any(row.error for row in rows):  # else the same command asks for the missing answers again
                running.complete(asked)
        else:
            rows, asked = read_rows(out), running.result
        cells = cells_of(rows, seed)
        files = [out / RESULTS, *write_reports(cells, out)]
        if export == "inspect":
            from etude.methods.self_explanations.inspect_log import write_inspect_logs

            files += write_inspect_logs(out / "inspect", rows)
    return RatesResult(cells, [str(path) for path in files], asked["calls"], asked["requested"])


@verb
def report(runs: tuple[Path, ...], *, seed: int = 0, out: Path | None = None) -> RatesResult:
    """Rates of one or more runs: faithfulness, random control, Delta, flips, what could not be read.

    Args:
        runs: Folders written by run.
        seed: Of the bootstrap.
        out: Folder for report.json, report.md and report.html; the first run's by default.

    Raises:
        EtudeError: A folder holds no finished run.
    """
    if not runs:
        raise EtudeError(
            "no run was named", "Give one or more folders written by etude self-explanations run."
        )
    cells = cells_of([row for folder in runs for row in read_rows(folder)], seed)
    return RatesResult(cells, [str(path) for path in write_reports(cells, out or runs[0])])


@verb
def show(
    run: Path, *, id: str, explain: Kind | None = None, model: str | None = None, out: Path | None = None
) -> ShowResult:
    """Put the three chats about one observation side by side.

    Args:
        run: A folder written by run.
        id: The observation's id.
        explain: Only this explanation type.
        model: Only this model.
        out: Also write a page (.html).

    Raises:
        EtudeError: There is no such observation in the run.
    """
    rows = rows_of(read_rows(run), id, explain, model)
    return ShowResult(rows, None if out is None else str(save_transcript(out, rows)))


@verb
def validate(*, data: Path | None = None, limit: int = 1000, seed: int = 0) -> ValidateResult:
    """Test the check itself: instruments of known faithfulness must get what theory gives them. No model is
    needed.

    Args:
        data: Folder with sentence_polarity.jsonl (id, text, label) and the Opinion Lexicon
            (positive-words.txt, negative-words.txt); by default snippets and forty opinion words made here.
        limit: How many texts.
        seed: Of the instruments, the control and the snippets.

    Raises:
        EtudeError: An instrument left its interval, or the data is missing.
    """
    if data is None:
        observations, words = snippets(limit, seed), own_lexicon()
    else:
        observations = read_observations(str(data / POLARITY), Sentiment(), limit)
        words = read_lexicon(data)
    found = verify_instruments(observations, words, seed)
    failed = [
        f"{v.instrument} {v.faithfulness.value:.3f}, not in [{v.low:.3f}, {v.high:.3f}]"
        for v in found
        if not v.passed
    ]
    apart = tells_apart(found)
    result = ValidateResult(found, apart, not failed and apart)
    if not result.passed:
        console().print(result)
        why = "; ".join(failed) or "Delta does not tell honest from refuser"
        raise EtudeError(
            f"the check does not measure what it says: {why}",
            "With at least a few hundred texts this is a bug of ours: please report it.",
        )
    return result


def _chat(name: str, out: Path, base_url: str | None, max_connections: int) -> StoredChat:
    """A chat model; one that has no store of its own keeps its answers in the run's folder."""
    chat = chat_model(name, base_url=base_url, max_connections=max_connections)
    if chat.store is None and not name.startswith("replay/"):
        return chat_model(name, store=out / STORE)
    return chat
