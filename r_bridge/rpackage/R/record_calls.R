# The calls of one step, as they are seen before they have names. A source is where a tensor comes
# from: "=fc.weight" for a parameter or buffer, else the number of a value. Values are known by the
# address of their tensor, which is kept alive until the step ends: else another tensor could get
# the same address.

new_calls <- function(before = NULL) {
  seen <- new.env(parent = emptyenv())
  seen$sources <- new.env(parent = emptyenv())   # address -> source
  seen$calls <- list()
  seen$values <- list()       # number -> list(call, place, tensor, version, forward)
  seen$changing <- NULL       # what a function is about to change: its address, and its source
  seen$before <- before       # the calls of the step before, if they may be used
  seen$returned <- list()     # number -> tensor whose gradient is asked for
  seen
}

# A shared tensor is known by its first name.
know_parameters <- function(seen, tensors) {
  for (name in rev(names(tensors))) {
    assign(address_of(tensors[[name]]), paste0("=", name), envir = seen$sources)
  }
}

is_tensor <- function(x) inherits(x, "torch_tensor") && !session$undefined(x)

# Every tensor in an object, by its place: ".0", ".1.0", counted from 0 as Python does.
tensors_in <- function(x, place = "") {
  if (inherits(x, "torch_tensor")) {
    return(if (session$undefined(x)) list() else stats::setNames(list(x), place))
  }
  if (!is.list(x) || is.object(x) || !length(x)) return(list())
  keys <- names(x) %||% rep("", length(x))
  keys <- ifelse(nzchar(keys), keys, seq_along(x) - 1L)
  do.call(c, lapply(seq_along(x), function(i) tensors_in(x[[i]], paste0(place, ".", keys[[i]]))))
}

# One that was changed since is another one: through a part of it, say, which shares its memory.
known_source <- function(seen, tensor) {
  address <- address_of(tensor)
  if (identical(seen$changing$address, address)) return(seen$changing$source)
  source <- seen$sources[[address]] %||% imported(seen, address)
  if (is.null(source) || startsWith(source, "=")) return(source)
  if (seen$values[[as.integer(source)]]$version == session$version(tensor)) source
}

# Whether a tensor is a parameter, or was computed by the model or from what it returned; by
# something that is not seen as well, such as an autograd_function().
of_the_model <- function(seen, tensor) {
  source <- known_source(seen, tensor)
  known <- !is.null(source) && (startsWith(source, "=") ||
    seen$calls[[seen$values[[as.integer(source)]]$call]]$inside)
  known || !is.null(tensor$grad_fn)
}

# Where a tensor comes from: from outside, if it is not known, or from what is not seen. `written`:
# a function is about to change it in place.
source_of <- function(seen, tensor, written = FALSE) {
  source <- known_source(seen, tensor)
  if (!is.null(source)) return(source)
  call <- list(name = "input", layer = "input", inside = FALSE)
  if (is_computed(tensor)) seen$took_computed <- TRUE
  if (!is.null(tensor$grad_fn)) {
    call$options <- list(grad_fn = node_name(tensor$grad_fn))
  } else if (is_computed(tensor) && !tensor$requires_grad) {
    call$options <- list(without_gradients = TRUE)
  }
  number <- add_value(seen, add_call(seen, call), "", tensor)
  if (written && is_empty(tensor)) seen$values[[number]]$forward$zero_()
  as.character(number)
}

# What autograd calls the function that computed a tensor.
node_name <- function(node) {
  sub("^torch::autograd::", "", utils::capture.output(print(node))[[1L]])
}

# Returns the number of the call.
add_call <- function(seen, call) {
  seen$calls[[length(seen$calls) + 1L]] <- call
  length(seen$calls)
}

# Copies what a call has returned, for it may change before the step is written. `changed`: the call
# changed it in place, and a hook catches the gradient of what it was before.
add_value <- function(seen, call, place, tensor, changed = FALSE) {
  number <- length(seen$values) + 1L
  address <- address_of(tensor)
  before <- seen$sources[[address]]
  if (changed && !is.null(before)) seen$returned[[before]] <- NULL
  assign(address, as.character(number), envir = seen$sources)
  seen$values[[number]] <- list(call = call, place = place, tensor = tensor,
                                version = session$version(tensor),
                                forward = without_chance(tensor, copied(tensor)))
  if (tensor$requires_grad && !is.null(tensor$grad_fn)) {
    tensor$retain_grad()
    seen$returned[[as.character(number)]] <- tensor
  } else if (tensor$requires_grad && !is.null(session$passes)) {
    catch_gradient(seen, as.character(number), tensor)     # of an image that is looked at
  }
  number
}

copied <- function(tensor) tensor$detach()$clone()

# Adds a call with the tensors that it returned.
add_stage <- function(seen, call, returned, changed = FALSE) {
  number <- add_call(seen, call)
  for (i in seq_along(returned)) {
    add_value(seen, number, names(returned)[[i]], returned[[i]], changed)
  }
  number
}

# The calls that belong to the step: those of the model and of what was computed from it, and, of
# what was drawn before, what went into them.
used_calls <- function(seen) {
  used <- vapply(seen$calls, function(call) call$inside && is.null(call$earlier), NA)
  returned <- seen$returns[!startsWith(as.character(seen$returns), "=")]
  for (value in seen$values[as.integer(returned)]) used[[value$call]] <- TRUE
  for (number in rev(seq_along(used))) {
    if (!used[[number]]) next
    call <- seen$calls[[number]]
    sources <- as.character(c(call$inputs, unlist(call$roles)))
    for (source in sources[!startsWith(sources, "=")]) {
      used[[seen$values[[as.integer(source)]]$call]] <- TRUE
    }
  }
  # a copy that is only looked at, as luz does with the loss
  looks <- if (is.null(session$passes)) "detach" else c("clone", "contiguous", "detach", "to")
  taken <- vapply(seen$values[as.integer(returned)], function(v) v$call, 0L)
  for (number in rev(which(used))) {
    call <- seen$calls[[number]]
    within <- isTRUE(call$within) && call$layer != "detach"
    if (call$layer %in% looks && !number %in% taken && !within) {
      used[[number]] <- FALSE
      next
    }
    sources <- as.character(c(call$inputs, unlist(call$roles)))
    values <- seen$values[as.integer(sources[!startsWith(sources, "=")])]
    taken <- c(taken, vapply(values, function(v) v$call, 0L))
  }
  earlier <- vapply(seen$calls, function(call) as.numeric(call$earlier %||% Inf), 0)
  used <- which(used)
  used[order(earlier[used], used)]
}

# Names for the calls that are used: the second `relu` is `relu#2`. Names of parameters are taken.
call_names <- function(seen, used, taken) {
  count <- new.env(parent = emptyenv())
  for (name in taken) assign(name, 0L, envir = count)
  occupied <- taken
  names <- rep(NA_character_, length(seen$calls))
  for (number in used) {
    base <- seen$calls[[number]]$name
    repeat {
      n <- (count[[base]] %||% 0L) + 1L
      assign(base, n, envir = count)
      name <- if (n == 1L) base else paste0(base, "#", n)
      if (!name %in% occupied) break
    }
    occupied <- c(occupied, name)
    names[[number]] <- name
  }
  names
}

# The stages of the step as docs/reference/trace-of-a-program.md has them, and the arrays of their values.
finish_calls <- function(seen, taken) {
  used <- used_calls(seen)
  names <- call_names(seen, used, taken)
  value_names <- vapply(seen$values, function(v) paste0(names[[v$call]], v$place), "")
  called <- function(sources) {
    own <- startsWith(sources, "=")
    sources[own] <- substring(sources[own], 2L)
    sources[!own] <- value_names[as.integer(sources[!own])]
    sources
  }
  of_call <- split(seq_along(seen$values), vapply(seen$values, function(v) v$call, 0L))
  arrays <- list()
  stages <- lapply(used, function(number) {
    call <- seen$calls[[number]]
    name <- names[[number]]
    values <- of_call[[as.character(number)]]
    for (value in values) {
      key <- value_names[[value]]
      arrays[[paste0("forward/", key)]] <<- seen$values[[value]]$forward
      gradient <- gradient_of(seen, as.character(value))
      if (is_tensor(gradient)) arrays[[paste0("gradient/", key)]] <<- gradient
    }
    if (!is.null(call$mask)) arrays[[paste0("draw/", name)]] <<- call$mask
    list(name = name, layer = call$layer, inputs = I(called(unname(call$inputs %||% character()))),
         options = call$options %||% list(), parameters = lapply(call$roles, called),
         outputs = I(value_names[values]), training = call$training %||% TRUE)
  })
  list(stages = stages, arrays = arrays, used = used,
       returned = called(as.character(seen$returns)))
}
