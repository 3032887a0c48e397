# The optimiser: its settings, its state, and the update that ends a step.

# `calls`: of its step(); `taken`: how many were recorded; `last`: which of them was the last.
new_optimiser <- function(name, object) {
  list2env(list(name = name, object = object, calls = 0L, taken = 0L, last = 0L),
           parent = emptyenv())
}

# Exchanges the optimiser's step(). Returns what takes the recorder out of it.
wrap_optimiser <- function(r, optimiser) {
  object <- optimiser$object
  step <- get("step", envir = object)
  exchange(object, "step", function(...) {
    recorded <- r$active && is_wanted(r, optimiser)
    if (recorded) guarded(r, before_update(r, optimiser, ...length() > 0L))
    out <- withVisible(step(...))
    if (recorded && r$active) guarded(r, after_update(r, optimiser))
    optimiser$calls <- optimiser$calls + 1L
    next_step(r)
    if (out$visible) out$value else invisible(out$value)
  })
  function() exchange(object, "step", step)
}

next_step <- function(r) {
  r$step <- r$step + 1L
  if (!is_running(r)) return(invisible())
  if (all(vapply(r$optimisers, function(optimiser) optimiser$taken >= r$limit, NA))) {
    return(end_recording(r))
  }
  begin_step(r)
}

# optim_ignite_adam is ignite_adam.
optimiser_kind <- function(object) sub("^optim_", "", class(object)[[1L]])

# As docs/reference/trace-of-a-program.md has it.
optimiser_settings <- function(r, optimiser) {
  names <- names_by_address(r)
  groups <- lapply(optimiser$object$param_groups, function(group) {
    addresses <- vapply(as_tensors(group$params), address_of, "")
    list(parameters = I(unname(names[intersect(addresses, names(names))])),
         settings = function_options(group[setdiff(names(group), "params")]))
  })
  list(name = optimiser$name, kind = optimiser_kind(optimiser$object), groups = I(groups))
}

as_tensors <- function(params) if (is.list(params)) params else list(params)

# The first name of each parameter, by address.
names_by_address <- function(r) {
  parameters <- r$tensors[r$parameters]
  addresses <- vapply(parameters, address_of, "")
  names <- stats::setNames(r$parameters, addresses)
  names[!duplicated(addresses)]
}

# The names of the parameters that it updates.
optimised_names <- function(r, object) {
  groups <- lapply(object$param_groups, function(group) as_tensors(group$params))
  names <- names_by_address(r)
  addresses <- vapply(unlist(groups), address_of, "")
  unname(names[intersect(addresses, names(names))])
}

# Its state by parameter and key: `fc.weight.exp_avg`.
optimiser_state <- function(r, object) {
  names <- names_by_address(r)
  all <- unlist(lapply(object$param_groups, function(group) as_tensors(group$params)))
  state <- object$state_dict()$state
  found <- list()
  for (index in names(state)) {
    address <- address_of(all[[as.integer(index)]])
    if (!address %in% names(names)) next
    for (key in names(state[[index]])) {
      x <- state[[index]][[key]]
      if (is_tensor(x) || (is.numeric(x) && length(x) == 1L)) {
        found[[paste0(names[[address]], ".", key)]] <- x
      }
    }
  }
  found
}
