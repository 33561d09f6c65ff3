"""Batch summarization of many dialogues into shards: resumable at any moment, in this process or on Ray Data.

Data flow: inputs -> index (built once) -> shards of whole dialogues -> summarize_shard -> output directory.
"""

from rolesum.batch.run import BatchResult, run_batch
from rolesum.batch.worker import Failure, ShardResult, summarize_shard

__all__ = ["BatchResult", "Failure", "ShardResult", "run_batch", "summarize_shard"]
