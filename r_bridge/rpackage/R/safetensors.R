# Reads safetensors (https://github.com/huggingface/safetensors, "Format"): the header's length in
# 8 bytes, the header in JSON, the numbers in row-major order. Writing is in write_trace.R.

# A named list of arrays, from raw bytes or a file; index order as in Python.
read_safetensors <- function(from) {
  damaged <- function(why) {
    what <- if (is.raw(from)) "The parameters" else paste0("File '", from, "'")
    abort(c("{what} cannot be read.", "x" = "{why}"))
  }
  bytes <- if (is.raw(from)) from else readBin(from, "raw", file.size(from))
  if (length(bytes) < 8L) damaged("It ends before its header.")
  size <- sum(as.integer(bytes[1:8]) * 256^(0:7))
  if (size > length(bytes) - 8) damaged("It ends within its header.")
  header <- tryCatch(
    jsonlite::fromJSON(rawToChar(bytes[8 + seq_len(size)]), simplifyVector = FALSE),
    error = function(e) damaged("Its header is not JSON."))
  header[["__metadata__"]] <- NULL
  connection <- rawConnection(bytes)
  on.exit(close(connection))
  lapply(header, function(about) {
    offsets <- as.numeric(unlist(about$data_offsets))
    shape <- as.integer(unlist(about$shape))
    if (length(offsets) != 2L || 8 + size + offsets[[2L]] > length(bytes)) {
      damaged("It ends before its last number.")
    }
    if (offsets[[1L]] < 0 || offsets[[1L]] > offsets[[2L]]) damaged("Its offsets are wrong.")
    seek(connection, 8 + size + offsets[[1L]])
    part <- readBin(connection, "raw", offsets[[2L]] - offsets[[1L]])
    x <- safetensors_numbers(part, about$dtype)
    if (is.null(x)) damaged(paste0("It has the unknown type ", about$dtype, "."))
    if (length(x) != prod(shape)) damaged("Its shapes do not fit its numbers.")
    if (length(shape) < 2L) x else aperm(array(x, rev(shape)))     # row-major
  })
}

safetensors_numbers <- function(bytes, dtype) {
  read <- function(what, width, ...) {
    readBin(bytes, what, length(bytes) %/% width, size = width, endian = "little", ...)
  }
  switch(dtype,
    F64 = read("double", 8L),
    F32 = read("double", 4L),
    F16 = {
      bits <- read("integer", 2L, signed = FALSE)
      exponent <- bits %/% 1024L %% 32L
      part <- bits %% 1024L
      size <- ifelse(exponent == 0L, part * 2^-24, (1 + part / 1024) * 2^(exponent - 15))
      size[exponent == 31L] <- ifelse(part[exponent == 31L] == 0L, Inf, NaN)
      ifelse(bits >= 32768L, -size, size)
    },
    I64 = {                                                        # exact up to 2^53
      halves <- matrix(read("integer", 4L), 2L)
      low <- ifelse(halves[1L, ] < 0, halves[1L, ] + 2^32, halves[1L, ])
      halves[2L, ] * 2^32 + low
    },
    I32 = read("integer", 4L),
    U8 = as.integer(bytes),
    BOOL = bytes != as.raw(0L))
}
