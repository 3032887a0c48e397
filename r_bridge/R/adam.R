# Adam: Kingma & Ba (2015), "Adam: a method for stochastic optimization", algorithm 1,
# https://arxiv.org/abs/1412.6980, in the order of operations of torch (?optim_adam):
#
#   m <- m + (1 - beta1) (g - m)              v <- beta2 v + (1 - beta2) g^2
#   theta <- theta - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)

adam_settings <- list(beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8)

adam_state <- function(parameters) {
  zeros <- lapply(parameters, function(theta) 0 * theta)
  list(t = 0, m = zeros, v = zeros)
}

# One step for all parameters; returns the new parameters and the new state.
adam_step <- function(parameters, gradients, state, learning_rate, settings = adam_settings) {
  state$t <- state$t + 1
  correction1 <- 1 - settings$beta1^state$t
  correction2 <- 1 - settings$beta2^state$t
  for (name in names(parameters)) {
    g <- gradients[[name]]
    m <- state$m[[name]]
    m <- m + (1 - settings$beta1) * (g - m)
    v <- settings$beta2 * state$v[[name]] + (1 - settings$beta2) * g^2
    parameters[[name]] <- parameters[[name]] -
      (learning_rate / correction1) * m / (sqrt(v) / sqrt(correction2) + settings$epsilon)
    state$m[[name]] <- m
    state$v[[name]] <- v
  }
  list(parameters = parameters, state = state)
}
