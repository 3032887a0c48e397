# A sample of the posterior N(mu, exp(log_var)) from standard normal noise, and its gradients.
#
#   z = mu + exp(log_var / 2) noise
#
#   dL/dmu = dz        dL/dlog_var = dz noise exp(log_var / 2) / 2
#
# Kingma & Welling (2014), "Auto-encoding variational Bayes", section 2.4,
# https://arxiv.org/abs/1312.6114. noise = NULL: no sample, z = mu.

reparameterise_forward <- function(mu, log_var, noise) {
  if (is.null(noise)) mu else mu + exp(0.5 * log_var) * noise
}

reparameterise_backward <- function(dz, log_var, noise) {
  list(mu = dz,
       log_var = if (is.null(noise)) 0 * dz else dz * noise * 0.5 * exp(0.5 * log_var))
}
