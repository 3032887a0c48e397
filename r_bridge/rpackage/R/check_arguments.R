# Checks of single arguments. Each returns the value as Python is to have it, or says in one
# message what was given, what was expected and what to do.

abort <- function(message, call = NULL, class = NULL, .envir = parent.frame()) {
  cli::cli_abort(message, call = call, class = c(class, "pyvae_error"), .envir = .envir)
}

check_whole <- function(x, name, least = 1, most = .Machine$integer.max,
                        call = rlang::caller_env()) {
  if (is_number(x) && x == round(x) && x >= least && x <= most) return(as.integer(x))
  least <- sprintf("%.0f", least)
  most <- sprintf("%.0f", most)
  abort(c("{.arg {name}} must be a whole number from {least} to {most}.",
          "x" = "It is {in_words(x)}."), call)
}

check_positive <- function(x, name, call = rlang::caller_env()) {
  if (is_number(x) && is.finite(x) && x > 0) return(as.double(x))
  abort(c("{.arg {name}} must be a number above 0.", "x" = "It is {in_words(x)}."), call)
}

check_flag <- function(x, name, call = rlang::caller_env()) {
  if (is.logical(x) && length(x) == 1L && !is.na(x)) return(x)
  abort(c("{.arg {name}} must be {.code TRUE} or {.code FALSE}.", "x" = "It is {in_words(x)}."),
        call)
}

check_choice <- function(x, name, choices, call = rlang::caller_env()) {
  if (is.character(x) && length(x) == 1L && x %in% choices) return(x)
  near <- if (is.character(x) && length(x) == 1L && !is.na(x)) agrep(x, choices, value = TRUE)
  abort(c("{.arg {name}} must be one of {.val {choices}}.",
          "x" = "It is {in_words(x)}.",
          "i" = if (length(near)) "Did you mean {.val {near[[1L]]}}?"), call)
}

check_hyper <- function(x, call = rlang::caller_env()) {
  good <- length(x) == 0L || (!is.null(names(x)) && all(nzchar(names(x))) &&
    all(vapply(x, is_number, NA)))
  if (good) return(lapply(as.list(x), as.double))
  abort(c("{.arg hyper} must be a named list of numbers, such as {.code list(temperature = 0.5)}.",
          "x" = "It is {in_words(x)}."), call)
}

check_labels <- function(labels, images, call = rlang::caller_env()) {
  n <- images$dim[[1L]]
  if (is.null(n)) {
    abort(c("{.arg labels} goes with images given as numbers.",
            "x" = "{.arg x} is {.val {images$data}}.", "i" = "Leave {.arg labels} out."), call)
  }
  if (!is.numeric(labels) || length(dim(labels)) > 1L || length(labels) != n) {
    advice <- if (is.factor(labels)) "Use {.code as.integer(as.character(labels))}."
    abort(c("{.arg labels} must be a vector of {n} whole number{?s} from 0, one for each image.",
            "x" = "It is {in_words(labels)}.", "i" = advice), call)
  }
  bad <- which(is.na(labels) | labels < 0 | labels != round(labels))
  if (length(bad)) {
    abort(c("{.arg labels} must be whole numbers from 0.",
            "x" = "{.code labels[{bad[[1L]]}]} is {labels[[bad[[1L]]]]}."), call)
  }
  as.integer(labels)
}

# A seed for Python: the one given, or one from R's own generator, so that `set.seed()` makes a
# fit reproducible.
settle_seed <- function(seed, call = rlang::caller_env()) {
  if (is.null(seed)) return(sample.int(.Machine$integer.max, 1L))
  check_whole(seed, "seed", least = 0, call = call)
}

is_number <- function(x) is.numeric(x) && !is.factor(x) && length(x) == 1L && !is.na(x)

# What an object is, in a few words.
in_words <- function(x) {
  if (is.null(x)) return("NULL")
  if (is.factor(x)) return(sprintf("a factor with %d levels", nlevels(x)))
  if (is.data.frame(x)) return(sprintf("a data frame of %d x %d", nrow(x), ncol(x)))
  if (is.function(x)) return("a function")
  if (length(dim(x)) == 2L) return(paste("a matrix of", paste(dim(x), collapse = " x ")))
  if (length(dim(x))) return(paste("an array of", paste(dim(x), collapse = " x ")))
  if (is.list(x)) return(sprintf("a list of %d", length(x)))
  if (!is.atomic(x)) return(paste("of class", class(x)[[1L]]))
  if (length(x) != 1L) return(sprintf("a %s vector of length %d", class(x)[[1L]], length(x)))
  if (is.character(x) && !is.na(x)) return(encodeString(x, quote = "\""))
  format(x, digits = 15)
}

# "1 step", "1,797 images".
counted <- function(n, noun) {
  paste0(format(n, big.mark = ",", scientific = FALSE), " ", noun, if (n != 1) "s")
}
