"""The pages: what of them is generated, that their blocks are run, and that they are a site."""
