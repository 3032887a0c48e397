# Where a program has several optimisers, a step may use what was computed in the step before: the
# images that a GAN's generator made. The calls that made them are then part of this step as well.

imported <- function(seen, address) {
  before <- seen$before
  source <- before$sources[[address]]
  if (is.null(source) || startsWith(source, "=")) return(NULL)
  import_call(seen, before, before$values[[as.integer(source)]]$call)
  seen$sources[[address]]
}

# Takes a call of the step before, and those that it depends on, into this one.
import_call <- function(seen, before, number) {
  call <- before$calls[[number]]
  take <- function(source) {
    if (startsWith(source, "=")) return(source)
    value <- before$values[[as.integer(source)]]
    address <- address_of(value$tensor)
    if (is.null(seen$sources[[address]])) import_call(seen, before, value$call)
    seen$sources[[address]]
  }
  call$inputs <- vapply(call$inputs %||% character(), take, "")
  call$roles <- lapply(call$roles, take)
  call$earlier <- number
  mine <- add_call(seen, call)
  for (at in which(vapply(before$values, function(value) value$call == number, NA))) {
    value <- before$values[[at]]
    value$call <- mine
    seen$values[[length(seen$values) + 1L]] <- value
    source <- as.character(length(seen$values))
    assign(address_of(value$tensor), source, envir = seen$sources)
    seen$returned[[source]] <- before$returned[[as.character(at)]]
  }
}
