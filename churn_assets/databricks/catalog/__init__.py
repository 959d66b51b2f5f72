"""Unity Catalog: its objects, grants and locations, and the warehouse that answers questions of it."""
