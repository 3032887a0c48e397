# Forward passes: what a program computes that uses a network and trains none. A step is a call of
# the network by the program itself, with all that is computed until it is called once more. Of
# several networks that are called one after the other, a step has each once.

# Whether calls are recorded now: without gradients only if forward passes are.
# Once a program has computed gradients it changes its parameters by itself.
listening <- function() {
  session$grad_enabled() || !is.null(session$passes) && !length(session$passes$losses)
}

# A module is called. Returns the recording if a pass begins or goes on with it: it has parameters,
# and is not called by another module.
begin_pass <- function(instance) {
  r <- session$passes
  if (is.null(r) || !is.null(r$outermost)) return(NULL)
  if (!is.null(r$whole)) guarded(r, take_in(r, instance))
  within <- addresses_within(instance)
  known <- vapply(within, function(key) identical(session$modules[[key]]$recording, r), NA)
  if (!any(known) || !has_parameters(instance) || !is_running(r)) return(NULL)
  key <- within[[1L]]
  if (r$broken) begin_step(r)          # the program has caught an error, and tries again
  if (key %in% r$called) {
    finish_pass(r)
    if (!is_running(r)) return(NULL)
    if (length(r$steps) >= r$limit) {
      end_recording(r)
      return(NULL)
    }
    r$step <- r$step + 1L
    begin_step(r)
  }
  r$called <- c(r$called, key)
  r$outermost <- key
  r
}

end_pass <- function(r, returned) {
  r$outermost <- NULL
  if (!returned) r$broken <- TRUE
}

# What a network returns to the program.
note_returned <- function(r, out) {
  if (!r$active || !r$opened) return(invisible())
  guarded(r, r$seen$returns <- c(
    r$seen$returns, vapply(unname(tensors_in(out)), function(x) source_of(r$seen, x), "")))
}

has_parameters <- function(instance) {
  private <- private_of(instance)
  length(private$parameters_) > 0L ||
    any(vapply(private$modules_, function(m) has_parameters(instance_of(m)), NA))
}

# Adds the network that a module is part of, unless all its parameters are known.
take_in <- function(r, instance) {
  own <- named_tensors(instance)[parameter_names(instance)]
  known <- vapply(r$tensors[r$parameters], address_of, "")
  if (!length(own) || all(vapply(own, address_of, "") %in% known)) return(invisible())
  root <- r$whole(instance)
  path <- if (length(r$models)) free_path(r, variable_of(instance_of(root))) else ""
  r$models <- c(r$models, stats::setNames(list(take_module(r, root, path)), path))
  if (!is.null(r$start)) {
    r$tensors <- named_tensors(utils::tail(r$models, 1L))
    r$parameters <- parameter_names(utils::tail(r$models, 1L))
    take_names(r)
    load_start(r, r$start, r$call)
  }
  r$tensors <- named_tensors(r$models)
  r$parameters <- parameter_names(r$models)
  r$about_parameters <- describe_parameters(r)
  take_names(r)
  if (r$opened) copy_start(r)
}

# What the other program calls the networks' parameters and stages. While networks are found, a row
# of the map may be of one that is not called yet.
take_names <- function(r) {
  there <- c(r$there, if (!is.null(r$whole)) c(r$map$a, r$map$b))
  r$names <- own_first(r$map, distinct_names(r$tensors), there, r$call)
}

# The name of a further network: that of its variable, if no module of the first has it.
free_path <- function(r, name) {
  taken <- sub("[.].*", "", c(names(r$tensors), names(r$models)))
  name <- if (nzchar(name)) name else "network"
  setdiff(c(name, paste0(name, seq_along(taken) + 1L)), taken)[[1L]]
}

passes_in_words <- function(limit) {
  if (limit == 1) return("1 forward pass")
  if (is.finite(limit)) sprintf("at most %.0f forward passes", limit) else "all forward passes"
}

# Writes the step, if the network was called in it and has returned.
finish_pass <- function(r) {
  if (!r$active || !r$opened || r$broken) return(invisible())
  guarded(r, {
    tensors <- named_tensors(r$models)
    finished <- finish_calls(r$seen, names(tensors))
    gradients <- r$gradients
    if (length(gradients)) names(gradients) <- paste0("gradient/", names(gradients))
    left <- distinct_names(tensors)
    buffers <- setdiff(left, r$parameters)
    # a program that computes gradients may have changed the parameters by itself
    changed <- if (length(r$losses)) intersect(left, r$parameters)
    arrays <- c(
      r$arrays, finished$arrays, gradients,
      stats::setNames(tensors[changed], sprintf("parameter/%s", changed)),
      stats::setNames(tensors[buffers], sprintf("buffer/%s", buffers)), loss_arrays(r$losses))
    say_room(r, arrays)
    write_step(r, arrays, finished$stages, finished$returned)
    r$seen <- unused_draws(r$seen, finished$used)
    r$opened <- FALSE
  })
}

# What was drawn and not used: the next step may take it.
unused_draws <- function(seen, used) {
  kept <- new_calls()
  take <- function(from, value) {
    call <- from$calls[[value$call]]
    call$inputs <- call$earlier <- NULL
    number <- add_call(kept, call)
    value$call <- number
    kept$values[[length(kept$values) + 1L]] <- value
    assign(address_of(value$tensor), as.character(length(kept$values)), envir = kept$sources)
  }
  for (value in seen$before$values) {
    if (is.null(seen$sources[[address_of(value$tensor)]])) take(seen$before, value)
  }
  for (value in seen$values) {
    drawn <- identical(seen$calls[[value$call]]$layer, "draw")
    if (drawn && !value$call %in% used) take(seen, value)
  }
  kept
}

# Runs `see` with the first network that a script calls. Torch's functions are wrapped by then: of one
# that is called with what the network returns, R has looked up the function before.
watch_first_call <- function(see) {
  enter_torch()
  session$waits <- TRUE
  options(pyvae.recording = function(instance, ...) {
    list(...)                            # now: they may be calls of networks
    if (has_parameters(instance) && session$waits) see()
    recording <- if (!session$waits) getOption("pyvae.recording")
    if (is.null(recording)) instance$.__forward__(...) else recording(instance, ...)
  })
  list(function() if (session$waits) leave_torch())
}

# The outermost module of those that were made that has a module within it.
outermost_of <- function(instances, instance) {
  key <- rlang::obj_address(instance)
  holders <- Filter(function(m) key %in% addresses_within(m), instances)
  sizes <- vapply(holders, function(m) length(addresses_within(m)), 0L)
  callable_of(if (length(holders)) holders[[which.max(sizes)]] else instance)
}

# Ends a recording of passes, and leaves nothing of it: the script trains a network after all.
discard_passes <- function(r) {
  r$broken <- TRUE
  r$steps <- character()
  if (is_running(r)) end_recording(r, "discarded")
  r$ended <- "discarded"
  if (file.exists(file.path(r$folder, "trace.json"))) remove_program(r$folder)
}
