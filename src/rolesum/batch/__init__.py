"""Bulk: summaries of many dialogues into shards, resumable at any moment, in this process or on Ray Data.

The way of the data: inputs -> survey (what is there, once) -> blocks of whole dialogues -> summarize_block -> shards.
"""

from rolesum.batch.run import BatchResult, run_batch
from rolesum.batch.worker import Failure, ShardResult, summarize_shard

__all__ = ["BatchResult", "Failure", "ShardResult", "run_batch", "summarize_shard"]
