"""The runtimes and machines that this workspace offers, in the service's own words."""

from typing import Any

SPARK_VERSIONS = {
    "14.3.x-scala2.12": "14.3 LTS (includes Apache Spark 3.5.0, Scala 2.12)",
    "15.4.x-scala2.12": "15.4 LTS (includes Apache Spark 3.5.0, Scala 2.12)",
    "16.4.x-scala2.12": "16.4 LTS (includes Apache Spark 3.5.2, Scala 2.12)",
    "16.4.x-scala2.13": "16.4 LTS (includes Apache Spark 3.5.2, Scala 2.13)",
    "17.3.x-scala2.13": "17.3 LTS (includes Apache Spark 4.0.0, Scala 2.13)",
}


def _node_type(memory_mb: int, cores: float, category: str) -> dict[str, Any]:
    return {
        "memory_mb": memory_mb,
        "num_cores": cores,
        "description": category,
        "instance_type_id": category,
        "category": category,
        "is_deprecated": False,
    }


NODE_TYPES = {
    "i3.xlarge": _node_type(31232, 4.0, "Storage Optimized"),
    "i3.2xlarge": _node_type(62464, 8.0, "Storage Optimized"),
    "m5d.large": _node_type(8192, 2.0, "General Purpose (SSD)"),
    "m5d.xlarge": _node_type(16384, 4.0, "General Purpose (SSD)"),
    "r5d.xlarge": _node_type(32768, 4.0, "Memory Optimized"),
    "Standard_DS3_v2": _node_type(14336, 4.0, "General Purpose"),
    "n2-highmem-4": _node_type(32768, 4.0, "Memory Optimized"),
}
