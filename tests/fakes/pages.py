"""Pages of docs/ whose examples a test follows as a reader would."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def files_of(page: str) -> dict[str, str]:
    """The files that a page shows, each after its name."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return dict(re.findall(r"^`([\w./-]+)`\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


class FreshEnvironment:
    """An environment of its own that sees this package and what it needs, with one distribution installed."""

    def __init__(self, folder: Path, distribution: str, page: str) -> None:
        """Write the page's files into a folder, make an environment, and install the distribution from the folder."""
        self.folder = folder / distribution
        self.folder.mkdir()
        for name, text in files_of(page).items():
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).write_text(text, encoding="utf-8")
        home = folder / "environment"
        # Without a registry: what builds and what is needed is this environment's own, seen through a path file.
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
        (packages,) = home.glob("lib/python*/site-packages")
        seen = [path for path in sys.path if path and Path(path).is_dir()]
        (packages / "seen.pth").write_text("\n".join([str(ROOT / "src"), *seen]) + "\n", encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
        subprocess.run([*pip, "--target", str(packages), str(self.folder)], check=True, capture_output=True)
        self._python = home / "bin" / "python"

    def llem(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command in it, run in the folder of the distribution."""
        return self._run("llenergymeasure", *arguments)

    def pytest(self) -> subprocess.CompletedProcess[str]:
        """The distribution's own tests."""
        return self._run("pytest", "-q", "-rs", "-p", "no:cacheprovider", "tests")

    def _run(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self._python), "-m", module, *arguments],
            capture_output=True, text=True, check=False, cwd=self.folder,
        )  # fmt: skip
