# Images as R users have them, made ready for Python: one row an image, pixel by pixel along the
# rows of the image, as whole numbers from 0 to 255 (raw bytes) or numbers from 0 to 1.

image_side <- 28L
data_names <- c("auto", "mnist", "fashion-mnist", "kmnist", "digits", "toy")

# list(data = name) for data that Python loads itself, else a packed matrix with a name.
read_images <- function(x, name = "x", call = rlang::caller_env()) {
  if (is.character(x)) return(images_of_text(x, name, call))
  check_shape(x, name, call)
  c(pack(as_rows(scale_pixels(x, name, call))), list(name = "R"))
}

images_of_text <- function(x, name, call) {
  if (length(x) != 1L || is.na(x)) {
    abort(c("{.arg {name}} must be one path, or the name of a data set.",
            "x" = "It is {in_words(x)}."), call)
  }
  if (x %in% data_names) return(list(data = x))
  path <- path.expand(x)
  if (!file.exists(path)) {
    abort(c("{.arg {name}} must be images, a path that exists, or one of {.val {data_names}}.",
            "x" = "There is no file or folder {.file {x}}.",
            "i" = paste("A path leads to an {.file .npz} file, an {.file .rds} file, or a folder",
                        "with MNIST's {.file {idx_images}}.")), call)
  }
  if (grepl("[.]npz$", path)) return(list(data = normalizePath(path)))
  if (grepl("[.]rds$", path, ignore.case = TRUE)) {
    read <- tryCatch(readRDS(path), error = identity, warning = identity)
    if (inherits(read, "condition")) {
      why <- conditionMessage(read)
      abort(c("{.file {x}} cannot be read.", "x" = "{why}"), call)
    }
    return(read_images(read, x, call))
  }
  pixels <- tryCatch(
    read_idx_images(if (dir.exists(path)) find_idx_images(path) else path),
    error = function(e) {
      why <- strsplit(conditionMessage(e), "; ", fixed = TRUE)[[1L]]
      expected <- if (length(why) > 1L) why[-1L]
      abort(c("{.arg {name}} cannot be read.", "x" = "{why[[1L]]}", "i" = "{expected}"), call)
    })
  c(pack(t(pixels)), list(name = basename(path)))
}

# Refuses what is no numeric matrix with 784 (or 2: points) columns, nor an array n x 28 x 28.
check_shape <- function(x, name, call) {
  wanted <- "a matrix with 784 columns, an array of n x 28 x 28, or a path"
  if (is.factor(x) || !(is.numeric(x) || is.raw(x))) {
    advice <- if (is.data.frame(x)) "Use {.code as.matrix({name})}."
      else if (is.factor(x)) "Use {.code as.numeric(as.character({name}))}, as a matrix."
      else if (is.list(x)) "Use {.code do.call(rbind, {name})} if each element is an image."
    abort(c("{.arg {name}} must be {wanted}.", "x" = "It is {in_words(x)}.", "i" = advice), call)
  }
  size <- dim(x)
  images <- length(size) == 3L && all(size[2:3] == image_side)
  rows <- length(size) == 2L && size[[2L]] %in% c(image_side^2, 2)
  if (!images && !rows) {
    advice <- if (identical(as.integer(size), c(image_side, image_side))) {
      "One image is {.code array({name}, c(1, 28, 28))}."
    } else if (length(size) == 2L && size[[1L]] == image_side^2) {
      "Images are rows: use {.code t({name})}."
    }
    abort(c("{.arg {name}} must be {wanted}.", "x" = "It is {in_words(x)}.", "i" = advice), call)
  }
  if (!nrow(x)) abort(c("{.arg {name}} must hold images.", "x" = "It has no rows."), call)
}

# Bytes for whole numbers from 0 to 255, numbers from 0 to 1 otherwise; points as they are. Where a
# number is refused, it is said where it is.
scale_pixels <- function(x, name, call) {
  if (is.raw(x)) return(x)
  refuse <- function(bad) {
    place <- paste0(name, "[", paste(arrayInd(bad[[1L]], dim(x)), collapse = ", "), "]")
    value <- format(x[[bad[[1L]]]], digits = 15)
    more <- if (length(bad) > 1L) sprintf(", and %d more are out of range", length(bad) - 1L)
    abort(c("{.arg {name}} must hold pixels from 0 to 1, or from 0 to 255.",
            "x" = "{.code {place}} is {value}{more}."), call)
  }
  if (anyNA(x)) refuse(which(is.na(x)))
  limits <- range(x)
  if (any(is.infinite(limits))) refuse(which(is.infinite(x)))
  if (length(dim(x)) == 2L && ncol(x) == 2L) return(x)
  if (limits[[1L]] < 0 || limits[[2L]] > 255) refuse(which(x < 0 | x > 255))
  if (limits[[2L]] <= 1) return(x)
  if (is.integer(x) || all(x == trunc(x))) return(array(as.raw(x), dim(x)))
  x / 255
}

# An array n x 28 x 28, [image, row, column], as n x 784; a matrix as it is.
as_rows <- function(x) {
  if (length(dim(x)) == 2L) return(x)
  matrix(aperm(x, c(1L, 3L, 2L)), nrow(x))                         # columns run along image rows
}

# Rows of 784 pixels as images: n x 28 x 28, [image, row, column].
as_image_array <- function(rows) {
  aperm(array(rows, c(nrow(rows), image_side, image_side)), c(1L, 3L, 2L))
}
