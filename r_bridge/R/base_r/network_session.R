# A training session of a network that is declared as stages (network.R); the functions of
# session.R, for any such network.
#
#   session <- network_session_start(stages, parameters, learning_rate = 1e-3, terms)
#   network_session_step(session, x, draws)         values of the loss terms that `terms` names; if
#                                                   the total is not finite, nothing has changed
#   network_session_probe(session, x, draws)        the same step, with all that is seen on the way
#   network_session_state(session)                  parameters, Adam's moments, buffers, steps
#   network_session_restore(session, ...)           goes on from such a state
#   network_session_latent_means(session, x, stage = "mu")    its value, one row per image
#   network_session_decode(session, z, from, to)    stage `to` where stage `from` is z
#   network_session_parameters(session)             parameters and buffers
#
# x, draws and z have one image per row, or torch's index order (N, C, H, W): images first.
# Parameters and buffers have torch's names and index order. What a probe tells of stages has the
# image last, and so torch's order in memory. Everything is in double precision. Batch
# normalisation couples the images of a batch, so a batch is never cut into parts.

# parameters    with the buffers, MODULE.running_mean and MODULE.running_var, among them
# terms         names of stages of one number; the gradient is stage "total"'s
network_session_start <- function(stages, parameters, learning_rate,
                                  terms = c("total", "reconstruction", "regulariser")) {
  session <- new.env()
  session$stages <- network_stages(stages)
  session$terms <- as.character(unlist(terms))
  buffers <- grepl("[.]running_(mean|var)$", names(parameters))
  session$names <- names(parameters)
  session$parameters <- parameters[!buffers]
  session$buffers <- parameters[buffers]
  session$adam <- adam_state(session$parameters)
  session$learning_rate <- learning_rate
  session
}

network_session_step <- function(session, x, draws = NULL) {
  network_session_train(session, x, draws, probe = FALSE)$losses
}

# Of every stage that "total" depends on, but for loss terms: its value and, where there is one,
# the gradient with respect to it. That of an input is the one through the network, not through
# being the target of a loss term. Parameter gradients are those of the step that was taken, and
# buffers those after it. Of a step whose total is not finite there are no gradients, and buffers
# are those that were not kept.
network_session_probe <- function(session, x, draws = NULL) {
  step <- network_session_train(session, x, draws, probe = TRUE)
  list(forward = network_arrays(lapply(step$seen, function(s) s$y)),
       gradient = network_arrays(step$d$stages), parameter_gradients = step$d$parameters,
       buffers = step$buffers, losses = step$losses)
}

# What the stages of a step that failed had returned until then.
network_session_seen <- function(session) {
  seen <- session$seen
  session$seen <- NULL
  network_arrays(lapply(seen, function(s) s$y))
}

network_arrays <- function(values) Filter(function(value) !is.null(dim(value)), values)

network_session_train <- function(session, x, draws, probe) {
  forward <- network_forward(session$stages, c("total", session$terms), session$parameters,
                             session$buffers, list(input = images_last(x)),
                             lapply(draws, images_last), training = TRUE, keep = session)
  losses <- vapply(session$terms, function(term) forward$seen[[term]]$y, 0)
  if (!is.finite(forward$seen$total$y)) {
    session$seen <- NULL
    return(list(losses = losses, seen = forward$seen, buffers = forward$buffers))
  }
  d <- network_backward(session$stages, forward$seen, session$parameters, "total", inputs = probe)
  step <- adam_step(session$parameters, d$parameters, session$adam, session$learning_rate)
  session$parameters <- step$parameters
  session$adam <- step$state
  session$buffers <- forward$buffers
  session$seen <- NULL
  list(losses = losses, seen = forward$seen, buffers = forward$buffers, d = d)
}

# In training mode with dropout where draws has a mask, and with the batch's statistics; the
# running ones stay as they are: a look must not change the model.
network_session_latent_means <- function(session, x, draws = NULL, training = FALSE,
                                         stage = "mu") {
  forward <- network_forward(session$stages, stage, session$parameters, session$buffers,
                             list(input = images_last(x)), lapply(draws, images_last), training)
  t(as_rows(forward$seen[[stage]]$y))
}

# In evaluation mode; one row per image.
network_session_decode <- function(session, z, from = "reparameterise", to) {
  forward <- network_forward(session$stages, to, session$parameters, session$buffers,
                             stats::setNames(list(images_last(z)), from), list(),
                             training = FALSE)
  t(as_rows(forward$seen[[to]]$y))
}

# With the buffers, in the order in which the session was given them.
network_session_parameters <- function(session) {
  values <- c(session$parameters, session$buffers)
  values[intersect(session$names, names(values))]
}

network_session_state <- function(session) {
  list(step = session$adam$t, parameter = session$parameters, moment1 = session$adam$m,
       moment2 = session$adam$v, buffer = session$buffers)
}

network_session_restore <- function(session, step, parameter, moment1, moment2, buffer = list()) {
  session$parameters <- parameter
  session$adam <- list(t = step, m = moment1, v = moment2)
  session$buffers <- buffer
  invisible(NULL)
}

# (N, F) to (F, N), (N, C, H, W) to c(W, H, C, N).
images_last <- function(x) if (length(dim(x)) > 1L) aperm(x) else x
