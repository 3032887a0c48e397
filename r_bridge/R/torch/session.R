# A training session of R torch: a network of stages (network.R), its optimiser and what the session
# is asked to do; the functions of base_r/session.R, with R torch in place of base R.
#
#   session <- session_start(...)
#   session_order(session, n)             an epoch's order of the images, from 1
#   session_step(session, x, draws)       values of the loss terms that `terms` names, sums over the
#                                         batch, the total first; if that is not finite, nothing has
#                                         changed
#   session_probe(session, x, draws)      the same step, with all that is seen on the way
#   session_seen(session)                 what was seen of it, if it failed
#   session_state(session)                parameters, Adam's moments, buffers, number of steps
#   session_restore(session, ...)         goes on from such a state
#   session_latent_means(session, x)      mu, one row per image
#   session_latents(session, n)           draws from the prior N(0, I), one row per image
#   session_decode(session, z)            pixels in [0, 1], one row per image
#
# Arrays come and go as R arrays of doubles, in torch's index order, whatever the precision of the
# session; draws with one row per image. With parameters = NULL the session starts from
# torch_manual_seed(seed), and all else comes from torch's global generator, too: one torch_randperm
# for each epoch, as in dataloader(shuffle = TRUE), masks and noise of every step (random.R). Draws
# are then what every step is given besides, such as images with labels.

# stages        see network/stages.R
# parameters    with the buffers, MODULE.running_mean and MODULE.running_var, among them; or NULL
# terms         names of stages of one number, "total" first: the gradient is its
# sample        the stage that samples z of mu and log_var
# pixels        the stage that returns the pixels
# layers, draws what R torch's own generator draws, see random.R
session_start <- function(stages, parameters, learning_rate, terms, sample, pixels,
                          layers = list(), draws = list(), seed = NULL, dtype = "float32") {
  session <- new.env()
  session$dtype <- switch(dtype, float32 = torch_float(), float64 = torch_double(),
                          stop("dtype '", dtype, "' is unknown: expected float32 or float64"))
  session$stages <- network_stages(stages, names(torch_layers))
  session$terms <- as.character(unlist(terms))
  session$sample <- sample
  session$pixels <- pixels
  session$draws <- draws
  session$own <- is.null(parameters)
  if (session$own) {
    torch_manual_seed(seed)
    values <- torch_initial(session$stages, layers)
    session$values <- lapply(values, function(value) value$to(dtype = session$dtype))
  } else {
    session$values <- lapply(parameters, function(value) session_tensor(session, value))
  }
  session$buffers <- grep("[.](running_(mean|var)|num_batches_tracked)$",
                          names(session$values), value = TRUE)
  session$trained <- setdiff(names(session$values), session$buffers)
  for (name in session$trained) session$values[[name]]$requires_grad_(TRUE)
  session$optimizer <- optim_adam(session$values[session$trained], lr = learning_rate)
  session$step <- 0
  session
}

session_tensor <- function(session, x) torch_tensor(x, dtype = session$dtype)$contiguous()

# Copies arrays, or tensors, into parameters or buffers.
session_set <- function(session, values) {
  with_no_grad(for (name in names(values)) {
    value <- values[[name]]
    if (!inherits(value, "torch_tensor")) value <- session_tensor(session, value)
    session$values[[name]]$copy_(torch_like(value, session$values[[name]]))
  })
}

session_copies <- function(session) {
  lapply(session$values[session$buffers], function(buffer) buffer$clone())
}

# Masks and noise of a step, in a session of its own chance; and what the step is given.
session_draws <- function(session, draws, images, drawn = session$draws) {
  own <- if (session$own) torch_draws(images, drawn, session$dtype)
  c(own, lapply(draws, function(draw) session_tensor(session, draw)))
}

session_order <- function(session, images) {
  as_array(torch_randperm(images)$to(dtype = torch_int())) + 1L
}

session_step <- function(session, x, draws = NULL) {
  session_train(session, session_tensor(session, x), draws)$losses
}

# One step; running statistics that have moved in a step that was not taken go back.
session_train <- function(session, x, draws, see = see_nothing) {
  before <- session_copies(session)
  taken <- FALSE
  on.exit({
    if (!is.null(session$seen)) session$moved <- session_arrays(session, session$buffers)
    if (!taken) session_set(session, before)
  })
  seen <- network_forward(session$stages, session$terms, session$values, list(input = x),
                          session_draws(session, draws, x$size(1L)), training = TRUE, see = see)
  losses <- vapply(session$terms, function(term) seen[[term]]$item(), 0)
  if (is.finite(losses[["total"]])) {
    session$optimizer$zero_grad()
    seen$total$backward()
    session$optimizer$step()
    session$step <- session$step + 1
    taken <- TRUE
  }
  list(losses = losses, diverged = !taken)
}

session_probe <- function(session, x, draws = NULL) {
  session$start <- session_parameters(session)
  session$seen <- list()
  see <- function(x, name) {
    if (x$requires_grad) x$retain_grad()
    session$seen[[name]] <- x
    x
  }
  input <- session_tensor(session, x)$requires_grad_(TRUE)
  step <- session_train(session, input, draws, see)
  own <- if (!step$diverged) session$values[session$trained]       # else those of the step before
  c(step["losses"], session_seen(session), list(gradients = session_gradients(own)))
}

# What was seen of a step, until its end or until it failed; buffers as the step has moved them.
session_seen <- function(session) {
  seen <- session$seen
  session$seen <- NULL
  list(start = session$start, forward = lapply(seen, session_array),
       gradient = session_gradients(seen), buffer = session$moved)
}

session_gradients <- function(tensors) {
  graded <- Filter(function(x) !is_undefined_tensor(x$grad), tensors)
  lapply(graded, function(x) session_array(x$grad))
}

session_array <- function(x) as_array(x$detach()$contiguous())

session_arrays <- function(session, names) lapply(session$values[names], session_array)

# With the buffers, in state_dict's order.
session_parameters <- function(session) session_arrays(session, names(session$values))

session_state <- function(session) {
  kept <- session$optimizer$state_dict()$state
  moment <- function(name) {
    found <- lapply(seq_along(session$trained), function(i) {
      state <- kept[[as.character(i)]]
      own <- session$values[[session$trained[[i]]]]
      session_array(if (is.null(state)) torch_zeros_like(own) else state[[name]])
    })
    stats::setNames(found, session$trained)
  }
  list(step = session$step, parameter = session_arrays(session, session$trained),
       moment1 = moment("exp_avg"), moment2 = moment("exp_avg_sq"),
       buffer = session_arrays(session, session$buffers))
}

session_restore <- function(session, step, parameter, moment1, moment2, buffer = list()) {
  session_set(session, c(parameter, buffer))
  session$step <- step
  state <- lapply(session$trained, function(name) {
    list(step = step, exp_avg = session_tensor(session, moment1[[name]]),
         exp_avg_sq = session_tensor(session, moment2[[name]]))
  })
  names(state) <- seq_along(session$trained)
  groups <- session$optimizer$state_dict()$param_groups
  session$optimizer$load_state_dict(list(param_groups = groups, state = state))
  invisible(NULL)
}

session_generator <- function(session) as.integer(as_array(torch_get_rng_state()))

session_restore_generator <- function(session, state) {
  torch_set_rng_state(torch_tensor(as.integer(state), dtype = torch_uint8()))
  invisible(NULL)
}

# In training mode with masks, and with the batch's statistics; the running ones stay as they are: a
# look must not change the model.
session_latent_means <- function(session, x, draws = NULL, training = FALSE) {
  mean <- session$stages[[session$sample]]$inputs[[1L]]
  needed <- Filter(function(draw) draw$kind != "normal", session$draws)
  draws <- if (training) session_draws(session, draws, nrow(x), needed) else list()
  before <- session_copies(session)
  on.exit(session_set(session, before))
  with_no_grad({
    seen <- network_forward(session$stages, mean, session$values,
                            list(input = session_tensor(session, x)), draws, training)
    session_array(seen[[mean]])
  })
}

session_latents <- function(session, images) {
  columns <- session$draws[[session$stages[[session$sample]]$draw]]$columns
  session_array(torch_randn(images, columns, dtype = session$dtype))
}

# In evaluation mode; one row per image.
session_decode <- function(session, z) {
  given <- stats::setNames(list(session_tensor(session, z)), session$sample)
  with_no_grad({
    seen <- network_forward(session$stages, session$pixels, session$values, given, list(),
                            training = FALSE)
    session_array(torch_flatten(seen[[session$pixels]], start_dim = 2L))
  })
}
