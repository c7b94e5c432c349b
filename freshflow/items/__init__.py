"""Item statistics: co-visitation, popularity, embeddings and catalogue, complete in every partition."""
