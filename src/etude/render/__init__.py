"""How things look, once: terminal tables, one plot style, the HTML page skeleton with everything escaped."""

from etude.render.blocks import Audio, Block, Code, Demo, Figure, Picture, Shaded, TableBlock, Text
from etude.render.page import Section, save_page
from etude.render.plots import figure_style, new_figure
from etude.render.terminal import console, show, table

__all__ = [
    "Audio",
    "Block",
    "Code",
    "Demo",
    "Figure",
    "Picture",
    "Section",
    "Shaded",
    "TableBlock",
    "Text",
    "console",
    "figure_style",
    "new_figure",
    "save_page",
    "show",
    "table",
]
