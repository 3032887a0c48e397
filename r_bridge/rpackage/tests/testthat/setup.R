# PyTorch's optimisers make a folder for its compiler, in the temporary directory of all programs:
# here in the session's, which goes with it
Sys.setenv(TORCHINDUCTOR_CACHE_DIR = file.path(tempdir(), "torchinductor"))
