"""One measured run of the relevance benchmark in a process of its own: `etude` or `ragelo`.

    python benchmarks/_relevance_worker.py WHO < job.json

The job names the server's address, the pairs and the number of connections; one JSON line is printed: seconds
of labelling alone (imports and loading left out) and the number of labels.
"""

import json
import sys
import tempfile
import time
from typing import Any


def run_etude(job: dict[str, Any]) -> Any:
    """Etude's labeller, without a response store."""
    from etude.methods.relevance.collection import Pair
    from etude.methods.relevance.llm_labeller import LLMLabeller
    from etude.methods.relevance.wording import RelevancePrompt
    from etude.models import chat_model

    connections = job["connections"]
    chat = chat_model("openai/stub", base_url=job["url"], store=None, max_connections=connections)
    labeller = LLMLabeller(chat, RelevancePrompt("---A-"))
    pairs = [Pair(**pair) for pair in job["pairs"]]
    labeller.label([Pair("warm", "up", "first", "call")])  # imports and connects
    return lambda: sum(one.usable for one in labeller.label(pairs))


def run_ragelo(job: dict[str, Any]) -> Any:
    """Ragelo's RDNAM evaluator over an experiment that is not saved."""
    from ragelo import Experiment, get_retrieval_evaluator
    from ragelo.llm_providers.openai_client import OpenAIProvider
    from ragelo.types.configurations import OpenAIConfiguration

    def empty(name: str) -> Experiment:
        return Experiment(name, save_path=tempfile.mkdtemp(), save_on_disk=False, rich_print=False)

    first, experiment = empty("first"), empty("benchmark")
    first.add_query("first", query_id="warm")
    first.add_retrieved_doc("call", query_id="warm", doc_id="up")
    queries = {pair["qid"]: pair["query"] for pair in job["pairs"]}
    for qid, query in queries.items():
        experiment.add_query(query, query_id=qid)
    for pair in job["pairs"]:
        experiment.add_retrieved_doc(pair["text"], query_id=pair["qid"], doc_id=pair["docid"])
    provider = OpenAIProvider(OpenAIConfiguration(api_key="none", api_base=job["url"], model="stub"))
    evaluator = get_retrieval_evaluator(
        "RDNAM",
        llm_provider=provider,
        n_processes=job["connections"],
        use_aspects=True,
        use_progress_bar=False,
        rich_print=False,
        show_results=False,
    )

    evaluator.evaluate_experiment(first)  # imports and connects

    def label() -> int:
        evaluator.evaluate_experiment(experiment)
        found = experiment.get_qrels()
        return sum(len(docs) for docs in found.values())

    return label


def main() -> None:
    """Run, and print one line."""
    job = json.load(sys.stdin)
    label = {"etude": run_etude, "ragelo": run_ragelo}[sys.argv[1]](job)
    started = time.perf_counter()
    labels = label()
    print(json.dumps({"seconds": time.perf_counter() - started, "labels": labels}))


if __name__ == "__main__":
    main()
