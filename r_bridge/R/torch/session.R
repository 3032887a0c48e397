# A training session of R torch: network, optimiser and what the session is asked to do; the
# functions of session.R, with R torch in place of base R.
#
#   session <- session_start(parameters, "vae", learning_rate = 1e-3, latent_dim = 30)
#   session_order(session, n)             an epoch's order of the images, from 1
#   session_step(session, x, draws)       c(total, reconstruction, regulariser), sums over the batch; if
#                                         the total is not finite, nothing has changed
#   session_probe(session, x, draws)      the same step, with all that is seen on the way
#   session_seen(session)                 what was seen of it, if it failed
#   session_state(session)                parameters, Adam's moments and number of steps
#   session_restore(session, ...)         goes on from such a state
#   session_latent_means(session, x)      mu, one row per image
#   session_latents(session, n)           draws from the prior N(0, I), one row per image
#   session_decode(session, z)            pixels in [0, 1], one row per image
#
# Arrays come and go as R arrays of doubles, in torch's index order, whatever the precision of
# the session. With parameters = NULL the session starts from torch_manual_seed(seed), and draws
# that are NULL come from torch's global generator: initialisers, one torch_randperm for each
# epoch as in dataloader(shuffle = TRUE), dropout, noise.

session_start <- function(parameters, objective, learning_rate, latent_dim, dtype = "float32",
                          seed = NULL) {
  if (is.null(torch_regularisers[[objective]])) {
    stop("objective '", objective, "' is unknown: expected one of ",
         paste(names(torch_regularisers), collapse = ", "))
  }
  session <- new.env()
  session$dtype <- switch(dtype, float32 = torch_float(), float64 = torch_double(),
                          stop("dtype '", dtype, "' is unknown: expected float32 or float64"))
  session$latent_dim <- latent_dim
  session$regulariser <- torch_regularisers[[objective]]
  if (!is.null(seed)) torch_manual_seed(seed)
  session$network <- conv_vae(latent_dim)
  session$network$to(dtype = session$dtype)
  if (!is.null(parameters)) session_set_parameters(session, parameters)
  session$optimizer <- optim_adam(session$network$parameters, lr = learning_rate)
  session
}

session_set_parameters <- function(session, parameters) {
  own <- session$network$parameters
  with_no_grad(for (name in names(own)) {
    own[[name]]$copy_(session_tensor(session, parameters[[name]]))
  })
}

session_tensor <- function(session, x) torch_tensor(x, dtype = session$dtype)

# Masks arrive flat, one row per image, as in base R.
session_draws <- function(session, draws) {
  if (is.null(draws)) return(list())
  if (!is.null(draws$dropout1)) {
    draws$dropout1 <- torch_reshape(torch_tensor(draws$dropout1), list(-1, 64, 12, 12))
  }
  if (!is.null(draws$dropout2)) draws$dropout2 <- torch_tensor(draws$dropout2)
  if (!is.null(draws$noise)) draws$noise <- session_tensor(session, draws$noise)
  draws
}

session_order <- function(session, images) {
  as_array(torch_randperm(images)$to(dtype = torch_int())) + 1L
}

session_step <- function(session, x, draws = NULL) {
  session_train(session, session_tensor(session, x), draws)$losses
}

# One step, as the article takes it; `input` is x, or a copy of it whose gradient is wanted.
session_train <- function(session, x, draws, input = x, see = see_nothing) {
  session$network$train()
  output <- session$network(input, session_draws(session, draws), see)
  reconstruction <- binary_cross_entropy(output$pixels, x)
  regulariser <- session$regulariser(output$mu, output$log_var)
  total <- reconstruction + regulariser
  losses <- c(total = total$item(), reconstruction = reconstruction$item(),
              regulariser = regulariser$item())
  diverged <- !is.finite(losses[["total"]])
  if (!diverged) {
    session$optimizer$zero_grad()
    total$backward()
    session$optimizer$step()
  }
  list(losses = losses, diverged = diverged)
}

session_probe <- function(session, x, draws = NULL) {
  session$start <- session_parameters(session)
  session$seen <- list()
  see <- function(x, name) {
    x$retain_grad()
    session$seen[[name]] <- x
    x
  }
  x <- session_tensor(session, x)
  input <- see(x$clone()$requires_grad_(TRUE), "input")
  step <- session_train(session, x, draws, input, see)
  own <- if (!step$diverged) session$network$parameters            # else those of the step before
  gradients <- lapply(own, function(p) session_array(p$grad))
  c(step["losses"], session_seen(session), list(gradients = gradients))
}

# What was seen of a step, until its end or until it failed.
session_seen <- function(session) {
  seen <- session$seen
  session$seen <- NULL
  graded <- Filter(function(x) !is_undefined_tensor(x$grad), seen)
  list(start = session$start, forward = lapply(seen, session_array),
       gradient = lapply(graded, function(x) session_array(x$grad)))
}

session_array <- function(x) as_array(x$detach()$contiguous())

session_parameters <- function(session) lapply(session$network$parameters, session_array)

session_state <- function(session) {
  parameters <- session$network$parameters
  kept <- session$optimizer$state_dict()$state[as.character(seq_along(parameters))]
  moment <- function(name) {
    found <- Map(function(own, state) {
      session_array(if (is.null(state)) torch_zeros_like(own) else state[[name]])
    }, parameters, kept)
    stats::setNames(found, names(parameters))
  }
  step <- if (is.null(kept[[1L]])) 0 else kept[[1L]]$step
  list(step = as.numeric(step), parameter = session_parameters(session),
       moment1 = moment("exp_avg"), moment2 = moment("exp_avg_sq"))
}

session_restore <- function(session, step, parameter, moment1, moment2) {
  session_set_parameters(session, parameter)
  order <- names(session$network$parameters)
  state <- lapply(order, function(name) {
    list(step = step, exp_avg = session_tensor(session, moment1[[name]]),
         exp_avg_sq = session_tensor(session, moment2[[name]]))
  })
  names(state) <- seq_along(order)
  groups <- session$optimizer$state_dict()$param_groups
  session$optimizer$load_state_dict(list(param_groups = groups, state = state))
  invisible(NULL)
}

session_generator <- function(session) as.integer(as_array(torch_get_rng_state()))

session_restore_generator <- function(session, state) {
  torch_set_rng_state(torch_tensor(as.integer(state), dtype = torch_uint8()))
  invisible(NULL)
}

session_latent_means <- function(session, x, draws = NULL, training = FALSE) {
  if (training) session$network$train() else session$network$eval()
  draws <- if (training) session_draws(session, draws) else list()
  with_no_grad(session_array(session$network$encoder(session_tensor(session, x), draws)$mu))
}

session_latents <- function(session, images) {
  session_array(torch_randn(images, session$latent_dim, dtype = session$dtype))
}

session_decode <- function(session, z) {
  session$network$eval()
  with_no_grad(session_array(session$network$decoder(session_tensor(session, z))))
}
