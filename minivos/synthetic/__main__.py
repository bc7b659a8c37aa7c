"""`python -m minivos.synthetic FOLDER` renders the sample data set."""

import sys

from minivos.errors import InputError
from minivos.synthetic.clips import write_samples

if len(sys.argv) != 2:
    raise SystemExit("usage: python -m minivos.synthetic FOLDER")
try:
    write_samples(sys.argv[1])
except InputError as error:
    raise SystemExit(f"minivos.synthetic: {error}") from None
