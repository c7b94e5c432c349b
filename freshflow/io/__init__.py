"""Inputs and outputs of the job: files, standard streams and Kafka, each registered as a URL scheme."""
