# The R article's network trained by the article's own kind of loop, in R's torch: what pyvae is
# held against. plain_loop.py is the same in PyTorch.
#
#   Rscript plain_loop.R IDX_R FOLDER BATCH_SIZE LATENT_DIM THREADS
#
# IDX_R: the file that reads IDX images (r_bridge/rpackage/R/idx.R). FOLDER: MNIST's.
#
# wait() and step_done() are the benchmark's: the loop waits until it is told how many steps to do
# ("conv 3" on stdin), and the milliseconds that each of them took go to stdout ("took 310 308 311").

suppressPackageStartupMessages(library(torch))

arguments <- commandArgs(TRUE)
source(arguments[[1]])
batch_size <- as.integer(arguments[[3]])
latent_dim <- as.integer(arguments[[4]])
torch_set_num_threads(as.integer(arguments[[5]]))

encoder <- nn_module(
  "encoder",
  initialize = function(latent_dim) {
    self$conv1 <- nn_conv2d(1, 32, 3)
    self$conv2 <- nn_conv2d(32, 64, 3)
    self$dropout1 <- nn_dropout(0.25)
    self$dropout2 <- nn_dropout(0.5)
    self$fc1 <- nn_linear(9216, 128)
    self$fc2 <- nn_linear(128, latent_dim)
    self$fc3 <- nn_linear(128, latent_dim)
  },
  forward = function(x) {
    x <- nnf_relu(self$conv1(x))                       # n x 32 x 26 x 26
    x <- nnf_relu(self$conv2(x))                       # n x 64 x 24 x 24
    x <- self$dropout1(nnf_max_pool2d(x, 2))           # n x 64 x 12 x 12
    x <- torch_flatten(x, start_dim = 2)               # n x 9216
    x <- self$dropout2(nnf_relu(self$fc1(x)))          # n x 128
    list(mu = self$fc2(x), log_var = self$fc3(x))      # n x latent_dim each
  }
)

decoder <- nn_module(
  "decoder",
  initialize = function(latent_dim) {
    self$fc1 <- nn_linear(latent_dim, 128)
    self$fc2 <- nn_linear(128, 128)
    self$conv1 <- nn_conv_transpose2d(128, 256, 1)
    self$conv2 <- nn_conv_transpose2d(256, 784, 1)
  },
  forward = function(z) {
    x <- nnf_relu(self$fc1(z))                         # n x 128
    x <- nnf_relu(self$fc2(x))
    x <- torch_reshape(x, list(-1, 128, 1, 1))         # n x 128 x 1 x 1
    x <- nnf_relu(self$conv1(x))                       # n x 256 x 1 x 1
    nnf_sigmoid(torch_reshape(self$conv2(x), list(-1, 784)))
  }
)

vae <- nn_module(
  "vae",
  initialize = function(latent_dim) {
    self$encoder <- encoder(latent_dim)
    self$decoder <- decoder(latent_dim)
  },
  forward = function(x) {
    posterior <- self$encoder(x)
    z <- posterior$mu + torch_exp(posterior$log_var$mul(0.5)) * torch_randn_like(posterior$mu)
    list(pixels = self$decoder(z), mu = posterior$mu, log_var = posterior$log_var)
  }
)

mnist <- dataset(
  "mnist",
  initialize = function(path) {
    pixels <- read_idx_images(path)
    self$images <- torch_tensor(idx_batch(pixels, seq_len(ncol(pixels))), dtype = torch_float())
  },
  .getitem = function(index) self$images[index, ],
  .length = function() self$images$size(1)
)

# --- the benchmark's -----------------------------------------------------------------------------
asked <- file("stdin", "r")
left <- 0L
took <- numeric()

wait <- function() {
  line <- readLines(asked, n = 1L)
  if (!length(line)) quit("no")
  left <<- as.integer(strsplit(line, " ", fixed = TRUE)[[1]][[2]])
  took <<- numeric()
  began <<- Sys.time()
}

# Waits at the end of a step, not at the beginning of one: the next batch is drawn in the time
# that is measured.
step_done <- function() {
  now <- Sys.time()
  took <<- c(took, as.numeric(now - began, units = "secs") * 1000)
  began <<- now
  left <<- left - 1L
  if (left > 0L) return(invisible())
  cat("took", sprintf("%.6f", took), "\n")
  flush(stdout())
  wait()
}

say_ready <- function() {
  invisible(gc())  # what reading the images left is not the training's
  cat("ready", Sys.getpid(), "\n")
  flush(stdout())
}
# -------------------------------------------------------------------------------------------------

images <- mnist(find_idx_images(arguments[[2]]))
say_ready()
wait()  # the first step makes network and optimiser, too

loader <- dataloader(images, batch_size = batch_size, shuffle = TRUE, drop_last = TRUE)
network <- vae(latent_dim)
optimizer <- optim_adam(network$parameters, lr = 0.001)
reconstruction <- nn_bce_loss(reduction = "sum")
total <- 0
repeat {  # epoch by epoch, until the benchmark ends it
  coro::loop(for (x in loader) {
    output <- network(torch_reshape(x, list(-1, 1, 28, 28)))
    kl <- 1 + output$log_var - output$mu$pow(2) - output$log_var$exp()
    loss <- reconstruction(output$pixels, x) - 0.5 * kl$sum()
    optimizer$zero_grad()
    loss$backward()
    optimizer$step()
    total <- total + loss$item()
    step_done()
  })
}
