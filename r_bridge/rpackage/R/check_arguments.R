# Checks of single arguments. Each returns the value in the form that Python takes, or stops with
# one message: what is allowed, what was given and what to do.

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

# With `several` the choices are the argument's default, which means the first of them, and a unique
# abbreviation is accepted, as by match.arg().
check_choice <- function(x, name, choices, call = rlang::caller_env(), several = FALSE) {
  if (several && identical(x, choices)) return(choices[[1L]])
  one <- is.character(x) && length(x) == 1L && !is.na(x)
  if (one && x %in% choices) return(x)
  begun <- if (several && one && nzchar(x)) choices[startsWith(choices, x)]
  if (length(begun) == 1L) return(begun)
  near <- if (one) nearest(x, choices)
  abort(c("{.arg {name}} must be one of {.val {choices}}.",
          "x" = "It is {in_words(x)}.",
          "i" = if (!is.null(near)) "Did you mean {.val {near}}?"), call)
}

synonyms <- c(gpu = "cuda", nvidia = "cuda", float = "float32", single = "float32",
              double = "float64", r = "base-r", torch = "r-torch")

# The choice that was probably meant, or NULL: the case, missing, wrong or swapped letters are the
# commonest slips.
nearest <- function(name, choices) {
  if (!length(choices)) return(NULL)
  name <- gsub("[ _.]", "-", tolower(name))
  meant <- unname(synonyms[name])
  if (meant %in% choices) return(meant)
  letters <- strsplit(name, "")[[1L]]
  swaps <- vapply(seq_len(max(length(letters) - 1L, 0L)), function(i) {
    paste(replace(letters, c(i, i + 1L), letters[c(i + 1L, i)]), collapse = "")
  }, "")
  distance <- drop(utils::adist(name, choices, ignore.case = TRUE))
  distance[tolower(choices) %in% swaps] <- 1
  best <- which.min(distance)
  if (distance[[best]] <= max(1, nchar(name) %/% 3)) return(choices[[best]])
  begun <- choices[startsWith(choices, name) | endsWith(choices, name)]
  if (nchar(name) > 2L && length(begun)) begun[[1L]]
}

# An objective of the recipe, or one of `also`.
check_objective <- function(objective, recipe, also = character(), call = rlang::caller_env(),
                            known = recipe_objectives[[recipe]]) {
  known <- c(known, also)
  if (is.character(objective) && length(objective) == 1L && objective %in% objective_names &&
      !objective %in% known) {
    abort(c("Recipe {.val {recipe}} has no objective {.val {objective}}.",
            "i" = "It has {.val {known}}."), call)
  }
  check_choice(objective, "objective", known, call)
}

# Stops if a method got arguments through `...` that it does not use.
check_no_more <- function(further, name, arguments, call = rlang::caller_env(), but = character()) {
  further <- further[!rlang::names2(further) %in% but]
  if (!length(further)) return(invisible())
  wrong <- rlang::names2(further)[[1L]]
  if (!nzchar(wrong)) {
    value <- first_line(rlang::expr_deparse(further[[1L]]))
    abort(c("{.fn {name}} takes no further arguments.", "x" = "{.code {value}} is one too many."),
          call)
  }
  near <- nearest(wrong, arguments)
  abort(c("{.fn {name}} has no argument {.arg {wrong}}.",
          "i" = if (!is.null(near)) "Did you mean {.arg {near}}?"
            else if (length(arguments)) "It has {.arg {arguments}}."), call)
}

check_hyper <- function(x, recipe, call = rlang::caller_env(), known = recipe_hyper[[recipe]]) {
  good <- length(x) == 0L || (!is.null(names(x)) && all(nzchar(names(x))) &&
    all(vapply(x, is_number, NA)))
  if (good) {
    other <- setdiff(names(x), known)
    if (!length(other)) return(lapply(as.list(x), as.double))
    abort(c("Recipe {.val {recipe}} has no setting {.val {other[[1L]]}}.",
            "i" = if (length(known)) "It has {.val {known}}." else "It has none.",
            "i" = "Leave it out of {.arg hyper}."), call)
  }
  abort(c("{.arg hyper} must be a named list of numbers, such as {.code list(temperature = 0.5)}.",
          "x" = "It is {in_words(x)}."), call)
}

# Labels, packed, for the recipes that use them; NULL for the others. A recipe from a file may.
check_labels <- function(labels, images, recipe, hyper, call = rlang::caller_env()) {
  wanted <- recipe %in% labelled_recipes
  if (is.null(labels)) {
    if (!wanted || is.null(images$dim)) return(NULL)
    abort(c("Recipe {.val {recipe}} needs {.arg labels}.",
            "i" = "Pass {.arg labels}: whole numbers from 0, one for each image."), call)
  }
  if (!wanted && recipe %in% recipe_names) {
    abort(c("Recipe {.val {recipe}} does not use {.arg labels}.",
            "i" = paste("Leave {.arg labels} out, or choose",
                        "{.code recipe = \"{labelled_recipes[[1L]]}\"}.")), call)
  }
  n <- images$dim[[1L]]
  if (is.null(n)) {
    abort(c("{.arg labels} can only be used with a matrix or an array of images.",
            "x" = "{.arg x} is {.val {images$data}}.", "i" = "Leave {.arg labels} out."), call)
  }
  if (!is.numeric(labels) || length(dim(labels)) > 1L || length(labels) != n) {
    advice <- if (is.factor(labels)) labels_of_factor(labels)
    abort(c("{.arg labels} must be a vector of {n} whole number{?s} from 0, one for each image.",
            "x" = "It is {in_words(labels)}.", "i" = advice), call)
  }
  bad <- which(is.na(labels) | labels < 0 | labels != round(labels))
  if (length(bad)) {
    abort(c("{.arg labels} must be whole numbers from 0.",
            "x" = "{.code labels[{bad[[1L]]}]} is {labels[[bad[[1L]]]]}."), call)
  }
  classes <- hyper$clusters %||% 10
  if (min(labels) >= 1 && max(labels) == classes) {                # of a factor, or of R torch
    abort(c("{.arg labels} must be whole numbers from 0.",
            "x" = "They start at 1: there is no 0, and the largest is {classes}.",
            "i" = "Use {.code labels - 1L}."), call)
  }
  pack(as.integer(labels))
}

labels_of_factor <- function(labels) {
  if (all(grepl("^[0-9]+$", levels(labels)))) "Use {.code as.integer(as.character(labels))}."
    else "Use {.code as.integer(labels) - 1L}."
}

# A seed for Python: the given one, or one drawn with R's generator, which makes a fit reproducible
# with `set.seed()`.
settle_seed <- function(seed, call = rlang::caller_env()) {
  if (is.null(seed)) return(sample.int(.Machine$integer.max, 1L))
  check_whole(seed, "seed", least = 0, call = call)
}

is_number <- function(x) is.numeric(x) && !is.factor(x) && length(x) == 1L && !is.na(x)

# A short description of an object.
in_words <- function(x) {
  if (is.null(x)) return("NULL")
  if (is.factor(x)) return(paste("a factor with", counted(nlevels(x), "level")))
  if (is.data.frame(x)) return(sprintf("a data frame of %d x %d", nrow(x), ncol(x)))
  if (is.function(x)) return("a function")
  if (length(dim(x))) {
    kind <- if (length(dim(x)) == 2L) "matrix" else "array"
    type <- if (isS4(x)) paste("of class", class(x)[[1L]]) else
      switch(typeof(x), double = , integer = , raw = NULL, list = "that is a list",
             paste("of type", typeof(x)))
    size <- paste(dim(x), collapse = " x ")
    return(paste(c(if (kind == "matrix") "a" else "an", kind, "of", size, type), collapse = " "))
  }
  if (is.list(x)) return(sprintf("a list of %d", length(x)))
  if (!is.atomic(x)) return(paste("of class", class(x)[[1L]]))
  if (length(x) != 1L) {
    kind <- class(x)[[1L]]
    article <- if (grepl("^[aeiou]", kind, ignore.case = TRUE)) "an" else "a"
    return(sprintf("%s %s vector of length %d", article, kind, length(x)))
  }
  if (is.character(x) && !is.na(x)) return(encodeString(x, quote = "\""))
  format(x, digits = 15, decimal.mark = ".")
}

# A text from a file that others may have written, without control characters and those that change
# the direction of writing.
printable <- function(text) {
  gsub("[[:cntrl:]\u200e\u200f\u2028-\u202e\u2066-\u2069]+", " ", enc2utf8(as.character(text)),
       perl = TRUE)
}

# "1 step", "1,797 images".
counted <- function(n, noun) {
  paste0(thousands(n, scientific = FALSE), " ", noun, if (n != 1) "s")
}
