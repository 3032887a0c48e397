# All that chance brings to a run in R alone: initial parameters, the order of the images, dropout
# and noise. r_bridge/engines/r_random.py draws the same numbers in Python, to the bit.
#
#   random_start(seed)
#   p <- conv_vae_initial(latent_dim)          once, before the first epoch
#   order <- random_order(60000)               once an epoch
#   draws <- conv_vae_draw(250, latent_dim)    once a step
#
# Kinds are R's defaults since 3.6.0, named so that neither a profile nor what a session did
# before matters: Matsumoto & Nishimura (1998), "Mersenne Twister", ACM TOMACS 8(1); normals by
# inversion, Wichura (1988), "Algorithm AS 241", Applied Statistics 37(3); see ?RNGkind.

random_start <- function(seed) {
  set.seed(seed, kind = "Mersenne-Twister", normal.kind = "Inversion", sample.kind = "Rejection")
}

# The shapes of every layer's parameters, in the order in which torch creates them.
conv_vae_shapes <- function(latent_dim) {
  list(encoder.conv1 = list(weight = c(32L, 1L, 3L, 3L), bias = 32L),
       encoder.conv2 = list(weight = c(64L, 32L, 3L, 3L), bias = 64L),
       encoder.fc1 = list(weight = c(128L, 9216L), bias = 128L),
       encoder.fc2 = list(weight = c(latent_dim, 128L), bias = latent_dim),
       encoder.fc3 = list(weight = c(latent_dim, 128L), bias = latent_dim),
       decoder.fc1 = list(weight = c(128L, latent_dim), bias = 128L),
       decoder.fc2 = list(weight = c(128L, 128L), bias = 128L),
       decoder.conv1 = list(weight = c(128L, 256L, 1L, 1L), bias = 256L),   # inputs first
       decoder.conv2 = list(weight = c(256L, 784L, 1L, 1L), bias = 784L))
}

conv_vae_initial <- function(latent_dim) initial_parameters(conv_vae_shapes(latent_dim))

# Weights and biases from U(-b, b), b = 1 / sqrt(fan_in): torch's initialisers, He et al. (2015),
# "Delving deep into rectifiers", with a = sqrt(5). fan_in is the number of weights that share
# the weight's first index, as torch counts it, for transposed convolutions too.
initial_parameters <- function(layers) {
  parameters <- list()
  for (layer in names(layers)) {
    bound <- 1 / sqrt(prod(layers[[layer]]$weight[-1L]))
    for (kind in c("weight", "bias")) {
      shape <- layers[[layer]][[kind]]
      values <- stats::runif(prod(shape), -bound, bound)
      if (length(shape) > 1L) dim(values) <- shape
      parameters[[paste(layer, kind, sep = ".")]] <- values
    }
  }
  parameters
}

# The draws of one step for n images, one per row: TRUE keeps. As conv_vae_loss_and_gradients()
# takes them.
conv_vae_draw <- function(n, latent_dim) {
  c(conv_vae_masks(n), list(noise = random_normal(n, latent_dim)))
}

conv_vae_masks <- function(n) {
  list(dropout1 = random_keep(n, 9216L, 0.25), dropout2 = random_keep(n, 128L, 0.5))
}

random_keep <- function(rows, columns, p) {
  matrix(stats::runif(rows * columns) >= p, nrow = rows)
}

random_normal <- function(rows, columns) matrix(stats::rnorm(rows * columns), nrow = rows)

random_order <- function(n) sample.int(n)

# Where the generator stands, to go on from later. A session has it once it has drawn or started.
random_state <- function() get(".Random.seed", envir = globalenv(), inherits = FALSE)

random_restore <- function(state) {
  assign(".Random.seed", state, envir = globalenv())
  invisible(NULL)
}
