# What stands in the brackets of `x[i, 1:3, ..]`, as PyTorch has it: a number, null (a new axis),
# "...", "start:stop:step", or "tensor", which stands for an input.

# Puts wrappers around `x[i, ]` and `x[i, ] <- y`. Returns what takes them away again.
wrap_brackets <- function(namespace) {
  old <- mget(c("Tensor_slice", "Tensor_slice_put"), envir = namespace)
  exchange(namespace, "Tensor_slice", slice_wrapper(old$Tensor_slice))
  exchange(namespace, "Tensor_slice_put", slice_put_wrapper(old$Tensor_slice_put))
  function() for (name in names(old)) exchange(namespace, name, old[[name]])
}

# Both hand over the environment of their caller, in which the places are.
slice_wrapper <- function(old) {
  force(old)
  function(self, e, drop, mask) {
    force(self)
    if (!session$open || !listening()) return(old(self, e, drop, mask))
    e <- evaluated_places(e, mask)         # now: they are calls as well, and those are to be seen
    session$open <- FALSE
    on.exit(reopen())
    out <- old(self, e, drop, mask)
    places <- index_places(e, drop)
    about <- list(layer = "index", changes = FALSE, options = said_places(places))
    arguments <- c(list(self = self), places$tensors)
    for (r in active()) guarded(r, see_stage(r, about, arguments, out))
    out
  }
}

slice_put_wrapper <- function(old) {
  force(old)
  function(self, e, rhs, mask) {
    force(self)
    force(rhs)
    if (!session$open) return(old(self, e, rhs, mask))
    e <- evaluated_places(e, mask)
    places <- index_places(e)
    arguments <- c(list(self = self), places$tensors, list(value = rhs))
    about <- list(layer = "index_put", changes = TRUE, arguments = names(arguments),
                  options = c(said_places(places), said_value(rhs)))
    put <- function(...) {
      old(self, e, rhs, mask)
      tryCatch(see_filled(self, function(filled) old(filled, e, TRUE, mask)),
               error = function(e) NULL)
      self
    }
    do.call(see_function, c(list(put, about), arguments))
    invisible()
  }
}

said_places <- function(places) {
  c(list(index = I(places$said)), if (places$outer) list(outer = TRUE))
}

said_value <- function(value) {
  if (is.atomic(value) && length(value) == 1L) list(value = option_value("value", value))
}

# A function that fills a part of a tensor, such as `z$narrow(2, 1, 3)$copy_(h)`: the same call as
# that of `z[, 1:3] <- h`. Otherwise NULL.
put_into_part <- function(seen, layer, arguments) {
  if (is.null(layer) || !layer %in% c("copy", "fill", "zero")) return(NULL)
  part <- known_source(seen, arguments[[1L]])
  if (is.null(part) || startsWith(part, "=")) return(NULL)
  made <- seen$calls[[seen$values[[as.integer(part)]]$call]]
  if (length(made$inputs) != 1L || startsWith(made$inputs, "=")) return(NULL)
  whole <- seen$values[[as.integer(made$inputs)]]
  index <- places_of_part(made$layer, made$options, whole$tensor$dim())
  if (is.null(index) || whole$version != session$version(whole$tensor)) return(NULL)
  value <- if (layer == "zero") 0 else arguments[[2L]]
  list(whole = whole$tensor, source = made$inputs, value = value,
       options = c(list(index = I(index)), said_value(value)))
}

places_of_part <- function(layer, options, dims) {
  if (layer == "index") return(unclass(options$index))
  start <- options$start %||% 0
  place <- switch(
    layer, select = options$index,
    narrow = paste0(start, ":", if (start + options$length != 0) start + options$length),
    slice = paste0(start, ":", options$end,
                   if (options$step %||% 1 != 1) paste0(":", options$step)))
  axis <- options$dim %||% 0
  if (!is.null(place)) c(rep(list(":"), if (axis < 0) axis + dims else axis), place)
}

# Of what takes its indices as a list of tensors.
indexed_by <- function(layer, arguments) {
  if (!layer %in% c("index", "index_put")) return(NULL)
  list(index = I(rep("tensor", length(arguments$indices))))
}

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
# `outer`: several places are indices, of which R torch takes each with each, PyTorch one by one.
index_places <- function(e, drop = TRUE) {
  places <- torch_internal("enquos0")(e)
  tensors <- list()
  many <- 0L
  said <- lapply(places, function(place) {
    if (is.null(place[[2L]])) return(":")
    value <- harmless_value(place[[1L]], place[[2L]])
    if (is_tensor(value)) tensors[[length(tensors) + 1L]] <<- value
    if (if (is_tensor(value)) value$dim() > 0L else is.atomic(value) && length(value) > 1L) {
      many <<- many + 1L
    }
    place_name(value, drop)
  })
  rest <- list(":", "...")                       # x[1, ..] and x[1, , ] are PyTorch's x[0]
  while (length(said) > 1L && said[length(said)] %in% rest) said <- said[-length(said)]
  list(said = said, tensors = stats::setNames(tensors, rep("indices", length(tensors))),
       outer = many > 1L)
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

place_name <- function(value, drop = TRUE) {
  from_zero <- function(n) if (n > 0) n - 1 else n
  if (inherits(value, "unknown_place")) return("?")
  if (is.null(value)) return(NULL)
  if (inherits(value, "fill")) return("...")
  if (inherits(value, "slice")) return(slice_name(value))
  if (is_tensor(value)) return("tensor")
  if (is.atomic(value) && length(value) == 1L && is.na(value)) return(":")
  if (is.numeric(value) && length(value) == 1L) {
    start <- from_zero(value)
    if (isTRUE(drop)) return(start)
    return(paste0(start, ":", if (start != -1) start + 1))
  }
  if (is.numeric(value)) return(I(as.numeric(ifelse(value > 0, value - 1, value))))
  if (is.logical(value)) I(value) else "?"
}

slice_name <- function(slice) {
  last <- .Machine$integer.max
  start <- if (slice$start == 0) "" else format(slice$start, scientific = FALSE)
  end <- if (slice$end == last) "" else format(slice$end, scientific = FALSE)
  paste0(start, ":", end, if (slice$step != 1) paste0(":", format(slice$step)))
}
