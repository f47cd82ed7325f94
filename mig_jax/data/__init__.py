"""All that reads or writes files, on the host. Nothing here needs JAX.

    read_pool               records with labels and scores, as a table
    read_conversations      records one by one, for their texts
    read_label_embeddings   a vector for each label; write_label_embeddings
    write_records           the records of a table that were picked, in order
    SelectedRecords         what `mig-jax select` wrote, as a source of training data

All else is what these are made of.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
