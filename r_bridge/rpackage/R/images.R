# Images from R users in the form that Python takes: a row for each image, pixel by pixel along the
# rows of the image, as whole numbers from 0 to 255 (raw bytes) or numbers from 0 to 1.

image_side <- 28L
data_names <- c("auto", "mnist", "fashion-mnist", "kmnist", "digits", "toy")

# list(data = name) for data that Python loads itself, else a packed matrix with a name, how it was
# scaled, and whether it came as an array of images. `scale` is what the user gave, or NULL;
# `trained`, of a fit, is list(scale, whole) of the images that it was trained on.
read_images <- function(x, name = "x", scale = NULL, trained = NULL, call = rlang::caller_env()) {
  if (!is.null(scale)) scale <- check_positive(scale, "scale", call)
  if (is.character(x)) return(images_of_text(x, name, scale, trained, call))
  check_shape(x, name, call)
  settled <- settle_scale(x, name, scale, trained, call)
  c(pack(as_rows(scale_pixels(x, settled, name, call))),
    list(name = "R", scale = settled, whole = is_whole_type(x), array = length(dim(x)) == 3L,
         brightest = as.double(max(as_numbers(x)))))
}

images_of_text <- function(x, name, scale, trained, call) {
  if (length(x) != 1L || is.na(x)) {
    abort(c("{.arg {name}} must be one path, or the name of a data set.",
            "x" = "It is {in_words(x)}."), call)
  }
  path <- path.expand(x)
  of_python <- x %in% data_names || grepl("[.]npz$", path, ignore.case = TRUE)
  if (of_python && !is.null(scale)) {
    abort(c("{.arg scale} can only be used with a matrix or an array of images.",
            "x" = "{.arg {name}} is {.val {x}}.", "i" = "Leave {.arg scale} out."), call)
  }
  if (x %in% data_names) return(list(data = x))
  if (!file.exists(path)) {
    near <- nearest(x, data_names)
    abort(c("{.arg {name}} must be images, a path that exists, or one of {.val {data_names}}.",
            "x" = "There is no file or folder {.file {x}}.",
            "i" = if (!is.null(near)) "Did you mean {.val {near}}?"
              else paste("A path leads to an {.file .npz} file, an {.file .rds} file, or a folder",
                         "with MNIST's {.file {idx_images}}.")), call)
  }
  if (of_python) return(list(data = normalizePath(path)))
  if (grepl("[.]rds$", path, ignore.case = TRUE)) {
    read <- tryCatch(readRDS(path), error = identity, warning = identity)
    if (inherits(read, "condition")) {
      why <- conditionMessage(read)
      abort(c("{.file {x}} cannot be read.", "x" = "{why}"), call)
    }
    return(read_images(read, x, scale, trained, call))
  }
  pixels <- tryCatch(
    read_idx_images(if (dir.exists(path)) find_idx_images(path) else path),
    error = function(e) {
      parts <- vapply(strsplit(conditionMessage(e), "; ", fixed = TRUE)[[1L]], sentence, "")
      bullets <- sprintf("{parts[[%d]]}", seq_along(parts))
      names(bullets) <- c("x", rep("i", length(parts) - 1L))
      abort(c("{.arg {name}} cannot be read.", bullets), call)
    })
  found <- read_images(t(pixels), x, scale %||% 255, NULL, call)
  found$name <- basename(path)
  found$array <- TRUE
  found
}

# Stops unless x is a numeric matrix with 784 (or 2: points) columns, or an array n x 28 x 28.
check_shape <- function(x, name, call) {
  wanted <- "a matrix with 784 columns, an array of n x 28 x 28, or a path"
  if (is.factor(x) || !(is.numeric(x) || is.raw(x))) {
    about <- if (is.data.frame(x)) {
      types <- vapply(x, function(column) class(column)[[1L]], "")
      paste0(" (", paste(unique(types), collapse = ", "), ")")
    }
    advice <- instead_of_numbers(x, name)
    abort(c("{.arg {name}} must be {wanted}, of whole numbers (integer, raw) or doubles.",
            "x" = "It is {in_words(x)}{about}.", "i" = advice), call)
  }
  size <- dim(x)
  images <- length(size) == 3L && all(size[2:3] == image_side)
  rows <- length(size) == 2L && size[[2L]] %in% c(image_side^2, 2)
  if (!images && !rows) {
    advice <- if (identical(as.integer(size), c(image_side, image_side))) {
      "For one image use {.code array({name}, c(1, 28, 28))}."
    } else if (length(size) == 2L && size[[1L]] == image_side^2) {
      "Images are rows: use {.code t({name})}."
    } else if (length(size) == 3L && all(size[1:2] == image_side)) {
      "The first index is the image: use {.code aperm({name}, c(3, 1, 2))}."
    }
    abort(c("{.arg {name}} must be {wanted}.", "x" = "It is {in_words(x)}.", "i" = advice), call)
  }
  if (!nrow(x)) {
    abort(c("{.arg {name}} must have at least one image.", "x" = "It has no rows."), call)
  }
}

# How to make numbers of an object, in code that can be run as it stands; NULL if that is not known.
instead_of_numbers <- function(x, name) {
  fits <- function(size) {
    columns <- size[-1L]
    identical(as.integer(columns), c(image_side, image_side)) ||
      (length(columns) == 1L && columns %in% c(image_side^2, 2))
  }
  if (is.data.frame(x)) {
    if (all(vapply(x, is.numeric, NA)) && fits(dim(x))) return("Use {.code as.matrix({name})}.")
    numbers <- sum(vapply(x, is.numeric, NA))
    columns <- ncol(x)
    if (numbers >= image_side^2) return(paste(
      "Choose the 784 columns that are pixels, such as {.code as.matrix({name}[, -1])} where the",
      "first is a label."))
    return("An image has 784 columns, one for each pixel: choose another object.")
  }
  if (is.factor(x)) return("Are these the {.arg labels}? Images are numbers.")
  if (is.logical(x)) {
    if (length(dim(x)) > 1L && fits(dim(x))) {
      return("{.code TRUE} and {.code FALSE} are 1 and 0 as {.code {name} + 0}.")
    }
    return(NULL)
  }
  if (is.complex(x)) return("Use {.code Re({name})} or {.code Mod({name})}.")
  if (isS4(x) && length(dim(x)) == 2L) return("Use {.code as.matrix({name})}.")
  if (is.character(x) && length(dim(x))) {
    return("Read the texts as numbers.")
  }
  if (is.list(x) && length(x) && all(vapply(x, function(image) {
    identical(dim(image), c(image_side, image_side))
  }, NA))) {
    return("Use {.code aperm(simplify2array({name}), c(3, 1, 2))}.")
  }
  if (is.list(x) && length(x) && all(lengths(x) %in% image_side^2)) {
    return("Use {.code do.call(rbind, {name})}, if each element is an image.")
  }
  if (is.list(x)) return("Bind the images of the list into one array of n x 28 x 28.")
}

is_whole_type <- function(x) is.integer(x) || is.raw(x)

# Raw bytes have neither a range nor a division.
as_numbers <- function(x) if (is.raw(x)) as.integer(x) else x

are_points <- function(x) length(dim(x)) == 2L && ncol(x) == 2L

# The divisor of the pixels: the given one, else by type: 255 for whole numbers (integer, raw), 1
# for doubles; for images of the type that a fit was trained on, the fit's. Pixels never decide: if
# whole numbers are only 0 and 1, or doubles from 0 to 1 would be divided, the user has to say.
settle_scale <- function(x, name, scale, trained, call) {
  if (!is.null(scale)) return(scale)
  if (are_points(x)) return(trained$scale %||% 1)
  whole <- is_whole_type(x)
  if (!is.null(trained$scale) && identical(trained$whole, whole)) {
    scale <- trained$scale
    if (whole || scale <= 1 || !all_below_1(x)) return(scale)
    abort(c(paste("{.arg {name}} holds doubles from 0 to 1, and the fit's images were divided by",
                  "{scale}."),
            "i" = paste("Use {.code scale = 1} to take them as they are, or",
                        "{.code scale = {scale}} to divide them.")), call)
  }
  if (!whole) return(1)
  if (!anyNA(x) && max(as_numbers(x)) == 1L) {
    abort(c("{.arg {name}} holds whole numbers, and none is above 1.",
            "i" = paste("Use {.code scale = 1} if 1 is white, or {.code scale = 255} if 255 is",
                        "white.")), call)
  }
  255
}

all_below_1 <- function(x) !anyNA(x) && max(x) <= 1 && any(x != trunc(x))

# Bytes for whole numbers that are divided by 255, numbers from 0 to 1 otherwise; points may be any
# finite numbers. The message names the first number that is out of range.
scale_pixels <- function(x, scale, name, call) {
  refuse <- function(bad, wanted, advice = NULL) {
    place <- paste0(name, "[", paste(arrayInd(bad[[1L]], dim(x)), collapse = ", "), "]")
    value <- format(as_numbers(x[[bad[[1L]]]]), digits = 15, decimal.mark = ".")
    more <- if (length(bad) > 1L) sprintf(", and %d more are out of range", length(bad) - 1L)
    abort(c(paste("{.arg {name}} must hold", wanted), "x" = "{.code {place}} is {value}{more}.",
            "i" = advice), call)
  }
  if (is.raw(x) && scale == 255 && !are_points(x)) return(x)
  shown <- format(scale, digits = 15, decimal.mark = ".")
  wanted <- if (is_whole_type(x) && scale == 255) "pixels from 0 to 255, as whole numbers."
    else if (scale == 1) "pixels from 0 to 1, as {.arg scale} is 1 or not given."
    else "pixels from 0 to {shown}, which is {.arg scale}."
  if (!is.raw(x)) {
    if (anyNA(x)) refuse(which(is.na(x)), wanted)
    if (any(is.infinite(range(x)))) refuse(which(is.infinite(x)), wanted)
  }
  if (are_points(x)) return(if (is.raw(x) || scale != 1) as_numbers(x) / scale else x)
  bad <- which(as_numbers(x) < 0 | as_numbers(x) > scale)
  if (length(bad)) {
    advice <- if (scale == 1 && all(as_numbers(x) >= 0)) scale_advice(max(as_numbers(x)))
    refuse(bad, wanted, advice)
  }
  if (scale == 255 && (is.integer(x) || all(x == trunc(x)))) return(array(as.raw(x), dim(x)))
  if (is.double(x) && scale == 1) return(x)
  array(as_numbers(x) / scale, dim(x))
}

scale_advice <- function(largest) {
  if (largest > 1.5 && largest <= 255) {
    return("If the pixels are from 0 to 255, use {.code scale = 255}.")
  }
  if (largest <= 1.5) return("If that is rounding, use {.code pmin({name}, 1)}.")
  "Give {.arg scale}, the number to divide them by."
}

# Warns of images that are nearly black: they may have been divided twice, or be counts up to 16.
warn_of_black <- function(images, name = "x") {
  if (is.null(images$brightest) || images$dim[[2L]] == 2L) return(invisible())
  if (images$brightest / images$scale >= 0.25) return(invisible())
  brightest <- format(images$brightest, digits = 6, decimal.mark = ".")
  shown <- format(images$scale, digits = 15, decimal.mark = ".")
  cli::cli_warn(c(
    "The images are nearly black: the brightest pixel of {.arg {name}} is {brightest} of {shown}.",
    "i" = if (images$brightest > 0) "If that is white, use {.code scale = {brightest}}."))
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
