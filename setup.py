"""The build step that pyproject.toml cannot say: a wheel takes sample clips and tables of the studies along.

They stand once in the repository, beside the package; an installed package has them inside.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithSamples(build_py):
    """`data_samples/` and `studies/*.csv` become `minivos/data_samples/` and `minivos/studies/`."""

    def run(self):
        if self.editable_mode:  # the clone has them
            super().run()
            return
        package = Path(self.build_lib, "minivos")
        shutil.rmtree(package, ignore_errors=True)  # else what an earlier build left comes along
        super().run()
        for name, ignored in {"data_samples": None, "studies": shutil.ignore_patterns("*.py", "__pycache__")}.items():
            shutil.copytree(name, package / name, ignore=ignored)


setup(cmdclass={"build_py": BuildWithSamples})
