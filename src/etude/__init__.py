"""Every method in the paper, on your model and your data.

Eighteen published methods behind one library and one command line. A method is a package in `etude.methods`;
its public functions are the verbs of `etude METHOD VERB`. See `etude list`.
"""

__version__ = "0.1.0"
