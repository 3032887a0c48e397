"""Jobs that run in parallel, in processes of this machine or on a Dask cluster."""
