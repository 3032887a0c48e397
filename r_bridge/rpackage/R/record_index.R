# What stands in the brackets of `x[i, 1:3, ..]`, as PyTorch has it: a number, null (a new axis),
# "...", "start:stop:step", or "tensor", which stands for an input.

# R torch evaluates the places itself, in an environment that it is given. Those that are calls, such
# as `x[y$argmax(2), ]`, are evaluated here instead, once, and R torch is given their values.
evaluated_places <- function(e, mask) {
  places <- torch_internal("enquos0")(e)
  unknown <- vapply(places, function(place) {
    !is.null(place[[2L]]) && inherits(harmless_value(place[[1L]], place[[2L]]), "unknown_place")
  }, NA)
  if (!any(unknown)) return(e)
  values <- lapply(places, function(place) {
    if (is.null(place[[2L]])) quote(expr = ) else eval(place[[1L]], mask, place[[2L]])
  })
  do.call(function(...) environment(), unname(values))
}

# What is only looked at has no effect: constants, a few operators, and variables that have a value.
index_places <- function(e) {
  places <- torch_internal("enquos0")(e)
  tensors <- list()
  said <- lapply(places, function(place) {
    if (is.null(place[[2L]])) return(":")
    value <- harmless_value(place[[1L]], place[[2L]])
    if (is_tensor(value)) tensors[[length(tensors) + 1L]] <<- value
    place_name(value)
  })
  rest <- list(":", "...")                       # x[1, ..] and x[1, , ] are PyTorch's x[0]
  while (length(said) > 1L && said[length(said)] %in% rest) said <- said[-length(said)]
  list(said = said, tensors = stats::setNames(tensors, rep("indices", length(tensors))))
}

unknown_place <- structure(list(), class = "unknown_place")

harmless_value <- function(code, where) {
  harmless <- all(all.names(code, functions = TRUE, unique = TRUE) %in% c(
    ":", "-", "+", "*", "(", "c", "..", "N", "newaxis", all.vars(code)))
  ready <- vapply(all.vars(code), function(name) is_ready(name, where), NA)
  if (!harmless || !all(ready)) return(unknown_place)
  mask <- torch_internal(".d")
  tryCatch(eval(code, mask, where), error = function(e) unknown_place)
}

# Whether a variable can be looked at: a promise that is not forced yet may do anything.
is_ready <- function(name, where) {
  if (name %in% c("..", "N", "newaxis")) return(TRUE)
  while (!identical(where, emptyenv())) {
    if (exists(name, envir = where, inherits = FALSE)) {
      return(!rlang::env_binding_are_lazy(where, name) && !bindingIsActive(name, where))
    }
    where <- parent.env(where)
  }
  FALSE
}

place_name <- function(value) {
  from_zero <- function(n) if (n > 0) n - 1 else n
  if (inherits(value, "unknown_place")) return("?")
  if (is.null(value)) return(NULL)
  if (inherits(value, "fill")) return("...")
  if (inherits(value, "slice")) return(slice_name(value))
  if (is_tensor(value)) return("tensor")
  if (is.atomic(value) && length(value) == 1L && is.na(value)) return(":")
  if (is.numeric(value) && length(value) == 1L) return(from_zero(value))
  if (is.numeric(value)) return(I(as.numeric(ifelse(value > 0, value - 1, value))))
  if (is.logical(value)) I(value) else "?"
}

slice_name <- function(slice) {
  last <- .Machine$integer.max
  start <- if (slice$start == 0) "" else format(slice$start, scientific = FALSE)
  end <- if (slice$end == last) "" else format(slice$end, scientific = FALSE)
  paste0(start, ":", end, if (slice$step != 1) paste0(":", format(slice$step)))
}
