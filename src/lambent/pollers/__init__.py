"""Event source mappings at work: fetch, filter, batch, invoke, commit.

`Pollers` follows the mappings in the store. What it decides is in pure modules: `batching`, `responses`, `batch_run`,
`tumbling`, `scaling`, `shards`.
"""

from lambent.pollers.figures import MappingStatistics
from lambent.pollers.keeper import Surroundings
from lambent.pollers.supervisor import Pollers

__all__ = ["MappingStatistics", "Pollers", "Surroundings"]
