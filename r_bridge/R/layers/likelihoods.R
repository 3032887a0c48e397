# Reconstruction terms of a loss: negative log-likelihoods as sums over images and elements (nats),
# and their gradients.
#
#   bce            - sum x log p + (1 - x) log(1 - p)              Bernoulli; see objectives.R
#   mse            sum (p - x)^2
#   gaussian       1/2 sum (x - m)^2 / variance + log(2 pi variance)
#   cross_entropy  - sum onehot log softmax(x)                     x as it comes, not its logarithm
#
# Kingma & Welling (2014), "Auto-encoding variational Bayes", appendix C,
# https://arxiv.org/abs/1312.6114; torch: ?nnf_binary_cross_entropy, ?nnf_mse_loss,
# ?nnf_cross_entropy.
#
# The second input is the target. It may have another shape of as many elements, and gets no
# gradient.

likelihoods <- list(
  bce = list(
    value = function(x, options) bce(x[[1L]], target(x)),
    gradient = function(x, options) list(bce_backward(x[[1L]], target(x)), NULL)
  ),
  mse = list(
    value = function(x, options) sum((x[[1L]] - target(x))^2),
    gradient = function(x, options) list(2 * (x[[1L]] - target(x)), NULL)
  ),
  gaussian = list(
    value = function(x, options) {
      0.5 * sum((target(x) - x[[1L]])^2 / options$variance + log(2 * pi * options$variance))
    },
    gradient = function(x, options) list((x[[1L]] - target(x)) / options$variance, NULL)
  ),
  cross_entropy = list(
    value = function(x, options) -sum(target(x) * log_softmax(x[[1L]])),
    gradient = function(x, options) {
      onehot <- target(x)
      p <- softmax_forward(x[[1L]])
      list(p * rep(colSums(onehot), each = nrow(p)) - onehot, NULL)
    }
  )
)

# The second input in the shape of the first.
target <- function(x) {
  if (length(x[[1L]]) != length(x[[2L]])) {
    stop("the target has ", length(x[[2L]]), " elements; expected ", length(x[[1L]]))
  }
  shaped(x[[2L]], x[[1L]])
}
