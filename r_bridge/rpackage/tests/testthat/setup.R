# PyTorch's optimisers make a folder for its compiler, in the temporary directory of all programs:
# here in the session's, which goes with it
Sys.setenv(TORCHINDUCTOR_CACHE_DIR = file.path(tempdir(), "torchinductor"))

# processx, which callr's processes are, and parallel both wait for children to end. Where processx
# does not pass on what it is told, parallel never learns that a forked child has ended: at its end
# R then waits 10 seconds for it, and says that it cannot terminate some child processes
Sys.setenv(PROCESSX_NOTIFY_OLD_SIGCHLD = "true")
