# Is my port right? A PyTorch program, ported to base R with two mistakes, which are found one after
# the other. The same in Python: own_port.ipynb.
#
#   Rscript own_port.R                       in this folder; needs the R package pyvae and its Python

library(pyvae)

# The original: `pyvae record` runs original.py and writes down its first three steps. The program is
# not changed, and neither is any bit that it computes.
python <- suppressWarnings(reticulate::py_config())$python  # reticulate 1.28 would speak of Poetry
status <- system2(python, c("-m", "pyvae", "record", "--overwrite", "--out", "original", "--", "original.py"),
                  env = "LD_LIBRARY_PATH=")   # R's own libraries are not for Python
stopifnot(status == 0)
original <- read_program_trace("original")
original

# The port. Initial weights and batches are the original's: with other random numbers there would be
# nothing to compare.
rate <- 0.01
decay <- 0.1
stages <- list(
  stage("x", "input"),
  stage("fc1", "linear", "x", parameters = c(weight = "fc1.weight", bias = "fc1.bias")),
  stage("relu", "relu", "fc1"),
  stage("fc2", "linear", "relu", parameters = c(weight = "fc2.weight", bias = "fc2.bias")),
  stage("y", "input"),
  stage("loss", "cross_entropy_loss", c("fc2", "y"), list(reduction = "mean")))

linear <- function(x, weight, bias) sweep(x %*% t(weight), 2, bias, "+")

train <- function(relu_backward, adam) {
  first <- original$arrays(1)
  names <- c("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")
  w <- stats::setNames(first[paste0("start/", names)], names)
  m <- v <- lapply(w, function(values) 0 * values)
  lapply(1:3, function(t) {
    batch <- original$arrays(t)
    x <- batch[["forward/input"]]
    y <- as.integer(batch[["forward/input#2"]]) + 1L               # R counts classes from 1
    start <- w

    fc1 <- linear(x, w$fc1.weight, w$fc1.bias)
    relu <- pmax(fc1, 0)
    fc2 <- linear(relu, w$fc2.weight, w$fc2.bias)
    p <- exp(fc2) / rowSums(exp(fc2))
    loss <- -mean(log(p[cbind(seq_along(y), y)]))

    d_fc2 <- (p - diag(10)[y, ]) / length(y)
    d_relu <- d_fc2 %*% w$fc2.weight
    d_fc1 <- relu_backward(d_relu, fc1)
    g <- list(fc1.weight = t(d_fc1) %*% x, fc1.bias = colSums(d_fc1),
              fc2.weight = t(d_fc2) %*% relu, fc2.bias = colSums(d_fc2))
    after <- adam(w, g, m, v, t)
    w <<- after$w
    m <<- after$m
    v <<- after$v
    list(start = start, loss = loss,
         forward = list(x = x, fc1 = fc1, relu = relu, fc2 = fc2, y = y, loss = loss),
         gradient = c(list(fc1 = d_fc1, relu = d_relu, fc2 = d_fc2), g),
         state = list(exp_avg = m, exp_avg_sq = v, step = t), parameter = w)
  })
}

record_port <- function(relu_backward, adam) {
  write_program_trace(
    "port", "base-r", stages, steps = train(relu_backward, adam), overwrite = TRUE,
    optimiser = list(kind = "adamw", settings = list(
      lr = rate, betas = c(0.9, 0.999), eps = 1e-8, weight_decay = decay)))
}

moments <- function(g, m, v) {
  list(m = Map(function(m, g) 0.9 * m + 0.1 * g, m, g),
       v = Map(function(v, g) 0.999 * v + 0.001 * g^2, v, g))
}

adam_step <- function(now, t) {
  Map(function(m, v) m / (1 - 0.9^t) / (sqrt(v / (1 - 0.999^t)) + 1e-8), now$m, now$v)
}

# Mistake 1: ReLU lets no gradient through where it was 0.
no_mask <- function(d_relu, fc1) d_relu

# Mistake 2: the weight decay of Adam, not of AdamW.
l2_decay <- function(w, g, m, v, t) {
  now <- moments(Map(function(g, w) g + decay * w, g, w), m, v)
  c(list(w = Map(function(w, step) w - rate * step, w, adam_step(now, t))), now)
}

cat("\n# The first mistake\n")
record_port(no_mask, l2_decay)
first <- compare_traces("original", "port")
first

cat("\n# The second mistake\n")
mask <- function(d_relu, fc1) d_relu * (fc1 > 0)
record_port(mask, l2_decay)
second <- compare_traces("original", "port")
second

# AdamW shrinks the weights by themselves and keeps the decay out of the moments.
cat("\n# And now\n")
adamw <- function(w, g, m, v, t) {
  now <- moments(g, m, v)
  c(list(w = Map(function(w, step) w * (1 - rate * decay) - rate * step, w, adam_step(now, t))), now)
}
record_port(mask, adamw)
third <- compare_traces("original", "port")
third
stopifnot(third$verdict == "agree")
