"""`python -m minivos.synthetic FOLDER` renders the sample data set."""

import sys
from pathlib import Path

from minivos.synthetic.clips import write_samples

if len(sys.argv) != 2:
    raise SystemExit("usage: python -m minivos.synthetic FOLDER")
write_samples(Path(sys.argv[1]))
