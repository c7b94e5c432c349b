"""Where the job meets the world: files, standard input and output, Kafka."""
