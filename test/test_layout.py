"""Who may import whom, and how long files and functions may be."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(p for top in ("model", "resources", "test") for p in (ROOT / top).rglob("*.py"))
FILES += [p for p in [ROOT / "process.py"] if p.exists()]

MODEL, CASES, CLI, INTERRUPT = "model", "resources.cases", "resources.cli", "resources.interrupt"
PLANES = "resources.review.planes"
MAY_IMPORT = {
    "process": [MODEL],
    "model": [],
    "resources.upload": [],
    "resources.pins": ["model.files", CLI],
    "resources.commands": ["process", MODEL, "resources"],
    CLI: [],
    INTERRUPT: [],
    "resources.cases": [MODEL, CLI],
    "resources.reports": ["model.files", CASES, CLI],
    "resources.synthetic": [MODEL, CASES, CLI],
    "resources.training": [
        MODEL,
        CASES,
        PLANES,
        "resources.evaluation",
        "resources.synthetic",
        CLI,
        INTERRUPT,
    ],
    "resources.evaluation": [
        "model.boxes",
        "model.volume",
        "model.geometry",
        "model.files",
        CASES,
        PLANES,
        CLI,
    ],
    "resources.predict": [MODEL, CASES, CLI],
    "resources.map_organs": [MODEL, CASES, "resources.predict", CLI],
    "resources.review": [MODEL, CASES, "resources.reports", "resources.training", CLI],
    "resources.study": [MODEL, "resources"],
}
FORBIDDEN = {"resources.evaluation": ["torch"], PLANES: ["torch"], "model.boxes": ["torch", "SimpleITK"]}


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Full names of all that a module imports; `from a import b` gives a.b, for b may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: -(node.level - 1) or None] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def within(name: str, packages: list[str]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_and_lengths(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= (120 if file.name == "process.py" else 400)
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [f.name for f in functions if (f.end_lineno or 0) - f.lineno >= 60] == []

    module = module_of(file)
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    names = set(imports(tree, package))
    for group, allowed in MAY_IMPORT.items():
        if within(module, [group]):
            ours = {name for name in names if within(name, ["process", "model", "resources"])}
            assert {name for name in ours if not within(name, [group, *allowed])} == set()
    for group, banned in FORBIDDEN.items():
        if within(module, [group]):
            assert {name for name in names if within(name, banned)} == set()


def test_the_top_level_of_the_trainer_is_small() -> None:
    """The rest is in rooms: data, targets, reports."""
    modules = [path.stem for path in (ROOT / "resources" / "training").glob("[!_]*.py")]
    assert len(modules) <= 9


def test_every_package_has_a_rule() -> None:
    packages = {module_of(file) for file in FILES if module_of(file).startswith("resources.")}
    assert {package for package in packages if not within(package, list(MAY_IMPORT))} == set()


@pytest.mark.parametrize("module", ["model", "model.inputs", "model.outputs", "model.boxes"])
def test_starts_without_the_network(module: str) -> None:
    """These load no torch: errors in the input are told before seconds go into it."""
    code = f"import sys, {module}; print(*sorted({{'torch', 'monai', 'model.network'}} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    )
    assert (result.stdout.strip(), result.stderr) == ("", "")
