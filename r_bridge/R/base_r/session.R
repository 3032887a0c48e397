# A training session: parameters, Adam's state and what the session is asked to do.
# It lives in an environment, so that a step changes it in place.
#
#   session <- session_start(parameters, "vae", learning_rate = 1e-3, latent_dim = 30)
#   session_order(session, n)             an epoch's order of the images, from 1
#   session_step(session, x, draws)       c(total, reconstruction, regulariser), sums over the batch; if
#                                         the total is not finite, nothing has changed
#   session_probe_part(), _probe_end()    the same step, with all that is seen on the way
#   session_state(session)                parameters, Adam's moments and number of steps
#   session_restore(session, ...)         goes on from such a state
#   session_latent_means(session, x)      mu, one row per image
#   session_latents(session, n)           draws from the prior N(0, I), one row per image
#   session_decode(session, z)            pixels in [0, 1], one row per image
#
# Everything is in double precision. With parameters = NULL the session starts from
# set.seed(seed), and draws that are NULL come from R's own generator (random.R).

# `chunk` images are worked on at a time: objectives are sums over images, so losses and
# gradients of the parts add up, and memory stays small.
session_start <- function(parameters, objective, learning_rate, latent_dim, dtype = "float64",
                          seed = NULL, chunk = 25L) {
  if (is.null(regularisers[[objective]])) {
    stop("objective '", objective, "' is unknown; expected one of ",
         paste(names(regularisers), collapse = ", "))
  }
  session <- new.env()
  if (is.null(parameters)) {
    random_start(seed)
    parameters <- conv_vae_initial(latent_dim)
  }
  session$latent_dim <- latent_dim
  session$parameters <- parameters
  session$adam <- adam_state(parameters)
  session$objective <- objective
  session$learning_rate <- learning_rate
  session$chunk <- chunk
  session
}

session_order <- function(session, images) random_order(images)

session_draw <- function(session, images) conv_vae_draw(images, session$latent_dim)

session_step <- function(session, x, draws = NULL) {
  if (is.null(draws)) draws <- session_draw(session, nrow(x))
  session_update(session, session_gradients(session, x, draws))
}

# Adam's step, unless the loss is NaN or infinite; the losses either way.
session_update <- function(session, total) {
  losses <- c(total = sum(total$losses), total$losses)
  if (is.finite(losses[["total"]])) {
    step <- adam_step(session$parameters, total$gradients, session$adam, session$learning_rate)
    session$parameters <- step$parameters
    session$adam <- step$state
  }
  losses
}

# Loss parts and gradients over the whole batch, without a step.
session_gradients <- function(session, x, draws) {
  total <- NULL
  for (rows in chunks(nrow(x), session$chunk)) {
    total <- add_parts(total, conv_vae_loss_and_gradients(
      session$parameters, x[rows, , drop = FALSE],
      lapply(draws, function(draw) if (!is.null(draw)) draw[rows, , drop = FALSE]),
      session$objective))
  }
  total
}

add_parts <- function(total, part) {
  if (is.null(total)) return(part[c("losses", "gradients")])
  list(losses = total$losses + part$losses,
       gradients = Map(`+`, total$gradients, part$gradients))
}

# A step that is looked into goes part by part, so that R never holds what all images of a batch
# leave in every stage: session_probe_part() for each session$chunk images, then
# session_probe_end(). The sums, and so the bits, are session_step()'s.
session_probe_part <- function(session, x, draws, first) {
  if (first) session$probed <- NULL                                # what a failed step has left
  part <- conv_vae_loss_and_gradients(session$parameters, x, draws, session$objective,
                                      probe = TRUE)
  session$probed <- add_parts(session$probed, part)
  part[c("forward", "gradient")]
}

session_probe_end <- function(session) {
  total <- session$probed
  session$probed <- NULL
  list(losses = session_update(session, total), gradients = total$gradients)
}

session_latent_means <- function(session, x, draws = NULL, training = FALSE) {
  if (!training) {
    draws <- list()
  } else if (is.null(draws)) {
    draws <- conv_vae_masks(nrow(x))
  }
  mu <- lapply(chunks(nrow(x), session$chunk), function(rows) {
    pick <- function(draw) if (!is.null(draw)) draw[rows, , drop = FALSE]
    conv_vae_encode(session$parameters, x[rows, , drop = FALSE],
                    pick(draws$dropout1), pick(draws$dropout2))$mu
  })
  do.call(rbind, mu)
}

session_latents <- function(session, images) random_normal(images, session$latent_dim)

session_generator <- function(session) random_state()

session_restore_generator <- function(session, state) random_restore(state)

session_decode <- function(session, z) conv_vae_decode(session$parameters, z)$q

chunks <- function(n, size) split(seq_len(n), (seq_len(n) - 1L) %/% size)

session_parameters <- function(session) session$parameters

session_state <- function(session) {
  list(step = session$adam$t, parameter = session$parameters, moment1 = session$adam$m,
       moment2 = session$adam$v)
}

session_restore <- function(session, step, parameter, moment1, moment2) {
  session$parameters <- parameter
  session$adam <- list(t = step, m = moment1, v = moment2)
  invisible(NULL)
}
