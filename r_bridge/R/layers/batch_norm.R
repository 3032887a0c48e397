# Batch normalisation and its gradients: Ioffe & Szegedy (2015), "Batch normalization:
# accelerating deep network training by reducing internal covariate shift", algorithms 1 and 2
# and section 3, https://arxiv.org/abs/1502.03167; numbers as torch has them (?nn_batch_norm2d).
#
#   y = w (x - m) / sqrt(v + eps) + b        for each feature, or each channel of maps
#
#   training     m = mean, v = biased variance of the batch (of a channel: its pixels too)
#                running mean <- (1 - momentum) running mean + momentum m
#                running variance <- (1 - momentum) running variance + momentum v n / (n - 1)
#   evaluation   m, v = the running ones
#
#   with h = (x - m) / sqrt(v + eps):    dL/dw = sum dy h     dL/db = sum dy
#   training     dL/dx = w / sqrt(v + eps) (dy - mean(dy) - h mean(dy h))
#   evaluation   dL/dx = w / sqrt(v + eps) dy
#
# x is (F, N), or maps c(W, H, C, N).

batch_norm_forward <- function(x, weight, bias, running_mean, running_var, momentum, eps,
                               training) {
  each <- channel_repeater(x)
  mean <- running_mean
  var <- running_var
  if (training) {
    n <- length(x) / length(weight)
    if (n < 2) stop("batch norm in training mode got one value per channel; expected two or more")
    mean <- channel_sums(x) / n
    var <- channel_sums((x - each(mean))^2) / n
    running_mean <- (1 - momentum) * running_mean + momentum * mean
    running_var <- (1 - momentum) * running_var + momentum * (var * (n / (n - 1)))
  }
  y <- (x - each(mean)) * each(1 / sqrt(var + eps)) * each(weight) + each(bias)
  list(y = y, mean = mean, var = var,
       buffers = list(running_mean = running_mean, running_var = running_var))
}

# mean, var: what the forward pass gave.
batch_norm_backward <- function(dy, x, mean, var, weight, eps, training) {
  each <- channel_repeater(dy)
  normal <- (x - each(mean)) * each(1 / sqrt(var + eps))
  dw <- channel_sums(dy * normal)
  db <- channel_sums(dy)
  n <- length(dy) / length(weight)
  inner <- if (training) dy - each(db / n) - normal * each(dw / n) else dy
  list(x = inner * each(weight / sqrt(var + eps)), weight = dw, bias = db)
}

# Sums over all but the channels of (C, N) or c(W, H, C, N).
channel_sums <- function(x) {
  if (is.matrix(x)) rowSums(x) else rowSums(colSums(x, dims = 2L))
}

# Repeats a number per channel over the pixels of one image; R recycles it over the images.
channel_repeater <- function(x) {
  pixels <- if (is.matrix(x)) 1L else prod(dim(x)[1:2])
  function(values) rep(as.vector(values), each = pixels)
}
