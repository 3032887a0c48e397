# Images from an IDX file, the format in which MNIST was published: LeCun, Cortes & Burges, "The
# MNIST database of handwritten digits", http://yann.lecun.com/exdb/mnist/, "File formats".
#
#   pixels <- read_idx_images(find_idx_images("mnist"))
#   idx_batch(pixels, c(3, 1))                 2 x 784, pixels in [0, 1], row by row of the image
#
# An IDX file of images: 0 0, the type (8, bytes), the number of sizes (3); the three sizes as
# 32-bit integers, the highest byte first: images, rows, columns; then a byte for each pixel.

idx_images <- "train-images-idx3-ubyte"
idx_side <- 28L

# By what torchvision calls each data set: how else its folder may be called.
idx_folders <- list(MNIST = "mnist", FashionMNIST = c("fashionmnist", "fashion"),
                    KMNIST = c("kmnist", "kuzushijimnist"))

# The training images of a data set (NULL: of any), by the rules of pyvae/data/idx.py: in DATASET/raw,
# in DATASET, in raw or in the folder itself, in this order; as -idx3-ubyte or .idx3-ubyte, plain or
# as .gz. All three data sets call their files alike: a folder that is called as another one of
# them is left alone.
find_idx_images <- function(folder, dataset = NULL) {
  datasets <- if (is.null(dataset)) names(idx_folders) else dataset
  of <- paste(datasets, collapse = ", ")
  wanted <- sprintf("the training images of %s, plain or .gz, in %s/raw, %s, raw or itself",
                    sub(",([^,]*)$", " or\\1", of), datasets[[1L]], datasets[[1L]])
  if (!dir.exists(folder)) {
    stop("'", folder, "' is no folder; expected a folder with ", wanted, call. = FALSE)
  }
  inside <- as.vector(rbind(file.path(datasets, "raw"), datasets))
  if (!is_of_another(folder, datasets)) inside <- c(inside, "raw", ".")
  names <- c(idx_images, sub("-idx", ".idx", idx_images, fixed = TRUE))
  files <- outer(paste0(rep(names, each = 2L), c("", ".gz")), file.path(folder, inside),
                 function(name, where) file.path(where, name))
  found <- files[file.exists(files) & !dir.exists(files)]
  if (!length(found)) {
    stop("'", folder, "' has no ", idx_images, "; expected ", wanted, call. = FALSE)
  }
  sub("/./", "/", found[[1L]], fixed = TRUE)
}

is_of_another <- function(folder, datasets) {
  path <- normalizePath(folder, "/")
  called <- basename(if (basename(path) == "raw") dirname(path) else path)
  others <- unlist(idx_folders[!names(idx_folders) %in% datasets])
  gsub("[^[:alnum:]]", "", tolower(called)) %in% others
}

# 784 x images, raw: bytes take a quarter of what R's integers would.
read_idx_images <- function(path) {
  force(path)
  wrong <- function(what, expected = "the original file; get it again") {
    stop("data file '", path, "' ", what, "; expected ", expected, call. = FALSE)
  }
  unreadable <- function(condition) {
    wrong(paste0("cannot be read (", conditionMessage(condition), ")"))
  }
  # in this order: an error raised for a warning is not to be caught again
  file <- tryCatch(idx_parts(path), error = unreadable, warning = unreadable)
  size <- length(file$head) + length(file$body)
  if (!idx_begins(file$head)) {
    wrong("is damaged: it does not begin as an IDX file of images")
  }
  if (size < 16L) wrong(paste("is damaged: it ends after", size, "bytes"))
  sizes <- idx_sizes(file$head)
  if (size != 16 + prod(sizes)) {
    wrong(sprintf("is damaged: it holds %.0f bytes where its header promises %.0f",
                  size, 16 + prod(sizes)))
  }
  if (any(sizes[2:3] != idx_side)) {
    wrong(sprintf("has images of %.0f x %.0f pixels", sizes[[2L]], sizes[[3L]]),
          paste(idx_side, "x", idx_side))
  }
  matrix(file$body, nrow = idx_side^2)
}

idx_begins <- function(head) {
  length(head) >= 4L && all(head[1:4] == as.raw(c(0L, 0L, 8L, 3L)))
}

# Images, rows, columns.
idx_sizes <- function(head) colSums(matrix(as.integer(head[5:16]), 4L) * 256^(3:0))

# gzfile() reads files that are not compressed, too; where a compressed one is cut off, it warns.
# No more is read than one byte above what the head promises, nor than 200 times the file's size, or
# 64 MiB where that is more: few bytes unpack to very many.
idx_parts <- function(path) {
  connection <- gzfile(path, "rb")
  on.exit(close(connection))
  head <- readBin(connection, "raw", 16L)
  body <- list(raw())
  if (idx_begins(head) && length(head) == 16L) {
    left <- min(prod(idx_sizes(head)) + 1, max(200 * file.size(path), 2^26))
    while (left > 0) {
      part <- readBin(connection, "raw", min(left, 2^24))
      if (!length(part)) break
      body <- c(body, list(part))
      left <- left - length(part)
    }
  }
  list(head = head, body = do.call(c, body))
}

# The chosen images, one per row, pixels in [0, 1].
idx_batch <- function(pixels, chosen) {
  t(matrix(as.integer(pixels[, chosen]), nrow = idx_side^2)) / 255
}
