"""Pages are self-contained and escaped; terminals get no markup or control characters from data."""

import base64
import re
from pathlib import Path

import pytest
from rich.console import Console

from etude.errors import EtudeError
from etude.render import (
    Audio,
    Code,
    Figure,
    Picture,
    Section,
    Shaded,
    TableBlock,
    Text,
    new_figure,
    save_page,
    show,
    table,
)
from etude.render.plots import svg

EVIL = '<script>alert(1)</script>" onload=x'


def figure() -> Figure:
    drawn, axes = new_figure()
    axes.plot([0, 1], [1, 0], label=EVIL)
    axes.set_title("$5 < $6")
    axes.legend()
    return Figure(drawn, EVIL, EVIL)


def page(tmp_path: Path, *blocks: object) -> str:
    return save_page(tmp_path / "p.html", EVIL, [Section(EVIL, blocks, tag="holds")]).read_text()


def test_everything_is_escaped_and_nothing_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    png = base64.b64decode("iVBORw0KGgo=")
    text = page(
        tmp_path,
        Text(EVIL),
        Code(EVIL),
        TableBlock([EVIL, "n"], [[EVIL, 1]], EVIL),
        figure(),
        Picture(png, EVIL, EVIL),
        Audio(tmp_path / "a.wav", EVIL),
    )
    assert "<script" not in text
    assert '" onload' not in text
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    assert "http" not in re.sub(r"data:[^\"]*", "", text).replace("http-equiv", "")


def test_the_same_figure_gives_the_same_bytes() -> None:
    assert svg(figure().figure) == svg(figure().figure)


def test_numbers_are_aligned_and_rounded(tmp_path: Path) -> None:
    text = page(tmp_path, TableBlock(("a", "b", "c"), [(1234567, 0.123456, None)]))
    assert '<td class="n">1,234,567</td><td class="n">0.1235</td><td>–</td>' in text


def test_a_terminal_gets_no_markup_and_no_control_characters() -> None:
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table(["[b]h"], [["[red]x\x1b[2J"]], title="[i]t"))
    console.print(show(Text("\x1b]0;owned\x07[bold]y")))
    shown = console.export_text()
    assert "[red]x" in shown
    assert "[bold]y" in shown
    assert "[i]t" in shown
    assert "\x1b" not in shown


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(EtudeError, match=r"no\.png"):
        page(tmp_path, Picture(tmp_path / "no.png", ""))


def test_shaded_text_is_escaped_and_its_strength_is_kept_between_0_and_1(tmp_path: Path) -> None:
    pieces = [(EVIL, 2.0), ("half\x1b[31m", 0.5), ("none", float("nan"))]
    html = page(tmp_path, Shaded(pieces, EVIL, [EVIL]))
    assert "<script>" not in html and "\x1b" not in html
    assert re.findall(r"--p: (\d+)%", html) == ["100", "50", "0"]
    assert html.count("title=") == 1
    console = Console(record=True, width=80, force_terminal=True, color_system="truecolor")
    console.print(show(Shaded(pieces, "caption")))
    drawn = console.export_text(styles=True)
    assert "\x1b[31m" not in drawn and "48;2;213;94;0" in drawn and "48;2;255;255;255" in drawn


def test_what_stands_between_backticks_is_code_and_a_lone_backtick_is_itself(tmp_path: Path) -> None:
    drawn = page(tmp_path, Text("say `etude list` now"), Text("5` high"), Text("`<b>`"))
    assert "<p>say <code>etude list</code> now</p>" in drawn
    assert "<p>5` high</p>" in drawn
    assert "<code>&lt;b&gt;</code>" in drawn


def test_the_contents_say_what_a_section_is_about(tmp_path: Path) -> None:
    sections = [Section(name, [], summary=f"about {name} {EVIL}") for name in ("a", "b", "c")]
    drawn = save_page(tmp_path / "p.html", "title", sections).read_text()
    assert drawn.count("<small>about") == 3
    assert EVIL not in drawn
