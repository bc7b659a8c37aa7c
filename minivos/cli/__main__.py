"""`python -m minivos.cli` is `minivos`."""

from minivos.cli import app

app()
