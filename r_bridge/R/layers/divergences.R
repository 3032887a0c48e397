# Kullback-Leibler divergences of a loss, as sums over images and dimensions (nats), and their
# gradients with respect to all inputs.
#
#   kl_normal       KL(N(mu, exp(l)) || N(0, 1)) = -1/2 sum 1 + l - mu^2 - exp(l)
#   half_mu_squared, expected_prior    the regularisers emae and em of objectives.R
#   kl_gaussians    KL(N(mu1, exp(l1)) || N(mu2, exp(l2)))
#                   = -1/2 sum 1 + l1 - l2 - exp(l1) / exp(l2) - (mu2 - mu1)^2 / exp(l2)
#   kl_categorical  KL(pi || 1/K) = sum pi log(pi + 1e-20) - pi log(1/K + 1e-20)
#
# Kingma & Welling (2014), "Auto-encoding variational Bayes", appendix B,
# https://arxiv.org/abs/1312.6114; Jang, Gu & Poole (2017), "Categorical reparameterization with
# Gumbel-softmax", https://arxiv.org/abs/1611.01144. 1e-20 as in softmax.R.

divergences <- list(
  kl_normal = list(
    value = function(x, options) regularisers$vae$value(x[[1L]], x[[2L]]),
    gradient = function(x, options) unname(regularisers$vae$gradient(x[[1L]], x[[2L]]))
  ),
  half_mu_squared = list(
    value = function(x, options) regularisers$emae$value(x[[1L]], x[[2L]]),
    gradient = function(x, options) unname(regularisers$emae$gradient(x[[1L]], x[[2L]]))
  ),
  expected_prior = list(
    value = function(x, options) regularisers$em$value(x[[1L]], x[[2L]]),
    gradient = function(x, options) unname(regularisers$em$gradient(x[[1L]], x[[2L]]))
  ),
  kl_gaussians = list(
    value = function(x, options) {
      mu <- x[c(1L, 3L)]
      l <- x[c(2L, 4L)]
      -0.5 * sum(1 + l[[1L]] - l[[2L]] - exp(l[[1L]]) / exp(l[[2L]])
                 - (mu[[2L]] - mu[[1L]])^2 / exp(l[[2L]]))
    },
    gradient = function(x, options) {
      away <- x[[1L]] - x[[3L]]
      var2 <- exp(x[[4L]])
      ratio <- exp(x[[2L]]) / var2
      list(away / var2, 0.5 * (ratio - 1), -away / var2, 0.5 * (1 - ratio - away^2 / var2))
    }
  ),
  kl_categorical = list(
    value = function(x, options) {
      sum(x[[1L]] * log(x[[1L]] + class_epsilon) - x[[1L]] * log_uniform(x[[1L]]))
    },
    gradient = function(x, options) {
      p <- x[[1L]]
      list(log(p + class_epsilon) + p / (p + class_epsilon) - log_uniform(p))
    }
  )
)

log_uniform <- function(pi) log(1 / nrow(pi) + class_epsilon)
