# A network declared as a list of stages, forward and backward: reverse-mode differentiation of a
# directed acyclic graph, Goodfellow, Bengio & Courville (2016), "Deep Learning", section 6.5.
#
#   dL/dx of a stage = sum over the stages that it feeds of their gradients with respect to it
#
# Stages are those of network/stages.R. Stages that share a module share its parameters and buffers:
# gradients add up, and buffers change once for each stage, in their order.
#
# Values are (F, N) or c(C, W, H, N) (maps.R); one number for a term of the loss.

# given     values of stages by name: list(input = x) at least, where it is needed
# draws     by name, as values or (F, N); in evaluation mode inputs alone take them
# parts     images of the whole batch for each one that is here
# Returns   list(seen = by stage what its layer got and returned, y = its value;
#           buffers = their new values)
network_forward <- function(stages, to, parameters, buffers, given, draws, training, parts = 1,
                            keep = new.env()) {
  seen <- list()
  for (stage in network_needed(stages, to, names(given))) {
    if (!is.null(given[[stage$name]])) {
      seen[[stage$name]] <- list(y = given[[stage$name]])
    } else if (stage$layer == "input") {
      seen[[stage$name]] <- list(y = network_input(stage, draws) + 0)  # labels may be logical
    } else {
      s <- list(x = network_taken(stage, seen),
                draw = if (training) network_draw(stage, draws), options = stage$options,
                training = training, parts = parts, weight = parameters[[paste0(stage$module, ".weight")]],
                bias = parameters[[paste0(stage$module, ".bias")]],
                running_mean = buffers[[paste0(stage$module, ".running_mean")]],
                running_var = buffers[[paste0(stage$module, ".running_var")]],
                num_batches_tracked = buffers[[paste0(stage$module, ".num_batches_tracked")]])
      result <- layers[[stage$layer]]$forward(s)
      for (name in names(result$buffers)) {
        buffers[[paste(stage$module, name, sep = ".")]] <- result$buffers[[name]]
      }
      seen[[stage$name]] <- c(s, result)
    }
    keep$seen <- seen                                              # should a later stage fail
  }
  list(seen = seen, buffers = buffers)
}

# What a stage takes, in the shapes in which it takes it.
network_taken <- function(stage, seen) {
  x <- lapply(stage$inputs, function(input) seen[[input]]$y)
  if (length(stage$shapes)) Map(reshaped, x, stage$shapes) else x
}

# Gradients of the number that stage `of` is. With `inputs` also those with respect to stages that
# no parameter comes before, such as input, and of all stages in between.
# Returns   list(stages = by stage that `of` depends on, parameters = by name, zero where unused)
network_backward <- function(stages, seen, parameters, of, inputs = FALSE) {
  trained <- network_trained(stages, names(parameters))
  d <- list()
  d[[of]] <- 1
  gradients <- list()
  add <- function(sum, part) if (is.null(sum)) part else if (is.null(part)) sum else sum + part
  for (stage in rev(stages[names(seen)])) {
    dy <- d[[stage$name]]
    if (is.null(dy) || stage$layer == "input") next
    if (!inputs) d[[stage$name]] <- NULL                           # memory: nobody asks for it
    wanted <- inputs | trained[stage$inputs]
    back <- layers[[stage$layer]]$backward(dy, c(seen[[stage$name]], list(wanted = wanted)))
    for (i in which(wanted)) {
      input <- stage$inputs[i]
      part <- back$x[[i]]
      if (!is.null(dim(part))) part <- shaped(part, seen[[input]]$y)
      d[[input]] <- add(d[[input]], part)
    }
    for (kind in c("weight", "bias")) {
      name <- paste(stage$module, kind, sep = ".")
      if (!is.null(parameters[[name]])) {
        gradients[[name]] <- add(gradients[[name]], back[[kind]])
      }
    }
  }
  unused <- setdiff(names(parameters), names(gradients))
  gradients[unused] <- lapply(parameters[unused], function(theta) 0 * theta)
  list(stages = d, parameters = gradients[names(parameters)])
}

# For each stage, whether a parameter comes before it or is its own.
network_trained <- function(stages, parameters) {
  trained <- logical()
  for (stage in stages) {
    own <- paste(stage$module, c("weight", "bias"), sep = ".")
    trained[stage$name] <- any(own %in% parameters, trained[stage$inputs])
  }
  trained
}
