# Arrays between R and Python, exact to the last bit: raw bytes in R's order, with dimensions
# (r_bridge/from_r/exchange.py is the other side). Every version of reticulate converts raw vectors; older
# ones convert neither NumPy 2 arrays nor pandas 3 data frames.

most_bytes <- 2^30                                                 # in one call of writeBin

pack <- function(x) {
  size <- if (is.null(dim(x))) length(x) else dim(x)
  type <- if (is.raw(x)) "uint8" else if (is.integer(x)) "int32" else "float64"
  if (type == "float64") x <- as.double(x)
  list(bytes = to_bytes(x), dim = as.list(as.integer(size)), type = type)
}

unpack <- function(packed) {
  size <- as.integer(unlist(packed$dim))
  x <- from_bytes(packed$bytes, packed$type, prod(size))
  if (length(size) == 1L) x else array(x, size)
}

to_bytes <- function(x) {
  if (is.raw(x)) return(as.vector(x))
  dim(x) <- NULL
  write <- function(part) writeBin(part, raw(), endian = "little")
  width <- if (is.integer(x)) 4 else 8
  if (length(x) * width <= most_bytes) return(write(x))
  starts <- seq(1, length(x), by = most_bytes / width)
  ends <- pmin(starts + most_bytes / width - 1, length(x))
  do.call(c, Map(function(start, end) write(x[start:end]), starts, ends))
}

from_bytes <- function(bytes, type, n) {
  if (type == "uint8") return(as.raw(bytes))
  width <- if (type == "int32") 4 else 8
  what <- if (type == "int32") "integer" else "double"
  read <- function(part, n) readBin(part, what, n, size = width, endian = "little")
  if (n * width <= most_bytes) return(read(bytes, n))
  x <- vector(what, n)
  for (start in seq(0, n - 1, by = most_bytes / width)) {
    count <- min(most_bytes / width, n - start)
    x[start + seq_len(count)] <- read(bytes[start * width + seq_len(count * width)], count)
  }
  x
}

# The value that a function of r_bridge.from_r returned, or its UserError as an R error.
answer <- function(given, call = NULL) {
  if (inherits(given, "python.builtin.object")) given <- reticulate::py_to_r(given)
  if (is.null(given$error)) return(given$value)
  wrong <- given$error
  bullets <- c(sentence(wrong$problem),
               if (nzchar(wrong$expected)) sentence(paste("expected", wrong$expected)),
               if (nzchar(wrong$remedy)) sentence(wrong$remedy))
  names(bullets) <- c("", rep("i", length(bullets) - 1L))
  texts <- bullets                                                  # may hold braces
  bullets[] <- sprintf("{texts[[%d]]}", seq_along(texts))
  abort(bullets, call)
}

# A part of a message from Python as a sentence; code or an argument at its beginning stays as it is.
sentence <- function(text) {
  code <- grepl("^([A-Za-z_.]+( =|::|[(])|(x|dtype|rng|hyper|[a-z]+_[a-z]+) )", text)
  if (!code) text <- paste0(toupper(substr(text, 1L, 1L)), substring(text, 2L))
  if (grepl("[.!?]$", text)) text else paste0(text, ".")
}
