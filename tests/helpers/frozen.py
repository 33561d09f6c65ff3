"""Imported last by the process that children are forked from: they collect garbage of their own only.

A collection that looked through what was imported would also copy the memory that it shares with the others.
"""

import gc

gc.collect()
gc.freeze()
