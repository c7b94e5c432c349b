"""What is known of items: co-visitation, popularity, the catalogue; complete in every partition."""
