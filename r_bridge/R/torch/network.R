# A network declared as a list of stages (network/stages.R), in R torch: each stage's layer
# (layers.R) is called once, in order, and autograd differentiates. Every result of a layer passes
# through see(x, name), so that a probe can look at it.

library(torch)

see_nothing <- function(x, name) x

# values    parameters and buffers by name; running statistics move in place
# given     values of stages by name: list(input = x) at least, where it is needed
# draws     by name, one row per image; in evaluation mode inputs alone take them
# Returns   what each stage returned, by name
network_forward <- function(stages, to, values, given, draws, training, see = see_nothing) {
  seen <- list()
  for (stage in network_needed(stages, to, names(given))) {
    y <- if (!is.null(given[[stage$name]])) {
      given[[stage$name]]
    } else if (stage$layer == "input") {
      network_input(stage, draws)
    } else {
      s <- list(x = network_taken(stage, stages, seen), options = stage$options,
                draw = if (training) network_drawn(stage, draws), training = training)
      own <- c("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
      s[own] <- values[paste(stage$module, own, sep = ".")]
      torch_layers[[stage$layer]](s)
    }
    seen[[stage$name]] <- if (is_term(stage)) y else see(y, stage$name)
  }
  seen
}

is_term <- function(stage) stage$layer %in% names(torch_terms)

# What a stage takes, in the shapes in which it takes it. The loss's view of what is given, its
# target, is not differentiated.
network_taken <- function(stage, stages, seen) {
  x <- lapply(stage$inputs, function(input) {
    target <- is_term(stage) && stages[[input]]$layer == "input"
    if (target) seen[[input]]$detach() else seen[[input]]
  })
  if (length(stage$shapes)) Map(network_shaped, x, stage$shapes) else x
}

network_shaped <- function(x, shape) {
  size <- c(x$size(1L), shape)
  if (identical(as.numeric(x$shape), as.numeric(size))) x else torch_reshape(x, size)
}

# A training step without its mask or noise would be another network's.
network_drawn <- function(stage, draws) {
  draw <- network_draw(stage, draws)
  if (is.null(draw) && length(stage$draw) && nzchar(stage$draw)) {
    stop("stage '", stage$name, "' was not given its draw '", stage$draw, "'; draws are: ",
         paste(names(draws), collapse = ", "))
  }
  draw
}
