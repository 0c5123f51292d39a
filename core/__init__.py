"""What api and worker share: settings, logging, object storage, queue client, ids."""
