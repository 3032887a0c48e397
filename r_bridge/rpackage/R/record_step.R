# One recording: the steps that it has written, and what it has seen of the one that is computed.

new_recording <- function(folder, settings, optimisers) {
  r <- new.env(parent = emptyenv())
  r$folder <- folder
  r$limit <- settings$steps # of each optimiser
  r$every <- settings$every
  r$replay <- settings$replay
  r$optimisers <- optimisers
  r$step <- 1L              # the number of the step that is being computed
  r$active <- FALSE         # whether it is recorded
  r$networks <- character() # the JSON of each network that was executed
  r$steps <- character()    # their JSON
  r$ended <- ""
  r$undo <- list()
  r$beside <- new_beside()
  r$passes <- !length(optimisers) # whether steps are forward passes: record_passes.R
  r$broken <- FALSE         # whether one has ended with an error
  r
}

# Whether an optimiser's next step is to be recorded.
is_wanted <- function(r, optimiser) {
  optimiser$taken < r$limit && optimiser$calls %% r$every == 0
}

# How many steps are to be recorded in all.
all_wanted <- function(r) r$limit * max(1L, length(r$optimisers))

# Begins a step, if it is one of those to be recorded.
begin_step <- function(r) {
  r$active <- if (r$passes) (r$step - 1L) %% r$every == 0L else
    any(vapply(r$optimisers, function(optimiser) is_wanted(r, optimiser), NA))
  before <- if (r$passes || length(r$optimisers) > 1L) r$seen
  r$called <- character()             # the networks that were called in it
  r$broken <- FALSE
  if (!is.null(before)) before$before <- NULL
  r$seen <- r$losses <- NULL
  r$opened <- FALSE
  r$arrays <- r$gradients <- list()   # gradients of the parameters, as backward() left them
  r$left <- r$passed_on               # those that it left for this step in the one before
  r$passed_on <- NULL
  forget_beside(r)
  r$path <- character()               # the modules whose forward() is running, outermost first
  if (r$active) {
    session$numbers <- new.env(parent = emptyenv())
    session$empty <- new.env(parent = emptyenv())
    guarded(r, {
      r$tensors <- named_tensors(r$models)
      r$seen <- new_calls(before)
      know_parameters(r$seen, r$tensors)
    })
    begin_replay(r)
  }
  reopen()
}

# What the step starts from: noted when the model is first called.
open_step <- function(r) {
  if (r$opened) return(invisible())
  r$opened <- TRUE
  r$tensors <- named_tensors(r$models)
  copy_start(r)
  r$generator <- generator_hash()
}

# Those that are known already are left out.
copy_start <- function(r) {
  know_parameters(r$seen, r$tensors)
  for (name in distinct_names(r$tensors)) {
    key <- paste0("start/", name)
    if (is.null(r$arrays[[key]])) r$arrays[[key]] <- copied(r$tensors[[name]])
  }
}

# SHA-256 of the state of torch's generator, the same in Python.
generator_hash <- function() {
  cli::hash_raw_sha256(torch::buffer_from_torch_tensor(torch::torch_get_rng_state()))
}

# Without the second names of shared tensors.
distinct_names <- function(tensors) {
  names(tensors)[!duplicated(vapply(tensors, address_of, ""))]
}

# What is to be noted when the optimiser is called, before it changes anything.
before_update <- function(r, optimiser, closure) {
  open_step(r)
  if (optimiser$calls > 0L && optimiser$last != optimiser$calls) {
    state <- optimiser_state(r, optimiser$object)
    for (key in names(state)) {
      x <- state[[key]]
      r$arrays[[paste0("before/", key)]] <- if (is.numeric(x)) x else copied(x)
    }
  }
  r$settings <- optimiser_settings(r, optimiser)
  if (!closure) for (name in optimised_names(r, optimiser$object)) note_given(r, name)
}

# The gradient that the optimiser is given, if it is another than backward() left: clipped, say.
note_given <- function(r, name) {
  gradient <- r$tensors[[name]]$grad
  if (!is_tensor(gradient)) return(invisible())
  left <- r$gradients[[name]]
  if (is.null(left)) left <- r$left[[name]]
  r$gradients[[name]] <- if (is.null(left)) copied(gradient) else left
  if (!is.null(left) && !same_values(left, gradient)) {
    r$arrays[[paste0("given/", name)]] <- copied(gradient)
  }
}

# Writes the step, after the optimiser's update.
after_update <- function(r, optimiser) {
  tensors <- named_tensors(r$models)
  mine <- optimised_names(r, optimiser$object)
  finished <- finish_calls(r$seen, names(tensors))
  arrays <- c(r$arrays, finished$arrays)
  left <- c(r$gradients, r$left[setdiff(names(r$left), names(r$gradients))])
  r$passed_on <- left[setdiff(names(left), mine)]   # to the optimisers that are called later
  for (name in intersect(mine, names(r$gradients))) {
    arrays[[paste0("gradient/", name)]] <- r$gradients[[name]]
  }
  for (name in distinct_names(tensors)) {
    if (name %in% mine) arrays[[paste0("parameter/", name)]] <- tensors[[name]]
    if (!name %in% r$parameters) arrays[[paste0("buffer/", name)]] <- tensors[[name]]
  }
  state <- optimiser_state(r, optimiser$object)
  for (key in names(state)) arrays[[paste0("state/", key)]] <- state[[key]]
  arrays <- c(arrays, loss_arrays(r$losses), take_untrained(r))
  say_room(r, arrays)
  write_step(r, arrays, finished$stages)
  optimiser$taken <- optimiser$taken + 1L
  optimiser$last <- optimiser$calls + 1L
}
