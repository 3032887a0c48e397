# Images from R users in the form that Python takes: a row for each image, pixel by pixel along the
# rows of the image, as whole numbers from 0 to 255 (raw bytes) or numbers from 0 to 1.
#
# `shape` is that of one image, c(channels, height, width), or the number of inputs of a recipe that
# takes no images.

digits_shape <- c(1L, 28L, 28L)
data_names <- c("auto", "mnist", "fashion-mnist", "kmnist", "digits", "toy")

# list(data = name) for data that Python loads itself, else a packed matrix with a name, how it was
# scaled, its layout (see `layout_of`), and the names of its rows. `scale` is what the user gave, or
# NULL; `trained`, of a fit, is list(scale, whole) of the images that it was trained on.
read_images <- function(x, name = "x", scale = NULL, trained = NULL, call = rlang::caller_env(),
                        shape = digits_shape) {
  if (!is.null(scale)) scale <- check_positive(scale, "scale", call)
  if (is.character(x) && is.null(dim(x))) {
    return(images_of_text(x, name, scale, trained, call, shape))
  }
  if (is.data.frame(x) && all(vapply(x, is.numeric, NA))) x <- as.matrix(x)
  check_shape(x, name, call, shape)
  settled <- settle_scale(x, name, scale, trained, call)
  c(pack(as_rows(scale_pixels(x, settled, name, call), shape)),
    list(name = "R", shape = if (length(shape) == 3L) as.list(shape), scale = settled,
         whole = is_whole_type(x), layout = layout_of(x, shape), rows = rownames_of(x),
         columns = if (length(dim(x)) == 2L) colnames(x),
         brightest = as.double(max(as_numbers(x)))))
}

# What of images goes to Python.
for_python <- function(images) images[intersect(names(images), c("data", "bytes", "dim", "type",
                                                                 "name", "shape"))]

rownames_of <- function(x) if (is.data.frame(x)) rownames(as.matrix(x)) else dimnames(x)[[1L]]

images_of_text <- function(x, name, scale, trained, call, shape) {
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
    return(read_images(read, x, scale, trained, call, shape))
  }
  pixels <- tryCatch(
    read_idx_images(if (dir.exists(path)) find_idx_images(path) else path),
    error = function(e) {
      parts <- vapply(strsplit(conditionMessage(e), "; ", fixed = TRUE)[[1L]], sentence, "")
      bullets <- sprintf("{parts[[%d]]}", seq_along(parts))
      names(bullets) <- c("x", rep("i", length(parts) - 1L))
      abort(c("{.arg {name}} cannot be read.", bullets), call)
    })
  found <- read_images(t(pixels), x, scale %||% 255, NULL, call, shape)
  found$name <- basename(path)
  found$layout <- "images"
  found
}

# How images are laid out: "rows" of a matrix, "images" (n x height x width), "last" or "first" (of
# several channels, where they are); NULL if x is none of these. With 28 x 28, points are rows, too.
layout_of <- function(x, shape) {
  size <- dim(x)
  inputs <- c(prod(shape), if (identical(shape, digits_shape)) 2)
  if (length(size) == 2L) return(if (size[[2L]] %in% inputs) "rows")
  if (length(shape) < 3L) return(NULL)
  channels <- shape[[1L]]
  plane <- shape[2:3]
  fits <- function(wanted) length(size) == length(wanted) + 1L && all(size[-1L] == wanted)
  if (channels == 1L && fits(plane)) return("images")
  if (fits(c(plane, channels))) return("last")
  if (fits(c(channels, plane))) "first"
}

# The images of a shape, in words.
wanted_images <- function(shape) {
  images <- if (length(shape) == 3L) {
    size <- paste(c("n", shape[2:3], if (shape[[1L]] > 1L) shape[[1L]]), collapse = " x ")
    sprintf(", an array of %s", size)
  }
  sprintf("a matrix with %d columns%s, or a path", as.integer(prod(shape)), images)
}

# Stops unless x is a numeric matrix with a column for each pixel (or 2: points), or an array of
# images.
check_shape <- function(x, name, call, shape) {
  wanted <- wanted_images(shape)
  if (is.factor(x) || !(is.numeric(x) || is.raw(x))) {
    about <- if (is.data.frame(x)) {
      types <- vapply(x, function(column) class(column)[[1L]], "")
      paste0(" (", paste(unique(types), collapse = ", "), ")")
    }
    advice <- instead_of_numbers(x, name, shape)
    abort(c("{.arg {name}} must be {wanted}, of whole numbers (integer, raw) or doubles.",
            "x" = "It is {in_words(x)}{about}.", "i" = advice), call)
  }
  if (is.null(layout_of(x, shape))) {
    advice <- another_layout(x, shape)
    abort(c("{.arg {name}} must be {wanted}.", "x" = "It is {in_words(x)}.", "i" = advice), call)
  }
  if (!nrow(x)) {
    abort(c("{.arg {name}} must have at least one image.", "x" = "It has no rows."), call)
  }
}

# How to make images of numbers that are laid out otherwise; NULL if that is not known.
another_layout <- function(x, shape) {
  size <- as.integer(dim(x))
  if (length(shape) < 3L) return(NULL)
  plane <- as.integer(shape[2:3])
  if (shape[[1L]] == 1L && identical(size, plane)) {
    one <- paste(c(1L, plane), collapse = ", ")
    return(paste0("For one image use {.code array({name}, c(", one, "))}."))
  }
  if (length(size) == 2L && size[[1L]] == prod(shape)) {
    return("Images are rows: use {.code t({name})}.")
  }
  if (shape[[1L]] == 1L && length(size) == 3L && identical(size[1:2], plane)) {
    return("The first index is the image: use {.code aperm({name}, c(3, 1, 2))}.")
  }
  if (shape[[1L]] > 1L && identical(size, c(plane, shape[[1L]]))) {
    return("For one image use {.code array({name}, c(1, dim({name})))}.")
  }
}

# How to make numbers of an object, in code that can be run as it stands; NULL if that is not known.
instead_of_numbers <- function(x, name, shape) {
  plane <- if (length(shape) == 3L) as.integer(shape[2:3])
  if (is.data.frame(x)) {
    pixels <- as.integer(prod(shape))
    numbers <- sum(vapply(x, is.numeric, NA))
    if (numbers >= pixels) return(paste(
      sprintf("Choose the %d columns that are pixels, such as", pixels),
      "{.code {name}[, -1]} where the first is a label."))
    return(sprintf("An image has %d columns, one for each pixel: choose another object.", pixels))
  }
  if (is.factor(x)) return("Are these the {.arg labels}? Images are numbers.")
  if (is.logical(x)) {
    if (length(dim(x)) > 1L && !is.null(layout_of(x, shape))) {
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
    identical(dim(image), plane)
  }, NA))) {
    return("Use {.code aperm(simplify2array({name}), c(3, 1, 2))}.")
  }
  if (is.list(x) && length(x) && all(lengths(x) %in% prod(shape))) {
    return("Use {.code do.call(rbind, {name})}, if each element is an image.")
  }
  if (is.list(x)) {
    size <- paste(c("n", plane), collapse = " x ")
    return(paste0("Bind the images of the list into one array of ", size, "."))
  }
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

# An array of images as a matrix with a row for each, channel by channel and along the rows of the
# image; a matrix as it is.
as_rows <- function(x, shape = digits_shape) {
  order <- switch(layout_of(x, shape), images = c(1L, 3L, 2L), last = c(1L, 3L, 2L, 4L),
                  first = c(1L, 4L, 3L, 2L))
  if (is.null(order)) x else matrix(aperm(x, order), nrow(x))
}

# Rows of pixels as images: n x height x width, [image, row, column], with several channels last or
# first.
as_image_array <- function(rows, shape = digits_shape, layout = "last") {
  images <- array(rows, c(nrow(rows), shape[[3L]], shape[[2L]], shape[[1L]]))
  if (layout == "first") return(aperm(images, c(1L, 4L, 3L, 2L)))
  images <- aperm(images, c(1L, 3L, 2L, 4L))
  if (shape[[1L]] == 1L) array(images, dim(images)[1:3]) else images
}

# What a network returns, as images where it takes images.
as_images <- function(rows, shape) {
  if (length(shape) == 3L && ncol(rows) == prod(shape)) as_image_array(rows, shape) else rows
}
