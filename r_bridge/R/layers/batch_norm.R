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
# x is (F, N), or maps c(C, W, H, N): a number per channel recycles.

batch_norm_forward <- function(x, weight, bias, running_mean, running_var, momentum, eps,
                               training) {
  mean <- as.vector(running_mean)
  var <- as.vector(running_var)
  if (training) {
    n <- length(x) / length(weight)
    if (n < 2) stop("batch norm in training mode got one value per channel; expected two or more")
    mean <- rowSums(x) / n
    var <- rowSums((x - mean)^2) / n
    running_mean <- (1 - momentum) * running_mean + momentum * mean
    running_var <- (1 - momentum) * running_var + momentum * (var * (n / (n - 1)))
  }
  y <- (x - mean) * (1 / sqrt(var + eps)) * as.vector(weight) + as.vector(bias)
  list(y = y, mean = mean, var = var,
       buffers = list(running_mean = running_mean, running_var = running_var))
}

# mean, var: what the forward pass gave.
batch_norm_backward <- function(dy, x, mean, var, weight, eps, training) {
  normal <- (x - mean) * (1 / sqrt(var + eps))
  dw <- rowSums(dy * normal)
  db <- rowSums(dy)
  n <- length(dy) / length(weight)
  inner <- if (training) dy - db / n - normal * (dw / n) else dy
  list(x = inner * as.vector(weight / sqrt(var + eps)), weight = dw, bias = db)
}
