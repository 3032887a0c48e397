# The layers that a stage may name, in R torch: torch_layers$NAME(s) returns the layer's value. The
# same names as in base R's table (layers/layers.R); gradients are autograd's.
#
#   s          x        list of the inputs' values, images first: (N, F) or (N, C, H, W)
#              draw     the stage's draw, one row per image, or NULL (evaluation mode)
#              options  list of numbers and strings
#              training
#              weight, bias, running_mean, running_var, num_batches_tracked     of the stage's
#                       module, or NULL
#
# Each calls the operations of LibTorch that PyTorch's engine calls, in the same order
# (pyvae/model/modules.py, loss_terms.py), so that where the LibTorchs agree every bit is equal. A
# number comes into a tensor by a method: x$mul(0.5) and not 0.5 * x, of whose number R torch makes
# a float32 tensor of shape (1), to which a sum in double precision, of shape (), is then rounded.
# 1 + x is exact.

# In the shape of another tensor.
torch_like <- function(x, other) torch_reshape(x, other$shape)

# Terms of the loss: value(x, options), the sum over the batch, divided as options$per says.
torch_term <- function(value) {
  function(s) {
    sum <- value(s$x, s$options)
    per <- if (is.null(s$options$per)) "sum" else s$options$per
    switch(per, sum = sum, image = sum$div(s$x[[1L]]$size(1L)),
           element = sum$div(s$x[[1L]]$numel()),
           stop("per is '", per, "'; expected sum, image or element"))
  }
}

torch_class_epsilon <- 1e-20                                       # keeps logarithms finite

# The formulas are those of layers/likelihoods.R and layers/divergences.R.
torch_terms <- c(lapply(list(
  bce = function(x, options) nnf_binary_cross_entropy(x[[1L]], x[[2L]], reduction = "sum"),
  gaussian = function(x, options) {
    squares <- (x[[2L]] - x[[1L]])$pow(2)$div(options$variance)
    squares$add(log(2 * pi * options$variance))$sum()$mul(0.5)
  },
  cross_entropy = function(x, options) {
    torch_neg(torch_sum(x[[2L]] * nnf_log_softmax(x[[1L]], dim = 2L)))
  },
  kl_normal = function(x, options) {
    mu <- x[[1L]]
    log_var <- x[[2L]]
    torch_sum(1 + log_var - mu$pow(2) - log_var$exp())$mul(-0.5)
  },
  half_mu_squared = function(x, options) torch_sum(x[[1L]]$pow(2))$mul(0.5),
  expected_prior = function(x, options) torch_sum(x[[1L]]$pow(2) + x[[2L]]$exp())$mul(0.5),
  kl_gaussians = function(x, options) {
    mu <- x[c(1L, 3L)]
    log_var <- x[c(2L, 4L)]
    ratio <- log_var[[1L]]$exp() / log_var[[2L]]$exp()
    distance <- (mu[[2L]] - mu[[1L]])$pow(2) / log_var[[2L]]$exp()
    torch_sum(1 + log_var[[1L]] - log_var[[2L]] - ratio - distance)$mul(-0.5)
  },
  kl_categorical = function(x, options) {
    probabilities <- x[[1L]]
    uniform <- log(1 / probabilities$size(2L) + torch_class_epsilon)
    logarithms <- torch_log(probabilities$add(torch_class_epsilon))
    torch_sum(probabilities * logarithms - probabilities$mul(uniform))
  }
), torch_term), list(
  mse = function(s) {
    mean <- identical(s$options$per, "element")
    nnf_mse_loss(s$x[[1L]], s$x[[2L]], reduction = if (mean) "mean" else "sum")
  },
  sum = function(s) {                                              # of terms, weighted
    weighted <- Map(function(x, weight) if (weight == 1) x else x$mul(weight), s$x,
                    s$options$weights)
    Reduce(`+`, weighted)
  }
))

torch_layers <- c(torch_terms, list(
  input = list(),                                                  # given: see network.R
  conv2d = function(s) {
    nnf_conv2d(s$x[[1L]], s$weight, s$bias, s$options$stride, s$options$padding)
  },
  conv_transpose2d = function(s) {
    nnf_conv_transpose2d(s$x[[1L]], s$weight, s$bias, s$options$stride, s$options$padding)
  },
  linear = function(s) nnf_linear(s$x[[1L]], s$weight, s$bias),
  batch_norm = function(s) {                                       # the running ones move in place
    if (s$training && !is.null(s$num_batches_tracked)) s$num_batches_tracked$add_(1)
    nnf_batch_norm(s$x[[1L]], s$running_mean, s$running_var, s$weight, s$bias, s$training,
                   s$options$momentum, s$options$eps)
  },
  relu = function(s) nnf_relu(s$x[[1L]]),
  leaky_relu = function(s) nnf_leaky_relu(s$x[[1L]], s$options$slope),
  sigmoid = function(s) torch_sigmoid(s$x[[1L]]),
  softplus = function(s) nnf_softplus(s$x[[1L]]),
  softmax = function(s) nnf_softmax(s$x[[1L]], dim = 2L),
  log = function(s) torch_log(s$x[[1L]]),
  flatten = function(s) torch_flatten(s$x[[1L]], start_dim = 2L),
  unflatten = function(s) {
    size <- s$x[[1L]]$shape
    side <- round(sqrt(size[[2L]] / s$options$channels))
    torch_reshape(s$x[[1L]], c(size[[1L]], s$options$channels, side, side))
  },
  max_pool2d = function(s) nnf_max_pool2d(s$x[[1L]], 2L),
  dropout = function(s) {
    if (is.null(s$draw)) return(s$x[[1L]])
    s$x[[1L]] * torch_like(s$draw, s$x[[1L]])$div(1 - s$options$p)
  },
  first_half = function(s) s$x[[1L]]$narrow(2L, 1L, s$x[[1L]]$size(2L) %/% 2L),
  second_half = function(s) {
    features <- s$x[[1L]]$size(2L)
    s$x[[1L]]$narrow(2L, features %/% 2L + 1L, features - features %/% 2L)
  },
  multiply = function(s) s$x[[1L]] * s$x[[2L]],
  concat = function(s) torch_cat(s$x, dim = 2L),
  gumbel_softmax = function(s) {
    if (is.null(s$draw)) return(s$x[[1L]])
    logarithms <- torch_log(s$x[[1L]]$add(torch_class_epsilon))
    nnf_softmax((logarithms + torch_like(s$draw, logarithms))$div(s$options$temperature), dim = 2L)
  },
  reparameterise = function(s) {
    mu <- s$x[[1L]]
    if (is.null(s$draw)) mu else mu + torch_exp(s$x[[2L]]$mul(0.5)) * torch_like(s$draw, mu)
  }
))
