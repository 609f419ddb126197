"""Write the generated parts of README and docs from the catalogue and the recorded results.

    python docs/generate.py            # write
    python docs/generate.py --check    # exit 1 when a page is stale, change nothing

A generated part stands between `<!-- NAME -->` and `<!-- /NAME -->`.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from etude.catalogue import CARDS, Card
from etude.evidence import Evidence
from etude.evidence.blocks import arms_table, extra_tables, facts_tables, findings_table
from etude.render import TableBlock
from etude.render.terminal import cell, is_numeric

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ROOT / "docs" / "results" / "benchmarks"
sys.path.insert(0, str(ROOT))  # for the table of peers

from benchmarks._peers import PEERS  # noqa: E402

VERDICTS = {True: "yes", False: "no", None: ""}
VARIANTS = {"slow": " --scale slow", "mini": " --model mini-pt/model"}  # results/VARIANT/NAME.json: options


def markdown(block: TableBlock) -> str:
    """A table as Markdown; pipes and line breaks in cells are escaped."""

    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(cell(c).replace("|", "\\|").replace("\n", " ") for c in cells) + " |"

    numeric = [is_numeric([row[i] for row in block.rows]) for i in range(len(block.columns))]
    rule = "|" + "|".join("---:" if n else "---" for n in numeric) + "|"
    head = f"{block.caption}\n\n" if block.caption else ""
    return head + "\n".join([line(block.columns), rule, *(line(row) for row in block.rows)])


def methods_table() -> str:
    """The eighteen methods with their pages and recorded verdicts."""
    rows = []
    for card in CARDS.values():
        page = f"docs/methods/{card.name}.md"
        name = f"[{card.name}]({page})" if (ROOT / page).exists() else card.name
        verdicts = (
            ", ".join(f"{p['name']}: {p['verdict']}" for p in card.recorded["parts"]) if card.recorded else ""
        )
        paper = f"[{card.arxiv}](https://arxiv.org/abs/{card.arxiv})"
        rows.append((name, card.purpose, paper, verdicts))
    return markdown(TableBlock(("method", "what it is for", "paper", "claim, as measured here"), rows))


def claim_section(recorded: dict[str, Any], options: str = "") -> str:
    """The recorded evidence of one claim: verdicts, arms, findings, extra tables, provenance."""
    evidence = Evidence.from_json(recorded)
    p = evidence.provenance
    seeds = ", ".join(map(str, evidence.seeds))
    command = f"`etude claim {evidence.name}{options} --data DIR`"
    lines = [f"Recorded {p['date']} by {command}, seeds {seeds}, {p['seconds']} s of measuring.", ""]
    lines += [f"- **{part.name}: {part.verdict}.** {part.statement}" for part in evidence.parts]
    findings = [findings_table(part) for part in evidence.parts]
    tables = [arms_table(evidence), *findings, *facts_tables(evidence), *extra_tables(evidence)]
    lines += ["", *(f"{markdown(table)}\n" for table in tables)]
    lines += [f"- {note}" for note in evidence.notes]
    return "\n".join(lines).strip()


def figures_section(card: Card) -> str:
    """The paper's figures."""
    header, *rows = card.figures
    return markdown(TableBlock(header, rows, card.figures_note))


def claims_page() -> str:
    """All verdicts."""
    rows = [
        (f"[{card.name}](methods/{card.name}.md)", part["name"], part["statement"], part["verdict"])
        for card in CARDS.values()
        if card.recorded
        for part in card.recorded["parts"]
    ]
    return markdown(TableBlock(("method", "part", "statement", "verdict"), rows))


def benchmark_section(recorded: dict[str, Any]) -> str:
    """One benchmark under its title."""
    name = recorded["name"].replace("_", "-")
    page = f"methods/{name}.md"
    title = f"[{name}]({page})" if (ROOT / "docs" / page).exists() else name
    return f"## {title}\n\n{benchmark_figures(recorded)}"


def benchmark_figures(recorded: dict[str, Any]) -> str:
    """How it was measured, figures beside their targets, what is missing, why targets are missed."""
    rows = [
        (f["what"], f["peer"] or "an absolute aim", f["measure"],
         amount(f["median"], f["unit"], digits=4 if f["met"] is False else 3),  # 1.498 misses 1.5
         spread(f["values"]), target(f), VERDICTS[f["met"]])
        for f in recorded["figures"]
    ]  # fmt: skip
    beside = ", ".join(f"{what} {which}" for what, which in recorded["versions"].items() if which)
    threads = f", {recorded['threads']} threads" if recorded["threads"] else ""
    lines = [
        f"Measured {recorded['date']} by `{recorded['command']}` in {recorded['seconds'] / 60:.1f} minutes, "
        f"{recorded['repetitions']} repetitions, {recorded['cores']} cores ({recorded['machine']}){threads}; "
        f"{beside}.",
        "",
        markdown(
            TableBlock(("work", "beside", "of", "median", "lowest to highest", "target", "target met"), rows)
        ),
    ]
    lines += [
        f"\nLeft out: {m['what']} beside {m['peer']}. To have it: {m['how']}." for m in recorded["missing"]
    ]
    missed: dict[str, list[str]] = {}
    for f in recorded["figures"]:
        if f["met"] is False:
            work = f"{f['what']}: {f['measure']}" + f" beside {f['peer']}" * bool(f["peer"])
            missed.setdefault(f["if_missed"] or "not explained", []).append(work)
    lines += [f"\n**Missed** ({'; '.join(works)}): {why}" for why, works in missed.items()]
    return "\n".join(lines)


def target(figure: dict[str, Any]) -> str:
    """What was aimed at."""
    if figure["target"] is None:
        return ""
    return f"{'at most ' * figure['at_most']}{number(figure['target'])}"


def amount(value: float, unit: str, digits: int = 3) -> str:
    """A figure with its unit; a ratio as a factor."""
    return f"{number(value, digits)} {'×' if unit == 'x' else unit}"


def spread(values: Sequence[float]) -> str:
    """The lowest and the highest of several; a single one is a count."""
    return f"{number(min(values))} to {number(max(values))}" if len(values) > 1 else "measured once"


def number(value: float, digits: int = 3) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def row_tables(details: Any, caption: str = "") -> Iterator[TableBlock]:
    """The tables among a benchmark's details: lists of rows with the same columns."""
    if isinstance(details, dict):
        for name, nested in details.items():
            yield from row_tables(nested, ", ".join(filter(None, (caption, name))))
    elif isinstance(details, list) and details and all(isinstance(row, dict) for row in details):
        columns = list(dict.fromkeys(name for row in details for name in row))
        yield TableBlock(columns, [[row.get(name) for name in columns] for row in details], caption)


def benchmarks_part() -> str:
    """All recorded benchmarks."""
    found = [json.loads(path.read_text()) for path in sorted(BENCHMARKS.glob("*.json"))]
    minutes = sum(one["seconds"] for one in found) / 60
    total = f"{len(found)} are recorded; they took {minutes:.0f} minutes in all."
    return "\n\n".join([total, *map(benchmark_section, found)])


def peers_part() -> str:
    """How a user gets each peer."""
    rows = [(peer.name, peer.how()) for peer in PEERS]
    return markdown(TableBlock(("peer", "how to have it"), rows))


def replace_part(text: str, name: str, content: str, path: Path) -> str:
    """Put `content` between the markers of `name`."""
    pattern = re.compile(rf"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"{path}: has no <!-- {name} --> ... <!-- /{name} -->")
    return pattern.sub(lambda _: f"<!-- {name} -->\n{content}\n<!-- /{name} -->", text)


def pages() -> dict[Path, str]:
    """Every page with generated parts, as it should be."""
    readme, claims = ROOT / "README.md", ROOT / "docs" / "claims.md"
    benches = ROOT / "docs" / "benchmarks.md"
    measured = replace_part(benches.read_text(), "benchmarks", benchmarks_part(), benches)
    found = {
        readme: replace_part(readme.read_text(), "methods", methods_table(), readme),
        claims: replace_part(claims.read_text(), "claims", claims_page(), claims),
        benches: replace_part(measured, "peers", peers_part(), benches),
    }
    for card in CARDS.values():
        path = ROOT / "docs" / "methods" / f"{card.name}.md"
        if path.exists():
            text = path.read_text()
            if card.figures:
                text = replace_part(text, "figures", figures_section(card), path)
            if card.recorded:
                text = replace_part(text, "claim", claim_section(card.recorded), path)
            speed = BENCHMARKS / f"{card.name.replace('-', '_')}.json"
            if speed.exists():
                recorded = json.loads(speed.read_text())
                tables = [markdown(table) for table in row_tables(recorded["details"])]
                text = replace_part(
                    text, "benchmark", "\n\n".join([benchmark_figures(recorded), *tables]), path
                )
            for variant, options in VARIANTS.items():
                record = ROOT / "docs" / "results" / variant / f"{card.name}.json"
                if record.exists():
                    section = claim_section(json.loads(record.read_text()), options)
                    text = replace_part(text, f"claim, {variant}", section, path)
            found[path] = text
    return found


def main() -> None:
    """Write the stale pages, or with --check name them."""
    stale = [path for path, text in pages().items() if path.read_text() != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is stale: run make docs")
        raise SystemExit(1 if stale else 0)
    for path, text in pages().items():
        if path in stale:
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
