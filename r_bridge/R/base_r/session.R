# A training session: a network of stages (network.R), its parameters, Adam's state and what the
# session is asked to do. It lives in an environment, so that a step changes it in place.
#
#   session <- session_start(...)
#   session_order(session, n)             an epoch's order of the images, from 1
#   session_step(session, x, draws)       values of the loss terms that `terms` names, the total
#                                         first; if that is not finite, nothing has changed
#   session_probe_part(), _probe_end()    the same step, with all that is seen on the way
#   session_seen(session)                 what the stages of a step that failed had returned
#   session_state(session)                parameters, Adam's moments, buffers, number of steps
#   session_restore(session, ...)         goes on from such a state
#   session_latent_means(session, x)      mu, one row per image
#   session_latents(session, n)           draws from the prior N(0, I), one row per image
#   session_decode(session, z)            pixels in [0, 1], one row per image
#
# x, draws and z have one image per row, or torch's index order (N, C, H, W): images first.
# Parameters and buffers have torch's names and index order. What a probe tells of stages has the
# image last, and so torch's order in memory. Everything is in double precision. A session that
# starts without parameters draws them after set.seed(seed), and draws that are NULL come from R's
# own generator (random.R).

# stages        see network.R
# parameters    with the buffers, MODULE.running_mean and MODULE.running_var, among them; or NULL
# terms         names of stages of one number, "total" first: the gradient is its
# sample        the stage that samples z of mu and log_var
# pixels        the stage that returns the pixels
# layers, draws what R's own generator draws, see random.R
# chunk         images that are worked on at a time, so that memory stays small: gradients of the
#               parts add up. Batch normalisation couples the images of a batch: Inf.
session_start <- function(stages, parameters, learning_rate, terms, sample, pixels,
                          layers = list(), draws = list(), seed = NULL, chunk = Inf) {
  session <- new.env()
  if (is.null(parameters)) {
    random_start(seed)
    parameters <- initial_parameters(layers)
  }
  session$stages <- network_stages(stages)
  session$terms <- as.character(unlist(terms))
  session$sample <- sample
  session$pixels <- pixels
  session$draws <- draws
  session$chunk <- chunk
  buffers <- grepl("[.](running_(mean|var)|num_batches_tracked)$", names(parameters))
  session$names <- names(parameters)
  session$parameters <- parameters[!buffers]
  session$buffers <- parameters[buffers]
  session$adam <- adam_state(session$parameters)
  session$learning_rate <- learning_rate
  session
}

session_order <- function(session, images) random_order(images)

session_draw <- function(session, images) random_draws(images, session$draws)

session_step <- function(session, x, draws = NULL) {
  if (is.null(draws)) draws <- session_draw(session, nrow(x))
  session_update(session, session_gradients(session, x, draws))
}

# Adam's step, unless the total is NaN or infinite; the losses either way.
session_update <- function(session, total) {
  if (is.finite(total$losses[["total"]])) {
    step <- adam_step(session$parameters, total$gradients, session$adam, session$learning_rate)
    session$parameters <- step$parameters
    session$adam <- step$state
    session$buffers <- total$buffers
  }
  total$losses
}

# Losses and gradients over the whole batch, without a step.
session_gradients <- function(session, x, draws) {
  total <- NULL
  for (rows in chunks(nrow(x), session$chunk)) {
    pick <- function(draw) if (length(rows) == nrow(x)) draw else draw[rows, , drop = FALSE]
    part <- session_part(session, pick(x), lapply(draws, pick), nrow(x))
    total <- add_parts(total, part)
  }
  total
}

# Of some of a batch's images. Of a part whose total is not finite there are no gradients: the
# step is not going to be taken.
session_part <- function(session, x, draws, images, probe = FALSE) {
  forward <- network_forward(session$stages, session$terms, session$parameters, session$buffers,
                             list(input = images_last(x)), lapply(draws, images_last),
                             training = TRUE, parts = images / nrow(x), keep = session)
  losses <- vapply(session$terms, function(term) forward$seen[[term]]$y, 0)
  d <- if (is.finite(losses[["total"]])) {
    network_backward(session$stages, forward$seen, session$parameters, "total", inputs = probe)
  }
  session$seen <- NULL
  list(losses = losses, gradients = d$parameters, buffers = forward$buffers,
       forward = if (probe) forward$seen, gradient = if (probe) d$stages)
}

add_parts <- function(total, part) {
  if (is.null(total)) return(part[c("losses", "gradients", "buffers")])
  gradients <- if (!is.null(total$gradients) && !is.null(part$gradients)) {
    Map(`+`, total$gradients, part$gradients)
  }
  list(losses = total$losses + part$losses, gradients = gradients, buffers = part$buffers)
}

chunks <- function(n, size) split(seq_len(n), (seq_len(n) - 1L) %/% size)

# A step that is looked into goes part by part, so that R never holds what all images of a batch
# leave in every stage: session_probe_part() for each session$chunk images of the batch's `images`,
# then session_probe_end(). The sums, and so the bits, are session_step()'s. Of a stage: its value
# and, where there is one, the gradient with respect to it. That of an input is the one through
# the network, not through being the target of a loss term.
session_probe_part <- function(session, x, draws, first, images = nrow(x)) {
  if (first) session$probed <- NULL                                # what a failed step has left
  part <- session_part(session, x, draws, images, probe = TRUE)
  session$probed <- add_parts(session$probed, part)
  list(forward = session_arrays(lapply(part$forward, function(s) s$y)),
       gradient = session_arrays(part$gradient))
}

# Gradients of parameters, and the buffers after the step, kept or not.
session_probe_end <- function(session) {
  total <- session$probed
  session$probed <- NULL
  list(losses = session_update(session, total), gradients = total$gradients,
       buffers = total$buffers)
}

session_seen <- function(session) {
  seen <- session$seen
  session$seen <- NULL
  session_arrays(lapply(seen, function(s) s$y))
}

session_arrays <- function(values) {
  lapply(Filter(function(value) !is.null(dim(value)), values), torch_order)
}

# In training mode with dropout where draws has a mask, and with the batch's statistics; the
# running ones stay as they are: a look must not change the model.
session_latent_means <- function(session, x, draws = NULL, training = FALSE) {
  if (training && is.null(draws)) {
    draws <- random_draws(nrow(x), Filter(function(draw) draw$kind == "keep", session$draws))
  }
  mean <- session$stages[[session$sample]]$inputs[1L]
  parts <- lapply(chunks(nrow(x), session$chunk), function(rows) {
    pick <- function(draw) if (length(rows) == nrow(x)) draw else draw[rows, , drop = FALSE]
    forward <- network_forward(session$stages, mean, session$parameters, session$buffers,
                               list(input = images_last(pick(x))),
                               lapply(lapply(draws, pick), images_last), training)
    t(as_flat(forward$seen[[mean]]$y))
  })
  do.call(rbind, unname(parts))
}

session_latents <- function(session, images) {
  random_normal(images, session$draws[[session$stages[[session$sample]]$draw]]$columns)
}

session_generator <- function(session) random_state()

session_restore_generator <- function(session, state) random_restore(state)

# In evaluation mode; one row per image.
session_decode <- function(session, z) {
  forward <- network_forward(session$stages, session$pixels, session$parameters, session$buffers,
                             stats::setNames(list(images_last(z)), session$sample), list(),
                             training = FALSE)
  t(as_flat(forward$seen[[session$pixels]]$y))
}

# With the buffers, in the order in which the session was given them.
session_parameters <- function(session) {
  values <- c(session$parameters, session$buffers)
  values[intersect(session$names, names(values))]
}

session_state <- function(session) {
  list(step = session$adam$t, parameter = session$parameters, moment1 = session$adam$m,
       moment2 = session$adam$v, buffer = session$buffers)
}

session_restore <- function(session, step, parameter, moment1, moment2, buffer = list()) {
  session$parameters <- parameter
  session$adam <- list(t = step, m = moment1, v = moment2)
  session$buffers <- buffer
  invisible(NULL)
}
