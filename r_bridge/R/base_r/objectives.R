# The objectives, as sums over images and pixels (nats), and their gradients.
#
# Reconstruction, the negative Bernoulli log-likelihood (binary cross-entropy) of pixels x in
# [0, 1] under probabilities q:
#
#   BCE = - sum x log q + (1 - x) log(1 - q)          logarithms not below -100, as in torch
#   dBCE/dq = (q - x) / max(q (1 - q), epsilon)       (?nnf_binary_cross_entropy)
#
# torch's gradient is not the derivative of the loss held at log = -100: the two lines are
# torch's own, and are kept as they are. Its epsilon is 1e-12 rounded to single precision, in
# double precision too.
#
# Regulariser, with the posterior N(mu, exp(log_var)) and the prior N(0, I):
#
#   vae   KL = -1/2 sum (1 + log_var - mu^2 - exp(log_var))     Kingma & Welling (2014),
#                                       "Auto-encoding variational Bayes", appendix B
#   emae  1/2 sum mu^2                  the R article's loss without the entropy of the posterior
#   em    1/2 sum (mu^2 + exp(log_var))   KL without exactly that entropy
#
# Gradients: vae  dmu = mu, dlog_var = (exp(log_var) - 1) / 2;   emae  dmu = mu, dlog_var = 0;
#            em   dmu = mu, dlog_var = exp(log_var) / 2.

bce <- function(q, x) {
  sum((x - 1) * pmax(log1p(-q), -100) - x * pmax(log(q), -100))
}

bce_epsilon <- 9.999999960041972e-13

bce_backward <- function(q, x) (q - x) / pmax((1 - q) * q, bce_epsilon)

regularisers <- list(
  vae = list(
    value = function(mu, log_var) -0.5 * sum(1 + log_var - mu^2 - exp(log_var)),
    gradient = function(mu, log_var) list(mu = mu, log_var = 0.5 * (exp(log_var) - 1))
  ),
  emae = list(
    value = function(mu, log_var) 0.5 * sum(mu^2),
    gradient = function(mu, log_var) list(mu = mu, log_var = 0 * log_var)
  ),
  em = list(
    value = function(mu, log_var) 0.5 * sum(mu^2 + exp(log_var)),
    gradient = function(mu, log_var) list(mu = mu, log_var = 0.5 * exp(log_var))
  )
)
