# All that chance brings to a run in R alone: initial parameters, the order of the images, dropout
# and noise. r_bridge/engines/r_random.py draws the same numbers in Python, to the bit.
#
#   random_start(seed)
#   p <- initial_parameters(layers)            once, before the first epoch
#   order <- random_order(60000)               once an epoch
#   draws <- random_draws(250, draws)          once a step
#
# Kinds are R's defaults since 3.6.0, named so that neither a profile nor what a session did
# before matters: Matsumoto & Nishimura (1998), "Mersenne Twister", ACM TOMACS 8(1); normals by
# inversion, Wichura (1988), "Algorithm AS 241", Applied Statistics 37(3); see ?RNGkind.

random_start <- function(seed) {
  set.seed(seed, kind = "Mersenne-Twister", normal.kind = "Inversion", sample.kind = "Rejection")
}

# Weights and biases from U(-b, b), b = 1 / sqrt(fan_in): torch's initialisers, He et al. (2015),
# "Delving deep into rectifiers", with a = sqrt(5). fan_in is the number of weights that share
# the weight's first index, as torch counts it, for transposed convolutions too. `layers` are, by
# name, list(weight = its shape, bias = its shape), in the order in which torch creates them.
initial_parameters <- function(layers) {
  parameters <- list()
  for (layer in names(layers)) {
    bound <- 1 / sqrt(prod(unlist(layers[[layer]]$weight)[-1L]))
    for (kind in c("weight", "bias")) {
      shape <- unlist(layers[[layer]][[kind]])
      values <- stats::runif(prod(shape), -bound, bound)
      if (length(shape) > 1L) dim(values) <- shape
      parameters[[paste(layer, kind, sep = ".")]] <- values
    }
  }
  parameters
}

# The draws of one step for n images, one per row: TRUE keeps. `draws` are, by name and in order,
# list(kind = "keep", columns, p) or list(kind = "normal", columns).
random_draws <- function(n, draws) {
  lapply(draws, function(draw) {
    switch(draw$kind, keep = random_keep(n, draw$columns, draw$p),
           normal = random_normal(n, draw$columns))
  })
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
