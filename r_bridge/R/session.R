# A training session: parameters, Adam's state and what the session is asked to do.
# It lives in an environment, so that a step changes it in place.
#
#   session <- session_start(parameters, "vae", learning_rate = 1e-3)
#   session_step(session, x, draws)       c(total, reconstruction, regulariser), sums over the batch
#   session_latent_means(session, x)      mu, one row per image
#   session_decode(session, z)            pixels in [0, 1], one row per image
#
# Everything is in double precision.

# `chunk` images are worked on at a time: objectives are sums over images, so losses and
# gradients of the parts add up, and memory stays small.
session_start <- function(parameters, objective, learning_rate, chunk = 25L) {
  if (is.null(regularisers[[objective]])) {
    stop("objective '", objective, "' is unknown; expected one of ",
         paste(names(regularisers), collapse = ", "))
  }
  session <- new.env()
  session$parameters <- parameters
  session$adam <- adam_state(parameters)
  session$objective <- objective
  session$learning_rate <- learning_rate
  session$chunk <- chunk
  session
}

session_step <- function(session, x, draws) {
  total <- session_gradients(session, x, draws)
  step <- adam_step(session$parameters, total$gradients, session$adam, session$learning_rate)
  session$parameters <- step$parameters
  session$adam <- step$state
  c(total = sum(total$losses), total$losses)
}

# Loss parts and gradients over the whole batch, without a step.
session_gradients <- function(session, x, draws) {
  total <- NULL
  for (rows in chunks(nrow(x), session$chunk)) {
    part <- conv_vae_loss_and_gradients(
      session$parameters, x[rows, , drop = FALSE],
      lapply(draws, function(draw) if (!is.null(draw)) draw[rows, , drop = FALSE]),
      session$objective)
    total <- if (is.null(total)) part else
      list(losses = total$losses + part$losses,
           gradients = Map(`+`, total$gradients, part$gradients))
  }
  total
}

session_latent_means <- function(session, x, draws = list()) {
  mu <- lapply(chunks(nrow(x), session$chunk), function(rows) {
    pick <- function(draw) if (!is.null(draw)) draw[rows, , drop = FALSE]
    conv_vae_encode(session$parameters, x[rows, , drop = FALSE],
                    pick(draws$dropout1), pick(draws$dropout2))$mu
  })
  do.call(rbind, mu)
}

session_decode <- function(session, z) conv_vae_decode(session$parameters, z)$q

chunks <- function(n, size) split(seq_len(n), (seq_len(n) - 1L) %/% size)

session_parameters <- function(session) session$parameters
