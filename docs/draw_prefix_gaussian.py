"""Draw docs/images/prefix_gaussian.svg: which patches share which blocks of the Cholesky factor."""

from __future__ import annotations

from pathlib import Path

_WIDTH, _TOP, _ROW = 660, 44, 122
_GRID, _GRID_X = 102, 16
_TEXT_X = 136
_FACTOR_X, _BLOCK = 338, 102

# Okabe and Ito's colours, told apart by colour-blind eyes, each with the tint of what is shared.
_COLOURS = ("#0072B2", "#E69F00", "#009E73")
_TINTS = ("#CCE3F0", "#FAECCC", "#CCECE3")
_NAMES = ("coarse cell", "middle cell", "fine patch")
_SIDES = (14, 28, 56)


def main() -> None:
    parts = [
        _text(_GRID_X, 24, "Patches", size=15, bold=True),
        _text(_FACTOR_X, 24, "Cholesky factor L of a patch", size=15, bold=True),
    ]
    for depth in range(3):
        top = _TOP + depth * _ROW
        parts += _cells(depth, top + (_ROW - _GRID) / 2)
        parts += _label(depth, top + 46)
        parts += _block_row(depth, top)
    height = _TOP + 3 * _ROW + 14
    body = "\n".join(parts)
    path = Path(__file__).parent / "images" / "prefix_gaussian.svg"
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'font-family="Helvetica, Arial, sans-serif" fill="#222">\n'
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>\n{body}\n</svg>\n',
        encoding="utf-8",
    )


def _cells(depth: int, top: float) -> list[str]:
    """Draw the cells of a depth below one coarse cell; the first of each depth is the patch's."""
    n_cells = 2**depth
    side = _GRID / n_cells
    parts = []
    for row in range(n_cells):
        for column in range(n_cells):
            # The deepest node on the patch's path that this cell lies below.
            shared = max(k for k in range(depth + 1) if max(row, column) < 2 ** (depth - k))
            fill = _COLOURS[depth] if shared == depth else _TINTS[shared]
            parts.append(_rect(_GRID_X + column * side, top + row * side, side, side, fill))
    return parts


def _label(depth: int, y: float) -> list[str]:
    side = _SIDES[depth]
    return [
        _text(_TEXT_X, y, _NAMES[depth], size=15, bold=True),
        _text(_TEXT_X, y + 22, f"{side} x {side} = {side**2:,}, each with", size=14),
        _text(_TEXT_X, y + 41, "this block row of L", size=14),
    ]


def _block_row(depth: int, top: float) -> list[str]:
    """Draw the blocks L_k1 .. L_kk, the last a lower triangle."""
    parts = []
    for block in range(depth + 1):
        x, name = _FACTOR_X + block * _BLOCK, f"{depth + 1}{block + 1}"
        if block < depth:
            parts.append(_rect(x, top, _BLOCK, _ROW, _COLOURS[depth]))
        else:
            parts.append(_rect(x, top, _BLOCK, _ROW, "white"))
            corners = f"{x},{top} {x},{top + _ROW} {x + _BLOCK},{top + _ROW}"
            parts.append(f'<polygon points="{corners}" fill="{_COLOURS[depth]}" stroke="#222"/>')
        shift = (0.28, 0.72) if block == depth else (0.5, 0.5)
        parts.append(_block_name(x + shift[0] * _BLOCK, top + shift[1] * _ROW + 6, name, depth))
    return parts


def _block_name(x: float, y: float, name: str, depth: int) -> str:
    fill = "#222" if depth == 1 else "white"
    index = f'<tspan font-size="12" dy="5">{name}</tspan>'
    return f'<text x="{x:g}" y="{y:g}" font-size="18" text-anchor="middle" fill="{fill}">L{index}</text>'


def _rect(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{fill}" stroke="#222"/>'


def _text(x: float, y: float, text: str, *, size: int, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}"{weight}>{text}</text>'


if __name__ == "__main__":
    main()
