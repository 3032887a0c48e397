# Going on from a fit.

may_change <- c("x", "continue", "epochs", "steps", "device", "verbose", "labels", "scale",
                "validation", "patience", "callbacks")

check_continue <- function(fit, asked, call = rlang::caller_env()) {
  if (!inherits(fit, "vae_fit")) {
    abort(c("{.arg continue} must be a fit from {.fn vae_fit}.", "x" = "It is {in_words(fit)}."),
          call)
  }
  if (is.null(fit$optimiser)) {
    abort(c("{.arg continue} must be a fit with the optimiser's state.",
            "x" = "This one has none: {.code fit$optimiser} is NULL.",
            "i" = "Fit again, and leave it in the fit."), call)
  }
  other <- setdiff(asked, c(may_change, ""))
  if (length(other)) {
    abort(c("{.arg {other[[1L]]}} cannot be changed in a fit that goes on.",
            "i" = "Leave it out: it is the fit's."), call)
  }
  if ("validation" %in% asked && !is.null(fit$held_out_share)) {
    abort(c("{.arg validation} cannot be changed in a fit that held out a share of its images.",
            "i" = "Leave it out: the same images are held out."), call)
  }
}

settings_to_continue <- function(fit, recipe) {
  names <- c("objective", "latent_dim", "epochs", "steps", "batch_size", "learning_rate", "dtype",
             "seed")
  given <- fit$settings[intersect(names, names(fit$settings))]
  hyper <- fit$settings$hyper
  given$hyper <- stats::setNames(as.list(hyper), names(hyper) %||% character())
  c(given, list(recipe = recipe$asked, start = fit$start$name %||% "initial"))
}

# For `Continued` in r_bridge/from_r/continued.py.
continued_for_python <- function(fit, epochs, steps, asked, call) {
  columns <- lapply(as.list(fit$validation), function(column) pack(as.double(column)))
  more <- function(value, name) {
    if (name %in% asked && !is.null(value)) check_whole(value, name, call = call)
  }
  list(parameters = fit$parameters, optimiser = fit$optimiser, losses = pack(as_run(fit)$losses),
       epochs = pack(fit$history$epoch), sha256 = fit$data$sha256,
       validation = stats::setNames(columns, names(columns) %||% character()),
       epochs_more = more(epochs, "epochs"), steps_more = more(steps, "steps"))
}
