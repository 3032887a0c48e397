# What recording costs in R's torch: benchmarks/recording.py says the same of PyTorch.
# Rscript benchmarks/recording.R FOLDER: the traces go there, a folder that is new or empty.

library(torch)
library(pyvae)

torch_set_num_threads(1)
folder <- commandArgs(TRUE)[1]
recorded_steps <- 5

make <- function(width) {
  torch_manual_seed(1)
  model <- nn_sequential(nn_linear(512, width), nn_relu(), nn_linear(width, width), nn_relu(),
                         nn_linear(width, width), nn_relu(), nn_linear(width, 10))
  list(model = model, optimizer = optim_adam(model$parameters, lr = 1e-4))
}

take_step <- function(program) {
  x <- torch_randn(64, 512)
  y <- torch_randint(1, 11, 64, dtype = torch_long())
  program$optimizer$zero_grad()
  nnf_cross_entropy(program$model(x), y)$backward()
  program$optimizer$step()
}

timed <- function(program, steps) {
  1000 * median(vapply(seq_len(steps), function(i) system.time(take_step(program))[["elapsed"]], 0))
}

peak <- function() {
  as.numeric(gsub("[^0-9]", "", grep("VmHWM", readLines("/proc/self/status"), value = TRUE))) / 1e3
}

bits <- function(width, to = NULL) {
  program <- make(width)
  if (!is.null(to)) {
    program$model <- record(program$model, program$optimizer, to, steps = 3)
  }
  for (i in 1:10) take_step(program)
  lapply(program$model$parameters, as_array)
}

same <- identical(bits(128), bits(128, file.path(folder, "bits")))
cat("bits with and without:", if (same) "equal" else "DIFFERENT", "\n")
cat("  parameters  plain ms   idle ms  recorded   MB/step   more MB\n")
for (width in c(745, 3410)) {
  program <- make(width)
  timed(program, 2)
  plain <- timed(program, 10)
  memory <- peak()
  to <- file.path(folder, width)
  program$model <- record(program$model, program$optimizer, to, steps = recorded_steps)
  recorded <- timed(program, recorded_steps)
  files <- list.files(to, recursive = TRUE, full.names = TRUE)
  more <- peak() - memory
  plain <- min(plain, timed(program, 10))
  idle_folder <- file.path(folder, paste0(width, "-idle"))
  program$model <- record(program$model, program$optimizer, idle_folder, steps = 2, every = 100)
  take_step(program)
  idle <- timed(program, 10)
  stop_recording()
  count <- sum(vapply(program$model$parameters, function(p) p$numel(), 0))
  cat(sprintf("%12s %9.1f %9.1f %9.1f %9.1f %9.0f\n", format(count, big.mark = ","), plain, idle,
              recorded, sum(file.size(files)) / recorded_steps / 1e6, more))
}
