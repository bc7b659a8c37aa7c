"""`python -m minivos.synthetic FOLDER` renders the sample data set."""

import argparse

from minivos.errors import InputError
from minivos.synthetic.clips import write_samples

parser = argparse.ArgumentParser("minivos.synthetic", description=__doc__)
parser.add_argument("folder", help="where to; data_samples holds it already")
try:
    write_samples(parser.parse_args().folder)
except InputError as error:
    raise SystemExit(f"minivos.synthetic: {error}") from None
